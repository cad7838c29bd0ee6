package audit_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/audit"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

// rowsEnv is how many rows TestScale audits, and evidenceEnv where it writes what it found: see `make e2e-long`.
const (
	rowsEnv     = "WAYBILL_AUDIT_ROWS"
	evidenceEnv = "WAYBILL_AUDIT_EVIDENCE"
)

// scale is a table of many rows that no pipeline has written: by SQL, with the account that a pipeline would have left.
type scale struct {
	*testing.T
	ch         *chserver.Server
	cfg        *config.Pipeline
	client     *clickhouse.Client
	rows       int64
	partitions int64
	batch      int64
}

const scaleDB = "scale"

func newScale(t *testing.T, rows int64) *scale {
	s := &scale{T: t, rows: rows, partitions: 10, batch: 500_000}
	s.ch = testenv.ClickHouse(t, func(o *chserver.Options) { o.SystemLogs, o.MaxMemory = true, 6<<30 })
	var err error
	if s.cfg, err = config.Parse("scale.yaml", fmt.Appendf(nil, `
name: scale
source: {kafka: {brokers: ["localhost:1"], topic: calls}}
contract:
  columns:
    trace_id: {type: UUID}
    ts: {type: DateTime64(3), required: true}
    model: {type: LowCardinality(String), required: true}
    tokens: {type: UInt32}
    prompt: {type: String}
sink: {clickhouse: {url: "clickhouse://default@%s/%s", table: calls}}
`, s.ch.TCPAddr(), scaleDB), func(string) (string, bool) { return "", false }); err != nil {
		t.Fatal(err)
	}
	s.exec("CREATE DATABASE " + scaleDB + " ENGINE = Atomic")
	c := s.cfg.Sink.ClickHouse
	create, err := contract.CreateTable(s.cfg.Contract, c.Lineage, c.Database, c.Table, "")
	if err != nil {
		t.Fatal(err)
	}
	s.exec(create)
	if s.client, err = clickhouse.Open(t.Context(), engine.Server(c), clickhouse.Deps{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	return s
}

func (s *scale) exec(sql ...string) { s.Helper(); testenv.Exec(s, s.ch.HTTPAddr(), sql...) }

func (s *scale) value(sql string) string {
	s.Helper()
	return testenv.QueryValue(s, s.ch.HTTPAddr(), sql)
}

// fill writes the rows, in blocks over all partitions as a worker would, and the account of each block.
func (s *scale) fill() {
	store := ledger.New(s.client, "")
	now := s.client.ServerNow(time.Now())
	if err := store.Migrate(s.Context(), now); err != nil {
		s.Fatal(err)
	}
	for first := int64(0); first < s.rows/s.partitions; first += s.batch / s.partitions {
		n := min(s.batch/s.partitions, s.rows/s.partitions-first)
		s.exec(fmt.Sprintf(`INSERT INTO %[1]s.calls (trace_id, ts, model, tokens, prompt, _topic, _partition, _offset, _epoch)
			SELECT generateUUIDv4(number), fromUnixTimestamp64Milli(toInt64(1793491200000 + %[5]d + number)), concat('model-', toString(cityHash64(number) %% 20)), number %% 4096,
			       concat('prompt number ', toString(number)), 'calls', number %% %[2]d, %[3]d + intDiv(number, %[2]d), 0
			FROM numbers(%[4]d)
			SETTINGS max_insert_block_size = 1000000, min_insert_block_size_rows = 1000000, max_block_size = 1000000`, scaleDB, s.partitions, first, n*s.partitions, first*s.partitions))
		var rows []ledger.Row
		for p := range s.partitions {
			tp := waybill.TopicPartition{Topic: "calls", Partition: int32(p)}
			rows = append(rows, ledger.Row{Pipeline: "scale", TopicPartition: tp, Span: waybill.Span{First: first, Next: first + n}, BatchTime: now.UnixMilli(), Plan: 1, Target: scaleDB + ".calls",
				Counts: ledger.Counts{Read: n, Written: n}})
		}
		if a := s.client.Insert(s.Context(), clickhouse.Insert{Database: store.Database(), Table: ledger.TableLedger, Token: waybill.Token(uuid.NewString()), Input: ledger.Block(rows)}); a.Err != nil {
			s.Fatal(a.Err)
		}
	}
}

// run audits, and says how long it took, and what the server read for it.
func (s *scale) run() (r *audit.Report, took time.Duration, cost string, read int64) {
	began := s.value("SELECT toString(now64(6))")
	started := time.Now()
	r, err := audit.Run(s.Context(), audit.Deps{Client: s.client, Ledger: ledger.New(s.client, "")}, s.cfg, audit.Options{})
	if err != nil {
		s.Fatal(err)
	}
	took = time.Since(started)
	s.exec("SYSTEM FLUSH LOGS")
	row := testenv.QueryRows(s, s.ch.HTTPAddr(), fmt.Sprintf(`SELECT count(), sum(read_rows), formatReadableSize(sum(read_bytes)), max(query_duration_ms), formatReadableSize(max(memory_usage)) FROM system.query_log
		WHERE type = 'QueryFinish' AND log_comment = 'waybill' AND event_time_microseconds >= toDateTime64('%s', 6)`, began))[0]
	read, _ = strconv.ParseInt(row[1], 10, 64)
	return r, took, fmt.Sprintf("%s queries, %s rows and %s read, the longest query %s ms, at most %s of the server's memory for one", row[0], row[1], row[2], row[3], row[4]), read
}

// offset is a row of the table.
type offset struct {
	partition int32
	at        int64
}

func (s *scale) draw(r *rand.Rand, n int, not []offset) (out []offset) {
	for len(out) < n {
		o := offset{int32(r.Int64N(s.partitions)), r.Int64N(s.rows / s.partitions)}
		if !slices.Contains(out, o) && !slices.Contains(not, o) {
			out = append(out, o)
		}
	}
	return out
}

func condition(of []offset) string {
	var list []string
	for _, o := range of {
		list = append(list, fmt.Sprintf("(%d, %d)", o.partition, o.at))
	}
	return "(_partition, _offset) IN (" + strings.Join(list, ", ") + ")"
}

// named are the offsets that a report names under a kind.
func named(r *audit.Report, kind string) (out []offset) {
	for _, v := range r.Violations {
		if v.Kind != kind || !v.Exact {
			continue
		}
		for _, x := range v.Offsets {
			for o := x.First; o < x.Next; o++ {
				out = append(out, offset{v.Partition, o})
			}
		}
	}
	return out
}

func sorted(of []offset) []offset {
	return slices.SortedFunc(slices.Values(of), func(a, b offset) int {
		if a.partition != b.partition {
			return int(a.partition - b.partition)
		}
		return int(a.at - b.at)
	})
}

// Of many rows, 17 are deleted and 5 doubled behind Waybill's back: the audit names these very offsets, and reads a small part of the table for it.
func TestScale(t *testing.T) {
	rows := int64(1_000_000)
	if text := os.Getenv(rowsEnv); text != "" {
		var err error
		if rows, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	s := newScale(t, rows)
	started := time.Now()
	s.fill()
	filled := time.Since(started)
	if got := s.value("SELECT count() FROM " + scaleDB + ".calls"); got != fmt.Sprint(rows) {
		t.Fatalf("%s rows, want %d", got, rows)
	}
	r, cleanTook, cleanCost, cleanRead := s.run()
	if len(r.Violations) > 0 || r.Verdict != audit.Unclear || len(r.Unknown) != 1 || r.Unknown[0].Law != "L4" {
		t.Fatalf("before anything is broken: %+v %+v", r.Violations, r.Unknown)
	}
	seed := rand.Uint64()
	draw := rand.New(rand.NewPCG(seed, 1))
	deleted := s.draw(draw, 17, nil)
	doubled := s.draw(draw, 5, deleted)
	s.exec(fmt.Sprintf("DELETE FROM %s.calls WHERE %s SETTINGS lightweight_deletes_sync = 0", scaleDB, condition(deleted)))
	testenv.Eventually(t, 10*time.Minute, "the rows are deleted", func() bool {
		return s.value("SELECT countIf(NOT is_done) FROM system.mutations WHERE database = '"+scaleDB+"'") == "0"
	})
	s.exec(fmt.Sprintf("INSERT INTO %s.calls SELECT * FROM %[1]s.calls WHERE %s SETTINGS insert_deduplicate = 0", scaleDB, condition(doubled)))
	r, took, cost, read := s.run()
	missing, repeated := named(r, audit.KindMissing), named(r, audit.KindRepeated)
	if !slices.Equal(missing, sorted(deleted)) || !slices.Equal(repeated, sorted(doubled)) || len(said(r)) != len(r.Violations) {
		t.Errorf("seed %d: missing %v, want %v; repeated %v, want %v", seed, missing, sorted(deleted), repeated, sorted(doubled))
	}
	for _, v := range r.Violations {
		if v.Kind != audit.KindMissing && v.Kind != audit.KindRepeated {
			t.Errorf("%+v", v)
		}
	}
	if cleanRead > rows/20+10_000 {
		t.Errorf("the audit of a clean table of %d rows read %d rows", rows, cleanRead)
	}
	size := s.value("SELECT concat(formatReadableSize(sum(bytes_on_disk)), ' in ', toString(count()), ' parts') FROM system.parts WHERE active AND database = '" + scaleDB + "'")
	text := fmt.Sprintf(`rows      %d in %d partitions of the topic, %s, sorted by (model, ts); filled in %s
seed      %d
deleted   %d offsets: %v
doubled   %d offsets: %v
named     exactly these: %t
clean     %s: %s
broken    %s: %s (%.2f rows read for each row of the table)
`, rows, s.partitions, size, filled.Round(time.Second), seed, len(deleted), sorted(deleted), len(doubled), sorted(doubled), !t.Failed(), cleanTook.Round(time.Millisecond), cleanCost,
		took.Round(time.Millisecond), cost, float64(read)/float64(rows))
	t.Log("\n" + text)
	if path := os.Getenv(evidenceEnv); path != "" && !t.Failed() {
		commit, _ := exec.Command("git", "rev-parse", "HEAD").Output()
		head := fmt.Sprintf("`waybill audit` on a large table whose rows were deleted and doubled by separate SQL (make e2e-long).\n\ncommit    %sdate      %s\nengine    ClickHouse %s\n", commit,
			time.Now().UTC().Format(time.RFC3339), s.client.Server().Version)
		if err := os.WriteFile(path, []byte(head+text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
