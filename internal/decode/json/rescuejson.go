package json

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/waybill-data/waybill/internal/column"
)

// A rescue column of the JSON type is not for every value: the server refuses a whole block for one number beyond 64 bits
// or one path that it finds twice. What could be so is kept in a string, and its entry says so.

// isPlain reports whether the rescue column takes the value as it is. refused is one that some column did not take: parts
// of it may have entries of their own, whose paths would be paths in it.
func (r *rescuer) isPlain(value []byte, refused bool) bool {
	if _, ok := r.column.(*column.JSON); !ok {
		return true
	}
	if value[0] == '{' && refused || !jsontext.Value(value).IsValid() || !plainNames(value) {
		return false
	}
	r.probe = append(append(append(r.probe[:0], `{"v":`...), value...), '}')
	_, err := r.column.Fresh().(*column.JSON).AppendJSON(r.probe, column.RFC3339)
	return err == nil
}

// plainNames reports whether no name in a valid value has a dot in it, or may have one: the server takes it for a path.
func plainNames(value []byte) bool {
	if value[0] != '{' && value[0] != '[' {
		return true
	}
	for c := enter(value, 0); !c.done(); {
		if value[0] == '{' && bytes.ContainsAny(c.key(), `.\`) {
			return false
		}
		if start, end := c.value(); !plainNames(value[start:end]) {
			return false
		}
	}
	return true
}

// quoted is a valid JSON text as a JSON string.
func quoted(text []byte) []byte {
	s, err := jsontext.AppendQuote(nil, text)
	if err != nil {
		panic("json: a valid text is no string: " + err.Error())
	}
	return s
}
