package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/archive"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

// archived is a world of which a pipeline keeps the records, and runs nothing else: w.name is the name of that pipeline.
func archived(t *testing.T, partitions int32, s spec) (*world, *config.Pipeline) {
	w := newWorld(t, partitions)
	s.top += "\narchive: {table: kept, ttl: 30d}\n"
	file := w.file(s)
	w.name = file.Archiver().Name
	return w, file
}

// reader reads the world's archive.
func (w *world) reader(file *config.Pipeline) *archive.Reader {
	w.Helper()
	client, err := clickhouse.Open(w.Context(), engine.Server(file.Sink.ClickHouse), clickhouse.Deps{})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(client.Close)
	r, err := engine.OpenArchive(client, ledger.New(client, ""), file)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// odd is a record of every kind there is, by its number.
func odd(i int) *kgo.Record {
	all := make([]byte, 256)
	for b := range all {
		all[b] = byte(b)
	}
	r := &kgo.Record{Key: fmt.Appendf(nil, "k%d", i%17), Value: []byte(call(i)), Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i)*7)}
	switch i % 11 {
	case 0:
		r.Key = nil
	case 1:
		r.Value = nil
	case 2:
		r.Value = []byte{}
	case 3:
		r.Key = []byte{}
	case 4:
		r.Value, r.Key = all, all
	case 5:
		r.Headers = []kgo.RecordHeader{{Key: "none", Value: nil}, {Key: "empty", Value: []byte{}}, {Key: "", Value: all}, {Key: "none", Value: []byte("twice")}}
	case 6:
		r.Value = []byte("not JSON")
	case 7:
		r.Timestamp = time.UnixMilli(int64(i) + 1) // 1970
	case 8:
		r.Timestamp = time.Date(2290, 1, 1, 0, 0, 0, i, time.UTC)
	}
	if i%400 == 9 {
		r.Value = make([]byte, 800_000)
		for j := range r.Value {
			r.Value[j] = byte(rand.IntN(256))
		}
	}
	return r
}

// produceOdd produces n records of every kind, to all partitions in turn.
func (w *world) produceOdd(n int) {
	w.Helper()
	cl := w.client(kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerBatchMaxBytes(900_000))
	defer cl.Close()
	for range n {
		cl.Produce(context.Background(), odd(int(w.produced.Add(1)-1)), func(_ *kgo.Record, err error) {
			if err != nil {
				w.Errorf("produce: %v", err)
			}
		})
	}
	if err := cl.Flush(context.Background()); err != nil {
		w.Fatal(err)
	}
}

// consumed are n records of the topic as another client reads them, by partition.
func (w *world) consumed(n int) map[int32][]waybill.Record {
	w.Helper()
	cl := w.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	ctx, cancel := context.WithTimeout(w.Context(), soon)
	defer cancel()
	out := map[int32][]waybill.Record{}
	for got := 0; got < n; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			w.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			got++
			rec := waybill.Record{Topic: topic, Partition: r.Partition, Offset: r.Offset, LeaderEpoch: r.LeaderEpoch, Time: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
			for _, h := range r.Headers {
				rec.Headers = append(rec.Headers, waybill.Header{Key: h.Key, Value: h.Value})
			}
			out[r.Partition] = append(out[r.Partition], rec)
		})
	}
	return out
}

// read is what an archive gives of a span; the records are copies.
func read(t testing.TB, r *archive.Reader, partition int32, span waybill.Span) (out []waybill.Record, next int64, err error) {
	t.Helper()
	next, err = r.Read(t.Context(), waybill.TopicPartition{Topic: topic, Partition: partition}, span, func(rec *waybill.Record) error {
		c := *rec
		c.Key, c.Value = bytes.Clone(rec.Key), bytes.Clone(rec.Value)
		c.Headers = slices.Clone(rec.Headers)
		for i := range c.Headers {
			c.Headers[i].Value = bytes.Clone(c.Headers[i].Value)
		}
		out = append(out, c)
		return nil
	})
	return out, next, err
}

