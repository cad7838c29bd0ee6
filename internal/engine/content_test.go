package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/content"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/erase"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/repair"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
	"github.com/waybill-data/waybill/internal/testenv/s3server"
)

// prompt is an event's long value: one of seven, as prompts repeat, but for every fifth, which is short.
func prompt(i int) string {
	if i%5 == 0 {
		return fmt.Sprintf("short %d", i)
	}
	return strings.Repeat(fmt.Sprintf("prompt %d, ", i%7), 100)
}

func withPrompt(i int) string {
	return fmt.Sprintf(`{"id":%d,"model":"m%d","prompt":%q}`, i, i%3, prompt(i))
}

// longValues is a world of which the events have long values, and the pipeline's file.
func longValues(t *testing.T, s spec) (*world, *config.Pipeline) {
	return longValuesOn(t, testenv.SharedClickHouse(t), s)
}

func longValuesOn(t *testing.T, ch *chserver.Server, s spec) (*world, *config.Pipeline) {
	w := newWorldOn(t, ch, 2)
	w.table(", prompt String, prompt_ref String, prompt_bytes UInt64")
	s.columns += "\n    prompt: {type: String, large: {inline: 200, preview: 8}}"
	if s.top == "" {
		s.top = "content: {table: prompts}"
	}
	return w, w.file(s)
}

// rightValues says how many rows there are, and how many of them are right about their long values, as the test makes them again.
func (w *world) rightValues() string {
	w.Helper()
	return w.query(fmt.Sprintf(`SELECT concat(toString(count()), ' ', toString(countIf(right))) FROM (
		SELECT if(id %% 5 = 0, concat('short ', toString(id)), repeat(concat('prompt ', toString(id %% 7), ', '), 100)) AS whole,
			prompt_bytes = length(whole) AND if(length(whole) <= 200, prompt = whole AND prompt_ref = '',
				prompt = 'prompt %%' OR prompt = substring(whole, 1, 8) AND prompt_ref = lower(hex(SHA256(whole)))) AS right FROM %s.calls)`, w.db))
}

func TestContent_ValuesAreStoredOnceAndBeforeTheirRows(t *testing.T) {
	w, cfg := longValues(t, spec{rows: 20})
	// The server refuses every long value, for now: no row may come that refers to one.
	client, err := clickhouse.Open(t.Context(), engine.Server(cfg.Sink.ClickHouse), clickhouse.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	store, err := engine.OpenContent(cfg, client)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.exec("ALTER TABLE " + w.db + ".prompts ADD CONSTRAINT never CHECK length(content) < 10")
	w.produceAs(400, withPrompt)
	a := w.start(cfg)
	a.await("a stall", func(s status.Pipeline) bool { return s.State == status.Stalled })
	time.Sleep(300 * time.Millisecond)
	if got := w.query("SELECT count() FROM " + w.db + ".calls"); got != "0" {
		t.Fatalf("%s rows are there, whose values could not be stored", got)
	}
	w.exec("ALTER TABLE " + w.db + ".prompts DROP CONSTRAINT never")
	w.quiet(400)
	// Batches that were in flight at once may each have stored a value that none of them knew. What comes again within minutes is known.
	stored := a.metric("contents_stored_total", "")
	if stored < 7 || stored > 7*engine.MaxInFlight*2 {
		t.Errorf("the metrics count %v values stored", stored)
	}
	w.produceAs(100, withPrompt)
	w.quiet(500)
	a.stop()
	if got := w.rightValues(); got != "500 500" {
		t.Errorf("rows, and those that are right: %s", got)
	}
	// Seven long prompts, of which each is kept once.
	if got := w.query("SELECT concat(toString(count()), ' ', toString(uniqExact(hash)), ' ', toString(countIf(hash = lower(hex(SHA256(content)))))) FROM " + w.db + ".prompts FINAL"); got != "7 7 7" {
		t.Errorf("values, different ones, and those that have their name: %s", got)
	}
	if again, moved := a.metric("contents_stored_total", ""), a.metric("large_values_total", "prompt"); again != stored || moved != 400 {
		t.Errorf("the metrics count %v values stored, %v of them before they were known, and %v moved", again, stored, moved)
	}
}

// references are where names of the world's long values may be.
func (w *world) references(cfg *config.Pipeline, client *clickhouse.Client) []content.Reference {
	w.Helper()
	refs, err := engine.ContentReferences(context.Background(), cfg, client, ledger.New(client, "").Database(), ledger.TablePlans)
	if err != nil {
		w.Fatal(err)
	}
	var own []content.Reference // the server is shared with other tests, whose tables have nothing to do with it
	for _, r := range refs {
		if r.Database == w.db {
			own = append(own, r)
		}
	}
	return own
}

func TestContent_SweepLeavesWhatAnyTableRefersTo(t *testing.T) {
	for name, top := range map[string]func(t *testing.T) string{
		"table": func(*testing.T) string { return "" },
		"objects": func(t *testing.T) string {
			s3 := testenv.SharedS3(t)
			return fmt.Sprintf("content: {s3: {endpoint: %q, bucket: %s, prefix: long, access_key: %s, secret_key: %s}}", s3.URL(), testenv.Bucket(t, s3), s3server.AccessKey, s3server.SecretKey)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, cfg := longValues(t, spec{top: top(t)})
			w.produceAs(100, withPrompt)
			a := w.start(cfg)
			w.quiet(100)
			a.stop()
			if got := w.rightValues(); got != "100 100" {
				t.Fatalf("rows, and those that are right: %s", got)
			}
			client, err := clickhouse.Open(t.Context(), engine.Server(cfg.Sink.ClickHouse), clickhouse.Deps{})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			store, err := engine.OpenContent(cfg, client)
			if err != nil {
				t.Fatal(err)
			}
			ctx := t.Context()
			whole := prompt(3)
			ref := w.query("SELECT any(prompt_ref) FROM " + w.db + ".calls WHERE id = 3")
			if got, err := store.Get(ctx, ref); err != nil || string(got) != whole {
				t.Fatalf("read %d bytes, %v", len(got), err)
			}
			// A copy of some rows refers to values too, whoever made it.
			w.exec(fmt.Sprintf("CREATE TABLE %[1]s.copy ENGINE = MergeTree ORDER BY id AS SELECT id, prompt_ref AS their_ref FROM %[1]s.calls WHERE id %% 7 = 3", w.db),
				fmt.Sprintf("ALTER TABLE %s.calls DELETE WHERE id %% 7 IN (3, 4) SETTINGS mutations_sync = 2", w.db))
			refs := w.references(cfg, client)
			if len(refs) != 2 {
				t.Fatalf("references are in %v", refs)
			}
			if s, err := store.Sweep(ctx, refs, content.Grace, true); err != nil || s.Values != 0 || s.Young != 1 {
				t.Fatalf("of values that were just stored: %+v, %v", s, err)
			}
			if s, err := store.Sweep(ctx, refs, -time.Hour, false); err != nil || s.Values != 1 || s.Removed {
				t.Fatalf("without being told to: %+v, %v", s, err)
			}
			if s, err := store.Sweep(ctx, refs, -time.Hour, true); err != nil || s.Values != 1 || s.Bytes != int64(len(prompt(4))) || !s.Removed {
				t.Fatalf("swept %+v, %v", s, err)
			}
			if m, err := store.Missing(ctx, refs); err != nil || m.Missing != 0 || m.References != 6 {
				t.Fatalf("after the sweep: %+v, %v", m, err)
			}
			if got, err := store.Get(ctx, ref); err != nil || string(got) != whole {
				t.Fatalf("what the copy refers to: %d bytes, %v", len(got), err)
			}
			// Had nobody looked at the copy, its value would be gone, and be missed.
			if _, err := store.Sweep(ctx, refs[:0:0], -time.Hour, true); err != nil {
				t.Fatal(err)
			}
			if m, err := store.Missing(ctx, refs); err != nil || m.Missing != 6 || len(m.Names) != 6 {
				t.Fatalf("after all was removed: %+v, %v", m, err)
			}
		})
	}
}

