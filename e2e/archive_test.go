package e2e

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// archiveProblems is what the archive has other than what was produced: every record once, whatever has become of it, byte for byte.
func (w *world) archiveProblems() (bad []string) {
	w.Helper()
	text := func(b []byte) string {
		if b == nil {
			return "none"
		}
		return "x" + strings.ToUpper(hex.EncodeToString(b))
	}
	want := map[string]string{}
	w.mu.Lock()
	for i := range w.records {
		if r := &w.records[i]; r.fate != asNothing {
			headers := ""
			for _, h := range r.headers {
				headers += h.Key + "=" + text(h.Value) + ";"
			}
			want[fmt.Sprintf("%d/%d", r.partition, r.offset)] = strings.Join([]string{text(r.key), text(r.value), headers}, " ")
		}
	}
	w.mu.Unlock()
	rows := w.rowsOf(`SELECT concat(toString(_partition), '/', toString(_offset)), if(isNull(key), 'none', concat('x', hex(assumeNotNull(key)))), if(isNull(value), 'none', concat('x', hex(assumeNotNull(value)))),
		arrayStringConcat(arrayMap((k, v) -> concat(k, '=', if(isNull(v), 'none', concat('x', hex(assumeNotNull(v)))), ';'), header_keys, header_values), '') FROM ` + w.db + ".kept")
	for _, row := range rows {
		in, ok := want[row[0]]
		switch got := strings.Join(row[1:], " "); {
		case !ok:
			bad = append(bad, row[0]+" is archived twice, or was never produced")
		case got != in:
			bad = append(bad, fmt.Sprintf("%s is archived as %.200s, not as %.200s", row[0], got, in))
		}
		delete(want, row[0])
	}
	for at := range want {
		bad = append(bad, at+" is not archived")
	}
	slices.SortFunc(bad, cmp.Compare[string])
	return bad
}

// archiving is a case whose pipeline keeps its records.
func archiving(t *testing.T) *world {
	w := newWorld(t, setup{check: "tenant != 'cursed'"})
	w.file = w.pipelineFile() + "archive: {table: kept, ttl: 30d}\n"
	w.archives = true
	return w
}

// settleBoth is settle for the pipeline and its archive.
func (w *world) settleBoth() {
	w.Helper()
	p := w.start("")
	w.quiet()
	total := int64(0)
	for _, end := range w.ended() {
		total += end
	}
	w.eventually("the archive has settled everything", func() bool {
		return w.query("SELECT sum(n) FROM (SELECT partition, max(next) AS n FROM waybill.ledger WHERE pipeline = '"+w.pipeline+".archive' GROUP BY partition)") == fmt.Sprint(total)
	})
	p.stop()
}

// A worker is killed where either of its two pipelines gets to: the table and the archive each have every record once.
func TestArchive_KilledAtEveryFailpoint(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios {
		if s.evolving || s.run != nil || !full && (s.name != "during-target" && s.name != "after-ledger" || s.earlier != "" || s.nth != "") {
			continue
		}
		t.Run(strings.TrimSuffix(s.earlier+",then,"+s.name+":"+s.nth, ":"), func(t *testing.T) {
			w := archiving(t)
			m := usual
			m.poisoned = 499
			w.produce(600, m)
			if s.earlier != "" {
				w.start(s.earlier + ":1").died(s.earlier)
			}
			p := w.start(s.name + ":" + cmp.Or(s.nth, "1"))
			if s.nth != "" {
				for range 3 {
					w.awaitSettledOrDead(p)
					if p.alive() {
						w.produce(100, m)
					}
				}
			}
			p.died(s.name)
			w.produce(600, m)
			w.settleBoth()
			w.verify()
			if bad := w.archiveProblems(); len(bad) > 0 {
				t.Errorf("the archive has %d problems:\n  %s", len(bad), strings.Join(bad[:min(len(bad), 20)], "\n  "))
			}
			if n := w.query("SELECT countIf(read != written) FROM waybill.ledger WHERE pipeline = '" + w.pipeline + ".archive'"); n != "0" {
				t.Errorf("%s spans of the archive's account have records without a row", n)
			}
		})
	}
}

// The oracle sees a record that is missing, one that is there twice, and one that is another.
func TestArchive_OracleSeesEachKindOfDamage(t *testing.T) {
	w := archiving(t)
	w.produce(200, usual)
	w.settleBoth()
	if bad := w.archiveProblems(); len(bad) > 0 {
		t.Fatalf("before: %s", bad)
	}
	for _, damage := range []struct{ sql, want string }{
		{"INSERT INTO " + w.db + ".kept SELECT * FROM " + w.db + ".kept LIMIT 1 SETTINGS insert_deduplicate = 0", "archived twice"},
		{"ALTER TABLE " + w.db + ".kept UPDATE value = concat(value, ' ') WHERE _offset = 3 AND value IS NOT NULL SETTINGS mutations_sync = 2", "is archived as"},
		{"ALTER TABLE " + w.db + ".kept DELETE WHERE _offset = 2 SETTINGS mutations_sync = 2", "is not archived"},
	} {
		w.exec(damage.sql)
		if bad := strings.Join(w.archiveProblems(), "\n"); !strings.Contains(bad, damage.want) {
			t.Errorf("after %s: %s", damage.sql, bad)
		}
		w.observe("damage to the archive", 1)
	}
}
