package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/drift"
)

// placeColumn is one of the drift table's places; see placeType.
type placeColumn struct {
	time      *proto.ColDateTime64
	topic     *proto.ColStr
	partition *proto.ColInt32
	offset    *proto.ColInt64
	column    proto.ColTuple
}

func newPlaceColumn() *placeColumn {
	p := &placeColumn{time: millisColumn(), topic: new(proto.ColStr), partition: new(proto.ColInt32), offset: new(proto.ColInt64)}
	p.column = proto.ColTuple{
		proto.Named(p.time, "time"), proto.Named(p.topic, "topic"), proto.Named(p.partition, "partition"), proto.Named(p.offset, "offset"),
	}
	return p
}

func (p *placeColumn) append(at contract.At) {
	p.time.AppendRaw(proto.DateTime64(at.Time))
	p.topic.Append(at.Topic)
	p.partition.Append(at.Partition)
	p.offset.Append(at.Offset)
}

// placeOf selects a place's elements for results: a tuple with a DateTime64 in it is not read as one.
func placeOf(prefix, place string) string {
	return fmt.Sprintf("%[2]s.1 AS %[1]s_time, %[2]s.2 AS %[1]s_topic, %[2]s.3 AS %[1]s_partition, %[2]s.4 AS %[1]s_offset", prefix, place)
}

func (p *placeColumn) results(prefix string) proto.Results {
	return proto.Results{
		{Name: prefix + "_time", Data: p.time}, {Name: prefix + "_topic", Data: p.topic},
		{Name: prefix + "_partition", Data: p.partition}, {Name: prefix + "_offset", Data: p.offset},
	}
}

func (p *placeColumn) row(i int) contract.At {
	return contract.At{Topic: p.topic.Row(i), Partition: p.partition.Row(i), Offset: p.offset.Row(i), Time: p.time.Row(i).UnixMilli()}
}

// kindColumns are the counts of values by JSON kind, in the order of kindNames.
type kindColumns [7]proto.ColInt64

var kindNames = [7]string{"nulls", "bools", "integers", "decimals", "strings", "arrays", "objects"}

func (c *kindColumns) append(k contract.Kinds) {
	for i, n := range [7]int64{k.Null, k.Bool, k.Integer, k.Decimal, k.String, k.Array, k.Object} {
		c[i].Append(n)
	}
}

func (c *kindColumns) row(i int) contract.Kinds {
	return contract.Kinds{
		Null: c[0].Row(i), Bool: c[1].Row(i), Integer: c[2].Row(i), Decimal: c[3].Row(i), String: c[4].Row(i), Array: c[5].Row(i), Object: c[6].Row(i),
	}
}

// DriftBlock encodes what a monitor counted for an INSERT into TableDrift. Counts add up: rows that are inserted again count again, unless
// their INSERT has the token of before.
func DriftBlock(pipeline string, epoch waybill.Epoch, rows []drift.Row) proto.Input {
	pipelines, target, kind, epochs, day := lowCardinality(), lowCardinality(), lowCardinality(), new(proto.ColUInt32), new(proto.ColDate)
	path, column, count := new(proto.ColStr), new(proto.ColStr), new(proto.ColInt64)
	first, last, kinds := newPlaceColumn(), newPlaceColumn(), new(kindColumns)
	typ, mode, reason, sample := new(proto.ColStr), new(proto.ColStr), new(proto.ColStr), new(proto.ColStr)
	for i := range rows {
		r := &rows[i]
		pipelines.Append(pipeline)
		target.Append(r.Target)
		epochs.Append(uint32(epoch))
		kind.Append(string(r.Kind))
		path.Append(r.Path)
		column.Append(r.Column)
		day.Append(r.Day)
		count.Append(r.Count)
		first.append(r.First)
		last.append(r.Last)
		kinds.append(r.Kinds)
		typ.Append(r.Type)
		mode.Append(string(r.Mode))
		reason.Append(r.Reason)
		sample.Append(r.Sample)
	}
	in := proto.Input{
		{Name: "pipeline", Data: pipelines}, {Name: "target", Data: target}, {Name: "epoch", Data: epochs}, {Name: "kind", Data: kind}, {Name: "path", Data: path},
		{Name: "column", Data: column}, {Name: "day", Data: day}, {Name: "count", Data: count},
		{Name: "first", Data: first.column}, {Name: "last", Data: last.column},
		{Name: "type", Data: typ}, {Name: "mode", Data: mode}, {Name: "reason", Data: reason}, {Name: "sample", Data: sample},
	}
	for i, name := range kindNames {
		in = append(in, proto.InputColumn{Name: name, Data: &kinds[i]})
	}
	return in
}

// Drift is what all workers of a pipeline have counted since a day, by table and key: kinds in alphabetical order, the most
// frequent first. Day is the first day of each, within that time.
func (s *Store) Drift(ctx context.Context, pipeline string, epoch waybill.Epoch, since time.Time) ([]drift.Row, error) {
	var out []drift.Row
	var target, kind, path, column, typ, mode, reason, sample proto.ColStr
	var day proto.ColDate
	var count proto.ColInt64
	first, last, kinds := newPlaceColumn(), newPlaceColumn(), new(kindColumns)
	result := proto.Results{
		{Name: "t", Data: &target}, {Name: "k", Data: &kind}, {Name: "pa", Data: &path}, {Name: "col", Data: &column}, {Name: "d", Data: &day}, {Name: "n", Data: &count},
		{Name: "ty", Data: &typ}, {Name: "mo", Data: &mode}, {Name: "re", Data: &reason}, {Name: "sa", Data: &sample},
	}
	result = append(append(result, first.results("f")...), last.results("l")...)
	sums := ""
	for i, name := range kindNames {
		result = append(result, proto.ResultColumn{Name: "kind_" + name, Data: &kinds[i]})
		sums += fmt.Sprintf(", sum(%s) AS kind_%[1]s", name)
	}
	err := s.ch.Query(ctx, fmt.Sprintf(`
SELECT toString(target) AS t, kind AS k, path AS pa, column AS col, min(day) AS d, sum(count) AS n,
       toString(argMax(type, last)) AS ty, toString(argMax(mode, last)) AS mo, toString(argMax(reason, last)) AS re, toString(argMin(sample, first)) AS sa, %s, %s%s
FROM %s WHERE %s AND day >= toDate(%d) GROUP BY t, k, pa, col ORDER BY t, k, n DESC, pa, col`,
		placeOf("f", "min(first)"), placeOf("l", "max(last)"), sums, s.table(TableDrift), scope(pipeline, epoch), max(0, since.Unix())/86400),
		result, func(rows int) error {
			for i := range rows {
				out = append(out, drift.Row{
					Key: drift.Key{Kind: drift.Kind(kind.Row(i)), Path: path.Row(i), Column: column.Row(i)}, Target: target.Row(i), Day: day.Row(i), Count: count.Row(i),
					First: first.row(i), Last: last.row(i), Kinds: kinds.row(i),
					Type: typ.Row(i), Mode: contract.Mode(mode.Row(i)), Reason: reason.Row(i), Sample: sample.Row(i),
				})
			}
			return nil
		})
	return out, renamed("ledger.drift", err)
}
