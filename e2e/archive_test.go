package e2e

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/s3server"
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
	for _, row := range w.archivedRows(text) {
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

// archivedRows are the archived records as texts: position, key, value and headers.
func (w *world) archivedRows(text func([]byte) string) [][]string {
	w.Helper()
	if w.bucket != "" {
		return w.objectRows(text)
	}
	return w.rowsOf(`SELECT concat(toString(_partition), '/', toString(_offset)), if(isNull(key), 'none', concat('x', hex(assumeNotNull(key)))), if(isNull(value), 'none', concat('x', hex(assumeNotNull(value)))),
		arrayStringConcat(arrayMap((k, v) -> concat(k, '=', if(isNull(v), 'none', concat('x', hex(assumeNotNull(v)))), ';'), header_keys, header_values), '') FROM ` + w.db + ".kept")
}

// objectRows reads the bucket's files, with nothing of the product's: a line of JSON for each record, compressed.
func (w *world) objectRows(text func([]byte) string) (rows [][]string) {
	w.Helper()
	err := filepath.WalkDir(w.bucket, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".ndjson.zst") {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		plain, err := zstd.NewReader(f)
		if err != nil {
			return err
		}
		defer plain.Close()
		for lines := json.NewDecoder(plain); ; {
			var l map[string]any
			if err := lines.Decode(&l); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			headers := ""
			for _, h := range listOf(l["headers"]) {
				h := h.(map[string]any)
				headers += string(memberOf(h, "name")) + "=" + text(memberOf(h, "value")) + ";"
			}
			rows = append(rows, []string{fmt.Sprintf("%.0f/%.0f", l["partition"], l["offset"]), text(memberOf(l, "key")), text(memberOf(l, "value")), headers})
		}
	})
	if err != nil {
		w.Fatal(err)
	}
	return rows
}

func listOf(v any) []any { l, _ := v.([]any); return l }

// memberOf is a member's bytes, which may be in base64; nil: there is none.
func memberOf(l map[string]any, name string) []byte {
	if s, ok := l[name].(string); ok {
		return []byte(s)
	}
	if s, ok := l[name+"_base64"].(string); ok {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return []byte(err.Error())
		}
		return b
	}
	return nil
}

// archiving is a case whose pipeline keeps its records.
func archiving(t *testing.T) *world {
	w := newWorld(t, setup{check: "tenant != 'cursed'"})
	w.file = w.pipelineFile() + "archive: {table: kept, ttl: 30d}\n"
	w.archives = true
	return w
}

// archivingObjects is a case whose pipeline keeps its records in a bucket.
func archivingObjects(t *testing.T) *world {
	w := newWorld(t, setup{check: "tenant != 'cursed'"})
	w.keepObjects()
	return w
}

// keepObjects has the case's pipeline keep its records in a bucket of its own.
func (w *world) keepObjects() {
	w.Helper()
	s3 := testenv.SharedS3(w)
	bucket := testenv.Bucket(w, s3)
	w.file = w.pipelineFile() + fmt.Sprintf("archive: {s3: {endpoint: %q, bucket: %s, access_key: %s, secret_key: %s, object_bytes: 20000, object_age: 200ms}}\n",
		s3.URL(), bucket, s3server.AccessKey, s3server.SecretKey)
	w.archives, w.bucket = true, s3.Dir(bucket)
}

// settleBoth is settle for the pipeline and its archive.
func (w *world) settleBoth() {
	w.Helper()
	p := w.start("")
	w.quietBoth()
	p.stop()
}

// quietBoth is quiet for the pipeline and its archive.
func (w *world) quietBoth() {
	w.Helper()
	w.quiet()
	total := int64(0)
	for _, end := range w.ended() {
		total += end
	}
	w.eventually("the archive has settled everything", func() bool {
		return w.query("SELECT sum(n) FROM (SELECT partition, max(next) AS n FROM waybill.ledger WHERE pipeline = '"+w.pipeline+".archive' GROUP BY partition)") == fmt.Sprint(total)
	})
}

// forget has the brokers remove all but the last records of each partition.
func (w *world) forget(but int64) {
	w.Helper()
	offsets := kadm.Offsets{}
	for p, end := range w.ended() {
		offsets.Add(kadm.Offset{Topic: w.topic, Partition: p, At: end - but, LeaderEpoch: -1})
	}
	resp, err := w.adm.DeleteRecords(w.Context(), offsets)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		w.Fatal(err)
	}
}

