package archive

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
)

// tableKeeper is the keeper of an archive in a table.
type tableKeeper struct {
	ch  *clickhouse.Client
	src Source
}

func (k *tableKeeper) rows(ctx context.Context, topic string, epoch waybill.Epoch, ends map[int32]int64) (map[int32]int64, error) {
	l := k.src.Lineage
	var before []string
	for p, end := range ends {
		before = append(before, fmt.Sprintf("%s = %d AND %s < %d", clickhouse.Ident(l.Partition), p, clickhouse.Ident(l.Offset), end))
	}
	out := map[int32]int64{}
	err := k.counts(ctx, fmt.Sprintf("SELECT toInt32(%s) AS p, toInt64(groupBitmap(toUInt64(%s))) AS n FROM %s WHERE %s AND (%s) GROUP BY p",
		clickhouse.Ident(l.Partition), clickhouse.Ident(l.Offset), k.table(), k.of(topic, epoch), strings.Join(before, " OR ")), out)
	return out, err
}

func (k *tableKeeper) table() string { return clickhouse.Table(k.src.Database, k.src.Table) }

// of is the condition for a topic's rows of some epochs.
func (k *tableKeeper) of(topic string, epochs ...waybill.Epoch) string {
	in := make([]string, len(epochs))
	for i, e := range epochs {
		in[i] = fmt.Sprint(e)
	}
	l := k.src.Lineage
	return fmt.Sprintf("%s = %s AND %s IN (%s)", clickhouse.Ident(l.Topic), clickhouse.Literal(topic), clickhouse.Ident(l.Epoch), strings.Join(in, ", "))
}

func (k *tableKeeper) present(ctx context.Context, tp waybill.TopicPartition, epoch waybill.Epoch, offsets waybill.OffsetSet) (waybill.OffsetSet, error) {
	var spans []clickhouse.PartitionSpan
	for _, sp := range offsets.Spans() {
		spans = append(spans, clickhouse.PartitionSpan{TopicPartition: tp, Span: sp})
	}
	there, err := k.ch.Present(ctx, clickhouse.Presence{Database: k.src.Database, Table: k.src.Table, Lineage: k.src.Lineage, Epoch: epoch, HasProjection: true, Spans: spans})
	return there[tp], err
}

func (k *tableKeeper) offsetsAt(ctx context.Context, topic string, epochs []waybill.Epoch, millis int64) (map[int32]int64, error) {
	out := map[int32]int64{}
	l := k.src.Lineage
	err := k.counts(ctx, fmt.Sprintf("SELECT toInt32(%s) AS p, toInt64(min(%s)) AS n FROM %s WHERE %s AND timestamp >= %d GROUP BY p",
		clickhouse.Ident(l.Partition), clickhouse.Ident(l.Offset), k.table(), k.of(topic, epochs...), millis), out)
	return out, err
}

func (k *tableKeeper) remove(ctx context.Context, tp waybill.TopicPartition, epochs []waybill.Epoch, offsets waybill.OffsetSet) error {
	l := k.src.Lineage
	for spans := range chunks(offsets.Spans(), spansPerDelete) {
		var some []string
		for _, sp := range spans {
			some = append(some, fmt.Sprintf("%[1]s >= %[2]d AND %[1]s < %[3]d", clickhouse.Ident(l.Offset), sp.First, sp.Next))
		}
		where := fmt.Sprintf("%s AND %s = %d AND (%s)", k.of(tp.Topic, epochs...), clickhouse.Ident(l.Partition), tp.Partition, strings.Join(some, " OR "))
		if err := k.delete(ctx, where); err != nil {
			return err
		}
	}
	return nil
}

// spansPerDelete keeps one statement small.
const spansPerDelete = 500

func chunks(spans []waybill.Span, n int) func(func([]waybill.Span) bool) {
	return func(yield func([]waybill.Span) bool) {
		for len(spans) > 0 {
			some := spans[:min(n, len(spans))]
			if spans = spans[len(some):]; !yield(some) {
				return
			}
		}
	}
}

// delete rewrites the parts that hold such rows, and waits for it: a mask over a row would leave its bytes on disk.
func (k *tableKeeper) delete(ctx context.Context, where string) error {
	left := map[int32]int64{}
	count := fmt.Sprintf("SELECT toInt32(0) AS p, toInt64(count()) AS n FROM %s WHERE %s", k.table(), where)
	if err := k.counts(ctx, count, left); err != nil || left[0] == 0 {
		return err
	}
	if err := k.ch.Exec(ctx, fmt.Sprintf("ALTER TABLE %s DELETE WHERE %s SETTINGS mutations_sync = 2", k.table(), where)); err != nil {
		return err
	}
	if err := k.counts(ctx, count, left); err != nil {
		return err
	}
	if left[0] > 0 {
		return &waybill.Error{Op: "archive.erase", Class: waybill.ClassRetryable, Err: fmt.Errorf("%d rows are still in %s after they were deleted", left[0], k.table()),
			Hint: "look at system.mutations, and run it again"}
	}
	return nil
}

