package expr

import (
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/go-json-experiment/json/jsontext"
)

var (
	errNotFinite = errors.New("the result is not a finite number, which JSON does not have")
	errNoJSON    = errors.New("the result is of a type that JSON does not have")
	errNoName    = errors.New("the result is a map with a key that is no text, number or bool")
)

// appendJSON appends a result as JSON text: timestamps as RFC 3339 in UTC, durations as seconds ("1.5s"), bytes in base64,
// doubles with the fewest digits that read back the same. Parts of the event come as their own text.
func appendJSON(dst []byte, v ref.Val) ([]byte, error) {
	switch v := v.(type) {
	case *types.Err:
		return dst, v
	case object:
		n := v.d.nodes[v.at]
		return append(dst, v.d.text[n.start:n.end]...), nil
	case *list:
		n := v.d.nodes[v.at]
		return append(dst, v.d.text[n.start:n.end]...), nil
	case types.Null:
		return append(dst, "null"...), nil
	case types.Bool:
		return strconv.AppendBool(dst, bool(v)), nil
	case types.Int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case types.Uint:
		return strconv.AppendUint(dst, uint64(v), 10), nil
	case types.Double:
		return appendDouble(dst, float64(v))
	case *types.Optional:
		return appendOptional(dst, v)
	case traits.Lister:
		return appendList(dst, v)
	case traits.Mapper:
		return appendMap(dst, v)
	}
	s, err := textOf(v)
	if err != nil {
		return dst, err
	}
	return appendString(dst, s)
}

// textOf is what has a string for its JSON value.
func textOf(v ref.Val) (string, error) {
	switch v := v.(type) {
	case types.String:
		return string(v), nil
	case types.Bytes:
		return base64.StdEncoding.EncodeToString(v), nil
	case types.Timestamp:
		return v.UTC().Format(time.RFC3339Nano), nil
	case types.Duration:
		s, _ := v.ConvertToType(types.StringType).(types.String)
		return string(s), nil
	}
	return "", errNoJSON
}

func appendString(dst []byte, s string) ([]byte, error) { return jsontext.AppendQuote(dst, s) }

func appendDouble(dst []byte, f float64) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return dst, errNotFinite
	}
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, 64), nil
}

// appendOptional is for values within others; one without a value is null there.
func appendOptional(dst []byte, o *types.Optional) ([]byte, error) {
	if !o.HasValue() {
		return append(dst, "null"...), nil
	}
	return appendJSON(dst, o.GetValue())
}

func appendList(dst []byte, l traits.Lister) ([]byte, error) {
	dst = append(dst, '[')
	var err error
	for it, first := l.Iterator(), true; it.HasNext() == types.True; first = false {
		if !first {
			dst = append(dst, ',')
		}
		if dst, err = appendJSON(dst, it.Next()); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func appendMap(dst []byte, m traits.Mapper) ([]byte, error) {
	dst = append(dst, '{')
	for it, first := m.Iterator(), true; it.HasNext() == types.True; first = false {
		if !first {
			dst = append(dst, ',')
		}
		key := it.Next()
		name, ok := key.ConvertToType(types.StringType).(types.String)
		if !ok || !isKey(key) {
			return dst, errNoName
		}
		var err error
		if dst, err = appendString(dst, string(name)); err != nil {
			return dst, err
		}
		if dst, err = appendJSON(append(dst, ':'), m.Get(key)); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

func isKey(v ref.Val) bool {
	switch v.(type) {
	case types.String, types.Bool, types.Int, types.Uint:
		return true
	}
	return false
}
