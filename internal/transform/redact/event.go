package redact

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/waybill-data/waybill/internal/contract"
)

// Event is an event without what the policy removes, and how many values it changed; without any it is the text itself. The text
// must be one valid JSON object, no more than MaxDepth deep, as the decoder checks; of most others there is nothing left: nil. It is
// valid until the next Event.
func (r *Redactor) Event(text []byte) (out []byte, changed int) {
	top := r.top()
	if top.idle() {
		return text, 0
	}
	r.walk, r.names = rewriter{text: text, out: r.buf[:0]}, r.names[:0]
	i := blanks(text, 0)
	if i == len(text) || text[i] != '{' {
		return nil, 0
	}
	end, ok := r.object(i, &top, 0)
	if !ok || blanks(text, end) != len(text) {
		return nil, 0
	}
	if r.walk.changed == 0 {
		return text, 0
	}
	r.buf = r.walk.copyUpTo(len(text))
	return r.buf, r.walk.changed
}

// MaxDepth is how many objects and arrays may lie in one another: as many as decoders take.
const MaxDepth = 128

// maskAll stands for a value that is masked as a whole, quotes included.
var maskAll = []byte(`"` + maskBytes + `"`)

var null = []byte("null")

// rewriter copies a text with some parts of it replaced.
type rewriter struct {
	text    []byte
	out     []byte
	copied  int // what is before it is in out
	changed int
}

// replace puts with in the place of the text from start to end. Places come in order.
func (w *rewriter) replace(start, end int, with []byte) {
	w.out = append(w.copyUpTo(start), with...)
	w.copied = end
}

func (w *rewriter) copyUpTo(i int) []byte {
	w.out = append(w.out, w.text[min(w.copied, i):i]...)
	w.copied = max(w.copied, i)
	return w.out
}

// note counts one value that rule, plus one, changed.
func (r *Redactor) note(rule int) {
	r.counts[rule-1]++
	r.walk.changed++
}

// fate is what became of a value.
type fate uint8

const (
	broken  fate = iota // the text is not valid
	kept                // as it was or replaced
	dropped             // it is to go; nothing was replaced in it
)

// value redacts the value at i, which lies in depth others, and returns where it ends. name is that of the member that it
// is the value of, or an element of.
func (r *Redactor) value(i int, s *scope, name []byte, depth int) (end int, what fate) {
	text := r.walk.text
	if i == len(text) {
		return i, broken
	}
	if s.idle() {
		return fated(skip(text, i, depth))
	}
	if s.whole > 0 {
		switch do := r.rules[s.whole-1].Do; do {
		case contract.RedactDrop, contract.RedactMask:
			return r.takeWhole(i, s.whole, do, depth)
		}
	}
	switch text[i] {
	case '{':
		return fated(r.object(i, s, depth))
	case '[':
		return fated(r.array(i, s, name, depth))
	}
	end, ok := skip(text, i, depth)
	if !ok {
		return i, broken
	}
	return end, r.scalar(i, end, s, name)
}

func fated(end int, ok bool) (int, fate) {
	if ok {
		return end, kept
	}
	return end, broken
}

// takeWhole drops or masks a value, whatever it is. There is nothing to mask in null.
func (r *Redactor) takeWhole(i, rule int, do contract.RedactAction, depth int) (end int, what fate) {
	text := r.walk.text
	end, ok := skip(text, i, depth)
	switch {
	case !ok:
		return i, broken
	case do == contract.RedactDrop:
		r.note(rule)
		return end, dropped
	case text[i] == 'n' || bytes.Equal(text[i:end], maskAll):
		return end, kept
	}
	r.note(rule)
	r.walk.replace(i, end, maskAll)
	return end, kept
}

