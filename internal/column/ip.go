package column

import (
	"bytes"
	"fmt"
	"net/netip"
	"unsafe"
)

// IPv4 is a column of IPv4 addresses, 32-bit integers on the wire.
type IPv4 struct{ fixed }

// Append adds one address; its first byte is the highest.
func (c *IPv4) Append(v [4]byte) { c.buf = append(c.buf, v[3], v[2], v[1], v[0]) }

// Row is the address of one row.
func (c *IPv4) Row(row int) [4]byte {
	w := c.wire(row)
	return [4]byte{w[3], w[2], w[1], w[0]}
}

// Fresh is an empty column of the same type.
func (c *IPv4) Fresh() Column { return &IPv4{c.fresh()} }

// IPv6 is a column of IPv6 addresses, 16 bytes in network order.
type IPv6 struct{ fixed }

// Append adds one address.
func (c *IPv6) Append(v [16]byte) { c.buf = append(c.buf, v[:]...) }

// Row is the address of one row.
func (c *IPv6) Row(row int) [16]byte { return [16]byte(c.wire(row)) }

// Fresh is an empty column of the same type.
func (c *IPv6) Fresh() Column { return &IPv6{c.fresh()} }

// ParseIPv4 reads a dotted quad: four decimal numbers from 0 to 255 without leading zeros, which some read as octal.
func ParseIPv4(s []byte) (v [4]byte, err error) {
	part, digits, n := 0, 0, 0
	for _, b := range s {
		switch d := b - '0'; {
		case b == '.' && digits > 0 && part < 3:
			v[part] = byte(n)
			part, digits, n = part+1, 0, 0
		case d > 9 || digits > 0 && n == 0 || 10*n+int(d) > 255:
			return v, errIPv4
		default:
			n, digits = 10*n+int(d), digits+1
		}
	}
	if part != 3 || digits == 0 {
		return v, errIPv4
	}
	v[3] = byte(n)
	return v, nil
}

// ParseIPv6 reads an IPv6 address in any of its text forms, without a zone. An IPv4 address is taken as its IPv4-mapped
// form, as ClickHouse does.
func ParseIPv6(s []byte) (v [16]byte, err error) {
	if len(s) == 0 || bytes.IndexByte(s, '%') >= 0 {
		return v, errIPv6
	}
	addr, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(s), len(s)))
	if err != nil {
		return v, errIPv6 // the cause would quote the value
	}
	return addr.As16(), nil
}

var (
	errIPv4 = fmt.Errorf("%w: an IPv4 address is written as four numbers from 0 to 255 with dots", ErrFormat)
	errIPv6 = fmt.Errorf("%w: not an IPv6 address", ErrFormat)
)
