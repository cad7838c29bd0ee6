package column

import "fmt"

// AppendText appends one value given as text: what a JSON string holds, unescaped, and the way a pipeline file writes a
// default. That is a number in JSON's grammar, true or false, any text for a String, the name of an enum, an address,
// a moment in the format f; JSON for Array, Map, Tuple, JSON, Variant and Dynamic; and "null" for NULL where the
// type has it (so a Nullable(String) cannot have the default text "null"). exact is false if digits were lost: of a
// moment, or of a number as AppendNumber says. On an error, which wraps ErrFormat, ErrRange or ErrFraction, nothing is
// appended.
func AppendText(c Column, text []byte, f TimeFormat) (exact bool, err error) {
	switch c := c.(type) {
	case *Nullable:
		if string(text) == "null" {
			c.AppendNull()
			return true, nil
		}
		if exact, err = AppendText(c.inner, text, f); err == nil {
			c.EndRow()
		}
		return exact, err
	case *LowCardinality:
		if c.nullable && string(text) == "null" {
			c.AppendNull()
		} else {
			c.Append(text)
		}
		return true, nil
	case *Array, *Map, *Tuple, *JSON, *Variant, *Dynamic:
		return AppendJSON(c, text, f)
	}
	switch {
	case isTime(c):
		return AppendTime(c, text, f)
	case kindsOf(c)&TakesNumber != 0:
		return AppendNumber(c, text)
	}
	return true, appendScalar(c, text)
}

// appendScalar appends what is neither a number nor a moment nor made of other values.
func appendScalar(c Column, text []byte) error {
	switch c := c.(type) {
	case *String:
		c.Append(text)
	case *FixedString:
		return c.Append(text)
	case *Bool:
		if s := string(text); s != "true" && s != "false" {
			return fmt.Errorf("%w: Bool is true or false", ErrFormat)
		}
		c.Append(text[0] == 't')
	case *UUID:
		v, err := ParseUUID(text)
		if err != nil {
			return err
		}
		c.Append(v)
	case *IPv4:
		v, err := ParseIPv4(text)
		if err != nil {
			return err
		}
		c.Append(v)
	case *IPv6:
		v, err := ParseIPv6(text)
		if err != nil {
			return err
		}
		c.Append(v)
	case *Enum:
		if !c.AppendName(text) {
			return fmt.Errorf("%w: %s has no such name", ErrRange, c.typ)
		}
	default:
		panic("column: a text appended to " + string(c.Type()))
	}
	return nil
}

// AppendNumber appends a number in JSON's grammar to a column of integers, Decimals or floats. exact is false if digits
// were lost: of a Decimal with more places than its scale, which is rounded half to even, and of an integer (written
// without fraction and exponent) that a float cannot hold. It never is for integer columns. Errors wrap ErrFormat, ErrRange
// or ErrFraction, and nothing is appended.
func AppendNumber(c Column, text []byte) (exact bool, err error) {
	switch c := c.(type) {
	case *Int8:
		return true, appendInt(c, text)
	case *Int16:
		return true, appendInt(c, text)
	case *Int32:
		return true, appendInt(c, text)
	case *Int64:
		return true, appendInt(c, text)
	case *UInt8:
		return true, appendUint(c, text)
	case *UInt16:
		return true, appendUint(c, text)
	case *UInt32:
		return true, appendUint(c, text)
	case *UInt64:
		return true, appendUint(c, text)
	case *WideInt:
		return true, c.appendNumber(text)
	case *Decimals:
		return c.appendNumber(text)
	case *BFloat16:
		return c.appendNumber(text)
	case *Float32:
		v, exact, err := ParseFloat(text, 32)
		if err == nil {
			c.Append(float32(v))
		}
		return exact, err
	case *Float64:
		v, exact, err := ParseFloat(text, 64)
		if err == nil {
			c.Append(v)
		}
		return exact, err
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