func TestContent_AuditNamesRowsWithoutTheirValuesAndRepairBringsThem(t *testing.T) {
	w, cfg := longValues(t, spec{})
	w.produceAs(100, withPrompt)
	a := w.start(cfg)
	w.quiet(100)
	a.stop()
	w.sound(cfg)
	w.exec("ALTER TABLE " + w.db + ".prompts DELETE WHERE content LIKE 'prompt 3,%' SETTINGS mutations_sync = 2")
	rows := w.query("SELECT count() FROM " + w.db + ".calls WHERE id % 7 = 3 AND id % 5 != 0")
	got := w.audited(cfg)
	var sum int
	for _, line := range strings.Split(got, "\n") {
		var n int
		if _, err := fmt.Sscanf(line, "long_values_missing %d", &n); err != nil {
			t.Fatalf("the audit says %s", got)
		}
		sum += n
	}
	if fmt.Sprint(sum) != rows {
		t.Fatalf("the audit names %d rows, of %s", sum, rows)
	}
	all := waybill.OffsetsIn(waybill.Span{First: 0, Next: 50})
	if r, v := w.repair(cfg, repair.Options{Offsets: map[int32]waybill.OffsetSet{0: all, 1: all}}); r.Written != 100 || !v.Right() {
		t.Fatalf("%+v %+v", r, v)
	}
	w.sound(cfg)
	if got := w.rightValues(); got != "100 100" {
		t.Errorf("rows, and those that are right: %s", got)
	}
}

func TestContent_EraseRemovesWhatOnlyTheErasedReferTo(t *testing.T) {
	// On a server of its own: tables of other tests refer to the same values, and come and go while it looks for such.
	w, cfg := longValuesOn(t, testenv.ClickHouse(t), spec{})
	w.produceAs(70, withPrompt)
	a := w.start(cfg)
	w.quiet(70)
	a.stop()
	// The values of the prompts 5 and 6 were stored a while ago; row 12 is not of the subject, and refers to prompt 5 too.
	w.exec(fmt.Sprintf("CREATE TABLE %[1]s.older AS %[1]s.prompts", w.db),
		fmt.Sprintf("INSERT INTO %[1]s.older (hash, content, stored_at) SELECT hash, content, stored_at - 86400 FROM %[1]s.prompts", w.db),
		fmt.Sprintf("EXCHANGE TABLES %[1]s.older AND %[1]s.prompts", w.db))
	o := erase.Options{Where: "id % 7 IN (5, 6) AND id != 12", Why: "a test"}
	_, c := w.erase(cfg, o)
	if !c.Clean() {
		t.Errorf("%+v", c)
	}
	if got := w.query("SELECT arrayStringConcat(arraySort(groupArray(substring(content, 1, 8))), ' ') FROM " + w.db + ".prompts"); got != "prompt 0 prompt 1 prompt 2 prompt 3 prompt 4 prompt 5" {
		t.Errorf("left are %s", got)
	}
	// What was stored just now stays, and is said.
	w.exec("INSERT INTO " + w.db + ".prompts (hash, content) VALUES ('00', 'a value that no row refers to')")
	if _, c := w.erase(cfg, o); c.Clean() || c.Contents != 1 {
		t.Errorf("a value is left, and the erasure says %+v", c)
	}
}
