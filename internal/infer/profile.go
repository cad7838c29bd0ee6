// Package infer looks at a sample of a topic's records and says what is in them: which fields, how often, of which kinds, and which columns would
// take them. It has no I/O, and what it says depends on the records alone, not on their order.
package infer

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/waybill-data/waybill/internal/contract"
)

// Bounds of what is kept of a sample, whatever is in it.
const (
	maxDepth    = 32      // of objects and arrays in one another
	maxMembers  = 4096    // names of one object, over all records: beyond that its names are data
	maxNodes    = 100_000 // fields of all records
	maxDistinct = 4096    // different values that are told apart at one field
	maxExamples = 3
	maxExample  = 64 // bytes
)

// Form is what a record's value is, before any field.
type Form string

// Forms.
const (
	FormObject    Form = "a JSON object"
	FormArray     Form = "a JSON array"
	FormScalar    Form = "a JSON text or number"
	FormNone      Form = "no value (a tombstone)"
	FormRegistry  Form = "a schema registry's frame (Avro or Protobuf)"
	FormGzip      Form = "compressed with gzip"
	FormZstd      Form = "compressed with zstd"
	FormInvalid   Form = "a text that is not JSON"
	FormBinary    Form = "binary"
	FormBOM       Form = "JSON behind a byte order mark"
	FormTruncated Form = "the beginning of a JSON object"
)

// Record is one of the sample.
type Record struct {
	Key, Value []byte
	Time       time.Time // the record's timestamp; zero: it has none
}

// Profile is what is known of a sample.
type Profile struct {
	Records int64
	Forms   map[Form]int64
	Example map[Form]string // the beginning of one record of each form but objects
	Bytes   int64           // of all values
	Largest int64
	// First and Last are the earliest and the latest timestamps of the records.
	First, Last time.Time

	root  node
	nodes int
	seed  maphash.Seed
}

// New is the profile of no records.
func New() *Profile {
	return &Profile{Forms: map[Form]int64{}, Example: map[Form]string{}, seed: maphash.MakeSeed()}
}

// Objects is how many records are JSON objects.
func (p *Profile) Objects() int64 { return p.Forms[FormObject] }

// Add takes in a record. It keeps nothing of it but examples.
func (p *Profile) Add(r Record) {
	p.Records++
	p.Bytes += int64(len(r.Value))
	p.Largest = max(p.Largest, int64(len(r.Value)))
	if !r.Time.IsZero() {
		if p.First.IsZero() || r.Time.Before(p.First) {
			p.First = r.Time
		}
		if r.Time.After(p.Last) {
			p.Last = r.Time
		}
	}
	form := formOf(r.Value)
	p.Forms[form]++
	if form != FormObject {
		if _, there := p.Example[form]; !there && len(r.Value) > 0 {
			p.Example[form] = excerpt(r.Value)
		}
		return
	}
	p.object(&p.root, bytes.TrimSpace(r.Value), r.Time, 0)
}

