package redact

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"hash"
)

// A mark that stands for a hashed value is tokenPrefix and 40 letters and digits: 20 bytes of HMAC-SHA256 of the value, and
// 5 bytes of a HMAC of those. By the latter a mark is told from text that looks like one, and is not hashed again.
const (
	tokenPrefix = "hmac_"
	tokenLen    = len(tokenPrefix) + 40
	hashBytes   = 20
	checkBytes  = 5
)

// base32 in lower case: a mark is one word, in which no detector finds anything.
var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// The uses of the secret, so that no value's hash is the check of another, and no whole record's that of a value.
var (
	useValue  = []byte("waybill redacted value\n")
	useCheck  = []byte("waybill redacted check\n")
	useRecord = []byte("waybill redacted record\n")
)

type hasher struct {
	mac  hash.Hash
	sum  [sha256.Size]byte
	mark [hashBytes + checkBytes]byte
}

func newHasher(secret []byte) *hasher { return &hasher{mac: hmac.New(sha256.New, secret)} }

func (h *hasher) of(use, value []byte) []byte {
	h.mac.Reset()
	h.mac.Write(use)
	h.mac.Write(value)
	return h.mac.Sum(h.sum[:0])
}

// appendMark appends the mark that stands for value.
func (h *hasher) appendMark(dst, value []byte) []byte {
	copy(h.mark[:], h.of(useValue, value)[:hashBytes])
	copy(h.mark[hashBytes:], h.of(useCheck, h.mark[:hashBytes])[:checkBytes])
	dst = append(dst, tokenPrefix...)
	return encoding.AppendEncode(dst, h.mark[:])
}

// AppendDigest appends what may be kept of a value that could not be redacted, as a JSON object: its size, and its hash under the
// secret. Without a secret there is no hash, since that of a short text tells the text to whoever tries a few.
func (r *Redactor) AppendDigest(dst, value []byte) []byte {
	dst = append(dst, digestPrefix...)
	if r.hasher != nil {
		dst = fmt.Appendf(dst, `"hmac_sha256":"%x",`, r.hasher.of(useRecord, value))
	}
	return fmt.Appendf(dst, `"bytes":%d}}`, len(value))
}

// digestPrefix begins what AppendDigest appends.
const digestPrefix = `{"waybill_redacted":{`

// IsDigest reports whether a value is what AppendDigest made of another.
func IsDigest(value []byte) bool { return bytes.HasPrefix(value, []byte(digestPrefix)) }

// isMark reports whether text is a mark made with this secret.
func (h *hasher) isMark(text []byte) bool {
	if h == nil || len(text) != tokenLen || !bytes.HasPrefix(text, []byte(tokenPrefix)) {
		return false
	}
	mark := &h.mark
	if n, err := encoding.Decode(mark[:], text[len(tokenPrefix):]); err != nil || n != len(mark) {
		return false
	}
	return hmac.Equal(mark[hashBytes:], h.of(useCheck, mark[:hashBytes])[:checkBytes])
}
