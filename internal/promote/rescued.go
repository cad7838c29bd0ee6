package promote

import (
	"encoding/json"

	"github.com/waybill-data/waybill/internal/contract"
)

// rescued is a text of the rescue column, as package decode/json writes it.
type rescued struct {
	Fields map[string]rescuedField `json:"fields"`
}

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

// find is the text that is rescued for the path, in one row's rescue column. has: there is one; readable: it can be told what
// the event said.
func find(column string, paths []prefix) (text []byte, has, readable bool) {
	var r rescued
	if err := json.Unmarshal([]byte(column), &r); err != nil {
		return nil, true, false // somebody else wrote into it
	}
	for _, p := range paths {
		f, there := r.Fields[p.key]
		if !there {
			continue
		}
		text, ok := f.raw()
		if !ok {
			return nil, len(p.rest) == 0, false
		}
		if text, ok = descend(text, p.rest); ok {
			return text, true, true
		}
	}
	return nil, false, false
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
