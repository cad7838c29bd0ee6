package clickhouse

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/testenv"
)

// Random offsets, in clusters around bucket borders, with and without the projection, against a plain query.
func TestPresent_AgreesWithBruteForce(t *testing.T) { overBoth(t, testPresent_AgreesWithBruteForce) }

func testPresent_AgreesWithBruteForce(t *testing.T, over wire) {
	w := newWorld(t, over)
	rng := rand.New(rand.NewPCG(3, 4))
	w.table("plain", "", window100)
	w.table("projected", ", "+ProjectionDDL(testLineage), window100)
	offset := func() int64 {
		return rng.Int64N(4)*BucketOffsets + rng.Int64N(40) - 20
	}
	for i := range 12 {
		var offsets []int64
		for range 60 {
			if o := offset(); o >= 0 {
				offsets = append(offsets, o)
			}
		}
		for _, table := range []string{"plain", "projected"} {
			w.wantLanded(w.insert(table, waybill.Token(fmt.Sprint(i)), rows(int32(i%3), offsets...)))
		}
	}
	for range 40 {
		var spans []PartitionSpan
		for range rng.IntN(6) {
			first := max(offset(), 0)
			spans = append(spans, PartitionSpan{
				waybill.TopicPartition{Topic: []string{"t", "t", "t", "u"}[rng.IntN(4)], Partition: rng.Int32N(4)},
				waybill.Span{First: first, Next: first + []int64{0, 1, 30, 100, 2 * BucketOffsets}[rng.IntN(5)]},
			})
		}
		want := w.presentByHand("plain", spans)
		for _, table := range []string{"plain", "projected"} {
			got, err := w.c.Present(t.Context(), Presence{
				Database: w.db, Table: table, Lineage: testLineage, HasProjection: table == "projected", Spans: spans,
			})
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%s %v:\ngot  %v\nwant %v", table, spans, got, want)
			}
		}
	}
}

// presentByHand shares nothing with Present but the question.
func (w *world) presentByHand(table string, spans []PartitionSpan) map[waybill.TopicPartition]waybill.OffsetSet {
	out := map[waybill.TopicPartition]waybill.OffsetSet{}
	for _, s := range spans {
		set := out[s.TopicPartition]
		for _, r := range testenv.QueryRows(w, w.srv.HTTPAddr(), fmt.Sprintf(
			"SELECT DISTINCT _offset FROM %s.%s WHERE _topic = '%s' AND _partition = %d AND _offset >= %d AND _offset < %d ORDER BY 1",
			w.db, table, s.Topic, s.Partition, s.First, s.Next)) {
			var o int64
			if _, err := fmt.Sscan(r[0], &o); err != nil {
				w.Fatal(err)
			}
			set.Add(o)
		}
		if !set.Empty() {
			out[s.TopicPartition] = set
		}
	}
	return out
}

func TestPresentPast(t *testing.T) { overBoth(t, testPresentPast) }

func testPresentPast(t *testing.T, over wire) {
	w := newWorld(t, over)
	w.table("plain", "", window100)
	w.table("projected", ", "+ProjectionDDL(testLineage), window100)
	for _, table := range []string{"plain", "projected"} {
		w.wantLanded(w.insert(table, "a", rows(0, 5, 10, 11, 70000)))
		p := Presence{Database: w.db, Table: table, Lineage: testLineage, HasProjection: table == "projected"}
		for from, want := range map[int64]string{0: "[5,6) [10,12) [70000,70001)", 11: "[11,12) [70000,70001)", 70001: "{}"} {
			tp := waybill.TopicPartition{Topic: "t"}
			past, err := w.c.PresentPast(t.Context(), p, map[waybill.TopicPartition]int64{tp: from, {Topic: "t", Partition: 1}: 0, {Topic: "u"}: 0})
			if got := past[tp]; err != nil || got.String() != want || len(past) > 1 {
				t.Errorf("%s past %d: %v %v, want %s", table, from, past, err, want)
			}
		}
	}
}

