package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
)

// A password that is wrong, at the start or later, stops nothing for good and drops nothing: the pipeline says what is wrong, and goes on by itself.
func TestSource_WrongPasswordStallsUntilTheFileIsRight(t *testing.T) {
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topic), kfake.GroupMinSessionTimeout(time.Second), kfake.EnableSASL(), kfake.Superuser("PLAIN", "waybill", "right"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	k.ControlKey(kmsg.SASLAuthenticate.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) { // it would close the connection; brokers answer
		k.KeepControl()
		req, _ := r.(*kmsg.SASLAuthenticateRequest)
		if bytes.HasSuffix(req.SASLAuthBytes, []byte("\x00right")) {
			return nil, nil, false
		}
		resp, _ := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return resp, nil, true
	})
	w := newWorldWith(t, testenv.SharedClickHouse(t), k)
	w.sasl = plain.Auth{User: "waybill", Pass: "right"}.AsMechanism()
	password := filepath.Join(t.TempDir(), "password")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(password, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("right")
	cfg := w.file(spec{kafka: fmt.Sprintf(", sasl: {plain: {username: waybill, password_file: %q}}", password)})
	stalled := func(s status.Pipeline) bool {
		return s.State == status.Stalled && strings.Contains(s.Reason, "SASL_AUTHENTICATION_FAILED") && strings.Contains(s.Reason, "source.kafka.sasl")
	}
	w.produce(200)
	a := w.start(cfg)
	w.quiet(200)
	a.await("it runs", func(s status.Pipeline) bool { return s.State == status.Running })

	// The password is rotated on the brokers first: what connects from here on is refused.
	put("wrong")
	a.sockets.cutAll()
	a.sockets.mend()
	w.produce(100)
	a.await("it stalls again", stalled)
	put("right")
	w.quiet(300)
	a.stop()
	w.verify()
	w.wantCounts("300 297 3 0")
	if s := fmt.Sprintf("%+v", a.p.Status()); strings.Contains(s, "right") || strings.Contains(s, "wrong") {
		t.Errorf("the status shows the password: %s", s)
	}
}

// produceAt puts events with a time into one partition.
func (w *world) produceAt(partition int32, n int, at time.Time) {
	w.Helper()
	cl := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close()
	for range n {
		r := &kgo.Record{Partition: partition, Value: []byte(call(int(w.produced.Add(1)-1) * 100)), Timestamp: at}
		if err := cl.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			w.Fatal(err)
		}
	}
}

// firsts are where the partitions' accounts begin.
func (w *world) wantFirsts(want string) {
	w.Helper()
	got := w.query("SELECT toString(groupArray((partition, f))) FROM (SELECT partition, min(first) AS f FROM (" + w.ofLedger("*") + ") GROUP BY partition ORDER BY partition)")
	if got != want {
		w.Errorf("the accounts begin at %s, want %s", got, want)
	}
}

func TestPosition_StartsAtATime(t *testing.T) {
	w := newWorld(t, 3)
	noon := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	w.produceAt(0, 5, noon.Add(-time.Hour))
	w.produceAt(0, 3, noon)
	w.produceAt(1, 4, noon.Add(-time.Hour)) // nothing as late: what comes from now on
	w.produceAt(2, 2, noon.Add(time.Hour))
	cfg := w.file(spec{kafka: ", start: {timestamp: 2026-01-31T12:00:00Z}"})
	a := w.start(cfg)
	w.quiet(5)
	a.await("the start of each is committed", settled)
	w.produceAt(1, 1, noon.Add(-time.Minute)) // it came after the start, whatever it says
	w.quiet(6)
	w.admin(func(ctx context.Context, adm *kadm.Client) error {
		_, err := adm.CreatePartitions(ctx, 1, topic)
		return err
	})
	w.produceAt(3, 2, noon.Add(-time.Hour)) // of a partition that was not there: from its beginning
	w.quiet(8)
	a.stop()
	// A position counts for more than the start: nothing is read twice, and nothing is left out.
	w.produceAt(0, 1, noon.Add(-time.Hour))
	b := w.start(w.file(spec{kafka: ", start: {timestamp: 2026-01-31T14:00:00Z}"}))
	w.quiet(9)
	b.stop()
	w.verify()
	w.wantFirsts("[(0,5),(1,4),(2,0),(3,0)]")
}

func settled(s status.Pipeline) bool {
	for _, p := range s.Partitions {
		if p.State != status.Consuming || p.Settled < 0 {
			return false
		}
	}
	return len(s.Partitions) > 0
}