// On the command line: a backfill of what Kafka has forgotten is planned, run and promoted from the archive, and rolled back from it; and where the archive
// does not have it any more either, as after its TTL, the rollback is refused, and says why.
func TestArchive_BackfillAndRollbackOfWhatKafkaForgot(t *testing.T) {
	for _, kind := range []string{"table", "objects"} {
		t.Run(kind, func(t *testing.T) {
			w := &backfilling{world: newWorld(t, setup{partitions: 2})}
			w.allow("epoch_begun", "table_replaced")
			if w.archives = true; kind == "objects" {
				w.keepObjects()
			} else {
				w.file = w.pipelineFile() + "archive: {table: kept, ttl: 30d}\n"
			}
			w.produce(600, mix{truncated: 97, tombstones: 61})
			w.live = w.start("")
			w.quietBoth()
			w.old = w.writeFile()
			w.file = strings.Replace(w.file, "tenant: {type: LowCardinality(String)}", `tenant: {type: LowCardinality(String), expr: '"`+marked+`" + event.tenant'}`, 1)
			w.new = w.writeFile()
			before := integer(w.query("SELECT count() FROM " + w.db + ".events"))
			w.forget(50)

			w.backfill(w.new, nil, "plan", "--scope", "all")
			w.backfill(w.new, nil, "run")
			w.exact(noneOfIt)
			w.backfill(w.new, nil, "promote", "--unverified")
			w.produce(200, mix{truncated: 97})
			w.quietBoth()
			if made := w.exact(itFirst); int64(made) < before {
				t.Fatalf("%d rows are the backfill's; there were %d", made, before)
			}
			if n := w.query("SELECT sum(lost) FROM waybill.ledger WHERE pipeline = '" + w.pipeline + "'"); n != "0" {
				t.Errorf("%s records are lost on account", n)
			}
			w.forget(10)
			w.backfill(w.old, nil, "rollback")
			w.produce(100, mix{truncated: 97})
			w.quietBoth()
			w.exact(noneOfIt)

			w.backfill(w.new, nil, "promote", "--unverified")
			w.produce(200, mix{truncated: 97})
			w.quietBoth()
			w.forget(10)
			if kind == "objects" {
				if err := os.RemoveAll(filepath.Join(w.bucket, "topic="+w.topic)); err != nil {
					t.Fatal(err)
				}
			} else {
				// As old as the file says that records are kept, and the server then removes them by itself.
				kept := w.db + ".kept"
				w.exec("SYSTEM STOP TTL MERGES "+kept,
					"INSERT INTO "+kept+" SELECT * REPLACE (archived_at - toIntervalDay(31) AS archived_at) FROM "+kept+" SETTINGS insert_deduplicate = 0",
					"ALTER TABLE "+kept+" DELETE WHERE archived_at > now() - toIntervalDay(30) SETTINGS mutations_sync = 2")
				if n := w.query("SELECT count() FROM " + kept); n != "1100" {
					t.Fatalf("%s old records are archived", n)
				}
				w.exec("SYSTEM START TTL MERGES " + kept)
				w.eventually("the server has removed what is past its TTL", func() bool {
					w.exec("OPTIMIZE TABLE " + kept + " FINAL")
					return w.query("SELECT count() FROM "+kept) == "0"
				})
			}
			p := w.startWith("", "backfill", "rollback", w.old)
			if code := p.exit(patience); code == 0 || !strings.Contains(p.log.String(), "cannot be read any more") {
				t.Errorf("a rollback without the records ends with %d:\n%s", code, p.log)
			}
			w.exact(inAnyOrder)
			w.live.stop()
			w.observe("backfills and rollbacks of what Kafka had forgotten", 3)
		})
	}
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

// inShortObjects are the failpoints of the short selection.
var inShortObjects = []string{"during-target", "after-object", "after-target", "before-ledger"}

// A worker is killed at each step of writing objects: the bucket has every record once, byte for byte. It is the process that is armed, so that
// where the pipeline passes the same place first it takes the archive with it.
func TestObjects_KilledAtEveryFailpoint(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(binary, "failpoints", "--objects").Output()
	names := strings.Fields(string(out))
	if err != nil || len(names) < 15 {
		t.Fatalf("failpoints: %v, %v", names, err)
	}
	for _, name := range names {
		if slices.Contains([]string{"before-rebuild", "after-rebuild", "revoked", "drained"}, name) {
			continue // see below, and TestArchive_KilledAtEveryFailpoint
		}
		for _, nth := range []string{"1", "2", "5"} {
			if nth != "1" && !slices.Contains(inShortObjects, name) || !full && (nth != "2" || !slices.Contains(inShortObjects, name)) {
				continue
			}
			t.Run(name+":"+nth, func(t *testing.T) {
				w := archivingObjects(t)
				w.produce(600, usual)
				if strings.HasSuffix(name, "-read-back") { // something is in doubt only after a crash
					w.start("before-target:1").died("before-target")
				}
				w.start(name + ":" + nth).died(name)
				for _, then := range []string{"before-rebuild", "after-rebuild"} { // and those who come after it
					if slices.Contains(inShortObjects, name) {
						w.start(then + ":1").died(then)
					}
				}
				w.produce(600, usual)
				w.settleBoth()
				w.verify()
				if bad := w.archiveProblems(); len(bad) > 0 {
					t.Errorf("the archive has %d problems:\n  %s", len(bad), strings.Join(bad[:min(len(bad), 20)], "\n  "))
				}
				if n := w.query("SELECT countIf(read != written) FROM waybill.ledger WHERE pipeline = '" + w.pipeline + ".archive'"); n != "0" {
					t.Errorf("%s spans of the archive's account have records without one in the bucket", n)
				}
				if got, err := exec.Command(binary, "archive", "verify", w.writeFile(), "--all").CombinedOutput(); err != nil {
					t.Errorf("archive verify: %v\n%s", err, got)
				}
			})
		}
	}
}

// The oracle sees an object that is gone, one that is there twice, and one that is another; and `archive verify` names the first and the last.
func TestObjects_OracleSeesEachKindOfDamage(t *testing.T) {
	w := archivingObjects(t)
	w.produce(200, usual)
	w.settleBoth()
	if bad := w.archiveProblems(); len(bad) > 0 {
		t.Fatalf("before: %s", bad)
	}
	var files []string
	if err := filepath.WalkDir(w.bucket, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".zst") {
			files = append(files, path)
		}
		return err
	}); err != nil || len(files) < 2 {
		t.Fatalf("%d objects: %v", len(files), err)
	}
	body, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	write := func(path string, body []byte) func() error {
		return func() error { return os.WriteFile(path, body, 0o600) }
	}
	other := zstdOf(t, body, func(s string) string { return strings.Replace(s, `"value":"`, `"value":" `, 1) })
	for _, damage := range []struct {
		name         string
		do, undo     func() error
		want, verify string
	}{
		{"twice", write(filepath.Join(filepath.Dir(files[0]), "copy.ndjson.zst"), body), func() error { return os.Remove(filepath.Join(filepath.Dir(files[0]), "copy.ndjson.zst")) }, "archived twice", ""},
		{"another", write(files[0], other), write(files[0], body), "is archived as", "not the checksum"},
		{"gone", func() error { return os.Remove(files[0]) }, write(files[0], body), "is not archived", "missing"},
	} {
		if err := damage.do(); err != nil {
			t.Fatal(err)
		}
		if bad := strings.Join(w.archiveProblems(), "\n"); !strings.Contains(bad, damage.want) {
			t.Errorf("%s: %s", damage.name, bad)
		}
		if got, err := exec.Command(binary, "archive", "verify", w.writeFile(), "--all").CombinedOutput(); damage.verify != "" && (err == nil || !strings.Contains(string(got), damage.verify)) {
			t.Errorf("%s: archive verify says %v:\n%s", damage.name, err, got)
		}
		if err := damage.undo(); err != nil {
			t.Fatal(err)
		}
		w.observe("damage to objects", 1)
	}
}

// zstdOf is a compressed text, changed.
func zstdOf(t *testing.T, body []byte, change func(string) string) []byte {
	t.Helper()
	r, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := r.DecodeAll(body, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	return out.EncodeAll([]byte(change(string(text))), nil)
}
