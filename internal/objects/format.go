package objects

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/klauspost/compress/zstd"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

// Object is one object.
type Object struct {
	Name
	Body []byte
	// Records are the offsets of its records.
	Records waybill.OffsetSet
}

// coders are made once: each has tables of its own. Without a stream they have no state, and any number of goroutines may use them.
var coders = sync.OnceValues(func() (*zstd.Encoder, *zstd.Decoder) {
	enc, eerr := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithEncoderCRC(true))
	dec, derr := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2))
	if err := errors.Join(eerr, derr); err != nil {
		panic(err) // the options are constants
	}
	return enc, dec
})

func compress(text []byte) []byte {
	enc, _ := coders()
	return enc.EncodeAll(text, nil)
}

func decompress(body []byte) ([]byte, error) {
	_, dec := coders()
	return dec.DecodeAll(body, nil)
}

// view is a raw plan's block, by what its columns are.
type view struct {
	archived          *column.DateTime
	timestamp         *column.Int64
	appended          *column.Bool
	leader            *column.Int32
	key, value        *column.Nullable
	headerKeys        *column.Array
	headerValues      *column.Array
	version, kept     *column.LowCardinality
	partition, offset func(row int) int64
	topic             *column.LowCardinality
}

// viewOf finds the columns of a block that has the time of its batch (raw.Stamp), made under the plan of a table as Waybill promises it.
func viewOf(p *contract.Plan, b *column.Block) *view {
	v := &view{}
	for i, c := range p.Columns() {
		switch of := b.Columns[i]; c.Source {
		case contract.SourceBatchTime:
			v.archived = of.(*column.DateTime)
		case contract.SourceTimestamp:
			v.timestamp = of.(*column.Int64)
		case contract.SourceAppended:
			v.appended = of.(*column.Bool)
		case contract.SourceLeaderEpoch:
			v.leader = of.(*column.Int32)
		case contract.SourceKey:
			v.key = of.(*column.Nullable)
		case contract.SourceValue:
			v.value = of.(*column.Nullable)
		case contract.SourceHeaderKeys:
			v.headerKeys = of.(*column.Array)
		case contract.SourceHeaderValues:
			v.headerValues = of.(*column.Array)
		case contract.SourceVersion:
			v.version = of.(*column.LowCardinality)
		case contract.SourceKept:
			v.kept = of.(*column.LowCardinality)
		case contract.SourceTopic:
			v.topic = of.(*column.LowCardinality)
		case contract.SourcePartition:
			v.partition = func(row int) int64 { return int64(of.(*column.UInt32).Row(row)) }
		case contract.SourceOffset:
			v.offset = func(row int) int64 { return int64(of.(*column.UInt64).Row(row)) } //nolint:gosec // Kafka's, never above
		}
	}
	return v
}

// bucket is where a row goes: into one object of its batch.
type bucket struct {
	partition int32
	group     int64
}

// Encode makes the objects of a batch's rows: for each partition and folder one. What it makes follows from the batch and the rows alone. The
// block has the time of its batch, see raw.Stamp.
func Encode(p *contract.Plan, block *column.Block, batch *waybill.Batch) ([]Object, error) {
	v := viewOf(p, block)
	rows := map[bucket][]int{}
	var order []bucket
	for row := range block.Rows() {
		k := bucket{int32(v.partition(row)), v.offset(row) / GroupOffsets} //nolint:gosec // Kafka's, which are of 32 bits
		if rows[k] == nil {
			order = append(order, k)
		}
		rows[k] = append(rows[k], row)
	}
	var out []Object
	var text []byte
	for _, k := range order {
		of := rows[k]
		slices.SortFunc(of, func(a, b int) int { return int(v.offset(a) - v.offset(b)) })
		text = text[:0]
		var offsets waybill.OffsetSet
		for _, row := range of {
			offsets.Add(v.offset(row))
			text = v.appendLine(text, row, batch.Epoch)
		}
		tp := waybill.TopicPartition{Topic: string(v.topic.Row(of[0])), Partition: k.partition}
		out = append(out, Object{Name: nameOf(tp, batch.Epoch, batch.ID, offsets), Body: compress(text), Records: offsets})
	}
	return out, nil
}

