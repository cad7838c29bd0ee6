package expr

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strconv"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/go-json-experiment/json/jsontext"
)

var (
	errBigInteger = errors.New("an integer of the event is beyond 64 bits, an expression has no exact value for it")
	errBigDouble  = errors.New("a number of the event is beyond what a double holds")
	errTwice      = errors.New("an object of the event names this member twice")
	errNative     = errors.New("values of events stay what they are")
)

// val is the node at i as expressions see it: integers are int, those beyond it uint, other numbers double.
func (d *document) val(i int32) ref.Val {
	n := d.nodes[i]
	switch text := d.text[n.start:n.end]; text[0] {
	case '{':
		return object{d, i}
	case '[':
		return &list{d: d, at: i}
	case '"':
		return types.String(d.string(i))
	case 't':
		return types.True
	case 'f':
		return types.False
	case 'n':
		return types.NullValue
	default:
		return number(text)
	}
}

// string is the text of the string at i.
func (d *document) string(i int32) string {
	n := d.nodes[i]
	if !n.escaped {
		return string(d.text[n.start+1 : n.end-1])
	}
	text, _ := jsontext.AppendUnquote(nil, d.text[n.start:n.end]) // parse has checked it
	return string(text)
}

// is reports whether the string at i is s.
func (d *document) is(i int32, s string) bool {
	n := d.nodes[i]
	if !n.escaped {
		return string(d.text[n.start+1:n.end-1]) == s
	}
	return d.string(i) == s
}

func number(text []byte) ref.Val {
	if bytes.ContainsAny(text, ".eE") {
		f, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return types.WrapErr(errBigDouble)
		}
		return types.Double(f)
	}
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return types.Int(n)
	}
	if n, err := strconv.ParseUint(string(text), 10, 64); err == nil {
		return types.Uint(n)
	}
	return types.WrapErr(errBigInteger)
}

// exactDouble is a number as a double; ok is false if it is none, or would become another number.
func exactDouble(v ref.Val) (f types.Double, ok bool) {
	switch v := v.(type) {
	case types.Double:
		return v, true
	case types.Int:
		f = types.Double(v)
		return f, f < math.MaxInt64 && types.Int(f) == v
	case types.Uint:
		f = types.Double(v)
		return f, f < math.MaxUint64 && types.Uint(f) == v
	}
	return 0, false
}

func noNative(reflect.Type) (any, error) { return nil, errNative }