// counts runs a query for columns p and n.
func (k *tableKeeper) counts(ctx context.Context, sql string, into map[int32]int64) error {
	var p proto.ColInt32
	var n proto.ColInt64
	return k.ch.Query(ctx, sql, proto.Results{{Name: "p", Data: &p}, {Name: "n", Data: &n}}, func(rows int) error {
		for i := range rows {
			into[p.Row(i)] = n.Row(i)
		}
		return nil
	})
}

func (k *tableKeeper) size(ctx context.Context) (s Size, err error) {
	var rows, disk, plain, oldest proto.ColInt64
	err = k.ch.Query(ctx, fmt.Sprintf("SELECT toInt64(sum(rows)) AS r, toInt64(sum(bytes_on_disk)) AS d, toInt64(sum(data_uncompressed_bytes)) AS u FROM system.parts WHERE active AND database = %s AND table = %s",
		clickhouse.Literal(k.src.Database), clickhouse.Literal(k.src.Table)), proto.Results{{Name: "r", Data: &rows}, {Name: "d", Data: &disk}, {Name: "u", Data: &plain}},
		func(int) error {
			s.Rows, s.OnDisk, s.Uncompressed = rows.Row(0), disk.Row(0), plain.Row(0)
			return nil
		})
	if err != nil || s.Rows == 0 {
		return s, err
	}
	err = k.ch.Query(ctx, fmt.Sprintf("SELECT toInt64(toUnixTimestamp(min(archived_at))) AS o FROM %s", k.table()), proto.Results{{Name: "o", Data: &oldest}}, func(int) error {
		s.Oldest = time.Unix(oldest.Row(0), 0).UTC()
		return nil
	})
	return s, err
}

// errFull ends a query that has brought enough.
var errFull = errors.New("enough for one piece")

// fetch is keeper's; the piece's end is nearer where the records are large.
func (k *tableKeeper) fetch(ctx context.Context, w *window, span waybill.Span) (next int64, err error) {
	piece := waybill.Span{First: span.First, Next: min(span.Next, span.First+w.offsets)}
	w.records, w.bytes = w.records[:0], w.bytes[:0]
	l := k.src.Lineage
	partition, offset := clickhouse.Ident(l.Partition), clickhouse.Ident(l.Offset)
	once := "" // of several epochs, the highest
	if len(w.epochs) > 1 {
		once = fmt.Sprintf(", %s DESC LIMIT 1 BY %s", clickhouse.Ident(l.Epoch), offset)
	}
	in := newInput()
	names := make([]string, 0, len(in.results()))
	for _, c := range in.results()[1:] {
		names = append(names, clickhouse.Ident(c.Name))
	}
	sql := fmt.Sprintf("SELECT toInt64(%s) AS o, %s FROM %s WHERE %s AND %s = %d AND %s >= %d AND %s < %d ORDER BY %s%s SETTINGS max_block_size = 8192, max_threads = 1",
		offset, strings.Join(names, ", "), k.table(), k.of(w.tp.Topic, w.epochs...), partition, w.tp.Partition, offset, piece.First, offset, piece.Next, offset, once)
	err = k.ch.Query(ctx, sql, in.results(), func(rows int) error {
		for i := range rows {
			w.add(in, i)
		}
		if len(w.bytes) > mostBytes {
			return errFull
		}
		return nil
	})
	if errors.Is(err, errFull) {
		return w.records[len(w.records)-1].Offset + 1, nil
	}
	return piece.Next, err
}

// input are the columns of one block.
type input struct {
	offset, timestamp proto.ColInt64
	appended          proto.ColBool
	leader            proto.ColInt32
	key, value        *proto.ColNullable[[]byte]
	names             *proto.ColArr[string]
	values            *proto.ColArr[proto.Nullable[[]byte]]
	version, kept     proto.ColStr
}

func newInput() *input {
	bytes := func() *proto.ColNullable[[]byte] { return proto.NewColNullable[[]byte](new(proto.ColBytes)) }
	return &input{key: bytes(), value: bytes(), names: new(proto.ColStr).Array(), values: proto.NewArray[proto.Nullable[[]byte]](bytes())}
}

func (in *input) results() proto.Results {
	return proto.Results{{Name: "o", Data: &in.offset}, {Name: "timestamp", Data: &in.timestamp}, {Name: "appended", Data: &in.appended},
		{Name: "leader_epoch", Data: &in.leader}, {Name: "key", Data: in.key}, {Name: "value", Data: in.value},
		{Name: "header_keys", Data: in.names}, {Name: "header_values", Data: in.values}, {Name: "version", Data: &in.version}, {Name: "kept", Data: &in.kept}}
}

// add copies one row. Its bytes go to w.bytes; what is there already stays where it is if that has to grow.
func (w *window) add(in *input, i int) {
	r := waybill.Record{Topic: w.tp.Topic, Partition: w.tp.Partition, Offset: in.offset.Row(i), LeaderEpoch: in.leader.Row(i), Time: in.timestamp.Row(i),
		Appended: in.appended.Row(i), Key: w.copy(in.key.Row(i)), Value: w.copy(in.value.Row(i)),
		Version: in.version.Row(i), NotKept: in.kept.Row(i) == string(contract.KeptDigest)}
	names, values := in.names.Row(i), in.values.Row(i)
	for j, name := range names {
		r.Headers = append(r.Headers, waybill.Header{Key: name, Value: w.copy(values[j])})
	}
	w.records = append(w.records, r)
}
