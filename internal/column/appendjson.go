package column

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// AppendJSON appends one value given as JSON text, to a column of any type. exact is false if digits were lost, as
// AppendText and AppendNumber say. On an error, which wraps ErrKind, ErrFormat, ErrRange or ErrFraction, nothing is
// appended. It is the plain way to do so, for defaults, Variants and comparison; decoders of events have faster ones.
//
// A named Tuple takes an object with a member for each element and no others, any Tuple an array of as many elements.
func AppendJSON(c Column, text []byte, f TimeFormat) (exact bool, err error) {
	rows := c.Rows()
	exact, err = appendValue(c, bytes.Trim(text, " \t\r\n"), f)
	if err != nil {
		c.Truncate(rows)
	}
	return exact, err
}

func appendValue(c Column, text []byte, f TimeFormat) (exact bool, err error) {
	if string(text) == "null" {
		return true, appendNull(c)
	}
	switch c := c.(type) {
	case *Nullable:
		exact, err = appendValue(c.inner, text, f)
		if err == nil {
			c.EndRow()
		}
		return exact, err
	case *JSON:
		if !jsontext.Value(text).IsValid() {
			return true, errNotJSON
		}
		return c.AppendJSON(text, f)
	case JSONTaker:
		return c.AppendJSON(text, f)
	}
	kind := kindOf(text)
	if takes := kindsOf(c); kind&takes == 0 && kind != 0 {
		return true, kindError{kind, takes}
	}
	switch kind {
	case 0:
		return true, errNotJSON
	case TakesArray, TakesObject:
		return appendContainer(c, text, f)
	case TakesString:
		return appendString(c, text, f)
	case TakesNumber:
		if isTime(c) {
			return appendMoment(c, text, TakesNumber, f)
		}
		return AppendNumber(c, text)
	}
	return AppendText(c, text, f)
}

// appendNull adds NULL to a column that has it.
func appendNull(c Column) error {
	switch c := c.(type) {
	case *LowCardinality:
		if c.nullable {
			c.AppendNull()
			return nil
		}
	case Nuller:
		c.AppendNull()
		return nil
	}
	return kindError{0, kindsOf(c)}
}

func appendString(c Column, quoted []byte, f TimeFormat) (exact bool, err error) {
	text, err := unquote(quoted)
	if err != nil {
		return true, err
	}
	switch {
	case isTime(c):
		return appendMoment(c, text, TakesString, f)
	case kindsOf(c)&TakesNumber != 0:
		return AppendNumber(c, text)
	}
	if c, ok := c.(Texter); ok {
		c.Append(text)
		return true, nil
	}
	return AppendText(c, text, f)
}

func appendMoment(c Column, text []byte, kind Kinds, f TimeFormat) (exact bool, err error) {
	if f.Takes()&kind == 0 {
		return true, kindError{kind, f.Takes()}
	}
	return AppendTime(c, text, f)
}

// unquote is the text of a JSON string; without escapes it aliases quoted.
func unquote(quoted []byte) ([]byte, error) {
	n := len(quoted) - 1
	if n > 0 && quoted[n] == '"' && isPlain(quoted[1:n]) {
		return quoted[1:n], nil
	}
	text, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		return nil, fmt.Errorf("%w: not a JSON string", ErrFormat)
	}
	return text, nil
}

// isPlain reports whether the inside of a JSON string stands for itself.
func isPlain(text []byte) bool {
	for _, b := range text {
		if b < ' ' || b == '"' || b == '\\' {
			return false
		}
	}
	return utf8.Valid(text)
}

func appendContainer(c Column, text []byte, f TimeFormat) (exact bool, err error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(text))
	if _, err := dec.ReadToken(); err != nil {
		return true, errNotJSON
	}
	switch c := c.(type) {
	case *Array:
		exact, err = appendElements(dec, c, f)
	case *Map:
		exact, err = appendPairs(dec, c, f)
	case *Tuple:
		exact, err = appendTuple(dec, c, text[0] == '{', f)
	}
	if err != nil {
		return exact, err
	}
	if _, err := dec.ReadToken(); err != nil { // the closing bracket
		return exact, errNotJSON
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return exact, errNotJSON
	}
	return exact, nil
}

var errNotJSON = fmt.Errorf("%w: not JSON", ErrFormat)

// next reads a value and appends it.
func next(dec *jsontext.Decoder, c Column, f TimeFormat) (exact bool, err error) {
	text, err := dec.ReadValue()
	if err != nil {
		return true, errNotJSON
	}
	return appendValue(c, text, f)
}

// more reports whether the container has a further value.
func more(dec *jsontext.Decoder) bool {
	switch dec.PeekKind() {
	case ']', '}', 0:
		return false
	}
	return true
}

func appendElements(dec *jsontext.Decoder, c *Array, f TimeFormat) (exact bool, err error) {
	exact = true
	for more(dec) {
		same, err := next(dec, c.elem, f)
		if err != nil {
			return exact, err
		}
		exact = exact && same
	}
	c.EndRow()
	return exact, nil
}

func appendPairs(dec *jsontext.Decoder, c *Map, f TimeFormat) (exact bool, err error) {
	exact = true
	for more(dec) {
		name, err := memberName(dec)
		if err != nil {
			return exact, err
		}
		keySame, err := AppendText(c.keys, name, f)
		if err != nil {
			return exact, err
		}
		same, err := next(dec, c.values, f)
		if err != nil {
			return exact, err
		}
		exact = exact && keySame && same
	}
	c.EndRow()
	return exact, nil
}

func memberName(dec *jsontext.Decoder) ([]byte, error) {
	quoted, err := dec.ReadValue()
	if err != nil {
		return nil, errNotJSON
	}
	return unquote(bytes.Clone(quoted))
}

func appendTuple(dec *jsontext.Decoder, c *Tuple, object bool, f TimeFormat) (exact bool, err error) {
	exact = true
	n := 0
	for ; more(dec); n++ {
		i := n
		if object {
			if i, err = memberIndex(dec, c); err != nil {
				return exact, err
			}
		}
		if i >= len(c.elems) {
			return exact, fmt.Errorf("%w: %s has fewer elements", ErrFormat, c.typ)
		}
		same, err := next(dec, c.elems[i], f)
		if err != nil {
			return exact, err
		}
		exact = exact && same
	}
	if n < len(c.elems) {
		return exact, fmt.Errorf("%w: %s has more elements", ErrFormat, c.typ)
	}
	c.EndRow()
	return exact, nil
}

func memberIndex(dec *jsontext.Decoder, c *Tuple) (int, error) {
	name, err := memberName(dec)
	if err != nil {
		return 0, err
	}
	i, ok := c.Index(name)
	if !ok {
		return 0, fmt.Errorf("%w: %s has no element of that name", ErrFormat, c.typ)
	}
	return i, nil
}
