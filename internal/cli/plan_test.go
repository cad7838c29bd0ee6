package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

// planWorld is a broker with a topic, and a database on a real server.
type planWorld struct {
	*testing.T
	srv  *chserver.Server
	kgo  *kgo.Client
	db   string
	file string
}

// TestPlan runs on a server of its own, whose user reader may change nothing.
func TestPlan(t *testing.T) {
	srv := testenv.ClickHouse(t, func(o *chserver.Options) {
		o.Users = []chserver.User{{Name: "reader", Grants: []string{"GRANT SELECT, SHOW ON *.*"}, Settings: map[string]string{"readonly": "2"}}}
	})
	for name, run := range map[string]func(*planWorld){
		"creates what it says":               planCreatesWhatItSays,
		"refuses with the place in the file": planRefusesWithThePlace,
		"says what would become of a topic":  planSaysWhatWouldBecome,
		"shows what evolve would do":         planShowsWhatEvolveWouldDo,
		"shows what is different":            planShowsWhatIsDifferent,
		"blank events would stop it":         planBlankEventsWouldStopIt,
		"nobody there":                       planNobodyThere,
	} {
		t.Run(name, func(t *testing.T) { run(newPlanWorld(t, srv)) })
	}
}

func newPlanWorld(t *testing.T, srv *chserver.Server) *planWorld {
	t.Helper()
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(k.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &planWorld{T: t, srv: srv, kgo: client, db: testenv.Database(t, srv), file: filepath.Join(t.TempDir(), "p.yaml")}
}

func (w *planWorld) exec(sql ...string) { w.Helper(); testenv.Exec(w, w.srv.HTTPAddr(), sql...) }

// contract writes the pipeline file with a contract.
func (w *planWorld) contract(text string) {
	w.Helper()
	body := fmt.Sprintf("name: %s\nsource: {kafka: {brokers: [%q], topic: calls}}\ncontract:\n%s\nsink: {clickhouse: {url: \"clickhouse://reader@%s/%s\", table: calls}}\n",
		w.name(), w.kgo.OptValue(kgo.SeedBrokers).([]string)[0], text, w.srv.TCPAddr(), w.db)
	if err := os.WriteFile(w.file, []byte(body), 0o600); err != nil {
		w.Fatal(err)
	}
}

func (w *planWorld) name() string { return "p-" + strings.ReplaceAll(w.db, "_", "-") }

func (w *planWorld) produce(partition int32, values ...string) {
	w.Helper()
	for _, v := range values {
		r := &kgo.Record{Topic: "calls", Partition: partition, Value: []byte(v)}
		if v == "" {
			r.Value = nil
		}
		if err := w.kgo.ProduceSync(w.Context(), r).FirstErr(); err != nil {
			w.Fatal(err)
		}
	}
}

// plan runs the command, whatever it is to prove, and checks that nothing has changed.
func (w *planWorld) plan(want int, args ...string) (out, errs string) {
	w.Helper()
	before := w.everything()
	var o, e bytes.Buffer
	code := Main(context.Background(), append([]string{"plan", w.file}, args...), Streams{In: strings.NewReader(""), Out: &o, Err: &e})
	if code != want {
		w.Fatalf("plan %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, o.String(), e.String())
	}
	if after := w.everything(); after != before {
		w.Errorf("plan has changed something:\n%s\nwas\n%s", after, before)
	}
	return o.String(), e.String()
}

// everything is what there is at the server in the test's and in Waybill's database, and the broker's groups.
func (w *planWorld) everything() string {
	w.Helper()
	groups, err := kadm.NewClient(w.kgo).ListGroups(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return fmt.Sprint(groups.Groups(), testenv.QueryRows(w, w.srv.HTTPAddr(),
		"SELECT database, name, create_table_query, ifNull(total_rows, 0) FROM system.tables WHERE database IN ('"+w.db+"', 'waybill') ORDER BY ALL"))
}

func (w *planWorld) report(want int, args ...string) (r planReport) {
	w.Helper()
	out, _ := w.plan(want, append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		w.Fatalf("%v\n%s", err, out)
	}
	return r
}

const planContract = `  new_fields: rescue
  type_conflicts: rescue
  columns:
    id: {type: UInt64, required: true}
    at: {type: DateTime64(3), required: true}
    tokens: {type: UInt32, from: usage.tokens}`

// The statement that is shown makes the table that the pipeline runs with.
func planCreatesWhatItSays(w *planWorld) {
	w.contract(planContract)
	r := w.report(ExitFindings)
	if r.OK || len(r.Refusals) != 1 || !strings.Contains(r.Refusals[0].Message, "does not exist") || r.Tables[0].Create == "" {
		w.Errorf("%+v", r)
	}
	w.contract("  tables: evolve\n" + planContract)
	r = w.report(ExitOK)
	if !r.OK || len(r.Refusals) != 0 || r.InUse != "" || fmt.Sprint(r.Tables[0].SortedBy) != "[at]" {
		w.Errorf("%+v", r)
	}
	w.exec(r.Tables[0].Create)
	again := w.report(ExitOK)
	if again.Tables[0].Create != "" || again.Plan != r.Plan || len(again.Tables[0].LeftToServer) != 0 {
		w.Errorf("%+v", again)
	}
	for _, n := range again.Notes {
		if n.Kind == "no_offset_projection" || n.Kind == "small_window" {
			w.Errorf("the table is not what it should be: %s", n.Message)
		}
	}
}

func planRefusesWithThePlace(w *planWorld) {
	w.contract(planContract)
	w.exec("CREATE TABLE " + w.db + ".calls (id String, at DateTime64(3), tokens UInt32, _rescued String, _topic String, _partition UInt32, _offset UInt64, _epoch UInt32) ENGINE = Memory")
	r := w.report(ExitFindings)
	if len(r.Refusals) != 2 || r.Refusals[0].Line != 7 || r.Refusals[0].Column != 5 || !strings.Contains(r.Refusals[0].Message, "the table has String") ||
		!strings.Contains(r.Refusals[1].Message, "Memory") {
		w.Errorf("%+v", r.Refusals)
	}
	out, _ := w.plan(ExitFindings)
	if !strings.Contains(out, "p.yaml:7:5: contract.columns.id: the contract says UInt64") || !strings.Contains(out, "id: {type: UInt64, required: true}") {
		w.Error(out)
	}
}

func planSaysWhatWouldBecome(w *planWorld) {
	w.contract("  tables: evolve\n" + planContract)
	w.exec(w.report(ExitOK).Tables[0].Create)
	w.produce(0, `{"id":1,"at":"2026-11-22T14:44:47Z","usage":{"tokens":1}}`, `{"id":2,"at":"2026-11-22T14:44:47Z","usage":{"tokens":2}}`)
	w.produce(1, `{"id":3,"at":"2026-11-22T14:44:47Z","cost":0.5}`, `{"id":4,"at":"2026-11-22T14:44:47Z","usage":{"tokens":"x"}}`, `{"id":5}`)
	w.produce(2, "", `{`)
	r := w.report(ExitOK)
	s := r.Trial
	if s.Records != 7 || s.Rows != 4 || s.RescuedRows != 2 || s.Tombstones != 1 || s.DeadLettered != 2 || s.Blank != 0 || r.Sample.InTopic != 7 {
		w.Errorf("%+v", s)
	}
	if len(s.DeadLetters) != 2 || s.DeadLetters[0].Code != "missing_required" || s.DeadLetters[0].Column != "at" ||
		s.DeadLetters[0].Example.String() != "calls/1@2" || s.DeadLetters[1].Code != "truncated" || s.DeadLetters[1].Example.String() != "calls/2@1" {
		w.Errorf("%+v", s.DeadLetters)
	}
	if c := s.Tables[0].Columns[2]; c.Name != "tokens" || *c.Filled != 2 || c.Missing != 1 || c.Conflicts != 1 {
		w.Errorf("%+v", c)
	}
	if len(s.Tables[0].Drift) != 2 || s.Tables[0].Drift[0].Path != "cost" || s.Tables[0].Drift[0].Type != "Nullable(Float64)" || s.Tables[0].Drift[0].Sample != "0.5" || s.Tables[0].Drift[0].First.Offset != 0 {
		w.Errorf("%+v", s.Tables[0].Drift)
	}
	if got := w.report(ExitOK, "--records", "3", "--from", "earliest").Trial; got.Records != 3 || got.Tombstones != 1 || got.DeadLettered != 0 {
		w.Errorf("the first of each partition: %+v", got)
	}
	if got := w.report(ExitOK, "--records", "0"); got.Trial != nil || got.Sample != nil {
		w.Errorf("%+v", got)
	}
	out, _ := w.plan(ExitOK)
	for line := range strings.Lines(out) {
		if utf8.RuneCountInString(line) > lineWidth+1 {
			w.Errorf("%d characters: %s", utf8.RuneCountInString(line), line)
		}
	}
	for _, part := range []string{"would run", "whole rows", "50.0 %", "new field cost: values rescued: 1, would fit Nullable(Float64)"} {
		if !strings.Contains(out, part) {
			w.Errorf("no %q in\n%s", part, out)
		}
	}
}

func planShowsWhatEvolveWouldDo(w *planWorld) {
	w.contract("  tables: evolve\n" + planContract)
	w.exec(w.report(ExitOK).Tables[0].Create)
	w.contract(strings.ReplaceAll(planContract, "rescue", "evolve"))
	w.produce(0, `{"id":1,"at":"2026-11-22T14:44:47Z","cost":0.5}`, `{"id":1,"at":"2026-11-22T14:44:47Z","usage":{"tokens":-1}}`, `{"id":1,"at":"2026-11-22T14:44:47Z","usage":{"tokens":"x"},"list":[{"a":1}]}`)
	changes := w.report(ExitOK).Trial.Tables[0].Changes
	if len(changes) < 1 || !strings.Contains(changes[0].SQL, "ADD COLUMN IF NOT EXISTS `cost` Nullable(Float64)") {
		w.Fatalf("%+v", changes)
	}
	for _, c := range changes {
		w.exec(c.SQL)
	}
	if again := w.report(ExitOK).Trial; len(again.Tables[0].Changes) != 0 {
		w.Errorf("after the changes: %+v", again.Tables[0].Changes)
	}
}

func planBlankEventsWouldStopIt(w *planWorld) {
	w.contract(strings.ReplaceAll("  tables: evolve\n"+planContract, ", required: true", ""))
	for range 100 {
		w.produce(0, `{"data":{"id":1}}`)
	}
	r := w.report(ExitFindings)
	if len(r.Refusals) != 1 || !strings.Contains(r.Refusals[0].Message, "none of the 100 events") {
		w.Errorf("%+v", r.Refusals)
	}
}

func planNobodyThere(w *planWorld) {
	w.contract("  tables: evolve\n" + planContract)
	body, err := os.ReadFile(w.file)
	if err != nil {
		w.Fatal(err)
	}
	for _, tt := range []struct {
		from, to string
		code     int
		message  string
	}{
		{"topic: calls", "topic: none-such", ExitFindings, ""},
		{w.srv.TCPAddr(), "127.0.0.1:1", ExitConnect, "127.0.0.1:1"},
		{"id: {type: UInt64", "id: {type: Uint64", ExitUsage, "p.yaml:8"},
	} {
		if err := os.WriteFile(w.file, bytes.Replace(body, []byte(tt.from), []byte(tt.to), 1), 0o600); err != nil {
			w.Fatal(err)
		}
		if _, errs := w.plan(tt.code); !strings.Contains(errs, tt.message) {
			w.Errorf("%s: %s", tt.to, errs)
		}
	}
	w.plan(ExitUsage, "--from", "yesterday")
}

func planShowsWhatIsDifferent(w *planWorld) {
	w.contract("  tables: evolve\n" + planContract)
	first := w.report(ExitOK)
	w.exec(first.Tables[0].Create)
	client, err := clickhouse.Open(w.Context(), clickhouse.Config{Addr: w.srv.TCPAddr()}, clickhouse.Deps{})
	if err != nil {
		w.Fatal(err)
	}
	defer client.Close()
	if err := ledger.New(client, "").Migrate(w.Context(), time.Now()); err != nil {
		w.Fatal(err)
	}
	cfg, err := config.Load(w.file)
	if err != nil {
		w.Fatal(err)
	}
	found, err := engine.Look(w.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		w.Fatal(err)
	}
	row := ledger.PlanOf(w.name(), found.Plan, cfg.Contract, found.Tables[0].Schema, time.Now())
	if a := client.Insert(w.Context(), clickhouse.Insert{Database: ledger.DefaultDatabase, Table: ledger.TablePlans, Token: row.Token(), Input: ledger.PlanBlock(row)}); a.Err != nil {
		w.Fatal(a.Err)
	}
	if r := w.report(ExitOK); r.InUse != first.Plan || len(r.Differences) != 0 {
		w.Errorf("%+v", r)
	}
	w.contract(planContract + "\n    model: {type: String}")
	w.exec("ALTER TABLE " + w.db + ".calls ADD COLUMN model String, ADD COLUMN extra String DEFAULT 'x'")
	r := w.report(ExitOK)
	if r.InUse != first.Plan || r.Plan == first.Plan || len(r.Differences) != 2 || r.Differences[0].Kind != "column_added" || r.Differences[0].Column != "model" ||
		fmt.Sprint(r.Tables[0].LeftToServer) != "[extra]" {
		w.Errorf("%+v", r)
	}
}
