package redact

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
)

// detector finds values of one kind in text.
type detector uint8

const (
	email detector = iota
	phone
	card
	apiKey
	numDetectors
)

var detectorNames = [numDetectors]string{"email", "phone", "card", "api_key"}

// masks are what stands for a value that a detector found.
var masks = [numDetectors]string{"[email]", "[phone]", "[card]", "[api_key]"}

// set is a set of detectors.
type set uint8

func (s set) has(d detector) bool { return s&(1<<d) != 0 }

func setOf(names []string) (s set, err error) {
	for _, name := range names {
		d := slices.Index(detectorNames[:], name)
		if d < 0 {
			return 0, fmt.Errorf("there is no detector %q", name)
		}
		s |= 1 << d
	}
	return s, nil
}

// match is a part of a text that a detector found.
type match struct {
	start, end int
	detector
}

// finder runs detectors over texts. Each takes time linear in the text's length, whatever the text is: where a detector
// looks back or ahead, it does so by a bounded number of bytes, or over bytes that no later look goes over again.
type finder struct {
	text    []byte
	matches []match
	run     struct{ start, end int } // the run of key characters that was measured last
	groups  [maxGroups]group
}

// classes of bytes.
const (
	isDigit = 1 << iota
	isLetter
	isLocal // may stand in an e-mail address before the @
	isKey   // may stand in a key
	isSign  // something may begin at it, or after it, that is no word
)

const isWord = isDigit | isLetter

var class = func() (t [256]uint8) {
	for c := range t {
		b := byte(c)
		switch {
		case b >= '0' && b <= '9':
			t[c] = isDigit | isLocal | isKey
		case b|0x20 >= 'a' && b|0x20 <= 'z':
			t[c] = isLetter | isLocal | isKey
		}
	}
	for _, b := range []byte(".!#$%'*+^_~-") {
		t[b] |= isLocal
	}
	for _, b := range []byte("+(-=:") {
		t[b] |= isSign
	}
	t['-'] |= isKey
	t['_'] |= isKey
	return t
}()

// find is what the detectors of on find in text, which is the value of a member of that name, in order and without
// overlaps. It is valid until the next find.
func (f *finder) find(text []byte, on set, name []byte) []match {
	f.text, f.matches = text, f.matches[:0]
	f.run.start, f.run.end = 0, 0
	if on.has(email) {
		f.emails()
	}
	if on&^(1<<email) != 0 {
		f.words(on, name)
	}
	if len(f.matches) > 1 {
		f.join()
	}
	return f.matches
}

func (f *finder) add(start, end int, d detector) {
	f.matches = append(f.matches, match{start, end, d})
}

// join sorts the matches and makes those that overlap into one, of the kind of the first: what two detectors claim in
// parts is removed as a whole.
func (f *finder) join() {
	slices.SortFunc(f.matches, func(a, b match) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end), cmp.Compare(a.detector, b.detector))
	})
	out := f.matches[:1]
	for _, m := range f.matches[1:] {
		if last := &out[len(out)-1]; m.start < last.end {
			last.end = max(last.end, m.end)
		} else {
			out = append(out, m)
		}
	}
	f.matches = out
}

// at is the byte at i, zero outside of the text.
func (f *finder) at(i int) byte {
	if i >= 0 && i < len(f.text) {
		return f.text[i]
	}
	return 0
}

func (f *finder) is(i int, c uint8) bool { return class[f.at(i)]&c != 0 }

// words finds phones, cards and keys, which begin where a word does, or at a sign before one.
func (f *finder) words(on set, name []byte) {
	keys, digits := on.has(apiKey), on&(1<<card|1<<phone) != 0
	if keys && isSecretName(name) {
		f.secretValue()
	}
	for i, text := 0, f.text; i < len(text); {
		c := class[text[i]]
		if c == 0 { // a blank, or what is in no ASCII word
			i++
			continue
		}
		end := 0
		switch {
		case c&isSign != 0:
			if end = f.sign(i, on); end == 0 {
				end = i + 1
			}
		case c&isDigit != 0:
			if digits {
				end = f.number(i, on, name)
			}
		case c&isLetter != 0:
			if keys && f.mayLead(i) {
				end = f.prefixed(i)
			}
		default:
			end = i + 1
		}
		if i = max(i, end); end == 0 {
			for i < len(text) && class[text[i]]&isWord != 0 {
				i++
			}
		}
	}
}

// sign finds what begins at a sign.
func (f *finder) sign(i int, on set) int {
	switch b := f.text[i]; {
	case b == '+' || b == '(':
		if on.has(phone) && f.is(i+1, isDigit) {
			return f.signed(i)
		}
	case !on.has(apiKey):
	case b == '-':
		return f.pem(i)
	default:
		return f.assigned(i)
	}
	return 0
}

// after is where word ends if the text has it at i; -1 else. Case does not matter.
func (f *finder) after(i int, word string) int {
	end := i + len(word)
	if end > len(f.text) || !bytes.EqualFold(f.text[i:end], []byte(word)) {
		return -1
	}
	return end
}
