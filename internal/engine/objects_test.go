package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/archive"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/objects"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/s3server"
)

// inObjects is archived, of a pipeline that keeps its records in a bucket.
func inObjects(t *testing.T, partitions int32, s spec) (w *world, file *config.Pipeline, dir string) {
	return inObjectsOn(t, testenv.SharedS3(t), partitions, s)
}

func inObjectsOn(t *testing.T, s3 *s3server.Server, partitions int32, s spec) (w *world, file *config.Pipeline, dir string) {
	w = newWorld(t, partitions)
	bucket := testenv.Bucket(t, s3)
	s.top += s3Section(s3, bucket, s.bytes)
	file = w.file(s)
	w.name = file.Archiver().Name
	return w, file, s3.Dir(bucket)
}

// s3Section keeps a pipeline's records in a bucket, in objects of about so many bytes.
func s3Section(s3 *s3server.Server, bucket string, bytes int) string {
	if bytes == 0 {
		bytes = 20_000
	}
	return fmt.Sprintf("\narchive: {s3: {endpoint: %q, bucket: %s, prefix: a/b, access_key: %s, secret_key: %s, object_bytes: %d, object_age: 200ms}}\n",
		s3.URL(), bucket, s3server.AccessKey, s3server.SecretKey, bytes)
}

