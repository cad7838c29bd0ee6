package promote

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/waybill-data/waybill/internal/contract"
)

// rescuedField is an entry of the rescue column's text, as package decode/json writes it.
type rescuedField struct {
	Value    json.RawMessage `json:"value"`
	Encoding string          `json:"encoding"`
}

// raw is the text that the event had for the field; ok is false if nobody can say.
func (f rescuedField) raw() (text []byte, ok bool) {
	switch f.Encoding {
	case "":
		return f.Value, true
	case "json": // the text itself would not do in a JSON text
		var s string
		err := json.Unmarshal(f.Value, &s)
		return []byte(s), err == nil
	}
	return nil, false
}

// prefix is a path that leads to the one that is looked for, as the rescue column writes it, and what is left of it.
type prefix struct {
	key  string
	rest contract.Path
}

// prefixes are the path itself and those that lead to it, longest first: an object that no column takes apart is rescued as a
// whole.
func prefixes(p contract.Path) (out []prefix) {
	for n := len(p); n > 0; n-- {
		out = append(out, prefix{p[:n].String(), p[n:]})
	}
	return out
}

// finder finds a path's values in texts of the rescue column. It belongs to one goroutine.
type finder struct {
	paths []prefix
	found []jsontext.Value // entries, by prefix; nil for none
	text  bytes.Buffer
	dec   jsontext.Decoder
}

func newFinder(paths []prefix) *finder {
	return &finder{paths: paths, found: make([]jsontext.Value, len(paths))}
}

// find is the text that is rescued for the path, in one row's rescue column. has: there is one; readable: it can be told what
// the event said.
func (f *finder) find(column string) (text []byte, has, readable bool) {
	if !f.scan(column) {
		return nil, true, false // somebody else wrote into it
	}
	for i, p := range f.paths {
		if f.found[i] == nil {
			continue
		}
		var field rescuedField
		if json.Unmarshal(f.found[i], &field) != nil {
			return nil, true, false
		}
		text, ok := field.raw()
		if !ok {
			return nil, len(p.rest) == 0, false
		}
		if text, ok = descend(text, p.rest); ok {
			return text, true, true
		}
	}
	return nil, false, false
}

// scan collects the entries of prefixes; false if the text is none of the rescue column's.
func (f *finder) scan(column string) bool {
	clear(f.found)
	f.text.Reset()
	f.text.WriteString(column)
	f.dec.Reset(&f.text)
	ok := f.members(func(name []byte) bool {
		if string(name) != "fields" {
			return f.dec.SkipValue() == nil
		}
		return f.members(f.entry)
	})
	_, err := f.dec.ReadToken()
	return ok && errors.Is(err, io.EOF)
}

// members calls each for every member of the object that comes next, with its name, to read its value.
func (f *finder) members(each func(name []byte) bool) bool {
	if t, err := f.dec.ReadToken(); err != nil || t.Kind() != '{' {
		return false
	}
	for f.dec.PeekKind() == '"' {
		quoted, err := f.dec.ReadValue()
		if err != nil {
			return false
		}
		name := quoted[1 : len(quoted)-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			if name, err = jsontext.AppendUnquote(nil, quoted); err != nil {
				return false
			}
		}
		if !each(name) {
			return false
		}
	}
	t, err := f.dec.ReadToken()
	return err == nil && t.Kind() == '}'
}

func (f *finder) entry(name []byte) bool {
	for i := range f.paths {
		if f.paths[i].key == string(name) {
			value, err := f.dec.ReadValue()
			f.found[i] = slices.Clone(value) // the decoder's until its next value
			return err == nil
		}
	}
	return f.dec.SkipValue() == nil
}

// descend goes into a value; ok is false if there is nothing.
func descend(text []byte, rest contract.Path) ([]byte, bool) {
	for _, step := range rest {
		switch step.Kind {
		case contract.Element:
			var list []json.RawMessage
			if json.Unmarshal(text, &list) != nil || step.Index >= len(list) {
				return nil, false
			}
			text = list[step.Index]
		default:
			var object map[string]json.RawMessage
			if json.Unmarshal(text, &object) != nil || object[step.Name] == nil {
				return nil, false
			}
			text = object[step.Name]
		}
	}
	return text, true
}
