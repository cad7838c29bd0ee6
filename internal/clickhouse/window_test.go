package clickhouse

import (
	"fmt"
	"strings"
	"testing"
	"time"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/testenv"
)

// The proof is only as good as its refusals: each case where a token can be gone must not be "inside".
func TestWindowProof(t *testing.T) { overBoth(t, testWindowProof) }

func testWindowProof(t *testing.T, over wire) {
	srv := testenv.ClickHouse(t, func(o *chserverOptions) { o.SystemLogs = true })
	w := &world{t, over, srv, testenv.Database(t, srv), open(t, over.on(srv, Config{}))}
	w.table("wide", "", "PARTITION BY _partition SETTINGS non_replicated_deduplication_window = 1000")
	w.table("narrow", "", "PARTITION BY _partition SETTINGS non_replicated_deduplication_window = 150")
	w.table("none", "", "")
	// A proof reaches back 5 s before its time: the server and the tables must be older than that.
	testenv.Eventually(t, 30*time.Second, "tables are old enough", func() bool {
		return w.value("SELECT now() - toDateTime(max(metadata_modification_time)) > 7 FROM system.tables WHERE database = '"+w.db+"'") == "1"
	})
	since := w.c.ServerNow(time.Now())
	prove := func(table string) (bool, string) {
		t.Helper()
		inside, evidence, err := w.c.WindowProof(t.Context(), []string{w.db + "." + table}, since)
		if err != nil {
			t.Fatal(err)
		}
		return inside, evidence
	}
	want := func(table string, inside bool, evidence string) {
		t.Helper()
		if got, said := prove(table); got != inside || !strings.Contains(said, evidence) {
			t.Errorf("%s: %v, %q; want %v, %q", table, got, said, inside, evidence)
		}
	}
	for _, table := range []string{"wide", "narrow", "none"} {
		w.wantLanded(w.insert(table, "T0", rows(0, 1)))
	}
	want("wide", true, "1 block ids since then")
	want("none", false, "keeps no deduplication window")
	if inside, _, err := w.c.WindowProof(t.Context(), []string{w.db + ".wide", w.db + ".none"}, since); inside || err != nil {
		t.Errorf("inside %v, error %v although one of two tables has no window", inside, err)
	}

	// Merges and mutations take no slots.
	w.exec("ALTER TABLE "+w.db+".wide DELETE WHERE v = 77 SETTINGS mutations_sync = 1", "OPTIMIZE TABLE "+w.db+".wide FINAL")
	w.wantDeduplicated(w.insert("wide", "T0", rows(0, 1)))
	want("wide", true, "2 block ids since then")

	// Eviction: 150 others push the token out, and dropping their partition takes away every part that could tell of them.
	for i := range 150 {
		w.wantLanded(w.insert("narrow", waybill.Token(fmt.Sprint("x", i)), rows(1, int64(i))))
	}
	want("narrow", false, "151 block ids since then")
	w.exec("ALTER TABLE " + w.db + ".narrow DROP PARTITION 1")
	want("narrow", false, "was dropped, detached or truncated")
	w.wantLanded(w.insert("narrow", "T0", rows(0, 1))) // it was indeed not inside

	// A partition that went away and came back has forgotten its tokens; its parts keep their old times.
	w.exec("ALTER TABLE "+w.db+".wide DETACH PARTITION 0", "ALTER TABLE "+w.db+".wide ATTACH PARTITION 0")
	want("wide", false, "was dropped, detached or truncated")
	w.wantLanded(w.insert("wide", "T0", rows(0, 1)))
}

func TestWindowProof_AlteredOrRestarted(t *testing.T) {
	overBoth(t, testWindowProof_AlteredOrRestarted)
}

func testWindowProof_AlteredOrRestarted(t *testing.T, over wire) {
	srv := testenv.ClickHouse(t, func(o *chserverOptions) { o.SystemLogs = true })
	w := &world{t, over, srv, testenv.Database(t, srv), open(t, over.on(srv, Config{}))}
	w.table("t", "", window100)
	w.wantLanded(w.insert("t", "T0", rows(0, 1)))
	inside, evidence, err := w.c.WindowProof(t.Context(), []string{w.db + ".t"}, w.c.ServerNow(time.Now()))
	if inside || err != nil || !strings.Contains(evidence, "restarted") {
		t.Errorf("server younger than the proof: %v %q %v", inside, evidence, err)
	}
	testenv.Eventually(t, 30*time.Second, "the server is old enough", func() bool { return w.value("SELECT uptime() > 7") == "1" })
	since := w.c.ServerNow(time.Now())
	w.exec("ALTER TABLE " + w.db + ".t MODIFY SETTING non_replicated_deduplication_window = 100000")
	inside, evidence, err = w.c.WindowProof(t.Context(), []string{w.db + ".t"}, since)
	if inside || err != nil || !strings.Contains(evidence, "altered") {
		t.Errorf("altered table: %v %q %v", inside, evidence, err)
	}
	if err := srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	inside, evidence, err = w.c.WindowProof(t.Context(), []string{w.db + ".t"}, since)
	if inside || err != nil {
		t.Errorf("restarted server: %v %q %v", inside, evidence, err)
	}
}

func TestWindowProof_WithoutPartLog(t *testing.T) { overBoth(t, testWindowProof_WithoutPartLog) }

func testWindowProof_WithoutPartLog(t *testing.T, over wire) {
	w := newWorld(t, over)
	w.table("t", "", window100)
	inside, evidence, err := w.c.WindowProof(t.Context(), []string{w.db + ".t"}, time.Now())
	if inside || err != nil || !strings.Contains(evidence, "part_log") {
		t.Errorf("%v %q %v", inside, evidence, err)
	}
}