// sameRecords compares, nil and empty being two things.
func sameRecords(t testing.TB, what string, got, want []waybill.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d records, want %d", what, len(got), len(want))
		return
	}
	for i := range want {
		if !reflect.DeepEqual(want[i], got[i]) || waybill.RecordChecksum(&got[i]) != waybill.RecordChecksum(&want[i]) { // cmp takes minutes for large ones
			t.Fatalf("%s: offset %d differs: %s", what, want[i].Offset, cmp.Diff(want[i], got[i]))
		}
	}
}

func TestArchive_HoldsEveryRecordAsItCame(t *testing.T) {
	w, file := archived(t, 2, spec{rows: 300})
	w.budget = 64 << 20
	w.produceOdd(2000)
	a := w.start(file.Archiver())
	w.quiet(2000)
	a.stop()
	if got := w.query(w.ofLedger("concat(toString(sum(read)), ' ', toString(sum(written)))")); got != "2000 2000" {
		t.Errorf("read and written %s: every record is a row, be it no event", got)
	}
	r := w.reader(file)
	extent, err := r.Extent(t.Context(), topic)
	if err != nil || extent[0] != (waybill.Span{First: 0, Next: 1000}) || extent[1] != (waybill.Span{First: 0, Next: 1000}) {
		t.Errorf("extent %v, %v", extent, err)
	}
	for p, want := range w.consumed(2000) {
		got, next, err := read(t, r, p, waybill.Span{First: 0, Next: 1000})
		if err != nil || next != 1000 {
			t.Errorf("read to %d: %v", next, err)
		}
		sameRecords(t, fmt.Sprint("partition ", p), got, want)
		got, next, err = read(t, r, p, waybill.Span{First: 333, Next: 5000})
		if err != nil || next != 1000 {
			t.Errorf("read past the end to %d: %v", next, err)
		}
		sameRecords(t, "a span", got, want[333:])
	}
	if _, next, err := read(t, r, 7, waybill.Span{First: 5, Next: 9}); next != 5 || err != nil {
		t.Errorf("of a partition that is not there: %d, %v", next, err)
	}
}

func TestArchive_EachRecordOnceWhoeverIsCutOff(t *testing.T) {
	w, file := archived(t, 2, spec{rows: 200, deadline: quick, kafka: quickSession})
	w.budget = 64 << 20
	for round := range 4 {
		w.produceOdd(600)
		a := w.start(file.Archiver())
		testenv.Eventually(w, soon, "some of it is archived", func() bool {
			got, err := testenv.Query(w.ch.HTTPAddr(), "SELECT count() > "+fmt.Sprint(600*round+50)+" FROM "+w.db+".kept")
			return err == nil && strings.TrimSpace(got) == "1"
		})
		a.sockets.cutAll()
		a.cancel()
		<-a.done
	}
	b := w.start(file.Archiver())
	w.quiet(2400)
	b.stop()
	if got := w.query("SELECT concat(toString(count()), ' ', toString(uniqExact(_partition, _offset))) FROM " + w.db + ".kept"); got != "2400 2400" {
		t.Errorf("rows, and different ones: %s", got)
	}
	r := w.reader(file)
	for p, want := range w.consumed(2400) {
		got, next, err := read(t, r, p, waybill.Span{First: 0, Next: 1200})
		if err != nil || next != 1200 {
			t.Errorf("read to %d: %v", next, err)
		}
		sameRecords(t, fmt.Sprint("partition ", p), got, want)
	}
}

