package redact

import (
	"bytes"
	"math"
	"slices"
	"strings"
)

// prefix is how keys of one issuer begin.
type prefix struct {
	text  string
	least int  // how many characters follow at least
	loose bool // words in lower case with hyphens may begin like it: what follows must look drawn by lot
}

// prefixes are those of common issuers.
var prefixes = []prefix{
	{"sk-", 20, true}, {"sk_live_", 16, false}, {"sk_test_", 16, false}, {"rk_live_", 16, false}, {"rk_test_", 16, false},
	{"whsec_", 24, false}, {"ghp_", 30, false}, {"gho_", 30, false}, {"ghu_", 30, false}, {"ghs_", 30, false}, {"ghr_", 30, false},
	{"github_pat_", 22, false}, {"glpat-", 20, false}, {"AKIA", 16, false}, {"ASIA", 16, false}, {"AIza", 35, false},
	{"xoxb-", 10, true}, {"xoxp-", 10, true}, {"xoxa-", 10, true}, {"xoxr-", 10, true}, {"xoxs-", 10, true}, {"xapp-", 20, true},
	{"hf_", 30, false}, {"npm_", 36, false}, {"pypi-", 50, false}, {"gsk_", 30, false}, {"xai-", 40, true}, {"pplx-", 40, true},
	{"r8_", 30, false}, {"dop_v1_", 40, false}, {"shpat_", 30, false}, {"tvly-", 20, true}, {"lin_api_", 30, false}, {"dapi", 32, false},
}

// leads are the three bytes, as bits of leadBits of them, that something begins with which prefixed finds.
var leads = func() (t [64]uint64) {
	begin := []string{"eyJ", "Bea", "BEA", "bea"}
	for _, p := range prefixes {
		begin = append(begin, p.text)
	}
	for _, b := range begin {
		bit := leadBits(b[0], b[1], b[2])
		t[bit/64] |= 1 << (bit % 64)
	}
	return t
}()

func leadBits(a, b, c byte) uint {
	return (uint(a)*641 + uint(b)*67 + uint(c)) % 4096
}

// mayLead reports whether what is at i may begin a key. It is here for speed: most words do not.
func (f *finder) mayLead(i int) bool {
	if i+2 >= len(f.text) {
		return false
	}
	bit := leadBits(f.text[i], f.text[i+1], f.text[i+2])
	return leads[bit/64]>>(bit%64)&1 != 0
}

// enough is how much of a key is looked at to judge it: what comes after changes nothing.
const enough = 128

// prefixed finds a key that begins with the word at i; it returns where it ends, 0 if there is none.
func (f *finder) prefixed(i int) int {
	if end := f.jwt(i); end > 0 {
		f.add(i, end, apiKey)
		return end
	}
	if end := f.bearer(i); end > 0 {
		return end
	}
	for _, p := range prefixes {
		if f.text[i] != p.text[0] || !bytes.HasPrefix(f.text[i:], []byte(p.text)) {
			continue
		}
		start := i + len(p.text)
		end := f.runEnd(start)
		if end-start < p.least || p.loose && !drawn(f.text[start:min(end, start+enough)]) {
			continue
		}
		f.add(i, end, apiKey)
		return end
	}
	return 0
}

// runEnd is where the run of key characters at i ends. The run that was measured last is not measured again from a later word of it.
func (f *finder) runEnd(i int) int {
	if f.run.start <= i && i < f.run.end {
		return f.run.end
	}
	f.run.start, f.run.end = i, i
	for f.is(f.run.end, isKey) {
		f.run.end++
	}
	return f.run.end
}

// jwt: three parts with dots between them, the first an object in base64, so it begins with eyJ. Without the third it is no
// signed token, but has the same claims.
func (f *finder) jwt(i int) int {
	if !bytes.HasPrefix(f.text[i:], []byte("eyJ")) {
		return 0
	}
	first := f.runEnd(i)
	if f.at(first) != '.' || first-i < 10 {
		return 0
	}
	for i := first + 1; i < first+5; i++ {
		if !f.is(i, isKey) {
			return 0
		}
	}
	second := f.runEnd(first + 1)
	if f.at(second) != '.' {
		return second
	}
	return f.runEnd(second + 1)
}

// bearer finds the token after "Bearer "; the word stays.
func (f *finder) bearer(i int) int {
	start := f.after(i, "bearer ")
	if start < 0 {
		return 0
	}
	end := start
	for isToken(f.at(end)) {
		end++
	}
	token := f.text[start:min(end, start+enough)]
	if end-start < 16 || !bytes.ContainsAny(token, "0123456789") && !drawn(token) {
		return 0
	}
	f.add(start, end, apiKey)
	return end
}

// isToken: what tokens and keys in base64 are made of.
func isToken(b byte) bool {
	return class[b]&isKey != 0 || b == '+' || b == '/' || b == '.' || b == '=' || b == '~'
}

