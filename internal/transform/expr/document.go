package expr

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// MaxDepth is how many objects and arrays may lie in one another: as many as decoders take.
const MaxDepth = 128

// node is one value of a document, or one name of a member: names stand before their values. After a node comes what
// lies in it, and next is the first node behind that.
type node struct {
	start, end int32 // of the text, quotes and brackets included
	next       int32
	entries    int32 // elements or members of a container
	escaped    bool  // a string with escapes
}

// document is the text of a JSON object with the places of its values, so that expressions look at what they ask for
// and nothing else is made of it.
type document struct {
	text  []byte
	nodes []node
	// finds are the searches of large objects so far, and index what they made in the end: the members of objects by
	// name, -1 for a name that stands there twice.
	finds int
	index map[int32]map[string]int32
}

// parse reads a text, which must stay as it is while the document is in use. It reports false, as decoders do, for what
// is not one JSON object by RFC 8259: also for text that is not UTF-8, or nested too deeply.
func (d *document) parse(text []byte) bool {
	d.text, d.nodes, d.finds, d.index = text, d.nodes[:0], 0, nil
	i := d.blanks(0)
	if d.at(i) != '{' || len(text) > 1<<30 || !utf8.Valid(text) {
		return false
	}
	if i = d.value(i, 0); i < 0 {
		return false
	}
	return d.blanks(i) == len(text)
}

// at is the byte at i, zero at the end of the text: no zero byte is valid in JSON.
func (d *document) at(i int) byte {
	if i < len(d.text) {
		return d.text[i]
	}
	return 0
}

func (d *document) blanks(i int) int {
	for i < len(d.text) && d.text[i] <= ' ' && (d.text[i] == ' ' || d.text[i] == '\n' || d.text[i] == '\t' || d.text[i] == '\r') {
		i++
	}
	return i
}

// value reads the value at i, which lies in depth others, and returns where it ends; -1 if it is none.
func (d *document) value(i, depth int) int {
	switch d.at(i) {
	case '"':
		return d.str(i)
	case '{':
		return d.container(i, depth, '}')
	case '[':
		return d.container(i, depth, ']')
	case 't':
		return d.word(i, "true")
	case 'f':
		return d.word(i, "false")
	case 'n':
		return d.word(i, "null")
	}
	return d.number(i)
}

// leaf adds a node without any in it.
func (d *document) leaf(start, end int, escaped bool) int {
	if end >= 0 {
		d.nodes = append(d.nodes, node{int32(start), int32(end), int32(len(d.nodes) + 1), 0, escaped}) //nolint:gosec // parse bounds the text
	}
	return end
}

func (d *document) word(i int, word string) int {
	end := i + len(word)
	if end > len(d.text) || string(d.text[i:end]) != word {
		return -1
	}
	return d.leaf(i, end, false)
}

// container reads the object or array at i, which ends with closing.
func (d *document) container(start, depth int, closing byte) int {
	if depth == MaxDepth {
		return -1
	}
	at := d.leaf(start, start+1, false)
	self := len(d.nodes) - 1
	i := d.blanks(at)
	for d.at(i) != closing || d.nodes[self].entries > 0 {
		d.nodes[self].entries++
		if i = d.entry(i, depth+1, closing == '}'); i < 0 {
			return -1
		}
		if i = d.blanks(i); d.at(i) == closing {
			break
		}
		if d.at(i) != ',' {
			return -1
		}
		i = d.blanks(i + 1)
	}
	d.nodes[self].end, d.nodes[self].next = int32(i+1), int32(len(d.nodes)) //nolint:gosec // parse bounds the text
	return i + 1
}

// entry reads an element, or a member with its name.
func (d *document) entry(i, depth int, member bool) int {
	if !member {
		return d.value(i, depth)
	}
	if d.at(i) != '"' {
		return -1
	}
	if i = d.str(i); i < 0 {
		return -1
	}
	if i = d.blanks(i); d.at(i) != ':' {
		return -1
	}
	return d.value(d.blanks(i+1), depth)
}

// str reads the string at start.
func (d *document) str(start int) int {
	escaped := false
	for i := start + 1; ; i++ {
		i = d.plain(i)
		switch c := d.at(i); {
		case c == '"':
			return d.leaf(start, i+1, escaped)
		case c < ' ':
			return -1
		case c == '\\':
			escaped = true
			if i = d.escape(i); i < 0 {
				return -1
			}
		}
	}
}

// plain steps over bytes that stand for themselves within a string, eight at a time.
func (d *document) plain(i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(d.text); i += 8 {
		word := binary.LittleEndian.Uint64(d.text[i:])
		quote, backslash := word^ones*'"', word^ones*'\\'
		// A byte that is not plain has its high bit set here. So may plain ones have behind it, but not before it.
		if found := ((quote-ones)&^quote | (backslash-ones)&^backslash | (word-ones*' ')&^word) & high; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	return i
}

// escape steps over the escape at i, to its last byte.
func (d *document) escape(i int) int {
	switch d.at(i + 1) {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
	default:
		return -1
	}
	switch unit := d.hex(i); {
	case unit < 0, unit >= 0xdc00 && unit < 0xe000:
		return -1
	case unit < 0xd800 || unit >= 0xe000:
		return i + 5
	}
	if low := d.hex(i + 6); low < 0xdc00 || low >= 0xe000 { // a high surrogate needs its low one
		return -1
	}
	return i + 11
}

// hex is the number of the \uXXXX at i, -1 if there is none.
func (d *document) hex(i int) int {
	if d.at(i) != '\\' || d.at(i+1) != 'u' {
		return -1
	}
	unit := 0
	for k := i + 2; k < i+6; k++ {
		c := d.at(k)
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return -1
		}
		unit = unit<<4 | int(c)
	}
	return unit
}

// number reads the number at start.
func (d *document) number(start int) int {
	i := start
	if d.at(i) == '-' {
		i++
	}
	whole := i
	if i = d.digits(i); i < 0 || d.at(whole) == '0' && i > whole+1 {
		return -1
	}
	if d.at(i) == '.' {
		if i = d.digits(i + 1); i < 0 {
			return -1
		}
	}
	if d.at(i)|0x20 == 'e' {
		i++
		if c := d.at(i); c == '+' || c == '-' {
			i++
		}
		if i = d.digits(i); i < 0 {
			return -1
		}
	}
	return d.leaf(start, i, false)
}

// digits steps over at least one digit.
func (d *document) digits(start int) int {
	i := start
	for d.at(i)-'0' <= 9 {
		i++
	}
	if i == start {
		return -1
	}
	return i
}
