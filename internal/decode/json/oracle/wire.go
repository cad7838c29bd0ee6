package oracle

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// ReadBlock reads a block in ClickHouse's native format (revision 54451, no block info) back into the values
// of its columns, rows within columns. It panics where the bytes are no such block, and if any are left.
func ReadBlock(wire []byte) (names []string, columns [][]Value) {
	r := reader{rest: wire}
	count, rows := r.uvarint(), int(r.uvarint())
	for range count {
		names = append(names, r.text())
		t := ParseType(r.text())
		if rows > 0 {
			r.state(t)
		}
		columns = append(columns, r.rows(t, rows))
	}
	if len(r.rest) > 0 {
		panic(fmt.Sprintf("oracle: %d bytes after the block", len(r.rest)))
	}
	return names, columns
}

// reader takes bytes from the front of a text.
type reader struct{ rest []byte }

func (r *reader) bytes(n int) []byte {
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	r.bytes(n)
	return v
}

func (r *reader) text() string { return string(r.bytes(int(r.uvarint()))) }

func (r *reader) uint64() uint64 { return binary.LittleEndian.Uint64(r.bytes(8)) }

// state reads what a column writes before its rows: the version of each dictionary in it.
func (r *reader) state(t Type) {
	switch t.Name {
	case "LowCardinality":
		if v := r.uint64(); v != 1 {
			panic(fmt.Sprintf("oracle: keys of version %d", v))
		}
	case "Array", "Map", "Nullable":
		for _, arg := range t.Args {
			r.state(arg)
		}
	}
}

// rows reads n values of type t.
func (r *reader) rows(t Type, n int) []Value {
	switch t.Name {
	case "Nullable":
		nulls := r.bytes(n)
		return withNulls(r.rows(t.Args[0], n), func(i int) bool { return nulls[i] != 0 })
	case "LowCardinality":
		return r.dictionary(t.Args[0], n)
	case "Array":
		ends := r.ends(n)
		return group(KindList, ends, r.rows(t.Args[0], last(ends)))
	case "Map":
		ends := r.ends(n)
		keys := r.rows(t.Args[0], last(ends))
		return group(KindMap, ends, keys, r.rows(t.Args[1], last(ends)))
	}
	values := make([]Value, n)
	for i := range values {
		values[i] = Scalar(r.scalar(t))
	}
	return values
}

func withNulls(values []Value, isNull func(i int) bool) []Value {
	for i := range values {
		if isNull(i) {
			values[i] = Null()
		}
	}
	return values
}

// ends reads where n rows end in the columns below.
func (r *reader) ends(n int) []int {
	ends := make([]int, n)
	for i := range ends {
		ends[i] = int(r.uint64())
	}
	if !slices.IsSorted(ends) {
		panic("oracle: offsets do not ascend")
	}
	return ends
}

func last(ends []int) int {
	if len(ends) == 0 {
		return 0
	}
	return ends[len(ends)-1]
}

// group makes a row of what lies between two ends, taking one value of each column by turns.
func group(kind Kind, ends []int, columns ...[]Value) []Value {
	values, from := make([]Value, len(ends)), 0
	for i, end := range ends {
		values[i].Kind = kind
		for ; from < end; from++ {
			for _, c := range columns {
				values[i].Elems = append(values[i].Elems, c[from])
			}
		}
	}
	return values
}

// dictionary reads a LowCardinality of t; of no rows nothing is written.
func (r *reader) dictionary(t Type, n int) []Value {
	if n == 0 {
		return nil
	}
	flags := r.uint64()
	nullable := t.Name == "Nullable"
	if nullable {
		t = t.Args[0]
	}
	dict := r.rows(t, int(r.uint64()))
	if flags>>8 != 6 || r.uint64() != uint64(n) {
		panic("oracle: not a dictionary of its own with a key per row")
	}
	if nullable {
		dict[0] = Null()
	}
	values := make([]Value, n)
	for i := range values {
		values[i] = dict[littleEndian(r.bytes(1<<(flags&0xff))).Int64()]
	}
	return values
}

// scalar reads one value that is not made of others.
func (r *reader) scalar(t Type) string {
	switch t.Name {
	case "String":
		return r.text()
	case "FixedString":
		return string(r.bytes(int(t.number(0))))
	case "IPv6": // in network order
		return new(big.Int).SetBytes(r.bytes(16)).String()
	case "UUID": // two little-endian halves, the high one first
		high, low := littleEndian(r.bytes(8)), littleEndian(r.bytes(8))
		return high.Lsh(high, 64).Or(high, low).String()
	}
	width, signed := width(t)
	v := littleEndian(r.bytes(width))
	if signed && v.Bit(8*width-1) == 1 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(8*width)))
	}
	return v.String()
}

func littleEndian(b []byte) *big.Int {
	b = slices.Clone(b)
	slices.Reverse(b)
	return new(big.Int).SetBytes(b)
}

// width is how many bytes a number takes, and whether it has a sign.
func width(t Type) (bytes int, signed bool) {
	switch t.Name {
	case "Bool":
		return 1, false
	case "Date":
		return 2, false
	case "DateTime", "Float32", "IPv4":
		return 4, false
	case "Date32":
		return 4, true
	case "Float64":
		return 8, false
	case "DateTime64":
		return 8, true
	case "Enum8", "Enum16":
		bits, err := strconv.Atoi(strings.TrimPrefix(t.Name, "Enum"))
		if err != nil {
			panic("oracle: " + err.Error())
		}
		return bits / 8, true
	}
	if t.Name == "Decimal" {
		return decimalWidth(t.number(0)), true
	}
	if bits := integers[t.Name]; bits != 0 {
		return max(bits, -bits) / 8, bits < 0
	}
	panic("oracle: no width for type " + t.Name)
}

// decimalWidth is how many bytes hold so many digits.
func decimalWidth(precision int64) int {
	switch {
	case precision <= 9:
		return 4
	case precision <= 18:
		return 8
	case precision <= 38:
		return 16
	}
	return 32
}