// formOf looks at a value as a whole.
func formOf(v []byte) Form {
	if v == nil {
		return FormNone
	}
	text := bytes.TrimLeft(v, " \t\r\n")
	switch {
	case len(text) == 0:
		return FormInvalid
	case bytes.HasPrefix(v, []byte{0x1f, 0x8b}):
		return FormGzip
	case bytes.HasPrefix(v, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return FormZstd
	case v[0] == 0 && len(v) > 5 && binary.BigEndian.Uint32(v[1:]) < 1<<24:
		return FormRegistry
	case bytes.HasPrefix(v, []byte("\xef\xbb\xbf")):
		return FormBOM
	}
	if !utf8.Valid(v) || bytes.IndexFunc(v, func(r rune) bool { return r < ' ' && r != '\t' && r != '\r' && r != '\n' }) >= 0 {
		return FormBinary
	}
	if json.Valid(text) {
		switch text[0] {
		case '{':
			return FormObject
		case '[':
			return FormArray
		}
		return FormScalar
	}
	if text[0] == '{' && !bytes.HasSuffix(bytes.TrimSpace(text), []byte("}")) {
		return FormTruncated
	}
	return FormInvalid
}

func excerpt(v []byte) string {
	cut := v[:min(len(v), maxExample)]
	if utf8.Valid(cut) {
		return string(cut)
	}
	return strconv.QuoteToASCII(string(cut))
}

// node is a field of the sample, or the elements of an array.
type node struct {
	seen    int64 // values, null too
	kinds   contract.Kinds
	numbers contract.Observed // for their types, each kind by itself
	strings contract.Observed
	texts   texts
	span    span

	members map[string]*node
	names   []string // of members, in the order in which they came
	crowded bool     // more members than are kept
	objects int64    // that were looked into
	filled  int64    // members of all of them

	elems   *node
	longest int  // array
	depth   bool // something below is too deep

	distinct map[uint64]struct{} // hashes of scalars; nil once there are too many
	many     bool
	examples []string
	bytes    int64 // of strings
	longestS int   // string, in bytes
}

// texts is what all strings of a field have in common.
type texts struct {
	count   int64
	layouts uint32 // bit i: all strings are of layouts[i]
	numeric int64  // strings that hold an integer
	ipv4    int64
	hex     int64 // 16 and more hexadecimal digits
}

// span is what is known of the numbers of a field.
type span struct {
	count    int64
	min, max float64
	fraction int64 // numbers with a fraction
	// near counts by unit the numbers that, as a time since 1970 in it, are within a day of the record's timestamp; plausible those that are
	// between 2001 and 2100.
	near, plausible [4]int64
	timed           int64 // numbers of records that have a timestamp
}

// Units of epochs.
var units = [4]struct {
	format string
	per    float64 // in a second
}{{"unix", 1}, {"unix_ms", 1e3}, {"unix_us", 1e6}, {"unix_ns", 1e9}}

func (p *Profile) object(n *node, text []byte, at time.Time, depth int) {
	n.objects++
	for named, value := range contract.Members(text) {
		name := named.Text
		n.filled++
		m := n.members[name]
		if m == nil {
			if !named.OK || len(n.members) >= maxMembers || p.nodes >= maxNodes {
				n.crowded = true
				continue
			}
			if n.members == nil {
				n.members = map[string]*node{}
			}
			p.nodes++
			m = &node{}
			n.members[name] = m
			n.names = append(n.names, name)
		}
		p.value(m, value, at, depth+1)
	}
}

func (p *Profile) value(n *node, text []byte, at time.Time, depth int) {
	n.seen++
	n.kinds.Count(text)
	if len(n.examples) < maxExamples && text[0] != 'n' {
		if ex := excerpt(text); !slices.Contains(n.examples, ex) {
			n.examples = append(n.examples, ex)
		}
	}
	if depth >= maxDepth && (text[0] == '{' || text[0] == '[') {
		n.depth = true
		return
	}
	switch text[0] {
	case '{':
		p.object(n, text, at, depth)
	case '[':
		if n.elems == nil {
			n.elems = &node{}
			p.nodes++
		}
		length := 0
		for _, value := range contract.Members(text) {
			p.value(n.elems, value, at, depth+1)
			length++
		}
		n.longest = max(n.longest, length)
	case 'n':
	case '"':
		n.strings.Add(text)
		n.addString(text)
		n.differ(p.seed, text)
	case 't', 'f':
		n.differ(p.seed, text)
	default:
		n.numbers.Add(text)
		n.addNumber(text, at)
		n.differ(p.seed, text)
	}
}

// differ counts different values.
func (n *node) differ(seed maphash.Seed, text []byte) {
	if n.many {
		return
	}
	if n.distinct == nil {
		n.distinct = map[uint64]struct{}{}
	}
	n.distinct[maphash.Bytes(seed, text)] = struct{}{}
	if len(n.distinct) > maxDistinct {
		n.distinct, n.many = nil, true
	}
}

func (n *node) addNumber(text []byte, at time.Time) {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return // beyond Float64: what type takes it follows from its digits
	}
	s := &n.span
	if s.count++; s.count == 1 {
		s.min, s.max = f, f
	}
	s.min, s.max = min(s.min, f), max(s.max, f)
	if f != math.Trunc(f) {
		s.fraction++
	}
	s.moment(f, at)
}

func (s *span) moment(f float64, at time.Time) {
	if !at.IsZero() {
		s.timed++
	}
	for i, u := range units {
		sec := f / u.per
		if sec < 978_307_200 || sec >= 4_102_444_800 { // 2001 to 2100
			continue
		}
		s.plausible[i]++
		if !at.IsZero() && math.Abs(sec-float64(at.UnixMilli())/1e3) <= 86_400 {
			s.near[i]++
		}
	}
}

func (n *node) addString(text []byte) {
	var s string
	if json.Unmarshal(text, &s) != nil {
		return
	}
	n.bytes += int64(len(s))
	n.longestS = max(n.longestS, len(s))
	t := &n.texts
	if t.count++; t.count == 1 {
		t.layouts = 1<<len(layouts) - 1
	}
	for i := range layouts {
		if t.layouts&(1<<i) != 0 && !layouts[i].fits(s) {
			t.layouts &^= 1 << i
		}
	}
	if _, err := strconv.ParseInt(s, 10, 64); err == nil && (s == "0" || s[0] != '0' && s[0] != '+') {
		t.numeric++
	}
	if isIPv4(s) {
		t.ipv4++
	}
	if isHex(s) {
		t.hex++
	}
}