// pem finds a private key in the textual form of RFC 7468 at i, up to its end or the end of the text.
func (f *finder) pem(i int) int {
	rest := f.text[i:]
	if !bytes.HasPrefix(rest, []byte("-----BEGIN ")) || !bytes.Contains(rest[:min(len(rest), 64)], []byte("PRIVATE KEY-----")) {
		return 0
	}
	end := len(f.text)
	if at := bytes.Index(rest, []byte("-----END ")); at >= 0 {
		end = i + at + len("-----END ")
		if last := bytes.Index(f.text[end:min(len(f.text), end+64)], []byte("-----")); last >= 0 {
			end += last + len("-----")
		}
	}
	f.add(i, end, apiKey)
	return end
}

// assigned finds a value that is given to a name such as api_key or token: the sign between them is at i. The value must look
// drawn by lot.
func (f *finder) assigned(i int) int {
	start := i + 1
	for start < i+5 && isQuoting(f.at(start)) {
		start++
	}
	if !isToken(f.at(start+15)) || !isAssigned(f.nameBefore(i)) {
		return 0
	}
	end := start
	for end < start+enough && isToken(f.at(end)) {
		end++
	}
	if end-start < 16 || !drawn(f.text[start:end]) {
		return 0
	}
	for isToken(f.at(end)) {
		end++
	}
	f.add(start, end, apiKey)
	return end
}

func isQuoting(b byte) bool {
	return b == ' ' || b == '"' || b == '\'' || b == '\\' || b == '>' || b == '='
}

// nameBefore is the name that ends before i, or its last 32 bytes.
func (f *finder) nameBefore(i int) []byte {
	end := i
	for end > max(0, i-4) && isQuoting(f.text[end-1]) {
		end--
	}
	start := end
	for start > max(0, end-32) && f.is(start-1, isKey) {
		start--
	}
	return f.text[start:end]
}

// secretWords are what names end with that are given secrets.
var secretWords = []string{"key", "token", "secret", "password", "passwd", "pwd", "auth", "authorization", "credential", "credentials"}

func isAssigned(name []byte) bool {
	for _, w := range secretWords {
		if len(name) >= len(w) && bytes.EqualFold(name[len(name)-len(w):], []byte(w)) {
			return true
		}
	}
	return false
}

// secretParts are what names of members have in them that hold secrets. Not "key" and "token" alone: cache keys and page
// tokens are ids.
var secretParts = []string{"apikey", "secret", "password", "passwd", "authorization", "accesstoken", "authtoken", "refreshtoken", "privatekey", "credential", "bearertoken"}

func isSecretName(name []byte) bool {
	var buf [maxName]byte
	plain := fold(buf[:0], name, "_-.")
	return slices.ContainsFunc(secretParts, func(p string) bool { return bytes.Contains(plain, []byte(p)) })
}

// maxName is how much of a member's name is looked at.
const maxName = 64

// fold appends the name in lower case, without some characters.
func fold(dst, name []byte, without string) []byte {
	for _, b := range name[:min(len(name), maxName)] {
		switch {
		case b >= 'A' && b <= 'Z':
			dst = append(dst, b|0x20)
		case strings.IndexByte(without, b) < 0:
			dst = append(dst, b)
		}
	}
	return dst
}

// secretValue takes a text that is the value of a member whose name says that it is a secret, if it looks drawn by lot.
func (f *finder) secretValue() {
	if len(f.text) < 16 {
		return
	}
	for _, b := range f.text {
		if !isToken(b) {
			return
		}
	}
	if drawn(f.text[:min(len(f.text), enough)]) {
		f.add(0, len(f.text), apiKey)
	}
}

// leastMixed is how many letters of both cases stand for the digits that a key does not have.
const leastMixed = 20

// leastEntropy is in bits a character: words, and numbers that count up, have less; 16 drawn hex digits rarely do.
const leastEntropy = 2.75

// entropyUnit is one bit. Entropy is reckoned in whole numbers, which are the same on every processor.
const entropyUnit = 1 << 16

// nLogN is n times the binary logarithm of n.
var nLogN = func() (t [enough + 1]int) {
	for n := 1; n <= enough; n++ {
		t[n] = int(math.Round(float64(n) * math.Log2(float64(n)) * entropyUnit))
	}
	return t
}()

// drawn reports whether text, of no more than enough bytes, looks drawn by lot: digits and letters, many different ones, and not
// just words with a number among them: three digits, or a digit and an upper-case letter. One key in a thousand has no digit at
// all: then it is told from WordsInCamelCase by three tenths and more of upper-case letters in a good length.
func drawn(text []byte) bool {
	var seen [256]uint8
	digits, upper, letters := 0, 0, 0
	for _, b := range text {
		seen[b]++
		switch {
		case class[b]&isDigit != 0:
			digits++
		case b >= 'A' && b <= 'Z':
			upper++
			letters++
		case class[b]&isLetter != 0:
			letters++
		}
	}
	mixed := letters >= leastMixed && 10*upper >= 3*letters && 10*(letters-upper) >= 3*letters
	if letters == 0 || digits < 3 && (digits == 0 || upper == 0) && !mixed {
		return false
	}
	bits := nLogN[len(text)]
	for _, n := range seen {
		bits -= nLogN[n]
	}
	return bits >= int(leastEntropy*entropyUnit)*len(text)
}
