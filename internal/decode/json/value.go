package json

import (
	"bytes"
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

// opKind says how a value is scanned into a column.
type opKind uint8

const (
	opOther opKind = iota // find its end, then write it as the judge does
	opRaw                 // the text itself, see field.asJSON
	opString
	opLowCardinality
	opInteger
	opFloat
	opNumber // a number of any other type
	opBool
	opUUID
	opTime // written as RFC 3339
	opUnix // written as a number
	opArray
	opMap
)

// op is how values are scanned into a column of one block.
type op struct {
	kind    opKind
	format  column.TimeFormat
	col     column.Column
	null    *column.Nullable // around col, if it is Nullable
	text    column.Texter    // col, of opRaw, opString
	str     *column.String   // likewise
	low     *column.LowCardinality
	integer column.Word // col, of opInteger
	float   *column.Float64
	float32 *column.Float32
	bools   *column.Bool
	uuid    *column.UUID
	time    *column.DateTime64
	// ticks of the column in a unit of opUnix, and the most units whose ticks fit an int64.
	ticks, limit int64
	array        *column.Array
	pairs        *column.Map
	key, elem    *op // of opMap; elem also of opArray
}

// bindOp is the op for a column.
func bindOp(c column.Column, format column.TimeFormat) op {
	o := op{format: format, col: c}
	if n, ok := c.(*column.Nullable); ok {
		o.null, o.col = n, n.Inner()
	}
	switch c := o.col.(type) {
	case *column.String:
		o.kind, o.str, o.text = opString, c, c
	case *column.LowCardinality:
		o.kind, o.low, o.text = opLowCardinality, c, c
	case column.Word:
		o.kind, o.integer = opInteger, c
	case *column.Float64:
		o.kind, o.float = opFloat, c
	case *column.Float32:
		o.kind, o.float32 = opFloat, c
	case *column.BFloat16, *column.Decimals, *column.WideInt:
		o.kind = opNumber
	case *column.Bool:
		o.kind, o.bools = opBool, c
	case *column.UUID:
		o.kind, o.uuid = opUUID, c
	case *column.DateTime64:
		o.time = c
		decimals, unix := format.Unix()
		switch {
		case format == column.RFC3339:
			o.kind = opTime
		case unix && c.Precision() >= decimals:
			o.kind, o.ticks = opUnix, int64(math.Pow10(c.Precision()-decimals))
			o.limit = math.MaxInt64 / o.ticks
		}
	case *column.Array:
		elem := bindOp(c.Elem(), format)
		o.kind, o.array, o.elem = opArray, c, &elem
	case *column.Map:
		key, elem := bindOp(c.Keys(), format), bindOp(c.Values(), format)
		o.kind, o.pairs, o.key, o.elem = opMap, c, &key, &elem
	}
	return o
}

// take scans the value at i into f's column, by its policies. The values that events are mostly made of have
// a short way here.
func (d *Decoder) take(t input, f *field, i, depth int) int {
	switch f.short {
	case opString:
		if t.at(i) != '"' {
			break
		}
		if end := plainEnd(t, i+1); end >= 0 && t.at(end) == '"' {
			f.op.str.Append(t.from(i+1, end))
			f.mark = d.record
			return end + 1
		}
	case opLowCardinality:
		if t.at(i) != '"' {
			break
		}
		if end := plainEnd(t, i+1); end >= 0 && t.at(end) == '"' {
			f.op.low.Append(t.from(i+1, end))
			f.mark = d.record
			return end + 1
		}
	case opInteger:
		if t.at(i)-'0' > 9 {
			break
		}
		if next := d.scanInteger(t, &f.op, i); next >= 0 {
			f.mark = d.record
			return next
		}
	}
	if t.at(i) == 'n' {
		return d.takeNull(t, f, i)
	}
	return d.takeAny(t, f, i, depth)
}

// takeAny is take for every kind of value but null.
func (d *Decoder) takeAny(t input, f *field, i, depth int) int {
	o, before := &f.op, d.rounded
	if f.each {
		o = f.op.elem
	}
	next := d.scan(t, o, i, depth)
	if next >= 0 && f.length > 0 && !f.each && !f.hasLength() {
		next = -1
	}
	if next < 0 {
		d.rounded = before // what was rounded is not in the row
		return d.unfit(t, f, i, depth)
	}
	for range d.rounded - before {
		d.pending = append(d.pending, &f.rounded)
	}
	if !f.each {
		f.mark = d.record
	}
	return next
}

// takeNull applies on_null.
func (d *Decoder) takeNull(t input, f *field, i int) int {
	next := literal(t, i, "null")
	if next < 0 || !d.null(f, span{i, next}) {
		return -1
	}
	return next
}

// nullElement is an element whose value is null: NULL if the element's type has it.
func (d *Decoder) nullElement(f *field) {
	elem := f.list.Elem()
	if n, ok := elem.(column.Nuller); ok && canNull(elem) {
		n.AppendNull()
		return
	}
	d.emptyElement(f, &f.filled.Null)
}

// unfit treats the value at i as the judge does: it may have been written half, or be broken text.
func (d *Decoder) unfit(t input, f *field, i, depth int) int {
	next := skip(t, i, depth)
	if next < 0 || f.each || f.onInvalid == contract.DeadLetter {
		return -1
	}
	f.col.Truncate(d.row)
	if !d.put(f, f.node, i, next) {
		return -1
	}
	return next
}

// substitute writes what the policy says instead of the event's value; false if that is nothing.
func (d *Decoder) substitute(f *field, p contract.Policy, count *int64) bool {
	switch p {
	case contract.Null, contract.TableDefault:
		appendNull(f.col)
	case contract.Default:
		f.col.AppendFrom(f.fallback, 0)
	default:
		return false
	}
	f.mark = d.record
	d.substituted++
	if count != nil {
		d.pending = append(d.pending, count)
	}
	return true
}

// scan appends the value at i to o's column. If it cannot, the column may be left half-written.
func (d *Decoder) scan(t input, o *op, i, depth int) int {
	if t.at(i) == 'n' {
		return d.scanNull(t, o, i)
	}
	var next int
	switch o.kind {
	case opString:
		next = d.scanText(t, o.text, i)
	case opLowCardinality:
		if next = d.scanText(t, o.text, i); o.null == nil {
			return next
		}
	case opInteger:
		next = d.scanInteger(t, o, i)
	case opFloat:
		next = d.scanFloat(t, o, i)
	case opNumber:
		next = d.scanLong(t, o, i)
	case opBool:
		next = scanBool(t, o.bools, i)
	case opUUID:
		next = d.scanUUID(t, o, i, depth)
	case opTime:
		next = d.scanTime(t, o, i)
	case opUnix:
		next = d.scanUnix(t, o, i, depth)
	case opArray:
		next = d.scanArray(t, o, i, depth+1)
	case opMap:
		next = d.scanMap(t, o, i, depth+1)
	case opRaw:
		if next = skip(t, i, depth); next >= 0 {
			o.text.Append(t.from(i, next))
		}
	default:
		next = d.scanOther(t, o, i, depth)
	}
	if o.null != nil && next >= 0 {
		o.null.EndRow()
	}
	return next
}

// scanNull appends NULL where the type has it.
func (d *Decoder) scanNull(t input, o *op, i int) int {
	next := literal(t, i, "null")
	switch {
	case next < 0:
	case o.null != nil:
		o.null.AppendNull()
	case o.low != nil && o.low.CanNull():
		o.low.AppendNull()
	default:
		return d.scanOther(t, o, i, 0)
	}
	return next
}

func (d *Decoder) scanText(t input, c column.Texter, i int) int {
	s, next := d.str(t, i)
	if next >= 0 {
		c.Append(s)
	}
	return next
}

func scanBool(t input, c *column.Bool, i int) int {
	next := literal(t, i, "true")
	if next < 0 {
		next = literal(t, i, "false")
	}
	if next >= 0 {
		c.Append(t.at(i) == 't')
	}
	return next
}

// uuidText is the length of a UUID in quotes.
const uuidText = 38

func (d *Decoder) scanUUID(t input, o *op, i, depth int) int {
	if t.at(i) != '"' || t.at(i+uuidText-1) != '"' {
		return d.scanOther(t, o, i, depth)
	}
	v, ok := column.UUIDOf(t.from(i+1, i+uuidText-1))
	if !ok {
		return d.scanOther(t, o, i, depth)
	}
	o.uuid.Append(v)
	return i + uuidText
}

func (d *Decoder) scanTime(t input, o *op, i int) int {
	s, next := d.str(t, i)
	if next < 0 {
		return -1
	}
	ticks, exact, ok := d.moments.Ticks(s, o.time.Precision())
	if !ok {
		var err error
		if ticks, exact, err = column.ParseTime(s, column.RFC3339, o.time.Precision()); err != nil {
			return -1
		}
	}
	if !exact {
		d.rounded++
	}
	o.time.Append(ticks)
	return next
}

func (d *Decoder) scanArray(t input, o *op, i, depth int) int {
	if t.at(i) != '[' || depth > MaxDepth {
		return -1
	}
	for index := 0; ; index++ {
		if i = nextElement(t, i, index); i < 0 {
			return -1
		}
		if t.at(i) == ']' {
			o.array.EndRow()
			return i + 1
		}
		if i = d.element(t, o.elem, i, depth); i < 0 {
			return -1
		}
	}
}

func (d *Decoder) scanMap(t input, o *op, i, depth int) int {
	if t.at(i) != '{' || depth > MaxDepth {
		return -1
	}
	base := len(d.keys)
	if i = blanks(t, i+1); t.at(i) == '}' {
		o.pairs.EndRow()
		return i + 1
	}
	for t.at(i) == '"' {
		start := i
		if i = d.key(t, o.key, i); i < 0 {
			break
		}
		d.keys = append(d.keys, span{start, i})
		if i = colon(t, i); i < 0 {
			break
		}
		if i = d.element(t, o.elem, i, depth); i < 0 {
			break
		}
		if i = blanks(t, i); t.at(i) == '}' {
			return d.endMap(t, o, i, base)
		}
		if t.at(i) != ',' {
			break
		}
		i = blanks(t, i+1)
	}
	d.keys = d.keys[:base]
	return -1
}

// endMap finishes a map's row at its closing bracket, unless a key came twice.
func (d *Decoder) endMap(t input, o *op, i, base int) int {
	distinct := d.distinct(t, d.keys[base:])
	d.keys = d.keys[:base]
	if !distinct {
		return -1
	}
	o.pairs.EndRow()
	return i + 1
}

// key scans a map's key: a string that holds what the keys are.
func (d *Decoder) key(t input, o *op, i int) int {
	if o.text != nil {
		return d.element(t, o, i, 0)
	}
	s, next := d.str(t, i)
	if next < 0 {
		return -1
	}
	exact, err := column.AppendText(o.col, s, o.format)
	if err != nil {
		return -1
	}
	if !exact {
		d.rounded++
	}
	return next
}

// element scans one of many values, which are mostly strings without escapes.
func (d *Decoder) element(t input, o *op, i, depth int) int {
	if t.at(i) == '"' && o.null == nil && (o.kind == opString || o.kind == opLowCardinality) {
		if end := plainEnd(t, i+1); end >= 0 && t.at(end) == '"' {
			if o.kind == opString {
				o.str.Append(t.from(i+1, end))
			} else {
				o.low.Append(t.from(i+1, end))
			}
			return end + 1
		}
	}
	return d.scan(t, o, i, depth)
}

// few keys are compared pair by pair.
const few = 12

// distinct reports whether the keys, quoted spans of the text, certainly differ: keys with escapes may not
// although their spellings do.
func (d *Decoder) distinct(t input, keys []span) bool {
	for i, k := range keys {
		key := t.from(k.start, k.end)
		if len(keys) > 1 && bytes.IndexByte(key, '\\') >= 0 {
			return false
		}
		if len(keys) > few {
			continue
		}
		for _, o := range keys[:i] {
			if o.end-o.start == len(key) && string(t.from(o.start, o.end)) == string(key) {
				return false
			}
		}
	}
	return len(keys) <= few || d.distinctHashes(t, keys)
}

func (d *Decoder) distinctHashes(t input, keys []span) bool {
	d.hashes.begin(len(keys))
	for _, k := range keys {
		if h := xxhash.Sum64(t.from(k.start, k.end)); h == 0 || !d.hashes.add(h) {
			return false
		}
	}
	return true
}

// scanOther finds the value's end, which makes it valid text, and writes it as the judge does.
func (d *Decoder) scanOther(t input, o *op, i, depth int) int {
	next := skip(t, i, depth)
	if next < 0 {
		return -1
	}
	if fail := d.write(o.col, o.format, i, next); fail.code != "" {
		return -1
	}
	return next
}