func TestPosition_StartsAtOffsets(t *testing.T) {
	w := newWorld(t, 3)
	for p := range int32(3) {
		w.produceAt(p, 5, time.Now())
	}
	w.admin(func(ctx context.Context, adm *kadm.Client) error { // the log of 2 begins at 3
		_, err := adm.DeleteRecords(ctx, kadm.Offsets{topic: {2: {Topic: topic, Partition: 2, At: 3}}})
		return err
	})
	// 0 is asked for past its end, which is no place to begin; 1 is not named; of 2 some is gone.
	a := w.start(w.file(spec{kafka: ", start: {offsets: {0: 7, 2: 1}}"}))
	a.await("it says that the partition is not as long", func(s status.Pipeline) bool {
		return s.State == status.Stalled && strings.Contains(s.Reason, "source.kafka.start is offset 7, and the partition ends at 5")
	})
	w.quiet(5 + 4)
	w.produceAt(0, 4, time.Now())
	w.quiet(5 + 4 + 2)
	a.stop()
	w.verify()
	w.wantFirsts("[(0,7),(1,0),(2,1)]")
	w.wantFinding("retention_loss", 1) // of the two records that were asked for and are gone
	w.wantCounts("11 9 0 2")
}

// A record that is larger than every limit, of fetches, batches and memory, is a row as any other.
func TestSource_RecordLargerThanEveryLimit(t *testing.T) {
	w := newWorld(t, 1)
	w.budget = 1 << 20
	w.admin(func(ctx context.Context, adm *kadm.Client) error {
		size := "20000000"
		_, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &size}}, topic)
		return err
	})
	w.produce(50)
	cl := w.client(kgo.ProducerBatchMaxBytes(16<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer cl.Close()
	const large = 6 << 20
	if err := cl.ProduceSync(t.Context(), kgo.StringRecord(fmt.Sprintf(`{"id":1000,"model":%q}`, strings.Repeat("x", large)))).FirstErr(); err != nil {
		t.Fatal(err)
	}
	w.produce(49)
	a := w.start(w.file(spec{kafka: ", fetch: {max_bytes: 64KiB, partition_bytes: 16KiB, min_bytes: 1KiB, max_wait: 50ms}", bytes: 100_000}))
	w.quiet(100)
	a.stop()
	w.verify()
	w.wantCounts("100 100 0 0")
	if got := w.query("SELECT max(length(model)) FROM " + w.db + ".calls"); got != fmt.Sprint(large) {
		t.Errorf("the longest text has %s characters, want %d", got, large)
	}
}

func TestSource_TombstonesByPolicy(t *testing.T) {
	for policy, want := range map[string]string{"skip": "10 3 7", "dead_letter": "10 10 0"} {
		t.Run(policy, func(t *testing.T) {
			w := newWorld(t, 1)
			cl := w.client()
			defer cl.Close()
			for i := range 10 {
				if err := cl.ProduceSync(t.Context(), &kgo.Record{Key: fmt.Append(nil, i), Value: map[bool][]byte{true: []byte(`{"id":`)}[i%3 == 0 && i > 0]}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			a := w.start(w.file(spec{top: "tombstones: " + policy}))
			w.quiet(10)
			a.stop()
			w.verify()
			got := w.query(w.ofLedger("concat(toString(sum(read)), ' ', toString(sum(dead_lettered)), ' ', toString(sum(tombstones)))"))
			if got != want {
				t.Errorf("read, dead-lettered, tombstones: %s, want %s", got, want)
			}
			if got := w.query("SELECT count() FROM waybill.dead_letters WHERE pipeline = '" + w.name + "' AND code = 'tombstone'"); got != map[string]string{"skip": "0", "dead_letter": "7"}[policy] {
				t.Errorf("%s dead letters say that they are tombstones", got)
			}
		})
	}
}

// Two workers with one instance id throw each other out; the reason is shown, and what both do stays exact.
func TestSource_OneInstanceIDForTwo(t *testing.T) {
	w := newWorld(t, 2)
	cfg := w.file(spec{kafka: ", instance_id: w-1"})
	w.produce(200)
	a := w.start(cfg)
	w.quiet(200)
	b := w.start(cfg)
	w.produce(100)
	w.quiet(300)
	stop := func(r *worker) { r.cancel(); <-r.done }
	stop(b)
	stop(a)
	w.verify()
	w.wantCounts("300 297 3 0")
}