// appendLine adds a row as one line of JSON.
func (v *view) appendLine(b []byte, row int, epoch waybill.Epoch) []byte {
	b = appendText(append(b, `{"topic":`...), v.topic.Row(row))
	b = strconv.AppendInt(append(b, `,"partition":`...), v.partition(row), 10)
	b = strconv.AppendInt(append(b, `,"offset":`...), v.offset(row), 10)
	b = strconv.AppendInt(append(b, `,"epoch":`...), int64(epoch), 10)
	b = strconv.AppendInt(append(b, `,"archived_at":`...), int64(v.archived.Row(row)), 10)
	b = strconv.AppendInt(append(b, `,"timestamp":`...), v.timestamp.Row(row), 10)
	if v.appended.Row(row) {
		b = append(b, `,"appended":true`...)
	}
	b = strconv.AppendInt(append(b, `,"leader_epoch":`...), int64(v.leader.Row(row)), 10)
	b = appendBytes(b, `,"key`, v.key, row)
	b = appendBytes(b, `,"value`, v.value, row)
	if first, next := v.headerKeys.Span(row); next > first {
		b = append(b, `,"headers":[`...)
		names, values := v.headerKeys.Elem().(*column.String), v.headerValues.Elem().(*column.Nullable)
		for i := first; i < next; i++ {
			b = appendPair(append(b, '{'), `"name`, names.Row(i))
			b = append(appendBytes(b, `,"value`, values, i), '}', ',')
		}
		b[len(b)-1] = ']'
	}
	if s := v.version.Row(row); len(s) > 0 {
		b = appendPair(b, `,"version`, s)
	}
	b = appendText(append(b, `,"kept":`...), v.kept.Row(row))
	return append(b, '}', '\n')
}

// appendBytes adds a member for a row of a column of bytes; none for NULL.
func appendBytes(b []byte, name string, of *column.Nullable, row int) []byte {
	if of.IsNull(row) {
		return b
	}
	return appendPair(b, name, of.Inner().(*column.String).Row(row))
}

// appendPair adds a member whose name lacks the closing quote: bytes that are no UTF-8 are in one that says base64.
func appendPair(b []byte, name string, value []byte) []byte {
	b = append(b, name...)
	if utf8.Valid(value) {
		return appendText(append(b, '"', ':'), value)
	}
	b = append(b, `_base64":"`...)
	return append(base64.StdEncoding.AppendEncode(b, value), '"')
}

const hexDigits = "0123456789abcdef"

// appendText adds valid UTF-8 as a JSON string that says the same bytes.
func appendText(b, s []byte) []byte {
	b = append(b, '"')
	from := 0
	for i, c := range s {
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, s[from:]...), '"')
}

// pair is a member of bytes: as a text, or in base64. Neither: NULL.
type pair struct {
	text   *string
	base64 []byte
}

func (p pair) bytes() []byte {
	if p.text != nil {
		return []byte(*p.text)
	}
	return p.base64
}

// line is one line as it is read.
type line struct {
	Topic       string         `json:"topic"`
	Partition   int32          `json:"partition"`
	Offset      int64          `json:"offset"`
	Epoch       waybill.Epoch  `json:"epoch"`
	ArchivedAt  int64          `json:"archived_at"`
	Timestamp   int64          `json:"timestamp"`
	Appended    bool           `json:"appended"`
	LeaderEpoch int32          `json:"leader_epoch"`
	Key         *string        `json:"key"`
	KeyBytes    []byte         `json:"key_base64"`
	Value       *string        `json:"value"`
	ValueBytes  []byte         `json:"value_base64"`
	Headers     []headerOfLine `json:"headers"`
	Version     string         `json:"version"`
	VersionRaw  []byte         `json:"version_base64"`
	Kept        contract.Kept  `json:"kept"`
}

