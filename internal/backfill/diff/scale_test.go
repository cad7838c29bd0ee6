package diff_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/backfill/diff"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

// rowsEnv is how many rows TestScale compares, and evidenceEnv where it writes what it found: see `make e2e-long`.
const (
	rowsEnv     = "WAYBILL_DIFF_ROWS"
	evidenceEnv = "WAYBILL_DIFF_EVIDENCE"
)

// scale is two tables of many rows, in ten partitions of the topic and thirty of the tables, sorted by something else than offsets.
func newScale(t *testing.T, rows int64) *world {
	w := &world{T: t, ch: testenv.ClickHouse(t, func(o *chserver.Options) { o.SystemLogs, o.MaxMemory = true, 6<<30 })}
	w.db = testenv.Database(t, w.ch)
	var err error
	if w.client, err = clickhouse.Open(t.Context(), clickhouse.Config{Addr: w.ch.TCPAddr(), QueryTimeout: time.Hour}, clickhouse.Deps{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	for epoch, name := range []string{"live", "shadow"} {
		w.exec(fmt.Sprintf(`CREATE TABLE DB.%s (trace_id UUID, ts DateTime64(3), model LowCardinality(String), tokens UInt32, cost Nullable(Float64), prompt String, tags Map(String, String), %s)
			ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY (model, ts)`, name, lineage))
		for first := int64(0); first < rows; first += 1_000_000 {
			w.exec(fmt.Sprintf(`INSERT INTO DB.%s SELECT toUUID(concat('00000000-0000-4000-8000-', leftPad(hex(number), 12, '0'))), fromUnixTimestamp64Milli(toInt64(1793491200000 + intDiv(number * 2592000000, %d))), concat('model-', toString(cityHash64(number) %% 20)),
				number %% 4096, if(number %% 11 = 0, NULL, number / 8), concat('prompt number ', toString(number)), map('k', toString(number %% 100)), 'calls', number %% 10, intDiv(number, 10), %d FROM numbers(%d, %d)
				SETTINGS max_insert_block_size = 1000000, min_insert_block_size_rows = 1000000, max_partitions_per_insert_block = 0`, name, rows, epoch, first, min(1_000_000, rows-first)))
		}
	}
	return w
}

// cost is what the server did for the queries of a comparison.
func (w *world) cost(began string) (text string, memory int64) {
	w.exec("SYSTEM FLUSH LOGS")
	row := testenv.QueryRows(w, w.ch.HTTPAddr(), fmt.Sprintf(`SELECT count(), sum(read_rows), formatReadableSize(sum(read_bytes)), max(query_duration_ms), max(memory_usage) FROM system.query_log
		WHERE type = 'QueryFinish' AND log_comment = 'waybill' AND event_time_microseconds >= toDateTime64('%s', 6)`, began))[0]
	memory, err := strconv.ParseInt(row[4], 10, 64)
	if err != nil || memory == 0 {
		w.Fatalf("the server does not tell what memory the queries took: %q, %v", row[4], err)
	}
	return fmt.Sprintf("%s queries, %s rows and %s read, the longest query %s ms, at most %d MiB of the server's memory for one", row[0], row[1], row[2], row[3], memory>>20), memory
}

// Of many rows, 17 are lost, 5 doubled and 23 changed in one value; then all are changed in a column. Every one is counted, whatever the memory, and no query exceeds it.
func TestScale(t *testing.T) {
	rows := int64(300_000)
	if text := os.Getenv(rowsEnv); text != "" {
		var err error
		if rows, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	const limit = 512 << 20
	started := time.Now()
	w := newScale(t, rows)
	filled := time.Since(started)
	compare := func(what string, want diff.Rows) (*diff.Report, string) {
		t.Helper()
		began := testenv.QueryValue(t, w.ch.HTTPAddr(), "SELECT toString(now64(6))")
		r := w.compare(diff.Options{Topic: "calls", Memory: limit, Samples: 50, Whole: true})
		text, memory := w.cost(began)
		if r.Rows != want {
			t.Errorf("%s: %+v, want %+v", what, r.Rows, want)
		}
		if memory > limit {
			t.Errorf("%s: %d bytes for a query, which may use %d", what, memory, limit)
		}
		return r, fmt.Sprintf("%.1f s; %d rows of both tables side by side in %d slices; %s", r.Cost.Seconds, r.Cost.Looked, r.Cost.Slices, text)
	}
	r, equal := compare("before anything is changed", diff.Rows{Both: rows, Same: rows})
	if !r.Equal() || r.Cost.Slices != 0 {
		t.Errorf("%+v", r.Cost)
	}
	seed := rand.Uint64()
	draw := rand.New(rand.NewPCG(seed, 1))
	var places [][2]int64
	for len(places) < 45 {
		if p := [2]int64{draw.Int64N(10), draw.Int64N(rows / 10)}; !slices.Contains(places, p) {
			places = append(places, p)
		}
	}
	lost, doubled, changed := places[:17], places[17:22], places[22:]
	w.exec("ALTER TABLE DB.shadow UPDATE prompt = concat(prompt, ' '), tokens = tokens + 1 WHERE "+in(changed)+" SETTINGS mutations_sync = 2",
		"DELETE FROM DB.shadow WHERE "+in(lost), "INSERT INTO DB.shadow SELECT * FROM DB.shadow WHERE "+in(doubled)+" SETTINGS insert_deduplicate = 0, max_partitions_per_insert_block = 0")
	few := diff.Rows{Both: rows - 17, Same: rows - 17 - 23, Changed: 23, OnlyLive: 17, DoubledShadow: 5}
	r, some := compare("a few", few)
	for what, c := range map[string]struct {
		got  []diff.Key
		want [][2]int64
	}{"lost": {r.Samples.OnlyLive, lost}, "doubled": {r.Samples.DoubledShadow, doubled}, "changed": {keysIn(r.Column("tokens")), changed}} {
		if got, want := sortedKeys(c.got), sortedKeys(keysAt(c.want)); !slices.Equal(got, want) {
			t.Errorf("seed %d, %s: got %v, want %v", seed, what, got, want)
		}
	}
	w.exec("ALTER TABLE DB.shadow UPDATE cost = ifNull(cost, 0) + 1 WHERE 1 SETTINGS mutations_sync = 2")
	r, all := compare("all", diff.Rows{Both: rows - 17, Changed: rows - 17, OnlyLive: 17, DoubledShadow: 5})
	if r.Column("cost").Changed != rows-17 || r.Column("prompt").Changed != 23 {
		t.Errorf("%+v", r.Column("cost"))
	}
	size := testenv.QueryValue(t, w.ch.HTTPAddr(), "SELECT concat(formatReadableSize(sum(bytes_on_disk)), ' in ', toString(count()), ' parts') FROM system.parts WHERE active AND database = '"+w.db+"'")
	text := fmt.Sprintf("rows      %d in each of two tables, in 10 partitions of the topic and about 30 of the tables, %s in all, sorted by (model, ts); filled in %s\nseed      %d\nlimit     %d MiB for a query\nequal     %s\na few     %s\nall       %s\n",
		rows, size, filled.Round(time.Second), seed, limit>>20, equal, some, all)
	t.Log("\n" + text)
	if path := os.Getenv(evidenceEnv); path != "" && !t.Failed() {
		commit, _ := exec.Command("git", "rev-parse", "HEAD").Output()
		head := fmt.Sprintf("`waybill backfill diff` on two large tables: equal, with a few rows lost, doubled and changed by separate SQL, and with a value of every row changed (make e2e-long).\n\ncommit    %sdate      %s\nengine    ClickHouse %s\n", commit,
			time.Now().UTC().Format(time.RFC3339), w.client.Server().Version)
		if err := os.WriteFile(path, []byte(head+text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func in(places [][2]int64) string {
	out := "(_partition, _offset) IN ("
	for i, p := range places {
		if i > 0 {
			out += ", "
		}
		out += fmt.Sprintf("(%d, %d)", p[0], p[1])
	}
	return out + ")"
}

func keysAt(places [][2]int64) (out []diff.Key) {
	for _, p := range places {
		out = append(out, diff.Key{"calls", fmt.Sprint(p[0]), fmt.Sprint(p[1])})
	}
	return out
}

func keysIn(c *diff.Column) (out []diff.Key) {
	for _, s := range c.Samples {
		out = append(out, s.Key)
	}
	return out
}

func sortedKeys(keys []diff.Key) (out []string) {
	for _, k := range keys {
		out = append(out, k.String())
	}
	slices.Sort(out)
	return out
}
