package completeness

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/minutes"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/through"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// begin is of yesterday: rows of the ledger are rolled up once they are eight days old.
var begin = time.Now().UTC().Truncate(24 * time.Hour).Add(-10 * time.Hour)

// world is a pipeline that has run, by its ledger and its table alone: two batches of ten records each, the first of two minutes, the second of one. One
// record of each is filtered, and one is a dead letter.
type world struct {
	*testing.T
	Deps
	http   string
	db     string
	cfg    *config.Pipeline
	tokens int
}

func newWorld(t *testing.T, eventTime bool) *world {
	t.Helper()
	srv := testenv.SharedClickHouse(t)
	client, err := clickhouse.Open(t.Context(), clickhouse.Config{Addr: srv.TCPAddr()}, clickhouse.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	w := &world{T: t, Deps: Deps{Client: client, Ledger: ledger.New(client, testenv.Database(t, srv))}, http: srv.HTTPAddr(), db: testenv.Database(t, srv)}
	by := ""
	if eventTime {
		by = "event_time: at, "
	}
	w.cfg, err = config.Parse("p.yaml", []byte(fmt.Sprintf(`{name: p, source: {kafka: {brokers: [k], topic: t}}, contract: {%scolumns: {id: {type: UInt64}, at: {type: DateTime64(3)}}}, sink: {clickhouse: {url: "clickhouse://h/%s", table: c}}}`, by, w.db)), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Ledger.Migrate(t.Context(), begin); err != nil {
		t.Fatal(err)
	}
	w.exec(fmt.Sprintf(`CREATE TABLE %s.c (id UInt64, at DateTime64(3, 'Europe/Berlin'), _topic LowCardinality(String), _partition UInt32, _offset UInt64, _epoch UInt32, _rescued String, %s)
ENGINE = MergeTree ORDER BY at SETTINGS non_replicated_deduplication_window = 1000, lightweight_mutation_projection_mode = 'rebuild'`, w.db, clickhouse.ProjectionDDL(contract.DefaultLineage())))
	w.record(w.cfg)
	w.batch(0, begin, begin.Add(time.Minute))
	w.batch(10, begin.Add(time.Hour), begin.Add(time.Hour))
	return w
}

func (w *world) exec(sql ...string) { w.Helper(); testenv.Exec(w, w.http, sql...) }

func (w *world) insert(table string, in clickhouse.Insert) {
	w.Helper()
	w.tokens++
	in.Database, in.Table, in.Token = w.Ledger.Database(), table, waybill.Token(fmt.Sprintf("%s-%d", w.Name(), w.tokens))
	if a := w.Client.Insert(w.Context(), in); a.Err != nil {
		w.Fatal(a.Err)
	}
}

// record puts the plan of a pipeline file on record.
func (w *world) record(cfg *config.Pipeline) {
	w.Helper()
	p, err := contract.Compile(cfg.Contract, cfg.PromisedTable(), contract.DefaultLineage(), json.Version)
	if err != nil {
		w.Fatal(err)
	}
	w.insert(ledger.TablePlans, clickhouse.Insert{Input: ledger.PlanBlock(ledger.PlanOf("p", p, cfg.Contract, cfg.PromisedTable(), begin))})
}

// batch is ten records: the last is filtered, the one before is a dead letter, the others have rows, half of them at another time.
func (w *world) batch(first int64, one, two time.Time) {
	w.Helper()
	var b minutes.Book
	for i := range int64(10) {
		at := []time.Time{one, two}[i%2]
		c := b.Note(first+i, at.UnixMilli())
		switch {
		case i == 9:
			c[minutes.Filtered]++
		case i == 8:
			c[minutes.DeadLettered]++
		default:
			c[minutes.Written]++
			w.exec(fmt.Sprintf("INSERT INTO %s.c (id, at, _topic, _partition, _offset) VALUES (%d, fromUnixTimestamp64Milli(%d), 't', 0, %[2]d)", w.db, first+i, at.UnixMilli()))
		}
	}
	w.insert(ledger.TableLedger, clickhouse.Insert{Input: ledger.Block([]ledger.Row{{
		Pipeline: "p", TopicPartition: waybill.TopicPartition{Topic: "t"}, Span: waybill.Span{First: first, Next: first + 10}, BatchTime: begin.UnixMilli(), Target: w.db + ".c",
		Counts: ledger.Counts{Read: 10, Written: 8, Filtered: 1, DeadLettered: 1}, Minutes: b.Buckets(waybill.OffsetSet{}, waybill.OffsetSet{}),
	}})})
}

func (w *world) run() *Report {
	w.Helper()
	r, err := Run(w.Context(), w.Deps, w.cfg, begin, begin.Add(24*time.Hour))
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// want compares the rows that are visible of each minute, and in percent how complete it is.
func (w *world) want(r *Report, method Method, want string) {
	w.Helper()
	var got []string
	for _, m := range r.Minutes {
		got = append(got, fmt.Sprintf("%s %d/%d/%d %.0f%%", m.Begin.Format("15:04"), m.Visible, m.Written, m.Read, m.Completeness))
	}
	if s := strings.Join(got, ", "); s != want || r.Method != method {
		w.Errorf("by %s: %s, want %s by %s (%s)", r.Method, s, want, method, r.Why)
	}
}

func TestRun_ByColumn(t *testing.T) {
	w := newWorld(t, true)
	w.want(w.run(), ByColumn, "14:00 4/4/5 100%, 14:01 4/4/5 100%, 15:00 8/8/10 100%")
	w.exec("DELETE FROM " + w.db + ".c WHERE _offset IN (1, 10, 12)")
	w.want(w.run(), ByColumn, "14:00 4/4/5 100%, 14:01 3/4/5 80%, 15:00 6/8/10 80%")
	// A dead letter that was replayed has a row, and is a dead letter by the account.
	w.exec(fmt.Sprintf("INSERT INTO %s.c (id, at, _topic, _partition, _offset) VALUES (8, fromUnixTimestamp64Milli(%d), 't', 0, 8)", w.db, begin.UnixMilli()),
		"INSERT INTO "+w.Ledger.Database()+".dead_letter_outcomes (pipeline, epoch, topic, partition, offset, sequence, outcome) VALUES ('p', 0, 't', 0, 8, 1, 'replayed')")
	w.want(w.run(), ByColumn, "14:00 4/4/5 100%, 14:01 3/4/5 80%, 15:00 6/8/10 80%")
	// Somebody else's rows do not count.
	w.exec(fmt.Sprintf("INSERT INTO %s.c (id, at, _topic, _partition, _offset, _epoch) VALUES (8, fromUnixTimestamp64Milli(%d), 't', 0, 1, 5), (8, fromUnixTimestamp64Milli(%[2]d), 'other', 0, 1, 0)", w.db, begin.UnixMilli()))
	w.want(w.run(), ByColumn, "14:00 4/4/5 100%, 14:01 3/4/5 80%, 15:00 6/8/10 80%")
}

func TestRun_ByOffsets(t *testing.T) {
	w := newWorld(t, false)
	w.want(w.run(), ByOffsets, "14:00 4/4/5 100%, 14:01 4/4/5 100%, 15:00 8/8/10 100%")
	w.exec("DELETE FROM "+w.db+".c WHERE _offset IN (1, 10, 12)",
		fmt.Sprintf("INSERT INTO %s.c (id, _topic, _partition, _offset) VALUES (8, 't', 0, 18)", w.db),
		"INSERT INTO "+w.Ledger.Database()+".dead_letter_outcomes (pipeline, epoch, topic, partition, offset, sequence, outcome) VALUES ('p', 0, 't', 0, 18, 1, 'replayed')")
	w.want(w.run(), ByOffsets, "14:00 3/4/5 80%, 14:01 3/4/5 80%, 15:00 6/8/10 80%") // of which minute offset 1 is nobody knows
}

// Minutes that were counted by another time are not compared with the column.
func TestRun_ByOffsetsWhereTheTimeWasAnother(t *testing.T) {
	w := newWorld(t, true)
	other := *w.cfg
	other.Contract.EventTime = ""
	w.record(&other)
	r := w.run()
	w.want(r, ByOffsets, "14:00 4/4/5 100%, 14:01 4/4/5 100%, 15:00 8/8/10 100%")
	if !strings.Contains(r.Why, "counted by another time") {
		t.Errorf("why: %q", r.Why)
	}
}

func TestRun_SaysWhichMinutesAreComplete(t *testing.T) {
	w := newWorld(t, true)
	if r := w.run(); r.CompleteThrough != nil || r.HeldBackBy != -1 || r.Minutes[0].Complete {
		t.Errorf("before anybody has said anything: %+v", r)
	}
	say := func(partition int32, at time.Time) {
		w.insert(ledger.TableThrough, clickhouse.Insert{Input: ledger.ThroughBlock("p", 0, "t", []through.Word{{Partition: partition, Through: at.UnixMilli()}}, 2, at.UnixMilli())})
	}
	say(0, begin.Add(2*time.Hour))
	if r := w.run(); r.CompleteThrough != nil || r.Minutes[0].Complete {
		t.Errorf("of one of two partitions: %+v", r)
	}
	say(1, begin.Add(time.Minute))
	if r := w.run(); r.CompleteThrough == nil || !r.CompleteThrough.Equal(begin.Add(time.Minute)) || r.HeldBackBy != 1 || !r.Minutes[0].Complete || r.Minutes[1].Complete {
		t.Errorf("of both: %+v", r)
	}
}