// What Kafka removed before it could be archived is a gap with its extent, and no hole.
func TestArchive_NamesWhatItLacks(t *testing.T) {
	w, file := archived(t, 1, spec{})
	w.produce(400)
	a := w.start(file.Archiver())
	w.quiet(400)
	a.stop()
	w.produce(1000)
	w.admin(func(ctx context.Context, adm *kadm.Client) error {
		var to kadm.Offsets
		to.Add(kadm.Offset{Topic: topic, Partition: 0, At: 700})
		_, err := adm.DeleteRecords(ctx, to)
		return err
	})
	b := w.start(file.Archiver())
	w.quiet(1400)
	b.stop()
	r := w.reader(file)
	gaps, err := r.Gaps(t.Context(), topic)
	if err != nil || gaps[0].String() != "[400,700)" {
		t.Errorf("gaps %v, %v", gaps, err)
	}
	_, next, err := read(t, r, 0, waybill.Span{First: 390, Next: 1400})
	var gap *archive.Gap
	if !errors.As(err, &gap) || next != 400 || gap.Span != (waybill.Span{First: 400, Next: 700}) {
		t.Errorf("read to %d: %v", next, err)
	}
	if got, next, err := read(t, r, 0, waybill.Span{First: 700, Next: 1400}); err != nil || next != 1400 || len(got) != 700 {
		t.Errorf("%d records, read to %d: %v", len(got), next, err)
	}

	// Rows that somebody takes away are no holes either.
	w.exec("DELETE FROM " + w.db + ".kept WHERE _offset BETWEEN 800 AND 809 SETTINGS lightweight_deletes_sync = 2")
	if gaps, err = w.reader(file).Gaps(t.Context(), topic); err != nil || gaps[0].String() != "[400,700) [800,810)" {
		t.Errorf("gaps %v, %v", gaps, err)
	}
	// A reader that has looked before notices, too.
	if _, next, err := read(t, r, 0, waybill.Span{First: 750, Next: 1400}); !errors.As(err, &gap) || next != 800 || gap.Span != (waybill.Span{First: 800, Next: 810}) {
		t.Errorf("read to %d: %v", next, err)
	}
	// The beginning goes with time: what is behind it is whole.
	w.exec("DELETE FROM " + w.db + ".kept WHERE _offset < 900 SETTINGS lightweight_deletes_sync = 2")
	extent, err := w.reader(file).Extent(t.Context(), topic)
	if err != nil || extent[0] != (waybill.Span{First: 900, Next: 1400}) {
		t.Errorf("extent %v, %v", extent, err)
	}
	if gaps, err = w.reader(file).Gaps(t.Context(), topic); err != nil || len(gaps) != 0 {
		t.Errorf("gaps %v, %v", gaps, err)
	}
}

