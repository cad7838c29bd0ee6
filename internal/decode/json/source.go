package json

import (
	"fmt"
	"math"
	"strconv"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

// source is a column that is not filled from the event.
type source struct {
	field
	source  contract.Source
	header  string
	lineage bool
}

// fromRecord fills one such column; false if the record is rejected.
func (d *Decoder) fromRecord(s *source, rec *waybill.Record, epoch waybill.Epoch) bool {
	switch {
	case s.source == contract.SourceConstant:
		s.col.AppendFrom(s.fallback, 0)
		return true
	case s.lineage:
		return d.position(s, rec, epoch)
	}
	text, found := s.textOf(rec, d.scratch[:0])
	switch {
	case !found:
		return d.missing(&s.field)
	case text == nil:
		return d.null(&s.field, -1)
	}
	exact, err := appendPlain(s.col, text, s.format)
	if err != nil {
		fail := failed(err, -1)
		fail.message = string(s.source) + " of the record: " + fail.message
		return d.invalid(&s.field, fail)
	}
	if !exact {
		d.rounded++
		d.pending = append(d.pending, &s.rounded)
	}
	return true
}

// textOf is what the record says; nil for a header without a value. Numbers are written to buf.
func (s *source) textOf(rec *waybill.Record, buf []byte) (text []byte, found bool) {
	switch s.source {
	case contract.SourceKey:
		return rec.Key, rec.Key != nil
	case contract.SourceHeader:
		for i := range rec.Headers {
			if rec.Headers[i].Key == s.header {
				return rec.Headers[i].Value, true
			}
		}
		return nil, false
	case contract.SourceTimestamp:
		return strconv.AppendInt(buf, rec.Time, 10), true
	case contract.SourcePartition:
		return strconv.AppendInt(buf, int64(rec.Partition), 10), true
	case contract.SourceOffset:
		return strconv.AppendInt(buf, rec.Offset, 10), true
	}
	return append(buf, rec.Topic...), true
}

// appendPlain appends a value that is written without JSON around it.
func appendPlain(c column.Column, text []byte, f column.TimeFormat) (exact bool, err error) {
	if n, ok := c.(*column.Nullable); ok {
		exact, err = appendPlain(n.Inner(), text, f)
		if err == nil {
			n.EndRow()
		}
		return exact, err
	}
	if t, ok := c.(column.Texter); ok {
		t.Append(text)
		return true, nil
	}
	return column.AppendText(c, text, f)
}

// position appends what a lineage column says of the record.
func (d *Decoder) position(s *source, rec *waybill.Record, epoch waybill.Epoch) bool {
	if s.source == contract.SourceRescued {
		s.col.AppendZero()
		return true
	}
	switch c := s.col.(type) {
	case *column.UInt64:
		c.Append(uint64(rec.Offset))
	case *column.Int64:
		c.Append(rec.Offset)
	case *column.LowCardinality:
		c.AppendLike(rec.Topic)
	case *column.String:
		c.AppendString(rec.Topic)
	case *column.UInt32:
		if s.source == contract.SourceEpoch {
			c.Append(uint32(epoch))
		} else {
			c.Append(uint32(rec.Partition))
		}
	case *column.Int32:
		c.Append(rec.Partition)
	case *column.UInt16:
		if rec.Partition > math.MaxUint16 {
			d.reject = &Reject{Code: OutOfRange, Column: s.name, ByteOffset: -1,
				Message: fmt.Sprintf("partition %d does not fit %s", rec.Partition, c.Type())}
			return false
		}
		c.Append(uint16(rec.Partition))
	}
	return true
}
