package redact

import (
	"bytes"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/waybill-data/waybill/internal/contract"
)

// scalar redacts the scalar from i to end, which no rule drops or masks as a whole.
func (r *Redactor) scalar(i, end int, s *scope, name []byte) fate {
	raw := r.walk.text[i:end]
	switch {
	case raw[0] == 'n':
		return kept
	case s.whole > 0:
		return r.hashWhole(i, end, s.whole)
	case raw[0] == '"':
		out, rule, what := r.redactString(raw, s, name)
		return r.found(i, end, out, rule, what)
	case raw[0] == '-' || class[raw[0]]&isDigit != 0:
		out, rule, what := r.redactNumber(raw, s, name)
		return r.found(i, end, out, rule, what)
	}
	return kept
}

// found writes what detectors left of a scalar; rule is 0 if they found nothing.
func (r *Redactor) found(i, end int, out []byte, rule int, what fate) fate {
	if rule > 0 {
		r.note(rule)
		if what == kept {
			r.walk.replace(i, end, out)
		}
	}
	return what
}

// hashWhole puts a hash in a scalar's place.
func (r *Redactor) hashWhole(i, end, rule int) fate {
	plain := r.walk.text[i:end]
	if plain[0] == '"' {
		var ok bool
		if plain, ok = unquote(&r.plain, plain); !ok {
			return broken
		}
	}
	if r.hasher.isMark(plain) {
		return kept
	}
	to := &r.strs[0]
	*to = append((*to)[:0], '"')
	*to = append(r.hasher.appendMark(*to, plain), '"')
	return r.found(i, end, *to, rule, kept)
}

// unquote is the text of a JSON string, in buf if there are escapes in it.
func unquote(buf *[]byte, quoted []byte) ([]byte, bool) {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner, true
	}
	out, err := jsontext.AppendUnquote((*buf)[:0], quoted)
	*buf = out
	return out, err == nil
}

// maxPasses is how often a string is gone through again after something was found in it. What is found first can hide what
// is beside it: in "+14155550123+14155550124" the second number follows upon a digit. Hostile texts can need more passes than that, which
// would take them time that is not linear; they keep the rest.
const maxPasses = 4

// redactString gives a JSON string without what detectors find in it: quotes included, and escapes as they were. rule, plus one, is
// the first that found something, 0 if none did. The name is that of the member that the string is the value of.
func (r *Redactor) redactString(quoted []byte, s *scope, name []byte) (out []byte, rule int, what fate) {
	for pass := range maxPasses {
		plain, ok := unquote(&r.plain, quoted)
		if !ok {
			return nil, 0, broken
		}
		matches := r.unmarked(plain, r.find.find(plain, s.on, name))
		if len(matches) == 0 {
			break
		}
		if by, drop := r.dropper(matches, s); drop {
			return nil, by, dropped
		}
		if rule == 0 {
			rule = s.detect[matches[0].detector]
		}
		to := &r.strs[pass%2]
		*to = r.splice((*to)[:0], quoted, plain, matches, s)
		quoted = *to
	}
	return quoted, rule, kept
}

// unmarked leaves out the matches that are marks of hashes.
func (r *Redactor) unmarked(plain []byte, matches []match) []match {
	out := matches[:0]
	for _, m := range matches {
		if !r.hasher.isMark(plain[m.start:m.end]) {
			out = append(out, m)
		}
	}
	return out
}

// dropper is the rule, plus one, by which one of the matches makes the value go.
func (r *Redactor) dropper(matches []match, s *scope) (rule int, ok bool) {
	for _, m := range matches {
		if rule = s.detect[m.detector]; r.rules[rule-1].Do == contract.RedactDrop {
			return rule, true
		}
	}
	return 0, false
}

// splice appends a JSON string with the matches, which are places of its text, replaced.
func (r *Redactor) splice(dst, quoted, plain []byte, matches []match, s *scope) []byte {
	e := escaped{raw: quoted[1 : len(quoted)-1]}
	dst = append(dst, '"')
	from := 0
	for _, m := range matches {
		dst = append(dst, e.raw[from:e.to(m.start)]...)
		from = e.to(m.end)
		dst = r.standIn(dst, plain[m.start:m.end], m.detector, s)
	}
	dst = append(dst, e.raw[from:]...)
	return append(dst, '"')
}

// standIn appends what stands for a value that a detector found, which is not dropped.
func (r *Redactor) standIn(dst, value []byte, d detector, s *scope) []byte {
	if r.rules[s.detect[d]-1].Do == contract.RedactHash {
		return r.hasher.appendMark(dst, value)
	}
	return append(dst, masks[d]...)
}

// redactNumber looks for a card or a phone in a number, whose sign, fraction and exponent do not matter if it is whole:
// 4.111111111111111e15 is a card, too. What stands for it is a string.
func (r *Redactor) redactNumber(raw []byte, s *scope, name []byte) (out []byte, rule int, what fate) {
	on := s.on & (1<<card | 1<<phone)
	if on == 0 {
		return raw, 0, kept
	}
	digits, ok := wholeDigits(r.plain[:0], raw)
	if !ok {
		return raw, 0, kept
	}
	r.plain = digits
	matches := r.find.find(digits, on, name)
	if len(matches) == 0 {
		return raw, 0, kept
	}
	d := matches[0].detector
	rule = s.detect[d]
	if r.rules[rule-1].Do == contract.RedactDrop {
		return nil, rule, dropped
	}
	to := &r.strs[0]
	*to = append((*to)[:0], '"')
	*to = append(r.standIn(*to, digits, d, s), '"')
	out = *to
	return out, rule, kept
}

// wholeDigits appends the digits of a JSON number without its sign, if it is whole and has no more of them than a card.
func wholeDigits(dst, raw []byte) (digits []byte, ok bool) {
	raw = bytes.TrimPrefix(raw, []byte("-"))
	point := 0 // digits behind it
	if e := bytes.IndexAny(raw, "eE"); e >= 0 {
		n, err := strconv.Atoi(string(bytes.TrimPrefix(raw[e+1:], []byte("+"))))
		if err != nil || n < -maxCard || n > maxCard {
			return nil, false
		}
		raw, point = raw[:e], -n
	}
	whole, fraction, _ := bytes.Cut(raw, []byte("."))
	fraction = bytes.TrimRight(fraction, "0")
	point += len(fraction)
	if !isDigits(whole) || !isDigits(fraction) || len(whole) == 0 || whole[0] == '0' || len(whole)+len(fraction) > maxCard || len(whole)+len(fraction)-point > maxCard {
		return nil, false
	}
	dst = append(append(dst, whole...), fraction...)
	for ; point < 0; point++ {
		dst = append(dst, '0')
	}
	for ; point > 0 && len(dst) > 0; point-- {
		if dst[len(dst)-1] != '0' {
			return nil, false
		}
		dst = dst[:len(dst)-1]
	}
	return dst, len(dst) > 0
}

func isDigits(b []byte) bool {
	for _, c := range b {
		if class[c]&isDigit == 0 {
			return false
		}
	}
	return true
}
