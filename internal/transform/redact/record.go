package redact

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

// Record is a record whose key and headers are redacted, and how many of them were. Its value is left as it is. It shares with
// the record what was not changed.
func (r *Redactor) Record(rec waybill.Record) (out waybill.Record, changed int) {
	if len(r.key) > 0 {
		if key, rule := r.bytes(rec.Key, r.key); rule > 0 {
			rec.Key = key
			r.counts[rule-1]++
			changed++
		}
	}
	if len(r.header) == 0 {
		return rec, changed
	}
	var headers []waybill.Header
	for i, h := range rec.Headers {
		value, rule, gone := r.headerValue(h)
		if rule > 0 && headers == nil {
			headers = append(make([]waybill.Header, 0, len(rec.Headers)), rec.Headers[:i]...)
		}
		if rule > 0 {
			r.counts[rule-1]++
			changed++
		}
		if headers != nil && !gone {
			headers = append(headers, waybill.Header{Key: h.Key, Value: value})
		}
	}
	if headers != nil {
		rec.Headers = headers
	}
	return rec, changed
}

// headerValue redacts a header; gone reports that it is dropped.
func (r *Redactor) headerValue(h waybill.Header) (value []byte, rule int, gone bool) {
	var about []int
	for _, i := range r.header {
		if r.rules[i].header == h.Key {
			about = append(about, i)
		}
	}
	if len(about) == 0 {
		return h.Value, 0, false
	}
	value, rule = r.bytes(h.Value, about)
	return value, rule, rule > 0 && value == nil
}

// bytes redacts a key or a header's value under some rules: nil if it is dropped. rule is the one that changed it, plus one;
// 0 if none did. The bytes are taken as text, not as JSON, but for what is one JSON string, array or object:
// detectors see through its escapes.
func (r *Redactor) bytes(b []byte, about []int) (out []byte, rule int) {
	if b == nil {
		return nil, 0
	}
	var s scope
	for _, i := range about {
		r.cover(&s, i)
	}
	if s.whole > 0 {
		return r.wholeBytes(b, s.whole)
	}
	if out, rule, ok := r.jsonBytes(b, &s); ok {
		return out, rule
	}
	return r.textBytes(b, &s)
}

// wholeBytes is what a rule makes of all of b.
func (r *Redactor) wholeBytes(b []byte, rule int) (out []byte, by int) {
	switch do := r.rules[rule-1].Do; {
	case do == contract.RedactDrop:
		return nil, rule
	case do == contract.RedactHash && r.hasher.isMark(b), do == contract.RedactMask && string(b) == maskBytes:
		return b, 0
	case do == contract.RedactHash:
		return r.hasher.appendMark(nil, b), rule
	}
	return []byte(maskBytes), rule
}

// maskBytes stands for a key or header that is masked.
const maskBytes = "[redacted]"

// textBytes runs detectors over b as text.
func (r *Redactor) textBytes(b []byte, s *scope) (out []byte, rule int) {
	for range maxPasses {
		matches := r.unmarked(b, r.find.find(b, s.on, nil))
		if len(matches) == 0 {
			break
		}
		if by, drop := r.dropper(matches, s); drop {
			return nil, by
		}
		if rule == 0 {
			rule = s.detect[matches[0].detector]
		}
		var next []byte
		from := 0
		for _, m := range matches {
			next = r.standIn(append(next, b[from:m.start]...), b[m.start:m.end], m.detector, s)
			from = m.end
		}
		b = append(next, b[from:]...)
	}
	return b, rule
}

// jsonBytes redacts b as a JSON value, if it is a string, an array or an object; ok reports whether it is.
func (r *Redactor) jsonBytes(b []byte, s *scope) (out []byte, rule int, ok bool) {
	i := blanks(b, 0)
	if first := at(b, i); first != '"' && first != '[' && first != '{' || !isJSON(b) {
		return nil, 0, false
	}
	r.before = append(r.before[:0], r.counts...)
	before := r.before
	r.nodes, r.names = r.nodes[:0], r.names[:0]
	r.walk = rewriter{text: b}
	_, what := r.value(i, s, nil, 0)
	if what == broken {
		copy(r.counts, before)
		return nil, 0, false
	}
	for j := range r.counts {
		if r.counts[j] != before[j] && rule == 0 {
			rule = j + 1
		}
	}
	copy(r.counts, before) // the key or header counts as one value
	if what == dropped {
		return nil, rule, true
	}
	if rule == 0 {
		return b, 0, true
	}
	return r.walk.copyUpTo(len(b)), rule, true
}

func isJSON(b []byte) bool { return jsontext.Value(b).IsValid() }
