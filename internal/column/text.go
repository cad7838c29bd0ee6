package column

import (
	"fmt"
	"math"
)

// AppendText appends one value given as text, the way a pipeline file writes a default: a number in
// JSON's grammar, true or false, any text for a String, the name of an enum, a moment in the format f,
// [] for an empty Array, {} for an empty Map, and "null" for NULL where the type has it (so a Nullable(String)
// cannot have the default text "null"). exact is false if a moment lost digits. On an error, which
// wraps ErrFormat, ErrRange or ErrFraction, nothing is appended.
func AppendText(c Column, text []byte, f TimeFormat) (exact bool, err error) {
	exact = true
	switch c := c.(type) {
	case *Nullable:
		return appendNullableText(c, text, f)
	case *LowCardinality:
		if c.nullable && string(text) == "null" {
			c.AppendNull()
		} else {
			c.Append(text)
		}
	case *String:
		c.Append(text)
	case *Bool:
		if s := string(text); s != "true" && s != "false" {
			return exact, fmt.Errorf("%w: Bool is true or false", ErrFormat)
		}
		c.Append(text[0] == 't')
	case *UUID:
		v, err := ParseUUID(text)
		if err != nil {
			return exact, err
		}
		c.Append(v)
	case *Enum:
		if !c.AppendName(text) {
			return exact, fmt.Errorf("%w: %s has no such name", ErrRange, c.typ)
		}
	case *DateTime, *DateTime64:
		return AppendTime(c, text, f)
	case *Array:
		if string(text) != "[]" {
			return exact, fmt.Errorf("%w: only the empty array [] is supported here", ErrFormat)
		}
		c.EndRow()
	case *Map:
		if string(text) != "{}" {
			return exact, fmt.Errorf("%w: only the empty map {} is supported here", ErrFormat)
		}
		c.EndRow()
	default:
		return exact, AppendNumber(c, text)
	}
	return exact, nil
}

func appendNullableText(c *Nullable, text []byte, f TimeFormat) (exact bool, err error) {
	if string(text) == "null" {
		c.AppendNull()
		return true, nil
	}
	exact, err = AppendText(c.inner, text, f)
	if err == nil {
		c.EndRow()
	}
	return exact, err
}

// AppendTime appends a moment to a DateTime or DateTime64 column; see ParseTime.
func AppendTime(c Column, text []byte, f TimeFormat) (exact bool, err error) {
	if c, ok := c.(*DateTime64); ok {
		ticks, exact, err := ParseTime(text, f, c.precision)
		if err == nil {
			c.Append(ticks)
		}
		return exact, err
	}
	seconds, exact, err := ParseTime(text, f, 0)
	if err == nil && (seconds < 0 || seconds > math.MaxUint32) {
		err = fmt.Errorf("%w: DateTime does not reach that far", ErrRange)
	}
	if err == nil {
		c.(*DateTime).Append(uint32(seconds))
	}
	return exact, err
}

// AppendNumber appends a number in JSON's grammar to an integer or float column. It is exact for integers.
func AppendNumber(c Column, text []byte) error {
	switch c := c.(type) {
	case *Int8:
		return appendInt(c, text)
	case *Int16:
		return appendInt(c, text)
	case *Int32:
		return appendInt(c, text)
	case *Int64:
		return appendInt(c, text)
	case *UInt8:
		return appendUint(c, text)
	case *UInt16:
		return appendUint(c, text)
	case *UInt32:
		return appendUint(c, text)
	case *UInt64:
		return appendUint(c, text)
	case *Float32:
		v, err := ParseFloat(text, 32)
		if err == nil {
			c.Append(float32(v))
		}
		return err
	case *Float64:
		v, err := ParseFloat(text, 64)
		if err == nil {
			c.Append(v)
		}
		return err
	}
	panic("column: a number appended to " + string(c.Type()))
}

func appendInt[T Integer](c *Integers[T], text []byte) error {
	v, err := ParseInt(text, 8<<c.shift)
	if err == nil {
		c.Append(T(v))
	}
	return err
}

func appendUint[T Integer](c *Integers[T], text []byte) error {
	v, err := ParseUint(text, 8<<c.shift)
	if err == nil {
		c.Append(T(v))
	}
	return err
}