// Partitions that begin in different buckets are asked for in one statement.
func TestPresentPast_ManyPartitions(t *testing.T) {
	w := newWorld(t, wire{name: "native"})
	w.table("t", ", "+ProjectionDDL(testLineage), window100)
	w.exec("INSERT INTO " + w.db + ".t SELECT 't', number % 500, intDiv(number, 500) * 40000, number FROM numbers(2000)")
	p := Presence{Database: w.db, Table: "t", Lineage: testLineage, HasProjection: true}
	from := map[waybill.TopicPartition]int64{}
	for i := range 600 {
		from[waybill.TopicPartition{Topic: "t", Partition: int32(i)}] = int64(i%4) * 40000
	}
	past, err := w.c.PresentPast(t.Context(), p, from)
	if err != nil || len(past) != 500 {
		t.Fatalf("%d partitions, %v", len(past), err)
	}
	for tp, set := range past {
		if want := 4 - int64(tp.Partition%4); set.Len() != want || set.Bounds().First != from[tp] {
			t.Errorf("%v past %d: %v", tp, from[tp], set)
		}
	}
}

// A whole run answers with two numbers per bucket, and the projection is what is read.
func TestPresent_ReadsTheProjection(t *testing.T) { overBoth(t, testPresent_ReadsTheProjection) }

