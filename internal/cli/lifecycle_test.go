package cli

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

// lifeWorld is a server and a broker of its own, both real: what is left on them is compared.
type lifeWorld struct {
	*testing.T
	srv  *chserver.Server
	addr string
	kgo  *kgo.Client
	adm  *kadm.Client
	file string
	said *said  // by the worker that was started last
	sink string // more settings of the sink, in the file
	next int    // id of the next event
	bad  int    // events that are none
}

const lifePartitions = 3

func newLifeWorld(t *testing.T) *lifeWorld {
	t.Helper()
	w := &lifeWorld{T: t, srv: testenv.ClickHouse(t), addr: testenv.Kafka(t).Addr(), file: filepath.Join(t.TempDir(), "p.yaml")}
	var err error
	if w.kgo, err = kgo.NewClient(kgo.SeedBrokers(w.addr), kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.kgo.Close)
	w.adm = kadm.NewClient(w.kgo)
	if _, err := w.adm.CreateTopic(t.Context(), lifePartitions, 1, nil, "events"); err != nil {
		t.Fatal(err)
	}
	testenv.Exec(t, w.srv.HTTPAddr(), "CREATE DATABASE ai", "CREATE TABLE ai.events (id UInt64) ENGINE = MergeTree ORDER BY id")
	return w
}