type headerOfLine struct {
	Name       *string `json:"name"`
	NameBytes  []byte  `json:"name_base64"`
	Value      *string `json:"value"`
	ValueBytes []byte  `json:"value_base64"`
}

// ErrDamaged: an object is not what its name says.
var ErrDamaged = errors.New("the object is damaged")

// Decode reads an object back: its records in the order of offsets, and when they were archived, in seconds since 1970. What does not fit the
// object's name is an error that wraps ErrDamaged.
func Decode(n Name, body []byte) (records []waybill.Record, archived int64, err error) {
	bad := func(err error) ([]waybill.Record, int64, error) {
		return nil, 0, &waybill.Error{Op: "objects.decode", Class: waybill.ClassConfig, Position: waybill.Position{Topic: n.Topic, Partition: n.Partition, Offset: n.First},
			Err: fmt.Errorf("%w: %s: %w", ErrDamaged, n, err), Hint: "bring the object back from a backup; `waybill archive verify` names what is damaged"}
	}
	text, err := decompress(body)
	if err != nil {
		return bad(err)
	}
	records = make([]waybill.Record, 0, n.Count)
	last := n.First - 1
	for len(text) > 0 {
		end := slices.Index(text, '\n')
		if end < 0 {
			return bad(errors.New("its last line has no end"))
		}
		var l line
		if err := json.Unmarshal(text[:end], &l); err != nil {
			return bad(err)
		}
		text = text[end+1:]
		if l.Topic != n.Topic || l.Partition != n.Partition || l.Epoch != n.Epoch || l.Offset <= last || l.Offset >= n.Next {
			return bad(fmt.Errorf("it has a record of %s %d, offset %d, epoch %d", l.Topic, l.Partition, l.Offset, l.Epoch))
		}
		last, archived = l.Offset, l.ArchivedAt
		records = append(records, l.record())
	}
	if int64(len(records)) != n.Count {
		return bad(fmt.Errorf("it has %d records", len(records)))
	}
	return records, archived, nil
}

func (l *line) record() waybill.Record {
	r := waybill.Record{Topic: l.Topic, Partition: l.Partition, Offset: l.Offset, LeaderEpoch: l.LeaderEpoch, Time: l.Timestamp, Appended: l.Appended,
		Key: pair{l.Key, l.KeyBytes}.bytes(), Value: pair{l.Value, l.ValueBytes}.bytes(), Version: l.Version, NotKept: l.Kept == contract.KeptDigest}
	if l.VersionRaw != nil {
		r.Version = string(l.VersionRaw)
	}
	for _, h := range l.Headers {
		r.Headers = append(r.Headers, waybill.Header{Key: string(pair{h.Name, h.NameBytes}.bytes()), Value: pair{h.Value, h.ValueBytes}.bytes()})
	}
	return r
}

// Rewrite is an object without some of its records, for an erasure; ok is false if nothing is left of it.
func Rewrite(n Name, body []byte, without waybill.OffsetSet) (out Object, ok bool, err error) {
	if _, _, err := Decode(n, body); err != nil {
		return out, false, err
	}
	text, err := decompress(body)
	if err != nil {
		return out, false, err
	}
	var left []byte
	var offsets waybill.OffsetSet
	for len(text) > 0 {
		end := slices.Index(text, '\n') + 1
		var at struct {
			Offset int64 `json:"offset"`
		}
		if err := json.Unmarshal(text[:end-1], &at); err != nil {
			return out, false, err
		}
		if !without.Contains(at.Offset) {
			left = append(left, text[:end]...)
			offsets.Add(at.Offset)
		}
		text = text[end:]
	}
	if offsets.Empty() {
		return out, false, nil
	}
	return Object{nameOf(n.TopicPartition, n.Epoch, n.Batch, offsets), compress(left), offsets}, true, nil
}
