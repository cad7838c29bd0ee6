package column

import (
	"math"
	"net/netip"
	"slices"
	"sort"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// The AppendValue methods read a row back, for people and for tests that compare rows: a value is one line of JSON text. It is
// what ClickHouse's JSONEachRow shows without quotes around integers, with these differences: moments are RFC 3339 in UTC, with as
// many decimal places as the type has; floats have no exponent from 1e-6 up to 1e21; bytes that are no UTF-8 become U+FFFD; and a
// JSON column's value is the text that was appended, without blanks: the server, once it has parsed it, leaves out null and sorts.

// AppendValue appends the number of one row.
func (c *Integers[T]) AppendValue(dst []byte, row int) []byte {
	v := c.Row(row)
	if ^T(0) > 0 { // unsigned
		return strconv.AppendUint(dst, uint64(v), 10)
	}
	return strconv.AppendInt(dst, int64(v), 10)
}

// AppendValue appends the number of one row.
func (c *WideInt) AppendValue(dst []byte, row int) []byte {
	return appendScaled(dst, c.Row(row), 0, c.signed)
}

// AppendValue appends the number of one row, without zeros at its end.
func (c *Decimals) AppendValue(dst []byte, row int) []byte {
	return appendScaled(dst, c.Row(row), c.scale, true)
}

// appendScaled appends v / 10^scale. v is in two's complement if signed.
func appendScaled(dst []byte, v limbs, scale int, signed bool) []byte {
	if signed && v[3]>>63 != 0 {
		dst = append(dst, '-')
		v.negate()
	}
	var digits []byte // the last one first
	for v != (limbs{}) || len(digits) <= scale {
		digits = append(digits, '0'+byte(v.div10()))
	}
	zeros := 0
	for zeros < scale && digits[zeros] == '0' {
		zeros++
	}
	for i := len(digits) - 1; i >= zeros; i-- {
		dst = append(dst, digits[i])
		if i == scale && i > zeros {
			dst = append(dst, '.')
		}
	}
	return dst
}

// AppendValue appends the number of one row; null if it is not finite.
func (c *Float32) AppendValue(dst []byte, row int) []byte {
	return appendFloat(dst, float64(c.Row(row)), 32)
}

// AppendValue appends the number of one row; null if it is not finite.
func (c *Float64) AppendValue(dst []byte, row int) []byte { return appendFloat(dst, c.Row(row), 64) }

// AppendValue appends the number of one row; null if it is not finite.
func (c *BFloat16) AppendValue(dst []byte, row int) []byte {
	return appendFloat(dst, float64(c.Row(row)), 32)
}

// appendFloat appends the shortest text that stands for v among the floats of as many bits.
func appendFloat(dst []byte, v float64, bits int) []byte {
	switch size := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return append(dst, "null"...)
	case size == 0 || size >= 1e-6 && size < 1e21:
		return strconv.AppendFloat(dst, v, 'f', -1, bits)
	}
	return strconv.AppendFloat(dst, v, 'e', -1, bits)
}

// AppendValue appends true or false.
func (c *Bool) AppendValue(dst []byte, row int) []byte { return strconv.AppendBool(dst, c.Row(row)) }

// AppendValue appends the UUID of one row in its canonical form.
func (c *UUID) AppendValue(dst []byte, row int) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	for i, b := range c.Row(row) {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, hexDigits[b>>4], hexDigits[b&15])
	}
	return append(dst, '"')
}

// AppendValue appends the address of one row.
func (c *IPv4) AppendValue(dst []byte, row int) []byte {
	return append(netip.AddrFrom4(c.Row(row)).AppendTo(append(dst, '"')), '"')
}

// AppendValue appends the address of one row.
func (c *IPv6) AppendValue(dst []byte, row int) []byte {
	return append(netip.AddrFrom16(c.Row(row)).AppendTo(append(dst, '"')), '"')
}

// AppendValue appends the name of one row.
func (c *Enum) AppendValue(dst []byte, row int) []byte {
	v := c.Row(row)
	i := sort.Search(len(c.names), func(i int) bool { return c.names[i].Value >= v })
	return appendQuoted(dst, c.names[i].Name)
}

// AppendValue appends the string of one row.
func (c *String) AppendValue(dst []byte, row int) []byte { return appendQuoted(dst, c.Row(row)) }

// AppendValue appends the string of one row with the zero bytes that pad it.
func (c *FixedString) AppendValue(dst []byte, row int) []byte { return appendQuoted(dst, c.Row(row)) }

// AppendValue appends the string of one row, or null.
func (c *LowCardinality) AppendValue(dst []byte, row int) []byte {
	if c.IsNull(row) {
		return append(dst, "null"...)
	}
	return appendQuoted(dst, c.Row(row))
}

// appendQuoted appends text as a JSON string.
func appendQuoted[T []byte | string](dst []byte, text T) []byte {
	dst, _ = jsontext.AppendQuote(dst, text) // the error says that U+FFFD stands for bytes that are no UTF-8
	return dst
}

// AppendValue appends the value of one row, or null.
func (c *Nullable) AppendValue(dst []byte, row int) []byte {
	if c.IsNull(row) {
		return append(dst, "null"...)
	}
	return c.inner.AppendValue(dst, row)
}

// AppendValue appends an array of the elements of one row.
func (c *Array) AppendValue(dst []byte, row int) []byte {
	first, next := c.Span(row)
	dst = append(dst, '[')
	for i := first; i < next; i++ {
		if i > first {
			dst = append(dst, ',')
		}
		dst = c.elem.AppendValue(dst, i)
	}
	return append(dst, ']')
}

// AppendValue appends an object of the pairs of one row, in their order.
func (c *Map) AppendValue(dst []byte, row int) []byte {
	first, next := c.Span(row)
	dst = append(dst, '{')
	for i := first; i < next; i++ {
		if i > first {
			dst = append(dst, ',')
		}
		dst = appendName(dst, c.keys, i)
		dst = c.values.AppendValue(append(dst, ':'), i)
	}
	return append(dst, '}')
}

// appendName appends a value as a member's name, which is a string.
func appendName(dst []byte, keys Column, row int) []byte {
	start := len(dst)
	if dst = keys.AppendValue(dst, row); dst[start] == '"' {
		return dst
	}
	return append(slices.Insert(dst, start, '"'), '"')
}

// AppendValue appends an object of the elements of one row if they have names, else an array.
func (c *Tuple) AppendValue(dst []byte, row int) []byte {
	opening, closing := byte('['), byte(']')
	if c.names != nil {
		opening, closing = '{', '}'
	}
	dst = append(dst, opening)
	for i, e := range c.elems {
		if i > 0 {
			dst = append(dst, ',')
		}
		if c.names != nil {
			dst = append(appendQuoted(dst, c.names[i]), ':')
		}
		dst = e.AppendValue(dst, row)
	}
	return append(dst, closing)
}

// AppendValue appends the value of one row, or null.
func (c *Variant) AppendValue(dst []byte, row int) []byte {
	member := c.which[row]
	if member == nullMember {
		return append(dst, "null"...)
	}
	return c.members[member].AppendValue(dst, int(c.starts[row]))
}

// AppendValue appends the text of one row without blanks.
func (c *JSON) AppendValue(dst []byte, row int) []byte {
	text := jsontext.Value(slices.Clone(c.Row(row)))
	if err := text.Compact(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
		panic("column: a JSON column holds what is no JSON: " + err.Error()) // AppendJSON takes only what is
	}
	return append(dst, text...)
}
