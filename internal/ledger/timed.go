package ledger

import (
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/waybill-data/waybill/internal/minutes"
)

// minuteBlock is the columns of ledger rows that speak of time.
type minuteBlock struct {
	maps         [minutes.Outcomes]*minuteMap
	first, last  *proto.ColDateTime
	byRecordTime *proto.ColInt64
}

// minuteMap is a Map(DateTime('UTC'), Int64). It is written key by key: a Go map has no order, and whoever writes a row writes the same.
type minuteMap struct {
	keys   *proto.ColDateTime
	counts *proto.ColInt64
	column *proto.ColMap[time.Time, int64]
}

func secondsColumn() *proto.ColDateTime { return &proto.ColDateTime{Location: time.UTC} }

func newMinuteMap() *minuteMap {
	m := &minuteMap{keys: secondsColumn(), counts: new(proto.ColInt64)}
	m.column = proto.NewMap[time.Time, int64](m.keys, m.counts)
	return m
}

func newMinuteBlock() *minuteBlock {
	b := &minuteBlock{first: secondsColumn(), last: secondsColumn(), byRecordTime: new(proto.ColInt64)}
	for o := range b.maps {
		b.maps[o] = newMinuteMap()
	}
	return b
}

// append adds what a row says of time. A map has no keys whose count is 0.
func (b *minuteBlock) append(r *Row) {
	first, last := proto.DateTime(0), proto.DateTime(0)
	for i := range r.Minutes {
		m := &r.Minutes[i]
		for o, n := range m.Counts {
			if n != 0 {
				b.maps[o].keys.Data = append(b.maps[o].keys.Data, proto.DateTime(m.Key))
				b.maps[o].counts.Append(n)
			}
		}
		if i == 0 {
			first = proto.ToDateTime(m.Begin())
		}
		if end := m.End().Unix() - 1; end > int64(last) {
			last = proto.DateTime(min(end, 1<<32-1)) //nolint:gosec // in range
		}
	}
	for _, m := range b.maps {
		m.column.Offsets.Append(uint64(m.keys.Rows())) //nolint:gosec // not negative
	}
	b.first.Data = append(b.first.Data, first)
	b.last.Data = append(b.last.Data, last)
	b.byRecordTime.Append(r.ByRecordTime)
}

func (b *minuteBlock) input() proto.Input {
	in := proto.Input{{Name: "event_first", Data: b.first}, {Name: "event_last", Data: b.last}, {Name: "by_record_time", Data: b.byRecordTime}}
	for o, name := range minuteColumns() {
		in = append(in, proto.InputColumn{Name: name, Data: b.maps[o].column})
	}
	return in
}