// kept are the names of the objects in a directory of the server's.
func kept(t testing.TB, dir string) (names []objects.Name) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".zst") {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		n, ok := objects.ParseName(strings.TrimPrefix(filepath.ToSlash(rel), "a/b/"))
		if !ok {
			t.Errorf("object %s has another name than objects have", rel)
		}
		names = append(names, n)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// eachOnce checks that the objects hold each offset of each partition once, up to an end, and that the archive reads what the topic has.
func (w *world) eachOnce(file *config.Pipeline, dir string, n int) {
	w.Helper()
	seen := map[waybill.TopicPartition]waybill.OffsetSet{}
	var total int64
	for _, name := range kept(w, dir) {
		body, err := os.ReadFile(filepath.Join(dir, "a", "b", filepath.FromSlash(name.String())))
		if err != nil {
			w.Fatal(err)
		}
		records, _, err := objects.Decode(name, body)
		if err != nil {
			w.Fatal(err)
		}
		set := seen[name.TopicPartition]
		for i := range records {
			set.Add(records[i].Offset)
		}
		seen[name.TopicPartition] = set
		total += int64(len(records))
	}
	if total != int64(n) {
		w.Errorf("the objects hold %d records, want each of %d once", total, n)
	}
	r := w.reader(file)
	for p, want := range w.consumed(n) {
		got, next, err := read(w, r, p, waybill.Span{First: 0, Next: int64(len(want))})
		if err != nil || next != int64(len(want)) {
			w.Errorf("partition %d is read to %d: %v", p, next, err)
		}
		sameRecords(w, fmt.Sprint("partition ", p), got, want)
		if set := seen[waybill.TopicPartition{Topic: topic, Partition: p}]; set.Len() != int64(len(want)) {
			w.Errorf("partition %d: the objects hold %s", p, set)
		}
	}
}

func TestObjects_HoldEveryRecordAsItCame(t *testing.T) {
	w, file, dir := inObjects(t, 2, spec{bytes: 100_000})
	w.budget = 64 << 20
	w.produceOdd(2000)
	a := w.start(file.Archiver())
	w.quiet(2000)
	a.stop()
	if got := w.query(w.ofLedger("concat(toString(sum(read)), ' ', toString(sum(written)), ' ', any(target))")); !strings.HasPrefix(got, "2000 2000 s3://") {
		t.Errorf("read, written and where: %s", got)
	}
	w.eachOnce(file, dir, 2000)
	r := w.reader(file)
	extent, err := r.Extent(t.Context(), topic)
	if err != nil || extent[0] != (waybill.Span{First: 0, Next: 1000}) || extent[1] != (waybill.Span{First: 0, Next: 1000}) {
		t.Errorf("extent %v, %v", extent, err)
	}
	want := w.consumed(2000)[1]
	got, next, err := read(t, r, 1, waybill.Span{First: 333, Next: 5000})
	if err != nil || next != 1000 {
		t.Errorf("read past the end to %d: %v", next, err)
	}
	sameRecords(t, "a span", got, want[333:])
	if _, next, err := read(t, r, 7, waybill.Span{First: 5, Next: 9}); next != 5 || err != nil {
		t.Errorf("of a partition that is not there: %d, %v", next, err)
	}
	size, err := r.Size(t.Context())
	if err != nil || size.Rows != 2000 || size.Objects != int64(len(kept(t, dir))) || size.OnDisk == 0 || time.Since(size.Oldest) > time.Hour {
		t.Errorf("size %+v, %v", size, err)
	}
	at, err := r.OffsetsAt(t.Context(), topic, want[500].Time)
	first := int64(slices.IndexFunc(want, func(r waybill.Record) bool { return r.Time >= want[500].Time }))
	if err != nil || at[1] != first {
		t.Errorf("records of the time of offset 500 begin at %v, want %d: %v", at, first, err)
	}
}

func TestObjects_EachRecordOnceWhoeverIsCutOff(t *testing.T) {
	w, file, dir := inObjects(t, 2, spec{deadline: quick, kafka: quickSession})
	w.budget = 64 << 20
	for round := range 4 {
		w.produceOdd(600)
		a := w.start(file.Archiver())
		testenv.Eventually(w, soon, "some of it is archived", func() bool {
			var n int64
			for _, name := range kept(t, dir) {
				n += name.Count
			}
			return n > int64(600*round+50)
		})
		a.sockets.cutAll()
		a.cancel()
		<-a.done
	}
	b := w.start(file.Archiver())
	w.quiet(2400)
	b.stop()
	w.eachOnce(file, dir, 2400)
}

// The storage is killed in the middle, comes back, and nothing is missing or there twice.
func TestObjects_OutliveTheStorageBeingGone(t *testing.T) {
	s3 := testenv.S3(t)
	w, file, dir := inObjectsOn(t, s3, 2, spec{deadline: quick})
	w.produceOdd(300)
	a := w.start(file.Archiver())
	testenv.Eventually(t, soon, "the first objects", func() bool { return len(kept(t, dir)) > 0 })
	s3.Kill()
	w.produceOdd(1500)
	a.await("it says what it waits for", func(s status.Pipeline) bool {
		return s.State == status.Stalled && strings.Contains(s.Reason, "objects.put")
	})
	if err := s3.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.quiet(1800)
	a.stop()
	w.eachOnce(file, dir, 1800)
}

// A bucket that is not there is a person's business, and the file's place is named.
func TestObjects_RefuseABucketThatIsNotThere(t *testing.T) {
	w := newWorld(t, 1)
	s3 := testenv.SharedS3(t)
	for what, section := range map[string]string{"NoSuchBucket": s3Section(s3, "nowhere", 0),
		"SignatureDoesNotMatch": strings.Replace(s3Section(s3, testenv.Bucket(t, s3), 0), "secret_key: ", "secret_key: x", 1)} {
		a := w.start(w.file(spec{top: section}).Archiver())
		if err := a.ended(); err == nil || waybill.ClassOf(err) != waybill.ClassConfig || strings.Contains(err.Error(), "x"+s3server.SecretKey) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What Kafka removed before it could be archived is a gap with its extent; so is an object that somebody took away; and neither is a hole.
func TestObjects_NameWhatIsMissing(t *testing.T) {
	w, file, dir := inObjects(t, 1, spec{bytes: 4000})
	w.produce(400)
	a := w.start(file.Archiver())
	w.quiet(400)
	a.stop()
	w.produce(1000)
	w.admin(func(ctx context.Context, adm *kadm.Client) error {
		var to kadm.Offsets
		to.Add(kadm.Offset{Topic: topic, Partition: 0, At: 700})
		_, err := adm.DeleteRecords(ctx, to)
		return err
	})
	b := w.start(file.Archiver())
	w.quiet(1400)
	b.stop()
	gaps, err := w.reader(file).Gaps(t.Context(), topic)
	if err != nil || gaps[0].String() != "[400,700)" {
		t.Errorf("gaps %v, %v", gaps, err)
	}
	r := w.reader(file)
	if got, next, err := read(t, r, 0, waybill.Span{First: 700, Next: 1400}); err != nil || next != 1400 || len(got) != 700 {
		t.Errorf("%d records, read to %d: %v", len(got), next, err)
	}
	names := kept(t, dir)
	slices.SortFunc(names, func(a, b objects.Name) int { return int(a.First - b.First) })
	i := slices.IndexFunc(names, func(n objects.Name) bool { return n.First > 700 })
	gone := names[i]
	if err := os.Remove(filepath.Join(dir, "a", "b", filepath.FromSlash(gone.String()))); err != nil {
		t.Fatal(err)
	}
	want := waybill.OffsetsIn(waybill.Span{First: 400, Next: 700}, gone.Span)
	if gaps, err = r.Gaps(t.Context(), topic); err != nil || !gaps[0].Equal(want) {
		t.Errorf("gaps %v, want %v: %v", gaps[0], want, err)
	}
	// A reader that has looked before notices, too.
	var gap *archive.Gap
	if _, next, err := read(t, r, 0, waybill.Span{First: 700, Next: 1400}); !errors.As(err, &gap) || next != gone.First || gap.Span != gone.Span {
		t.Errorf("read to %d: %v, want the gap %s", next, err, gone.Span)
	}
}

// What a transaction leaves in the log is a hole, and no gap.
func TestObjects_HolesAreNoGaps(t *testing.T) {
	w, file, dir := inObjects(t, 1, spec{})
	w.transactions(kgo.TryCommit, kgo.TryAbort, kgo.TryCommit)
	a := w.start(file.Archiver())
	w.quiet(33)
	a.stop()
	r := w.reader(file)
	if gaps, err := r.Gaps(t.Context(), topic); err != nil || len(gaps) != 0 {
		t.Errorf("gaps %v, %v", gaps, err)
	}
	got, next, err := read(t, r, 0, waybill.Span{First: 5, Next: 33})
	if err != nil || next != 33 || len(got) != 15 || got[5].Offset != 22 {
		t.Errorf("%d records, read to %d: %v", len(got), next, err)
	}
	if names := kept(t, dir); !slices.ContainsFunc(names, func(n objects.Name) bool { return !n.Whole() }) {
		t.Errorf("no object has a hole: %v", names)
	}
}

func TestObjects_Erase(t *testing.T) {
	w, file, dir := inObjects(t, 1, spec{bytes: 4000})
	w.produce(300)
	a := w.start(file.Archiver())
	w.quiet(300)
	a.stop()
	r, tp := w.reader(file), waybill.TopicPartition{Topic: topic}
	subject := waybill.OffsetsOf(7, 8, 9, 100, 299)
	whole := kept(t, dir)[0] // and one object of which nothing is left
	subject.AddSpan(whole.Span)
	for range 2 { // twice is as good as once
		if err := r.Erase(t.Context(), tp, subject, "a test", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	var n int64
	for _, name := range kept(t, dir) {
		body, err := os.ReadFile(filepath.Join(dir, "a", "b", filepath.FromSlash(name.String())))
		if err != nil {
			t.Fatal(err)
		}
		records, _, err := objects.Decode(name, body)
		if err != nil {
			t.Fatal(err)
		}
		for i := range records {
			n++
			if subject.Contains(records[i].Offset) {
				t.Errorf("offset %d is still in %s", records[i].Offset, name)
			}
		}
	}
	if n != 300-subject.Len() {
		t.Errorf("%d records are left of 300 without %d", n, subject.Len())
	}
	got, next, err := read(t, r, 0, waybill.Span{First: 0, Next: 300})
	if err != nil || next != 300 || len(got) != int(300-subject.Len()) {
		t.Errorf("%d records, read to %d: %v", len(got), next, err)
	}
	if gaps, err := r.Gaps(t.Context(), topic); err != nil || len(gaps) != 0 {
		t.Errorf("gaps %v, %v: what was erased is none", gaps, err)
	}
	if err := r.Erase(t.Context(), tp, waybill.OffsetsOf(299, 300), "too early", time.Now()); err == nil {
		t.Error("an offset that is still to come was erased")
	}
	// It goes on after an erasure, and takes nothing for absent.
	w.produce(100)
	b := w.start(file.Archiver())
	w.quiet(400)
	b.stop()
	if got, next, err := read(t, r, 0, waybill.Span{First: 0, Next: 400}); err != nil || next != 400 || len(got) != int(400-subject.Len()) {
		t.Errorf("%d records, read to %d: %v", len(got), next, err)
	}
}

// A backfill reads objects as it reads Kafka: the rows are the same, by content.
func TestObjects_ABackfillWithoutTheLogsBeginningMakesTheSameRows(t *testing.T) {
	s3 := testenv.SharedS3(t)
	for name, top := range map[string]string{"raw": "", "redacted": redacting} {
		t.Run(name, func(t *testing.T) {
			s := spec{top: top + s3Section(s3, testenv.Bucket(t, s3), 0), rows: 200, modes: "new_fields: rescue\n  type_conflicts: rescue", columns: "\n    email: {type: String}\n    who: {type: Nullable(String), kafka: key}"}
			w := newWorld(t, 2)
			w.exec("ALTER TABLE " + w.db + ".calls ADD COLUMN email String, ADD COLUMN who Nullable(String)")
			file := w.file(s)
			cl := w.client(kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
			defer cl.Close()
			for i := range 2000 {
				r := kgo.StringRecord(fmt.Sprintf(`{"id":%d,"v":2,"model":"m%d","email":"b%d@x.y","ssn":"s","extra":{"n":%d}}`, i, i%3, i, i))
				r.Key = fmt.Appendf(nil, "k%d", i%50)
				switch i % 10 {
				case 1:
					r.Value = fmt.Appendf(nil, `{"id":%d,"mail":"old%d@x.y"}`, i, i)
				case 2:
					r.Value = nil
				case 3:
					r.Value = []byte("no JSON")
				}
				cl.Produce(t.Context(), r, nil)
			}
			if err := cl.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			live := w.name
			w.name = file.Archiver().Name
			keeper := w.start(file.Archiver())
			w.quiet(2000)
			keeper.stop()
			w.name = live

			all := whole(2, 1000)
			w.job(file, 1, 2).run(engine.Backfill{Scope: always(all)}).complete()
			w.deleteBefore(0, 700)
			w.deleteBefore(1, 1000) // nothing is left of it
			b := w.job(file, 2, 2).run(engine.Backfill{Scope: always(all), Archive: w.reader(file)})
			b.complete()
			if b.found("retention_loss") {
				t.Errorf("findings %+v", b.p.Status().Findings)
			}
			rows := func(epoch string) string {
				return w.query("SELECT concat(toString(count()), ' ', toString(sum(cityHash64(id, model, tokens, email, ifNull(who, 'NULL'), _topic, _partition, _offset, _rescued)))) FROM " + w.db + ".calls_j" + epoch)
			}
			if one, two := rows("1"), rows("2"); one != two || !strings.HasPrefix(one, "1600 ") {
				t.Errorf("rows: %s from Kafka, %s with the archive", one, two)
			}
		})
	}
}

// Redaction comes before anything is kept, and the account's checksums are of what it left: so everything can be compared, long after Kafka has forgotten.
func TestObjects_InventoryFindsWhatIsNotAsItWasWritten(t *testing.T) {
	for name, top := range map[string]string{"raw": "", "redacted": redacting} {
		t.Run(name, func(t *testing.T) {
			w, file, dir := inObjects(t, 2, spec{top: top, bytes: 4000, modes: "new_fields: rescue\n  type_conflicts: rescue", columns: "\n    email: {type: String}"})
			w.exec("ALTER TABLE " + w.db + ".calls ADD COLUMN email String")
			w.produceAs(600, func(i int) string {
				switch i % 7 {
				case 0:
					return fmt.Sprintf("secret-%d, no JSON", i)
				case 1:
					return fmt.Sprintf(`{"id":%d,"mail":"secret-%d@x.y"}`, i, i)
				}
				return fmt.Sprintf(`{"id":%d,"v":2,"email":"secret-%d@x.y","ssn":"secret"}`, i, i)
			})
			a := w.start(file.Archiver())
			w.quiet(600)
			a.stop()
			r := w.reader(file)
			inventory := func() *archive.Inventory {
				t.Helper()
				v, ok, err := r.TakeInventory(t.Context(), topic)
				if err != nil || !ok {
					t.Fatal(ok, err)
				}
				return v
			}
			names := kept(t, dir)
			if v := inventory(); !v.OK() || v.Records != 600 || v.Objects != int64(len(names)) {
				t.Errorf("%+v", v)
			}
			path := func(n objects.Name) string { return filepath.Join(dir, "a", "b", filepath.FromSlash(n.String())) }
			for _, n := range names {
				body, err := os.ReadFile(path(n))
				if err != nil {
					t.Fatal(err)
				}
				records, _, err := objects.Decode(n, body)
				if err != nil {
					t.Fatal(err)
				}
				for i := range records {
					if top != "" && strings.Contains(string(records[i].Value), "secret") {
						t.Errorf("offset %d is kept as %s", records[i].Offset, records[i].Value)
					}
				}
			}
			// One object is cut, one is gone, and one has the records of the other partition: each is named.
			body, err := os.ReadFile(path(names[0]))
			if err == nil {
				err = errors.Join(os.WriteFile(path(names[0]), body[:len(body)/2], 0o600), os.Remove(path(names[1])))
			}
			if err != nil {
				t.Fatal(err)
			}
			v := inventory()
			if len(v.Damaged) != 1 || v.Damaged[0].Object != names[0].String() || len(v.Missing) != 2 || len(v.Differ) != 0 {
				t.Errorf("%+v", v)
			}
			for _, l := range v.Missing {
				if span := (waybill.Span{First: l.First, Next: l.Next}); span != names[0].Span && span != names[1].Span {
					t.Errorf("missing: %+v, of %v and %v", l, names[0], names[1])
				}
			}
			// Whoever reads it is told.
			if _, _, err := read(t, r, names[0].Partition, names[0].Span); !errors.Is(err, objects.ErrDamaged) {
				t.Errorf("reading a damaged object: %v", err)
			}
		})
	}
}
