package audit_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/audit"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

// partitioned makes a table of three partitions, by id.
var partitioned = spec{n: 100, before: []string{`CREATE TABLE DB.calls (id UInt64, kind String, _topic LowCardinality(String), _partition UInt32, _offset UInt64, _epoch UInt32,
		PROJECTION waybill_offsets (SELECT _topic, _partition, _epoch, intDiv(_offset, 65536), count(), groupBitmapState(_offset) GROUP BY _topic, _partition, _epoch, intDiv(_offset, 65536)))
		ENGINE = MergeTree PARTITION BY id % 3 ORDER BY id SETTINGS non_replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild'`},
	contract: "{new_fields: discard, type_conflicts: freeze, columns: {id: {type: UInt64}, kind: {type: String}}}",
	value:    func(i int) string { return fmt.Sprintf(`{"id":%d,"kind":"k%d"}`, i, i%10) }}

// explained are the causes of missing rows, by partition: kind, how many rows, and what is said, as far as it is asked for.
func explained(r *audit.Report) (out []string) {
	for _, v := range r.Violations {
		for _, c := range v.Causes {
			n := int64(0)
			for _, x := range c.Offsets {
				n += x.Next - x.First
			}
			out = append(out, fmt.Sprintf("%d %s %d of %d", v.Partition, c.Kind, n, v.Count))
		}
	}
	return out
}

// Rows that were deleted, and in a partition that was dropped, and one that was detached: each is told by the server's own records of it.
func TestCauses_OfMissingRows(t *testing.T) {
	srv := testenv.ClickHouse(t, func(o *chserver.Options) { o.SystemLogs = true })
	w := newWorldOn(t, srv, partitioned)
	w.exec("DELETE FROM "+w.db+".calls WHERE kind = 'k3' AND id < 50", // 3, 13, 23, 33, 43; of these 3 and 33 are dropped below, too
		"ALTER TABLE "+w.db+".calls DROP PARTITION 0",   // 34 rows in each of the topic's partitions
		"ALTER TABLE "+w.db+".calls DETACH PARTITION 1") // 33
	testenv.Eventually(t, time.Minute, "the server has the statements in its log", func() bool { // it may answer before
		w.exec("SYSTEM FLUSH LOGS")
		body, err := testenv.Query(srv.HTTPAddr(), "SELECT uniqExact(query) FROM system.query_log WHERE type = 'QueryFinish' AND match(query, '^ALTER TABLE "+w.db+"[.]calls D')")
		return err == nil && strings.TrimSpace(body) == "2"
	})
	r := w.audit(audit.Options{})
	if r.Verdict != audit.Violated || len(r.Violations) != 2 {
		t.Fatalf("%s %+v", r.Verdict, r.Violations)
	}
	for _, v := range r.Violations {
		// id % 3 = 2 is all that is left, without 23.
		if v.Kind != audit.KindMissing || v.Count != 34+33+1 || len(v.Causes) != 4 {
			t.Fatalf("%+v", v)
		}
		for _, want := range []struct {
			kind, says string
			rows       int64
			first      int64
		}{
			{audit.CauseMutation, "WHERE (kind = 'k3') AND (id < 50)", 5, 3},
			{audit.CausePartition, "DROP PARTITION 0", 34, 0},
			{audit.CausePartition, "DETACH PARTITION 1", 33, 1},
			{audit.CauseDetached, "partition 1 of", 33, 1},
		} {
			i := slices.IndexFunc(v.Causes, func(c audit.Cause) bool { return c.Kind == want.kind && strings.Contains(c.Message, want.says) })
			if i < 0 {
				t.Errorf("no %s that says %q among %+v", want.kind, want.says, v.Causes)
				continue
			}
			c, n := v.Causes[i], int64(0)
			for _, x := range c.Offsets {
				n += x.Next - x.First
			}
			if n != want.rows || c.Offsets[0].First != want.first || c.At == "" {
				t.Errorf("%+v, want %d rows from %d", c, want.rows, want.first)
			}
		}
	}
}

// Rows of another epoch are named, and do not count.
func TestCauses_AnotherEpoch(t *testing.T) {
	w := newWorld(t, 100, "")
	w.exec("INSERT INTO "+w.db+".calls SELECT * REPLACE (4 AS _epoch) FROM "+w.db+".calls WHERE _partition = 0 AND _offset IN (11, 12, 13)", "DELETE FROM "+w.db+".calls WHERE _partition = 0 AND _offset IN (11, 12) AND _epoch = 0")
	r := w.want(audit.Options{}, audit.Violated, "L3 rows_missing 0: 11-12")
	i := slices.IndexFunc(r.Violations[0].Causes, func(c audit.Cause) bool { return c.Kind == audit.CauseEpoch })
	if i < 0 || !slices.Equal(r.Violations[0].Causes[i].Offsets, []audit.Range{{First: 11, Next: 13}}) || !strings.Contains(r.Violations[0].Causes[i].Message, "epoch 4") {
		t.Errorf("%+v", r.Violations[0].Causes)
	}
}

// Without logs and without records the rows are missing all the same, and nothing is made up. A DELETE of other rows explains nothing.
func TestCauses_NoneAreMadeUp(t *testing.T) {
	w := newWorldOf(t, partitioned)
	w.exec("ALTER TABLE "+w.db+".calls DROP PARTITION 2", "DELETE FROM "+w.db+".calls WHERE id = 200")
	r := w.audit(audit.Options{})
	if len(r.Violations) != 2 || r.Violations[0].Count != 33 || len(explained(r)) != 0 {
		t.Errorf("%+v", r.Violations)
	}
	w.deps.Source = nil
	if r := w.audit(audit.Options{}); len(r.Violations) != 2 || r.Violations[1].Count != 33 || len(explained(r)) != 0 {
		t.Errorf("%+v", r.Violations)
	}
}