func testPresent_ReadsTheProjection(t *testing.T, over wire) {
	w := newWorld(t, over)
	w.table("t", ", "+ProjectionDDL(testLineage), window100)
	w.exec("INSERT INTO " + w.db + ".t SELECT 't', 0, number, number FROM numbers(300000)")
	p := Presence{
		Database: w.db, Table: "t", Lineage: testLineage, HasProjection: true,
		Spans: []PartitionSpan{{waybill.TopicPartition{Topic: "t"}, waybill.Span{First: 10, Next: 250000}}},
	}
	got, err := w.c.Present(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if s := got[waybill.TopicPartition{Topic: "t"}]; s.String() != "[10,250000)" {
		t.Errorf("present %v", s)
	}
	plan, err := testenv.Query(w.srv.HTTPAddr(), "EXPLAIN "+p.runsQuery(p.spansCondition(p.Spans)))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(plan, "ReadFromMergeTree ("+ProjectionName+")") {
		t.Errorf("the projection is not read:\n%s", plan)
	}
}

// Parts that are older than the projection do not have it; the answer is the same.
func TestPresent_PartsWithoutTheProjection(t *testing.T) {
	overBoth(t, testPresent_PartsWithoutTheProjection)
}

func testPresent_PartsWithoutTheProjection(t *testing.T, over wire) {
	w := newWorld(t, over)
	w.table("t", "", window100)
	w.wantLanded(w.insert("t", "a", rows(0, 1, 2)))
	w.exec("ALTER TABLE " + w.db + ".t ADD " + ProjectionDDL(testLineage))
	w.wantLanded(w.insert("t", "b", rows(0, 3, 5)))
	got, err := w.c.Present(t.Context(), Presence{
		Database: w.db, Table: "t", Lineage: testLineage, HasProjection: true,
		Spans: []PartitionSpan{{waybill.TopicPartition{Topic: "t"}, waybill.Span{First: 0, Next: 100}}},
	})
	if err != nil || fmt.Sprint(got) != "map[t/0:[1,4) [5,6)]" {
		t.Errorf("%v %v", got, err)
	}
}

// Rows of another epoch are other rows.
func TestPresent_Epoch(t *testing.T) { overBoth(t, testPresent_Epoch) }

func testPresent_Epoch(t *testing.T, over wire) {
	w := newWorld(t, over)
	lineage := testLineage
	lineage.Epoch = "_epoch"
	w.table("t", ", _epoch UInt32 DEFAULT 1, "+ProjectionDDL(lineage), window100)
	w.exec("INSERT INTO "+w.db+".t (_topic, _partition, _offset, v) VALUES ('t', 0, 1, 1)",
		"INSERT INTO "+w.db+".t (_topic, _partition, _offset, v, _epoch) VALUES ('t', 0, 2, 1, 2)")
	for _, projection := range []bool{true, false} {
		got, err := w.c.Present(t.Context(), Presence{
			Database: w.db, Table: "t", Lineage: lineage, Epoch: 2, HasProjection: projection,
			Spans: []PartitionSpan{{waybill.TopicPartition{Topic: "t"}, waybill.Span{First: 0, Next: 100}}},
		})
		if err != nil || fmt.Sprint(got) != "map[t/0:[2,3)]" {
			t.Errorf("projection %v: %v %v", projection, got, err)
		}
	}
}

// A profile can make a read-back fail, never make it partial: "absent" of rows that are there would double them.
func TestPresent_ProfileCannotCutTheAnswer(t *testing.T) {
	overBoth(t, testPresent_ProfileCannotCutTheAnswer)
}

func testPresent_ProfileCannotCutTheAnswer(t *testing.T, over wire) {
	srv := testenv.ClickHouse(t, func(o *chserverOptions) {
		o.Users = []chserverUser{
			{Name: "limited", Settings: map[string]string{"limit": "1", "offset": "1", "low_cardinality_allow_in_native_format": "1"}},
			{Name: "cut", Settings: map[string]string{"max_rows_to_read": "50000", "read_overflow_mode": "break"}},
			{Name: "short", Settings: map[string]string{"max_result_rows": "49", "result_overflow_mode": "break"}},
		}
	})
	db := testenv.Database(t, srv)
	testenv.Exec(t, srv.HTTPAddr(), "CREATE TABLE "+db+".t ("+lineageColumns+") ENGINE = MergeTree ORDER BY v",
		"INSERT INTO "+db+".t SELECT 't', number % 50, number, number FROM numbers(100000)")
	p := Presence{Database: db, Table: "t", Lineage: testLineage}
	for part := range int32(50) {
		p.Spans = append(p.Spans, PartitionSpan{waybill.TopicPartition{Topic: "t", Partition: part}, waybill.Span{First: 0, Next: 100_000}})
	}
	read := func(user string) (int64, error) {
		t.Helper()
		c := newClient(over.on(srv, Config{User: user}), Deps{})
		defer c.Close()
		got, err := c.Present(t.Context(), p)
		n := int64(0)
		for _, set := range got {
			n += set.Len()
		}
		return n, err
	}
	if n, err := read("limited"); n != 100_000 || err != nil {
		t.Errorf("limited: %d offsets, %v", n, err)
	}
	for user, code := range map[string]int{"cut": 158, "short": 396} {
		n, err := read(user)
		if n != 0 {
			t.Errorf("%s: a partial answer of %d offsets", user, n)
		}
		wantCode(t, err, waybill.ClassDenied, code)
	}
	open(t, over.on(srv, Config{User: "limited"}))
}

// A full bucket with holes is what every dead letter leaves behind. An array that a lambda captures is
// copied for each of its elements: that took gigabytes.
func TestPresent_BucketWithHolesIsCheap(t *testing.T) {
	overBoth(t, testPresent_BucketWithHolesIsCheap)
}

func testPresent_BucketWithHolesIsCheap(t *testing.T, over wire) {
	w := newWorld(t, over)
	w.table("projected", ", "+ProjectionDDL(testLineage), window100)
	const n = 65_536
	offsets := make([]int64, 0, n)
	for o := range int64(n) {
		if o%3 != 0 {
			offsets = append(offsets, o)
		}
	}
	w.wantLanded(w.insert("projected", "holes", rows(0, offsets...)))
	tp := waybill.TopicPartition{Topic: "t"}
	// The test server may use 2 GiB; the set itself takes some 2 MB.
	got, err := w.c.Present(t.Context(), Presence{Database: w.db, Table: "projected", Lineage: testLineage, HasProjection: true,
		Spans: []PartitionSpan{{tp, waybill.Span{First: 0, Next: n}}}})
	if err != nil {
		t.Fatal(err)
	}
	if got[tp].Len() != int64(len(offsets)) {
		t.Errorf("present %d, want %d", got[tp].Len(), len(offsets))
	}
}