// object redacts the object at i.
func (r *Redactor) object(i int, s *scope, depth int) (end int, ok bool) {
	text, names, any := r.walk.text, renamer{open: i}, false // any: a member was kept
	if depth >= MaxDepth {
		return i, false
	}
	if end = blanks(text, i+1); at(text, end) == '}' {
		return end + 1, true
	}
	for before := i; ; { // before: the brace or comma before the member
		start := blanks(text, before+1)
		if !any && before > i { // all members so far are gone, and this comma with them
			r.walk.replace(before, start, nil)
		}
		end, what := r.memberAt(start, s, &names, depth)
		switch {
		case what == broken:
			return i, false
		case what == kept:
			any = true
		case any:
			r.walk.replace(before, end, nil)
		default:
			r.walk.replace(start, end, nil)
		}
		end = blanks(text, end)
		switch at(text, end) {
		case '}':
			return end + 1, true
		case ',':
			before = end
		default:
			return i, false
		}
	}
}

// memberAt redacts the member whose name is at start. If it is to be dropped, nothing of it is written.
func (r *Redactor) memberAt(start int, s *scope, names *renamer, depth int) (end int, what fate) {
	nameEnd, value, ok := r.colon(start)
	if !ok {
		return start, broken
	}
	stack, written, copied := len(r.names), len(r.walk.out), r.walk.copied
	name, ok := r.pushName(start, nameEnd)
	if !ok {
		return start, broken
	}
	child := r.member(s, name)
	what = kept
	if s.on != 0 && !r.drops(&child) {
		what = r.memberName(start, nameEnd, s, names, name)
	}
	switch what {
	case kept:
		end, what = r.value(value, &child, name, depth+1)
	case dropped:
		if end, ok = skip(r.walk.text, value, depth+1); !ok {
			what = broken
		}
	}
	r.nodes, r.names = r.nodes[:child.lo], r.names[:stack]
	if what == dropped {
		r.walk.out, r.walk.copied = r.walk.out[:written], copied
	}
	return end, what
}

// drops reports whether a rule drops the value as a whole.
func (r *Redactor) drops(s *scope) bool {
	return s.whole > 0 && r.rules[s.whole-1].Do == contract.RedactDrop
}

// colon is where the member's name ends and its value begins.
func (r *Redactor) colon(start int) (nameEnd, value int, ok bool) {
	text := r.walk.text
	if at(text, start) != '"' {
		return 0, 0, false
	}
	if nameEnd, ok = stringEnd(text, start); !ok {
		return 0, 0, false
	}
	colon := blanks(text, nameEnd)
	return nameEnd, blanks(text, colon+1), at(text, colon) == ':'
}

// pushName is the member's name without escapes. It stays as it is until the stack of names is cut back.
func (r *Redactor) pushName(start, end int) (name []byte, ok bool) {
	quoted := r.walk.text[start:end]
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], true
	}
	stack := len(r.names)
	names, err := jsontext.AppendUnquote(r.names, quoted)
	r.names = names
	return names[stack:], err == nil
}

// array redacts the array at i. An element that is dropped becomes null: those behind it keep their places.
func (r *Redactor) array(i int, s *scope, name []byte, depth int) (end int, ok bool) {
	text := r.walk.text
	if depth >= MaxDepth {
		return i, false
	}
	i = blanks(text, i+1)
	if at(text, i) == ']' {
		return i + 1, true
	}
	for index := 0; ; index++ {
		end, what := r.elementAt(i, index, s, name, depth)
		switch what {
		case broken:
			return i, false
		case dropped:
			r.walk.replace(i, end, null)
		}
		i = blanks(text, end)
		switch at(text, i) {
		case ']':
			return i + 1, true
		case ',':
			i = blanks(text, i+1)
		default:
			return i, false
		}
	}
}

// elementAt redacts an element. A null is none to be dropped.
func (r *Redactor) elementAt(i, index int, s *scope, name []byte, depth int) (end int, what fate) {
	if at(r.walk.text, i) == 'n' {
		return fated(skip(r.walk.text, i, depth+1))
	}
	child := r.element(s, index)
	end, what = r.value(i, &child, name, depth+1)
	r.nodes = r.nodes[:child.lo]
	return end, what
}
