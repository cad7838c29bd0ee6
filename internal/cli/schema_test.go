package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/drift"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/testenv"
)

// schemaNow is noon of yesterday: rows of the ledger are rolled up once they are eight days old.
var (
	schemaNow = time.Now().UTC().Truncate(24 * time.Hour).Add(-12 * time.Hour)
	schemaDay = schemaNow.Format(time.DateOnly)
)

// schemaWorld is a pipeline file with its table on a real server, and what workers have put on record.
type schemaWorld struct {
	*testing.T
	http, db, name, file string
	client               *clickhouse.Client
	store                *ledger.Store
	tokens               int
}

// schemaFile is the pipeline's file; the verbs are name, address and database.
const schemaFile = `name: %s
source: {kafka: {brokers: ["localhost:9092"], topic: llm.calls}}
contract:
  new_fields: rescue
  type_conflicts: rescue
  columns:
    id: {type: UInt64, required: true}   # never missing
    model: {type: LowCardinality(String), from: request.model, default: "?"}

    tokens: {type: UInt32, from: usage.tokens}
sink:
  clickhouse: {url: "clickhouse://default@%s/%s", table: calls}
`

// schemaTable is the README's table in small; the verb is the database.
const schemaTable = `CREATE TABLE %s.calls
(
    id UInt64, model LowCardinality(String), tokens UInt32, note String DEFAULT 'none', _rescued String,
    _topic LowCardinality(String), _partition UInt32, _offset UInt64 CODEC(DoubleDelta, ZSTD), _epoch UInt32,
    PROJECTION waybill_offsets (SELECT _topic, _partition, _epoch, intDiv(_offset, 65536), count(), groupBitmapState(_offset)
                                GROUP BY _topic, _partition, _epoch, intDiv(_offset, 65536))
)
ENGINE = MergeTree PARTITION BY id %% 3 ORDER BY (model, id)
SETTINGS non_replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild'`

