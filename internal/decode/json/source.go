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
	expr    int    // of SourceExpr: which one of the computed values
	where   string // stands for the path
	place   place  // where
}

// recordPath is what stands for a path where a value is not from the event.
func recordPath(c contract.PlanColumn) string {
	switch c.Source {
	case contract.SourceExpr:
		return "expr:" + c.Name
	case contract.SourceHeader:
		return "kafka:header." + c.Header
	}
	return "kafka:" + string(c.Source)
}

// fromRecord fills one such column; false if the record is rejected.
func (d *Decoder) fromRecord(s *source, rec *waybill.Record, epoch waybill.Epoch) bool {
	switch {
	case s.source == contract.SourceConstant:
		s.col.AppendFrom(s.fallback, 0)
		return true
	case s.lineage:
		return d.position(s, rec, epoch)
	case s.source == contract.SourceExpr:
		return d.fromExpr(s)
	}
	text, found := s.textOf(rec, d.scratch[:0])
	switch {
	case !found:
		return d.missing(&s.field)
	case text == nil:
		return d.nullOf(s)
	}
	exact, err := appendPlain(s.col, text, s.format)
	if err != nil {
		fail := failed(err, -1)
		fail.message = string(s.source) + " of the record: " + fail.message
		return d.misfit(s, fail, text, false)
	}
	if !exact {
		d.rounded++
		d.pending = append(d.pending, &s.rounded)
	}
	return true
}

// fromExpr fills a column with a computed value.
func (d *Decoder) fromExpr(s *source) bool {
	if s.expr >= len(d.computed) || d.computed[s.expr] == nil {
		return d.missing(&s.field)
	}
	value := d.computed[s.expr]
	if value[0] == 'n' {
		return d.nullOf(s)
	}
	event, before := d.text, d.rounded
	d.text = value
	fail := d.fill(&s.field, 0, len(value))
	d.text = event
	if fail.code != "" {
		d.rounded = before
		fail.at, fail.message = -1, "the computed value: "+fail.message
		return d.misfit(s, fail, value, true)
	}
	for range d.rounded - before {
		d.pending = append(d.pending, &s.rounded)
	}
	return true
}

// nullOf applies on_null to a value that is not from the event.
func (d *Decoder) nullOf(s *source) bool {
	if s.onNull != contract.Rescue {
		return d.null(&s.field, span{-1, -1})
	}
	d.aside(s, s.onNull, NullRequired, []byte("null"), true)
	return d.substitute(&s.field, s.instead, nil)
}

// misfit applies on_invalid to a value that is not from the event.
func (d *Decoder) misfit(s *source, fail failure, value []byte, isJSON bool) bool {
	s.col.Truncate(d.row)
	p, count := s.onInvalid, &s.filled.Invalid
	switch p {
	case contract.DeadLetter:
		return d.dead(&s.field, fail)
	case contract.Rescue:
		p, count = s.instead, nil
	}
	d.aside(s, s.onInvalid, fail.code, value, isJSON)
	return d.substitute(&s.field, p, count)
}

// aside notes a value that is not from the event and that a column does not take, under the policy p.
func (d *Decoder) aside(s *source, p contract.Policy, code Code, value []byte, isJSON bool) {
	kept, encoded := d.rescue.setAside(value, isJSON)
	mode := contract.ModeDiscard
	if p == contract.Rescue {
		mode = contract.ModeRescue
		d.rescue.keepAside(entry{place: &s.place, value: kept, base64: encoded, reason: code, column: &s.field})
	}
	d.notes = append(d.notes, note{drift: s.conflictAt(nil, s.where, mode), reason: code, value: kept, aside: true})
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