// transactions produces ten records in each of some transactions, to partition 0.
func (w *world) transactions(ends ...kgo.TransactionEndTry) {
	w.Helper()
	cl := w.client(kgo.TransactionalID(w.name), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close()
	for _, end := range ends {
		if err := cl.BeginTransaction(); err != nil {
			w.Fatal(err)
		}
		for i := range 10 {
			cl.Produce(w.Context(), kgo.StringRecord(call(i)), nil)
		}
		if err := cl.Flush(w.Context()); err != nil {
			w.Fatal(err)
		}
		if err := cl.EndTransaction(w.Context(), end); err != nil {
			w.Fatal(err)
		}
	}
}

// What a transaction leaves in the log is a hole, and no gap: markers, and records that were aborted.
func TestArchive_HolesAreNoGaps(t *testing.T) {
	w, file := archived(t, 1, spec{})
	w.transactions(kgo.TryCommit, kgo.TryAbort, kgo.TryCommit)
	a := w.start(file.Archiver())
	w.quiet(33)
	a.stop()
	r := w.reader(file)
	if gaps, err := r.Gaps(t.Context(), topic); err != nil || len(gaps) != 0 {
		t.Errorf("gaps %v, %v", gaps, err)
	}
	got, next, err := read(t, r, 0, waybill.Span{First: 5, Next: 33})
	if err != nil || next != 33 || len(got) != 15 || got[5].Offset != 22 {
		t.Errorf("%d records, read to %d: %v", len(got), next, err)
	}
	// One row less, and nobody can say which offsets are holes before it.
	w.exec("DELETE FROM " + w.db + ".kept WHERE _offset = 25 SETTINGS lightweight_deletes_sync = 2")
	if gaps, err := r.Gaps(t.Context(), topic); err != nil || gaps[0].String() != "[10,22) [25,26)" {
		t.Errorf("gaps %v, %v", gaps, err)
	}
}

func TestArchive_Erase(t *testing.T) {
	w, file := archived(t, 1, spec{})
	w.produce(300)
	a := w.start(file.Archiver())
	w.quiet(300)
	a.stop()
	r, tp := w.reader(file), waybill.TopicPartition{Topic: topic}
	subject := waybill.OffsetsOf(7, 8, 9, 100, 299)
	for range 2 { // twice is as good as once
		if err := r.Erase(t.Context(), tp, subject, "a test", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.query("SELECT count() FROM " + w.db + ".kept WHERE _offset IN (7, 8, 9, 100, 299)"); got != "0" {
		t.Errorf("%s rows of the subject are left", got)
	}
	// Bytes that a mask hides would still be on disk.
	if got := w.query("SELECT sum(rows) FROM system.parts WHERE active AND database = '" + w.db + "' AND table = 'kept'"); got != "295" {
		t.Errorf("%s rows in the parts", got)
	}
	got, next, err := read(t, r, 0, waybill.Span{First: 0, Next: 300})
	if err != nil || next != 300 || len(got) != 295 {
		t.Errorf("%d records, read to %d: %v", len(got), next, err)
	}
	if gaps, err := r.Gaps(t.Context(), topic); err != nil || len(gaps) != 0 {
		t.Errorf("gaps %v, %v: what was erased is none", gaps, err)
	}
	// The audit of the archive's account knows.
	client, err := clickhouse.Open(t.Context(), engine.Server(file.Sink.ClickHouse), clickhouse.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	amended, err := ledger.New(client, "").Amended(t.Context(), w.name, 0, topic)
	if err != nil {
		t.Fatal(err)
	}
	if was, is, _, ok := amended.At(0, 100); !ok || was != ledger.FateWritten || is != ledger.FateErased {
		t.Errorf("offset 100 was %s and is %s", was, is)
	}
	if err := r.Erase(t.Context(), tp, waybill.OffsetsOf(299, 300), "too early", time.Now()); err == nil {
		t.Error("an offset that is still to come was erased")
	}
}

// maker makes rows as the pipeline of a file does.
type maker struct {
	testing.TB
	proc   *engine.Processor
	blocks engine.Blocks
}

func (w *world) maker(file *config.Pipeline) *maker {
	w.Helper()
	c := file.Sink.ClickHouse
	plan, err := contract.Compile(file.Contract, contract.Promised(file.Contract, c.Lineage, c.Database, c.Table), c.Lineage, json.Version)
	if err != nil {
		w.Fatal(err)
	}
	proc, err := engine.NewProcessor(plan, []byte(file.RedactSecret.Reveal()))
	if err != nil {
		w.Fatal(err)
	}
	return &maker{w, proc, proc.NewBlocks()}
}

// row is the row that a record becomes, as text, and what may be stored of the record.
func (m *maker) row(r *waybill.Record) (row string, fate engine.Processed, left waybill.Record) {
	m.blocks.Reset()
	fate = m.proc.Process(r, 0, m.blocks)
	if fate.Fate == engine.FateRow {
		for i, c := range m.blocks[fate.Route].Columns {
			row += m.blocks[fate.Route].Names[i] + "=" + string(c.AppendValue(nil, 0)) + " "
		}
	}
	return row, fate, m.proc.Keep(r)
}

const redacting = `
version:
  from: v
  current: 2
  missing: 1
  upcast: [{from: 1, to: 2, steps: [{rename: {from: mail, to: email}}, {compute: {path: upcasts, expr: event.?upcasts.orValue(0) + 1}}]}]
redact:
  version: 1
  secret: 0123456789abcdef
  rules:
    - {path: email, do: hash}
    - {path: ssn, do: drop}
    - {kafka: header.auth, do: mask}
    - {kafka: key, do: hash}
`

// Nothing is kept of what redaction removes, and what is kept makes the rows that the record itself makes.
func TestArchive_KeepsWhatRedactionLeavesAndItMakesTheSameRows(t *testing.T) {
	w, file := archived(t, 1, spec{top: redacting, columns: "\n    email: {type: String}", modes: "new_fields: rescue\n  type_conflicts: rescue"})
	w.exec("ALTER TABLE " + w.db + ".calls ADD COLUMN email String")
	cl := w.client()
	defer cl.Close()
	values := []string{`{"id":1,"mail":"secret-1@x.y"}`, `{"id":2,"v":2,"email":"secret-2@x.y","ssn":"secret-3"}`, `{"id":3,"v":1,"mail":"secret-4@x.y","odd":{"a":1}}`,
		`{"id":4,"v":9,"email":"secret-5@x.y"}`, `secret-6, no JSON`, `{"id":5,"v":2}`, `{"id":6}`, ``, `{"id":"no number","v":2,"email":"secret-7@x.y"}`}
	for i, v := range values {
		r := kgo.StringRecord(v)
		r.Key, r.Headers = fmt.Appendf(nil, "secret-key-%d", i), []kgo.RecordHeader{{Key: "auth", Value: []byte("secret-token")}, {Key: "plain", Value: []byte("x")}}
		if err := cl.ProduceSync(t.Context(), r, &kgo.Record{Key: []byte("secret-tombstone")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	n := 2 * len(values)
	a := w.start(file.Archiver())
	w.quiet(int64(n))
	a.stop()
	if got := w.query("SELECT countIf(positionCaseInsensitive(toString(tuple(*)), 'secret') > 0) FROM " + w.db + ".kept"); got != "0" {
		t.Errorf("%s archived records hold what was to be removed", got)
	}
	if got := w.query("SELECT arraySort(groupUniqArray(kept)) FROM " + w.db + ".kept"); got != "['digest','redacted']" {
		t.Errorf("kept %s", got)
	}
	got, _, err := read(t, w.reader(file), 0, waybill.Span{First: 0, Next: int64(n)})
	if err != nil || len(got) != n {
		t.Fatalf("%d records: %v", len(got), err)
	}
	of := w.consumed(n)[0]
	proc := w.maker(file)
	for i := range of {
		wantRow, wantFate, wantKept := proc.row(&of[i])
		gotRow, gotFate, gotKept := proc.row(&got[i])
		if got[i].NotKept {
			if gotFate.Fate != engine.FateDead || gotFate.Reason.Code != engine.CodeNotKept {
				t.Errorf("offset %d, of which only a digest is kept, becomes %+v", i, gotFate)
			}
		} else if gotRow != wantRow || gotFate.Fate != wantFate.Fate || gotFate.Reason.Code != wantFate.Reason.Code {
			t.Errorf("offset %d: the archive makes %s %+v, the topic %s %+v", i, gotRow, gotFate, wantRow, wantFate)
		}
		// Redacting twice is redacting once: so the checksum of what is left does not depend on where a record was read.
		if waybill.RecordChecksum(&wantKept) != waybill.RecordChecksum(&gotKept) || waybill.RecordChecksum(&gotKept) != waybill.RecordChecksum(&got[i]) {
			t.Errorf("offset %d: what is left of it is %q from the archive, %q from the topic; archived is %q", i, gotKept.Value, wantKept.Value, got[i].Value)
		}
	}
}

// Of one topic and its archive the topic's beginning goes: a backfill from Kafka before, and one with the archive after.
func TestArchive_ABackfillWithoutTheLogsBeginningMakesTheSameRows(t *testing.T) {
	for name, top := range map[string]string{"raw": "", "redacted": redacting} {
		t.Run(name, func(t *testing.T) {
			s := spec{top: top + "\narchive: {table: kept}\n", rows: 200, modes: "new_fields: rescue\n  type_conflicts: rescue", columns: "\n    email: {type: String}\n    who: {type: Nullable(String), kafka: key}\n    h: {type: Nullable(String), kafka: header.h}"}
			w := newWorld(t, 2)
			w.exec("ALTER TABLE " + w.db + ".calls ADD COLUMN email String, ADD COLUMN who Nullable(String), ADD COLUMN h Nullable(String)")
			file := w.file(s)
			cl := w.client(kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
			defer cl.Close()
			for i := range 2000 {
				r := kgo.StringRecord(fmt.Sprintf(`{"id":%d,"v":%d,"model":"m%d","mail":"a%d@x.y","email":"b@x.y","ssn":"s","extra":{"n":%d}}`, i, 2, i%3, i, i))
				r.Key, r.Timestamp = fmt.Appendf(nil, "k%d", i%50), time.UnixMilli(1_700_000_000_000+int64(i))
				switch i % 10 {
				case 1:
					r.Value = fmt.Appendf(nil, `{"id":%d,"mail":"old%d@x.y"}`, i, i) // of version 1, which it does not say
				case 2:
					r.Value = nil
				case 3:
					r.Value = []byte("no JSON")
				case 4:
					r.Headers = []kgo.RecordHeader{{Key: "h", Value: []byte{0, 255, '\n'}}, {Key: "auth", Value: []byte("x")}}
				}
				cl.Produce(t.Context(), r, nil)
			}
			if err := cl.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			live := w.name
			w.name = file.Archiver().Name
			keeper := w.start(file.Archiver())
			w.quiet(2000)
			keeper.stop()
			w.name = live

			all := whole(2, 1000)
			before := w.job(file, 1, 2)
			a := before.run(engine.Backfill{Scope: always(all)})
			a.complete()
			w.deleteBefore(0, 700)
			w.deleteBefore(1, 1000) // nothing is left of it
			after := w.job(file, 2, 2)
			b := after.run(engine.Backfill{Scope: always(all), Archive: w.reader(file)})
			b.complete()
			if b.found("retention_loss") {
				t.Errorf("findings %+v", b.p.Status().Findings)
			}
			counts := "SELECT concat(toString(sum(read)), ' ', toString(sum(written)), ' ', toString(sum(tombstones)), ' ', toString(sum(dead_lettered)), ' ', toString(sum(lost))) FROM waybill.ledger WHERE pipeline = '" + w.name + "' AND epoch = "
			if one, two := w.query(counts+"1"), w.query(counts+"2"); one != two || one != "2000 1600 200 200 0" {
				t.Errorf("read, written, tombstones, dead letters, lost: %s from Kafka, %s with the archive", one, two)
			}
			// By content: every column of every row, but for the epoch and the plan's name in the rescue column's text.
			rows := func(epoch string) string {
				return w.query("SELECT concat(toString(count()), ' ', toString(sum(cityHash64(id, model, tokens, email, ifNull(who, 'NULL'), ifNull(h, 'NULL'), _topic, _partition, _offset, _rescued)))) FROM " + w.db + ".calls_j" + epoch)
			}
			if one, two := rows("1"), rows("2"); one != two || !strings.HasPrefix(one, "1600 ") {
				t.Errorf("rows: %s from Kafka, %s with the archive", one, two)
			}
		})
	}
}

// A batch that was promised when the topic had its records is carried out from the archive when it has not, and its checksum is the same, redaction or not.
func TestArchive_APromisedBatchIsCarriedOutFromWhereItsRecordsStillAre(t *testing.T) {
	for name, top := range map[string]string{"raw": "", "redacted": redacting} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			w.exec("ALTER TABLE " + w.db + ".calls ADD COLUMN email String")
			s := spec{top: top + "\narchive: {table: kept}\n", rows: 200, kafka: quickSession, columns: "\n    email: {type: String}"}
			file := w.file(s)
			w.produceAs(1000, func(i int) string {
				return fmt.Sprintf(`{"id":%d,"v":2,"email":"b%d@x.y","ssn":"s"}`, i, i)
			})
			live := w.name
			w.name = file.Archiver().Name
			keeper := w.start(file.Archiver())
			w.quiet(1000)
			keeper.stop()
			w.name = live

			proxy := testenv.Proxy(t, w.ch.TCPAddr())
			proxy.Set(faultproxy.Answer(252, "DB::Exception", "no ledger now").On(faultproxy.Insert("ledger")))
			s.addr = proxy.Addr()
			first := w.job(w.file(s), 1, 1)
			a := first.run(engine.Backfill{Scope: always(whole(1, 1000)), Archive: w.reader(file)})
			a.await("batches are promised", func(s status.Pipeline) bool { return stalled("no ledger now")(s) && len(s.InFlight) > 1 })
			a.sockets.cutAll()
			a.cancel()
			<-a.done
			w.deleteBefore(0, 150) // in the middle of the first batch, perhaps
			second := &job{w, file.Shadow(config.Shadow{Job: "j1", Epoch: 1, Group: first.cfg.Source.Kafka.Group, Table: "calls_j1"}), 1}
			b := second.run(engine.Backfill{Scope: always(whole(1, 1000)), Archive: w.reader(file)})
			b.complete()
			if b.found("records_gone") || b.found("records_changed") || b.found("retention_loss") {
				t.Errorf("findings %+v", b.p.Status().Findings)
			}
			if got := w.query("SELECT concat(toString(count()), ' ', toString(uniqExact(_offset)), ' ', toString(uniqExact(email))) FROM " + w.db + ".calls_j1"); got != "1000 1000 1000" {
				t.Errorf("rows, offsets, values: %s", got)
			}
		})
	}
}