func newSchemaWorld(t *testing.T) *schemaWorld {
	t.Helper()
	srv := testenv.SharedClickHouse(t)
	client, err := clickhouse.Open(t.Context(), clickhouse.Config{Addr: srv.TCPAddr()}, clickhouse.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	w := &schemaWorld{T: t, http: srv.HTTPAddr(), db: testenv.Database(t, srv), client: client, store: ledger.New(client, "")}
	w.name = "p-" + strings.ReplaceAll(w.db, "_", "-")
	w.file = filepath.Join(t.TempDir(), "p.yaml")
	w.write(fmt.Sprintf(schemaFile, w.name, srv.TCPAddr(), w.db))
	testenv.Exec(t, w.http, fmt.Sprintf(schemaTable, w.db))
	return w
}

func (w *schemaWorld) write(text string) {
	w.Helper()
	if err := os.WriteFile(w.file, []byte(text), 0o640); err != nil {
		w.Fatal(err)
	}
}

// run runs the command and returns what it printed.
func (w *schemaWorld) run(want int, args ...string) (out, errs string) {
	w.Helper()
	var o, e bytes.Buffer
	code := Main(context.Background(), append([]string{"schema"}, args...), Streams{In: strings.NewReader(""), Out: &o, Err: &e})
	if code != want {
		w.Fatalf("schema %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, o.String(), e.String())
	}
	for line := range strings.Lines(o.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > lineWidth && args[len(args)-1] != "json" && !strings.HasPrefix(line, "    + ") { // that one is to be copied
			w.Errorf("%d characters: %s", n, line)
		}
	}
	return o.String(), e.String()
}

func (w *schemaWorld) json(into any, args ...string) {
	w.Helper()
	out, _ := w.run(ExitOK, append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		w.Fatalf("%v\n%s", err, out)
	}
}

// contains checks that all lines are in the text, in order.
func (w *schemaWorld) contains(text string, lines ...string) {
	w.Helper()
	rest := text
	for _, line := range lines {
		_, after, found := strings.Cut(rest, line)
		if !found {
			w.Fatalf("%q is not there, or not in its place:\n%s", line, text)
		}
		rest = after
	}
}

func (w *schemaWorld) insert(in clickhouse.Insert) {
	w.Helper()
	w.tokens++
	in.Database, in.Token = w.store.Database(), waybill.Token(fmt.Sprintf("%s-%d", w.name, w.tokens))
	a := w.client.Insert(w.Context(), in)
	if a.Err != nil {
		w.Fatal(a.Err)
	}
}

// record compiles the plan that the file and the table give now, and puts it on record.
func (w *schemaWorld) record(at time.Time) *contract.Plan {
	w.Helper()
	if err := w.store.Migrate(w.Context(), schemaNow); err != nil {
		w.Fatal(err)
	}
	cfg, err := config.Load(w.file)
	if err != nil {
		w.Fatal(err)
	}
	d := &desk{cfg: cfg, client: w.client, ledger: w.store}
	p, tables, err := d.current(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	w.insert(clickhouse.Insert{Table: ledger.TablePlans, Input: ledger.PlanBlock(ledger.PlanOf(w.name, p, cfg.Contract, tables[0], at))})
	return p
}

func (w *schemaWorld) span(p *contract.Plan, partition int32, first, next int64, at time.Time) ledger.Row {
	return ledger.Row{
		Pipeline: w.name, TopicPartition: waybill.TopicPartition{Topic: "llm.calls", Partition: partition},
		Span: waybill.Span{First: first, Next: next}, BatchTime: at.UnixMilli(), Plan: p.ID(), Target: w.db + ".calls",
		Counts: ledger.Counts{Read: next - first, Written: next - first},
	}
}

func TestSchemaShow(t *testing.T) {
	w := newSchemaWorld(t)
	testenv.Exec(t, w.http, "ALTER TABLE "+w.db+".calls ADD COLUMN usage_cost Nullable(Float64) COMMENT 'waybill: {\"from\":\"usage.cost\"}'")
	out, _ := w.run(ExitOK, "show", w.file)
	w.contains(out, " of "+w.name, "not on record", "rescue", "COLUMN", "request.model", "usage_cost +", "usage.cost", "what does not fit",
		"Waybill added the column", "left to the server:", "note String DEFAULT 'none'")
	p := w.record(schemaNow)
	var shown shownPlan
	w.json(&shown, "show", w.file)
	if !shown.OnRecord || shown.Plan != p.ID().String() || len(shown.Tables[0].Columns) != 9 || fmt.Sprint(shown.Tables[0].LeftToServer) != "[note]" || !shown.Tables[0].Columns[3].Added {
		t.Errorf("shown %+v", shown)
	}
	testenv.Exec(t, w.http, "ALTER TABLE "+w.db+".calls DROP COLUMN note, DROP COLUMN usage_cost")
	out, _ = w.run(ExitOK, "show", w.file, p.ID().String()[:10])
	w.contains(out, "since "+schemaDay+" 12:00:00", "usage_cost +", "note String DEFAULT 'none'")
}

func TestSchemaHistory_SaysWhatChangedWhenByOffset(t *testing.T) {
	w := newSchemaWorld(t)
	first := w.record(schemaNow)
	testenv.Exec(t, w.http, "ALTER TABLE "+w.db+".calls ADD COLUMN usage_cost Nullable(Float64) COMMENT 'waybill: {\"from\":\"usage.cost\"}'")
	second := w.record(schemaNow.Add(time.Second))
	testenv.Exec(t, w.http, "ALTER TABLE "+w.db+".calls DROP COLUMN usage_cost, DROP COLUMN note")
	unused := w.record(schemaNow.Add(-time.Hour))
	w.insert(clickhouse.Insert{Table: ledger.TableLedger, Input: ledger.Block([]ledger.Row{
		w.span(second, 0, 40, 50, schemaNow.Add(time.Minute)), w.span(first, 0, 0, 40, schemaNow), w.span(first, 1, 3, 9, schemaNow),
	})})
	change := ledger.Change{
		At: schemaNow.Add(30 * time.Second), Pipeline: w.name, Outcome: ledger.OutcomeApplied, Before: first.ID(), After: second.ID(),
		Change: contract.Change{
			Kind: contract.AddColumn, Column: "usage_cost", Path: "usage.cost", Type: "Nullable(Float64)", Why: "numbers with a fraction were seen",
			First: contract.At{Topic: "llm.calls", Offset: 40},
		},
	}
	refused := change
	refused.Outcome, refused.Error, refused.After, refused.Column = ledger.OutcomeRefused, "no rights", 0, "other"
	w.insert(clickhouse.Insert{Table: ledger.TableChanges, Input: ledger.ChangeBlock([]ledger.Change{change, refused})})

	out, _ := w.run(ExitOK, "history", w.file)
	w.contains(out, "plan "+first.ID().String()+", used from "+schemaDay+" 12:00:00 on", "llm.calls/0 from offset 0: read 40, written 40", "llm.calls/1 from offset 3",
		"plan "+second.ID().String()+", used from "+schemaDay+" 12:01:00 on", "llm.calls/0 from offset 40", "+ column usage_cost Nullable(Float64) is filled from field usage.cost",
		"added usage_cost Nullable(Float64) for usage.cost, first", "offset 40", "plan "+unused.ID().String()+", seen "+schemaDay+" 11:00:00, not used",
		"- column usage_cost", "~ left to the server: note -> none", "refused by the server:", "no rights")
	var h history
	w.json(&h, "history", w.file)
	if len(h.Plans) != 3 || h.Plans[1].First[0].Offset != 40 || len(h.Plans[1].Changes) != 1 || len(h.Plans[1].Differences) != 1 || len(h.Refused) != 1 {
		t.Errorf("history %+v", h)
	}

	out, _ = w.run(ExitOK, "diff", w.file, first.ID().String(), second.ID().String()[:8])
	w.contains(out, "from plan "+first.ID().String(), "+ column usage_cost Nullable(Float64) is filled from field usage.cost")
	testenv.Exec(t, w.http, "ALTER TABLE "+w.db+".calls ADD COLUMN note String, MODIFY COLUMN tokens UInt64")
	w.write(strings.Replace(w.text(), "UInt32, from: usage.tokens", "UInt64, from: usage.input", 1))
	out, _ = w.run(ExitOK, "diff", w.file, first.ID().String())
	w.contains(out, "~ column tokens: UInt32 -> UInt64", "~ column tokens: field usage.tokens -> field usage.input")
	out, _ = w.run(ExitOK, "diff", w.file, first.ID().String(), first.ID().String())
	w.contains(out, "no difference")
	if _, errs := w.run(ExitUsage, "diff", w.file, "nonesuch"); !strings.Contains(errs, "0 plans on record begin with") || !strings.Contains(errs, "hint: `waybill schema history`") {
		t.Errorf("said %s", errs)
	}
}

func (w *schemaWorld) text() string {
	w.Helper()
	text, err := os.ReadFile(w.file)
	if err != nil {
		w.Fatal(err)
	}
	return string(text)
}

func TestSchemaDrift(t *testing.T) {
	w := newSchemaWorld(t)
	w.record(schemaNow)
	out, _ := w.run(ExitOK, "drift", w.file)
	w.contains(out, "0 events written", "none of them differed")
	at := contract.At{Topic: "llm.calls", Partition: 1, Offset: 12, Time: schemaNow.UnixMilli()}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	row := func(kind drift.Kind, path, column string, n int64, day time.Time) drift.Row {
		return drift.Row{Key: drift.Key{Kind: kind, Path: path, Column: column}, Day: day, Count: n, First: at, Last: at}
	}
	cost := row(drift.KindNewField, "usage.cost", "", 50, today)
	cost.Mode, cost.Type, cost.Sample, cost.Kinds = contract.ModeRescue, "Nullable(Float64)", "1.50", contract.Kinds{Decimal: 50}
	conflict := row(drift.KindTypeConflict, "usage.tokens", "tokens", 1, today)
	conflict.Mode, conflict.Reason, conflict.Sample = contract.ModeRescue, "out_of_range", "-1"
	old := row(drift.KindNewField, "gone", "", 7, today.AddDate(0, 0, -3))
	w.insert(clickhouse.Insert{Table: ledger.TableDrift, Input: ledger.DriftBlock(w.name, 0, []drift.Row{
		row(drift.KindWritten, "", "", 200, today), row(drift.KindWritten, "", "", 200, old.Day), cost, conflict, old, row(drift.KindMissing, "", "model", 20, today),
	})})
	out, _ = w.run(ExitOK, "drift", w.file, "--since", "24h")
	w.contains(out, "200 events written since "+today.AddDate(0, 0, -1).Format("2006-01-02"), "PATH", "model", "missing", "10 %", "usage.cost", "new_field", "rescue", "Nullable(Float64)", "25 %",
		"usage.tokens", "type_conflict", "0.5 %", "usage.cost", "first "+schemaDay+" 12:00:00 at llm.calls/1 offset 12", "as in 1.50",
		"usage.tokens, column tokens: out_of_range")
	var all drifted
	w.json(&all, "drift", w.file)
	if all.Written != 400 || len(all.Drift) != 4 || all.Drift[1].Path != "usage.cost" || *all.Drift[1].Share != .125 || all.Drift[1].Kinds["decimal"] != 50 {
		t.Errorf("drift %+v", all)
	}
}

func TestSchema_ErrorsSayWhatToDo(t *testing.T) {
	w := newSchemaWorld(t)
	w.write(strings.Replace(w.text(), "table: calls", "table: nonesuch", 1))
	if _, errs := w.run(ExitFatal, "show", w.file); !strings.Contains(errs, "nonesuch does not exist") || !strings.Contains(errs, "hint:") {
		t.Errorf("said %s", errs)
	}
	w.write(fmt.Sprintf(schemaFile, w.name, "127.0.0.1:1", w.db))
	w.run(ExitConnect, "history", w.file)
	w.run(ExitUsage, "history")
	w.run(ExitUsage, "drift", w.file+"x")
}