func (w *lifeWorld) write(name string) {
	w.Helper()
	text := fmt.Sprintf(`name: %s
source: {kafka: {brokers: [%q], topic: events, session_timeout: 10s}}
contract: {columns: {id: {type: UInt64, required: true}}}
sink: {clickhouse: {url: "clickhouse://default@%s/ai", table: events%s}}
`, name, w.addr, w.srv.TCPAddr(), w.sink)
	if err := os.WriteFile(w.file, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
}

// produce puts n events into the topic, and one that is none behind each tenth.
func (w *lifeWorld) produce(n int) {
	w.Helper()
	var records []*kgo.Record
	for range n {
		p := int32(w.next % lifePartitions) //nolint:gosec // small
		records = append(records, &kgo.Record{Topic: "events", Partition: p, Value: fmt.Appendf(nil, `{"id":%d}`, w.next)})
		if w.next++; w.next%10 == 0 {
			w.bad++
			records = append(records, &kgo.Record{Topic: "events", Partition: p, Value: []byte("none")})
		}
	}
	if err := w.kgo.ProduceSync(w.Context(), records...).FirstErr(); err != nil {
		w.Fatal(err)
	}
}

func (w *lifeWorld) value(sql string) string {
	w.Helper()
	return testenv.QueryValue(w, w.srv.HTTPAddr(), sql)
}

// waybill runs a command.
func (w *lifeWorld) waybill(ctx context.Context, args ...string) (said string, code int) {
	var o, e bytes.Buffer
	code = Main(ctx, args, Streams{In: strings.NewReader(""), Out: &o, Err: &e})
	return o.String() + e.String(), code
}

func (w *lifeWorld) must(args ...string) string {
	w.Helper()
	said, code := w.waybill(w.Context(), args...)
	if code != ExitOK {
		w.Fatalf("%s: exit code %d\n%s", strings.Join(args, " "), code, said)
	}
	return said
}

// start runs `waybill run` until stop is called, which waits for it.
func (w *lifeWorld) start() (stop func()) {
	ctx, cancel := context.WithCancel(w.Context())
	heard := &said{}
	w.said = heard
	w.Cleanup(func() {
		if w.Failed() {
			w.Log(heard.String())
		}
	})
	var running sync.WaitGroup
	code := ExitOK
	running.Go(func() {
		code = Main(ctx, []string{"run", "--listen", "127.0.0.1:0", "--log-format", "json", w.file}, Streams{In: strings.NewReader(""), Out: heard, Err: heard})
	})
	return sync.OnceFunc(func() {
		cancel()
		running.Wait()
		if code != ExitOK {
			w.Errorf("run ended with %d\n%s", code, heard.String())
		}
	})
}

// settled waits until every event is in the table, and each that is none among the dead letters.
func (w *lifeWorld) settled() {
	w.Helper()
	testenv.Eventually(w, 2*time.Minute, "all is settled", func() bool {
		text, err := testenv.Query(w.srv.HTTPAddr(), "SELECT (SELECT sum(written) FROM waybill.ledger), (SELECT sum(dead_lettered) FROM waybill.ledger)")
		return err == nil && strings.TrimSpace(text) == fmt.Sprintf("%d\t%d", w.next, w.bad)
	})
}

// kept says in which of Waybill's tables a pipeline has rows, and how many; whether it is paused and where its group is left out: that is written anew.
func (w *lifeWorld) kept(name string) (out []string) {
	w.Helper()
	for _, row := range testenv.QueryRows(w, w.srv.HTTPAddr(), "SELECT table, name FROM system.columns WHERE database = 'waybill' AND (name = 'pipeline' OR table = 'pipelines' AND name = 'name') AND table NOT IN ('findings_now', 'pauses', 'groups') ORDER BY table") {
		if n := w.value(fmt.Sprintf("SELECT count() FROM waybill.%s WHERE %s = '%s'", row[0], row[1], name)); n != "0" {
			out = append(out, row[0]+" "+n)
		}
	}
	return out
}

func (w *lifeWorld) groups() []string {
	w.Helper()
	listed, err := w.adm.ListGroups(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return listed.Groups()
}

func (w *lifeWorld) positions(group string) map[int32]int64 {
	w.Helper()
	at, err := w.adm.FetchOffsets(w.Context(), group)
	if err != nil {
		w.Fatal(err)
	}
	out := map[int32]int64{}
	at.Each(func(o kadm.OffsetResponse) { out[o.Partition] = o.At })
	return out
}

// A pipeline that is renamed goes on where it was, whoever renames it being stopped at any moment and doing it again: each event is in the table once, each
// dead letter is there once, the account has no gap, and nothing goes by the old name.
func TestRename_LosesAndRepeatsNothing(t *testing.T) {
	w := newLifeWorld(t)
	w.write("old")
	w.must("check", "--fix", w.file)
	w.produce(300)
	stop := w.start()
	w.settled()
	if said, code := w.waybill(t.Context(), "rename", w.file, "new", "--yes"); code != ExitUsage || !strings.Contains(said, "waybill-old has") {
		t.Errorf("while a worker runs: %d: %s", code, said)
	}
	stop()
	before := w.positions("waybill-old")
	kept := w.kept("old")
	w.must("rename", w.file, "new")
	if now := w.kept("old"); len(w.kept("new")) > 0 || !slices.Equal(now, kept) {
		t.Errorf("without --yes: %v, and before %v", now, kept)
	}
	if len(before) != lifePartitions || len(kept) < 5 {
		t.Fatalf("%v, %v", before, kept)
	}

	stopped := 0
	for patience := 20 * time.Millisecond; ; patience += patience/8 + 20*time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		said, code := w.waybill(ctx, "rename", w.file, "new", "--yes")
		cancel()
		if code == ExitOK {
			break
		}
		if stopped++; patience > time.Minute {
			t.Fatal(said)
		}
	}
	t.Logf("stopped %d times on its way", stopped)
	// Who was stopped at the very end does it once more, and is told that it is done; who names a pipeline that never was is not.
	for range 2 {
		if said := w.must("rename", w.file, "new", "--yes"); !strings.Contains(said, "old is new now") {
			t.Errorf("again: %s", said)
		}
	}
	w.write("other")
	if said, code := w.waybill(t.Context(), "rename", w.file, "new", "--yes"); code != ExitUsage || !strings.Contains(said, "on record already") {
		t.Errorf("another: %d: %s", code, said)
	}
	w.write("old")
	if stopped == 0 {
		t.Error("it was never stopped on its way")
	}
	if left := w.kept("old"); len(left) > 0 {
		t.Errorf("goes by the old name: %v", left)
	}
	if now := w.kept("new"); !slices.Equal(now, kept) {
		t.Errorf("on record are %v rows, and were %v", now, kept)
	}
	if after := w.positions("waybill-new"); !maps.Equal(before, after) {
		t.Errorf("the group stands at %v, and stood at %v", after, before)
	}
	if groups := w.groups(); slices.Contains(groups, "waybill-old") || !slices.Contains(groups, "waybill-new") {
		t.Errorf("groups: %v", groups)
	}
	w.write("new")
	w.produce(300)
	defer w.start()()
	w.settled()

	for sql, want := range map[string]string{
		"SELECT concat(toString(count()), ' ', toString(uniqExact(_partition, _offset)), ' ', toString(uniqExact(id)), ' ', toString(max(id))) FROM ai.events": fmt.Sprintf("%[1]d %[1]d %[1]d %[2]d", w.next, w.next-1),
		"SELECT concat(toString(count()), ' ', toString(uniqExact(partition, offset))) FROM waybill.dead_letters WHERE pipeline = 'new'":                       fmt.Sprintf("%[1]d %[1]d", w.bad),
		"SELECT toString(sum(next - first) = sum(read) AND sum(read) = " + fmt.Sprint(w.next+w.bad) + " AND min(first) = 0) FROM waybill.ledger":               "1",
		"SELECT arrayStringConcat(groupUniqArray(pipeline), ' ') FROM waybill.ledger":                                                                          "new",
	} {
		if got := w.value(sql); got != want && got != "true" {
			t.Errorf("%s: %s, not %s", sql, got, want)
		}
	}
	w.must("audit", w.file)
}

// holdings are what a server and brokers hold that a person may have put there.
func (w *lifeWorld) holdings() map[string]string {
	w.Helper()
	out := map[string]string{"groups": strings.Join(w.groups(), " ")}
	for what, sql := range map[string]string{
		"databases":   "SELECT name FROM system.databases ORDER BY name",
		"tables":      "SELECT concat(database, '.', name, ' ', engine, ' ', sorting_key, ' ', partition_key) FROM system.tables WHERE database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema') ORDER BY ALL",
		"columns":     "SELECT concat(database, '.', table, '.', name, ' ', type, ' ', default_expression, compression_codec) FROM system.columns WHERE database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema') ORDER BY ALL",
		"projections": "SELECT concat(database, '.', table, '.', name) FROM system.projections WHERE database != 'system' ORDER BY ALL",
		"functions":   "SELECT name FROM system.functions WHERE origin = 'SQLUserDefined' ORDER BY name",
		"users":       "SELECT name FROM system.users ORDER BY name",
		"mutations":   "SELECT command FROM system.mutations WHERE NOT is_done ORDER BY ALL",
	} {
		text, err := testenv.Query(w.srv.HTTPAddr(), sql)
		if err != nil {
			w.Fatal(err)
		}
		out[what] = text
	}
	topics, err := w.adm.ListTopics(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	out["topics"] = strings.Join(topics.Names(), " ")
	configs, err := w.adm.DescribeTopicConfigs(w.Context(), "events")
	if err != nil {
		w.Fatal(err)
	}
	for _, r := range configs {
		for _, c := range r.Configs {
			out["settings of the topic"] += c.Key + "=" + c.MaybeValue() + " "
		}
	}
	return out
}

// After `waybill uninstall --tables` server and brokers hold what they held before Waybill came, and the rows: no database, table, column, projection, user, function or
// group is left, but for the rescue column, which has values that are nowhere else.
func TestUninstall_LeavesNothing(t *testing.T) {
	w := newLifeWorld(t)
	w.write("calls")
	before := w.holdings()
	w.must("check", "--fix", w.file)
	w.produce(100)
	stop := w.start()
	w.settled()
	if said, code := w.waybill(t.Context(), "uninstall", w.file, "--tables", "--yes"); code == ExitOK {
		t.Errorf("while a worker runs: %s", said)
	}
	stop()
	w.must("audit", w.file)
	during := w.holdings()
	for _, what := range []string{"databases", "tables", "columns", "projections", "groups"} {
		if during[what] == before[what] {
			t.Errorf("%s are as before while Waybill is there: they are read wrong", what)
		}
	}
	w.must("uninstall", w.file, "--tables")
	if now := w.holdings(); !maps.Equal(now, during) {
		t.Errorf("without --yes it has changed something: %v, and before %v", now, during)
	}
	w.must("uninstall", w.file, "--tables", "--yes")
	after := w.holdings()
	after["columns"] = strings.ReplaceAll(after["columns"], "ai.events._rescued String \n", "")
	for what := range before {
		if after[what] != before[what] {
			t.Errorf("%s: now\n%s\nbefore\n%s", what, after[what], before[what])
		}
	}
	if n := w.value("SELECT count() FROM ai.events"); n != fmt.Sprint(w.next) {
		t.Errorf("%s rows are left, of %d", n, w.next)
	}
	// Again: there is nothing to do, and that is no mistake.
	if said := w.must("uninstall", w.file, "--tables", "--yes"); strings.Contains(said, "dropped") {
		t.Errorf("again: %s", said)
	}
}

// What was erased under the old name is erased under the new one, too: whoever reads the topic or the archive again does not bring it back. Nor does a pipeline that
// takes the old name.
func TestRename_WhatWasErasedStaysErased(t *testing.T) {
	w := newLifeWorld(t)
	w.write("old")
	w.must("check", "--fix", w.file)
	w.produce(100)
	stop := w.start()
	w.settled()
	stop()
	w.must("erase", w.file, "--where", "id = 5", "--why", "a test", "--yes")
	erased := "SELECT concat(toString(count()), ' ', toString(countIf(id = 5))) FROM ai.events WHERE _epoch = "
	if got := w.value(erased + "0"); got != "99 0" {
		t.Fatalf("rows, and of the subject: %s", got)
	}
	testenv.Exec(t, w.srv.HTTPAddr(), "INSERT INTO waybill.replays (pipeline, sequence, step, kind, topic, at, who) VALUES ('old', 99, 'begun', 'fill', 'events', now(), 'ann')")
	for _, command := range [][]string{{"rename", w.file, "new", "--yes"}, {"delete", w.file, "--yes"}, {"uninstall", w.file, "--yes"}} {
		if said, code := w.waybill(t.Context(), command...); code != ExitUsage || !strings.Contains(said, "a batch of the kind fill was begun by ann at") || !strings.Contains(said, "waybill repair run") {
			t.Errorf("%s with a batch that is not finished: %d: %s", command[0], code, said)
		}
	}
	testenv.Exec(t, w.srv.HTTPAddr(), "ALTER TABLE waybill.replays DELETE WHERE sequence = 99 SETTINGS mutations_sync = 2")
	w.must("rename", w.file, "new", "--yes")
	again := func(name string, epoch int) {
		t.Helper()
		w.write(name)
		w.set(fmt.Sprintf("epoch: %d", epoch))
		stop := w.start()
		testenv.Eventually(w, 2*time.Minute, "the topic is read again", func() bool {
			text, err := testenv.Query(w.srv.HTTPAddr(), fmt.Sprintf("SELECT sum(next - first) FROM waybill.ledger WHERE pipeline = '%s' AND epoch = %d", name, epoch))
			return err == nil && strings.TrimSpace(text) == fmt.Sprint(w.next+w.bad)
		})
		stop()
		if got := w.value(erased + fmt.Sprint(epoch)); got != "99 0" {
			t.Errorf("read again as %s: rows, and of the subject: %s", name, got)
		}
	}
	again("new", 1)
	w.must("audit", w.file)
	again("old", 2)
	if got := w.value("SELECT concat(toString(count()), ' ', toString(uniqExact(pipeline))) FROM waybill.erasures"); got != "2 2" {
		t.Errorf("on record: %s", got)
	}
	if said := w.must("uninstall", w.file, "--others"); !strings.Contains(said, "with it goes what is known of 1 erasures") {
		t.Errorf("uninstall: %s", said)
	}
}

// set adds a line to the pipeline's file.
func (w *lifeWorld) set(line string) {
	w.Helper()
	text, err := os.ReadFile(w.file)
	if err == nil {
		err = os.WriteFile(w.file, append(text, line+"\n"...), 0o600)
	}
	if err != nil {
		w.Fatal(err)
	}
}

// A backfill that was promoted under the old name is taken back under the new one, promoted again, and cleaned up.
func TestRename_ABackfillIsTakenBackUnderTheNewName(t *testing.T) {
	w := newLifeWorld(t)
	w.sink = ", insert_deadline: 3s" // what is under way is waited for that long
	w.write("old")
	w.must("check", "--fix", w.file)
	w.produce(100)
	stop := w.start()
	w.settled()
	stop()
	w.must("backfill", "plan", w.file, "--scope", "all")
	refused := func(want string, commands ...[]string) {
		t.Helper()
		for _, c := range commands {
			if said, code := w.waybill(t.Context(), c...); code != ExitUsage || !strings.Contains(said, want) {
				t.Errorf("%v: %d: %s", c, code, said)
			}
		}
	}
	remove := []string{"uninstall", w.file, "--yes"}
	refused("backfill 1 is planned", []string{"rename", w.file, "new", "--yes"}, []string{"delete", w.file, "--yes"}, remove)
	w.must("backfill", "run", w.file)
	w.must("backfill", "promote", w.file, "--unverified")
	w.must("rename", w.file, "new", "--yes")
	w.write("new")
	for _, step := range []string{"rollback", "promote"} {
		stop := w.start()
		w.produce(10)
		w.must("backfill", step, w.file)
		testenv.Eventually(w, time.Minute, "all is in the table after "+step, func() bool {
			text, err := testenv.Query(w.srv.HTTPAddr(), "SELECT concat(toString(count()), ' ', toString(uniqExact(id))) FROM ai.events")
			return err == nil && strings.TrimSpace(text) == fmt.Sprintf("%[1]d %[1]d", w.next)
		})
		stop()
		w.must("audit", w.file)
	}
	refused("table ai.events_before_3, which backfill 1 of new keeps", remove)
	for _, g := range []string{"waybill-old-backfill-1", "waybill-old-backfill-2", "waybill-old-backfill-3"} {
		if said := w.must("delete", w.file); !slices.Contains(w.groups(), g) || !strings.Contains(said, "would delete group "+g) {
			t.Errorf("group %s is not there, or not named: %s", g, said)
		}
	}
	if said := strings.Join(strings.Fields(w.must("delete", w.file)), " "); !strings.Contains(said, "table ai.events (a backfill has put it there: before the file is run again, write epoch 3 into it, and let it start behind the rows of older epochs, which would come once more), table ai.events_before_3, which backfill 1 of new keeps") {
		t.Errorf("delete: %s", said)
	}
	w.must("backfill", "cleanup", w.file, "--yes")
	if got := w.groups(); !slices.Equal(got, []string{"waybill-new"}) {
		t.Errorf("groups: %v", got)
	}
	if said := w.must("uninstall", w.file); !strings.Contains(said, "would drop database waybill") {
		t.Errorf("uninstall: %s", said)
	}
	if got := w.value("SELECT arrayStringConcat(groupUniqArray(pipeline), ' ') FROM waybill.jobs"); got != "new" {
		t.Errorf("the journal's rows go by %s", got)
	}
	if got := w.value("SELECT arrayStringConcat(groupArray(name), ' ') FROM system.tables WHERE database = 'ai'"); got != "events" {
		t.Errorf("tables: %s", got)
	}
}

// A pipeline that was deleted can be run again, and deleted again: it reads the topic anew, and rows that the table has of its epoch are not written twice.
func TestDelete_ThePipelineCanBeRunAgain(t *testing.T) {
	w := newLifeWorld(t)
	w.sink = ", insert_deadline: 3s"
	w.write("calls")
	w.must("check", "--fix", w.file)
	for range 3 {
		w.produce(20)
		stop := w.start()
		w.settled()
		stop()
		if got := w.value("SELECT concat(toString(count()), ' ', toString(uniqExact(id))) FROM ai.events"); got != fmt.Sprintf("%[1]d %[1]d", w.next) {
			t.Errorf("rows: %s, of %d", got, w.next)
		}
		w.must("audit", w.file)
		w.must("backfill", "plan", w.file, "--scope", "all")
		w.must("backfill", "run", w.file)
		w.must("backfill", "cancel", w.file)
		w.must("backfill", "cleanup", w.file, "--yes")
		w.must("delete", w.file, "--yes")
		if left := w.kept("calls"); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// Who starts the pipeline under its new name before the renaming has ended waits for that: it would begin with part of what is on record.
func TestRename_WhoeverIsStartedTooEarlyWaits(t *testing.T) {
	w := newLifeWorld(t)
	w.write("old")
	w.must("check", "--fix", w.file)
	w.produce(200)
	stop := w.start()
	w.settled()
	stop()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // what is done first is to pause both names; it is stopped there
		for ctx.Err() == nil {
			if n, err := testenv.Query(w.srv.HTTPAddr(), "SELECT count() FROM waybill.pauses WHERE pipeline = 'new'"); err == nil && strings.TrimSpace(n) != "0" {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if said, code := w.waybill(ctx, "rename", w.file, "new", "--yes"); code == ExitOK {
		t.Fatalf("it was not stopped: %s", said)
	}
	old := w.file
	w.file = filepath.Join(t.TempDir(), "new.yaml")
	w.write("new")
	defer w.start()()
	testenv.Eventually(t, time.Minute, "the worker stands still", func() bool {
		text := w.said.String()
		return strings.Contains(text, "standing still") && strings.Contains(text, "it is being renamed from old")
	})
	w.produce(100)
	w.must("rename", old, "new", "--yes")
	w.settled()
	if got := w.value("SELECT concat(toString(count()), ' ', toString(uniqExact(id))) FROM ai.events"); got != fmt.Sprintf("%[1]d %[1]d", w.next) {
		t.Errorf("rows: %s, of %d", got, w.next)
	}
	w.must("audit", w.file)
}
