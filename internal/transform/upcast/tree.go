package upcast

import (
	"bytes"
	"errors"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/waybill-data/waybill/internal/contract"
)

// value is a JSON value that can be changed. It is its own text until something within it is asked for; so what no step
// touches stays as it was, to the letter.
type value struct {
	text   []byte  // until opened
	open   bool    // entries hold it
	object bool    // of an opened one: else an array
	in     []entry // in the order of the text
}

type entry struct {
	name string // of a member
	*value
}

// What keeps a step from being done.
var (
	errTwice     = errors.New("an object on the way names a member twice")
	errNoObject  = errors.New("a value on the way is no object")
	errNoElement = errors.New("an array on the way has no such element")
	errTaken     = errors.New("there is a value already")
)

// unfold opens an object or array; it reports false for other values. The text is valid JSON.
func (v *value) unfold() bool {
	if v.open {
		return true
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(v.text), jsontext.AllowDuplicateNames(true))
	kind := dec.PeekKind()
	if kind != '{' && kind != '[' {
		return false
	}
	_, err := dec.ReadToken()
	for err == nil && dec.PeekKind() != '}' && dec.PeekKind() != ']' {
		var e entry
		if e, err = readEntry(dec, kind == '{'); err == nil {
			v.in = append(v.in, e)
		}
	}
	v.open, v.object = err == nil, kind == '{'
	return v.open
}

func readEntry(dec *jsontext.Decoder, member bool) (e entry, err error) {
	if member {
		name, err := dec.ReadToken()
		if err != nil {
			return e, err
		}
		e.name = name.String()
	}
	text, err := dec.ReadValue()
	e.value = &value{text: bytes.Clone(text)}
	return e, err
}

// index is where the entry of a step lies within an opened value, -1 if there is none.
func (v *value) index(s contract.Step) (int, error) {
	if s.Kind == contract.Element {
		if v.object || s.Index >= len(v.in) {
			return -1, nil
		}
		return s.Index, nil
	}
	if !v.object {
		return -1, nil
	}
	named := func(e entry) bool { return e.name == s.Name }
	i := slices.IndexFunc(v.in, named)
	if i >= 0 && slices.ContainsFunc(v.in[i+1:], named) {
		return -1, errTwice
	}
	return i, nil
}

// at is the value at a path, nil if there is none.
func (v *value) at(p contract.Path) (*value, error) {
	for _, s := range p {
		if !v.unfold() {
			return nil, nil
		}
		i, err := v.index(s)
		if i < 0 || err != nil {
			return nil, err
		}
		v = v.in[i].value
	}
	return v, nil
}

// take removes the member at a path and returns it, nil if there is none. Its object stays, be it empty.
func (v *value) take(p contract.Path) (*value, error) {
	object, err := v.at(p[:len(p)-1])
	if object == nil || err != nil || !object.unfold() {
		return nil, err
	}
	i, err := object.index(p[len(p)-1])
	if i < 0 || err != nil {
		return nil, err
	}
	out := object.in[i].value
	object.in = slices.Delete(object.in, i, i+1)
	return out, nil
}

// put makes x the member at a path. Objects that are missing on the way are made; what is there already is an error,
// unless it may be overwritten.
func (v *value) put(p contract.Path, x *value, overwrite bool) error {
	for _, s := range p[:len(p)-1] {
		next, err := v.enter(s)
		if err != nil {
			return err
		}
		v = next
	}
	last := p[len(p)-1]
	if !v.unfold() || !v.object {
		return errNoObject
	}
	switch i, err := v.index(last); {
	case err != nil:
		return err
	case i < 0:
		v.in = append(v.in, entry{last.Name, x})
	case !overwrite:
		return errTaken
	default:
		v.in[i].value = x
	}
	return nil
}

// enter is what a step leads to, made if it is a missing member.
func (v *value) enter(s contract.Step) (*value, error) {
	if !v.unfold() || v.object != (s.Kind == contract.Member) {
		return nil, errNoObject
	}
	i, err := v.index(s)
	switch {
	case err != nil:
		return nil, err
	case i >= 0:
		return v.in[i].value, nil
	case s.Kind != contract.Member:
		return nil, errNoElement
	}
	made := &value{open: true, object: true}
	v.in = append(v.in, entry{s.Name, made})
	return made, nil
}

// append writes the value.
func (v *value) append(dst []byte) []byte {
	if !v.open {
		return append(dst, v.text...)
	}
	brackets := "[]"
	if v.object {
		brackets = "{}"
	}
	dst = append(dst, brackets[0])
	for i, e := range v.in {
		if i > 0 {
			dst = append(dst, ',')
		}
		if v.object {
			dst = append(quote(dst, e.name), ':')
		}
		dst = e.append(dst)
	}
	return append(dst, brackets[1])
}

// quote writes a string, which came out of valid JSON.
func quote(dst []byte, s string) []byte {
	out, _ := jsontext.AppendQuote(dst, s)
	return out
}

// str is the text of a string; ok is false for other values.
func (v *value) str() (s string, ok bool) {
	if v.open || len(v.text) == 0 || v.text[0] != '"' {
		return "", false
	}
	out, err := jsontext.AppendUnquote(nil, v.text)
	return string(out), err == nil
}

func ofString(s string) *value { return &value{text: quote(nil, s)} }
