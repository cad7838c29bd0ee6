package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
	"github.com/waybill-data/waybill/internal/testenv/kafkaserver"
)

func TestKafka_BrokerRestarted(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"killed", "stopped"} {
		t.Run(how, func(t *testing.T) {
			if how != "killed" {
				fullOnly(t)
			}
			w := newWorld(t, setup{kafka: testenv.Kafka(t)})
			w.produce(1000, usual)
			p := w.start("")
			w.awaitRows(1)
			before := w.kafka.PID()
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
			defer cancel()
			if how == "killed" {
				w.kafka.Kill()
			}
			if err := w.kafka.Restart(ctx); err != nil {
				t.Fatal(err)
			}
			w.observe("broker processes "+how, boolCount(w.kafka.PID() != before))
			w.produce(1000, usual)
			w.quiet()
			p.stop()
			w.verify()
		})
	}
}

// The broker has committed, and nobody hears of it.
func TestKafka_LostReplyToCommit(t *testing.T) {
	const offsetCommit = 8
	proxy := testenv.Proxy(t, "127.0.0.1:1")
	broker := testenv.Kafka(t, func(o *kafkaserver.Options) { o.AdvertisedAddr = proxy.Addr() })
	proxy.SetTarget(broker.Addr())
	w := newWorld(t, setup{kafka: broker})
	w.produce(1000, usual)
	proxy.Set(faultproxy.DropReply().On(faultproxy.KafkaRequest(offsetCommit)).Times(2))
	p := w.start("")
	w.quiet()
	w.produce(500, usual)
	w.quiet()
	p.stop()
	w.observe("replies lost", proxy.Applied(faultproxy.NameDropReply))
	w.verify()
}

func TestKafka_TopicRecreated(t *testing.T) {
	w := newWorld(t, setup{})
	w.produce(600, usual)
	running := w.start("")
	w.quiet()
	old := w.pipelineFile()
	maps.Copy(w.ends, w.endsNow())
	w.recreate(500)
	if code := running.exit(patience); code != 4 || running.said("epoch") == 0 {
		t.Fatalf("a running worker ended with exit code %d", code)
	}
	w.file = old // which does not know of the new epoch
	again := w.start("")
	if code := again.exit(patience); code != 4 || again.said("waybill: ", "epoch") == 0 && again.said("hint:", "epoch") == 0 {
		t.Fatalf("a worker that was started on the new topic ended with exit code %d", code)
	}
	w.observe("workers stopped, naming epoch", 2)
	w.file = ""
	w.allow("topic_recreated")
	w.settle()
	w.verify()
}

// recreate deletes the topic, creates it again and fills it. What is produced from here on is of the next
// epoch.
func (w *world) recreate(n int) {
	w.Helper()
	if _, err := w.adm.DeleteTopic(w.Context(), w.topic); err != nil {
		w.Fatal(err)
	}
	size := "8388608"
	w.eventually("the topic is created again", func() bool {
		_, err := w.adm.CreateTopic(w.Context(), w.partitions, 1, map[string]*string{"max.message.bytes": &size}, w.topic)
		return err == nil
	})
	// The client that produced to the old topic knows it by its id; the new one gets a new client.
	w.connect()
	w.epoch++
	w.produce(n, usual)
}

func (w *world) endsNow() map[position]int64 {
	w.Helper()
	out := map[position]int64{}
	for p, end := range w.ended() {
		out[position{w.topic, w.epoch, p}] = end
	}
	return out
}

// commitByHand does what a tool does to a group without members.
func (w *world) commitByHand(change func(o *kadm.Offset)) {
	w.Helper()
	w.emptyGroup()
	offsets := kadm.Offsets{}
	for _, o := range w.committed() {
		change(&o)
		o.LeaderEpoch = -1
		offsets.Add(o)
	}
	if err := w.adm.CommitAllOffsets(w.Context(), w.group, offsets); err != nil {
		w.Fatal(err)
	}
}

func TestGroup_MovedByHand(t *testing.T) {
	t.Parallel()
	for kind, change := range map[string]func(o *kadm.Offset){
		"position_moved_forward": func(o *kadm.Offset) { o.At += 40; o.Metadata = "" },
		"position_moved_back":    func(o *kadm.Offset) { o.At -= 40; o.Metadata = "" },
		"metadata_wiped":         func(o *kadm.Offset) { o.Metadata = "" },
	} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, setup{})
			w.produce(600, usual)
			w.settle()
			w.produce(600, usual)
			w.commitByHand(change)
			p := w.start("")
			w.quiet()
			w.expectFinding(kind)
			p.stop()
			w.verify()
		})
	}
}

// The same while a batch was pending: its string is gone, its rows are not.
func TestGroup_MovedByHandWithABatchPending(t *testing.T) {
	t.Parallel()
	for kind, change := range map[string]func(o *kadm.Offset){
		"metadata_wiped":         func(o *kadm.Offset) { o.Metadata = "" },
		"position_moved_forward": func(o *kadm.Offset) { o.At += 40; o.Metadata = "" },
		"string_does_not_tile":   func(o *kadm.Offset) { o.At += 40 },
	} {
		t.Run(kind, func(t *testing.T) {
			if kind != "metadata_wiped" {
				fullOnly(t)
			}
			w := newWorld(t, setup{partitions: 2})
			w.produce(400, usual)
			w.settle()
			w.produce(400, usual)
			w.start("after-target:1").died("after-target")
			w.allow("metadata_wiped", "position_moved_forward", "rows_past_position", "string_does_not_tile")
			w.commitByHand(change)
			p := w.start("")
			w.quiet()
			w.expectFinding("rows_past_position")
			p.stop()
			w.verify()
		})
	}
}

func TestGroup_Deleted(t *testing.T) {
	t.Parallel()
	for _, pending := range []bool{false, true} {
		t.Run(fmt.Sprintf("pending=%v", pending), func(t *testing.T) {
			w := newWorld(t, setup{})
			w.produce(600, usual)
			w.settle()
			w.produce(600, usual)
			if pending {
				w.allow("rows_past_position")
				w.start("after-target:1").died("after-target")
			}
			w.emptyGroup()
			if _, err := w.adm.DeleteGroup(t.Context(), w.group); err != nil {
				t.Fatal(err)
			}
			p := w.start("")
			w.quiet()
			w.expectFinding("group_missing")
			p.stop()
			w.verify()
		})
	}
}

func TestGroup_FrozenThroughARebalance(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			if protocol != "classic" {
				fullOnly(t)
			}
			w := newWorld(t, setup{kafkaKeys: "protocol: " + protocol})
			if protocol == "consumer" {
				w.groupConfig("consumer.session.timeout.ms", "6000")
			}
			a, b := w.start(""), w.start("")
			w.eventually("both workers have partitions", func() bool { return a.owns() == 2 && b.owns() == 2 })
			w.produce(600, usual)
			w.quiet()
			a.signal(sigStop)
			w.produce(600, usual)
			w.eventually("the other worker owns all", func() bool { return b.owns() == int(w.partitions) })
			a.signal(sigCont)
			w.produce(600, usual)
			w.eventually("the frozen worker is back", func() bool { return a.owns() == 2 && b.owns() == 2 })
			w.observe("memberships of the frozen worker after the first", a.said(`"msg":"partitions assigned"`)-1)
			w.quiet()
			a.stop()
			w.quiet()
			b.stop()
			w.verify()
		})
	}
}

// The frozen worker's insert is on its way and is let go when the worker, or its successor, has long
// moved on.
func TestGroup_FrozenWithAnInsertInFlight(t *testing.T) {
	t.Parallel()
	for _, wakes := range []bool{true, false} {
		t.Run(fmt.Sprintf("wakes=%v", wakes), func(t *testing.T) {
			w := newWorld(t, setup{proxied: true})
			w.produce(600, usual)
			w.proxy.Set(faultproxy.Hang().On(faultproxy.Insert(tableEvents)))
			a := w.start("")
			w.eventually("an insert hangs", func() bool { return w.proxy.Applied(faultproxy.NameHang) > 0 })
			a.signal(sigStop)
			direct := w.proxy
			w.proxy = nil // the next worker has a way of its own
			b := w.start("")
			w.eventually("the next worker owns all", func() bool { return b.owns() == int(w.partitions) })
			w.quietBut(a)
			w.observe("inserts held", direct.Applied(faultproxy.NameHang))
			direct.Set(faultproxy.Pass()) // the server gets what a had sent
			if wakes {
				a.signal(sigCont)
				w.eventually("the frozen worker is back", func() bool { return a.owns() > 0 })
			} else {
				a.kill()
			}
			w.produce(600, usual)
			w.quiet()
			b.stop()
			if wakes {
				w.quiet()
				a.stop()
			}
			w.verify()
		})
	}
}

// quietBut is quiet with one worker that cannot answer.
func (w *world) quietBut(frozen *worker) {
	w.Helper()
	w.mu.Lock()
	all := w.workers
	w.workers = slices.DeleteFunc(slices.Clone(all), func(p *worker) bool { return p == frozen })
	w.mu.Unlock()
	w.quiet()
	w.mu.Lock()
	w.workers = all
	w.mu.Unlock()
}

func TestKafka_PartitionsAdded(t *testing.T) {
	w := newWorld(t, setup{partitions: 2, kafkaKeys: "start: earliest"})
	w.produce(400, usual)
	p := w.start("")
	w.quiet()
	if _, err := w.adm.UpdatePartitions(t.Context(), 5, w.topic); err != nil {
		t.Fatal(err)
	}
	w.partitions = 5
	w.connect()
	w.produce(500, usual)
	w.quiet()
	w.observe("partitions owned", int64(p.owns()))
	p.stop()
	w.verify()
}

func TestKafka_RetentionPastThePosition(t *testing.T) {
	t.Parallel()
	for _, pending := range []bool{false, true} {
		t.Run(fmt.Sprintf("pending=%v", pending), func(t *testing.T) {
			w := newWorld(t, setup{partitions: 2})
			w.produce(400, usual)
			w.settle()
			w.produce(400, usual) // offsets 200 to 399 of each partition
			from := int64(200)
			if pending {
				w.start("after-target:1").died("after-target")
				// What the killed worker had landed stays.
			}
			w.deleteRecords(from, 300, pending)
			p := w.start("")
			w.quiet()
			if pending {
				w.allow("retention_loss") // of the partitions that the killed worker had not come to
				w.expectFinding("records_gone")
			} else {
				w.expectFinding("retention_loss")
			}
			w.produce(200, usual)
			w.quiet()
			p.stop()
			if pending {
				w.verifyPartial(from, 300)
				return
			}
			w.verify()
			w.observe("offsets lost", integer(w.query("SELECT sum(lost) FROM waybill.ledger WHERE pipeline = '"+w.pipeline+"'")))
		})
	}
}

// deleteRecords removes everything before an offset from each partition; unless they were landed, the
// offsets from the given one are lost.
func (w *world) deleteRecords(from, before int64, landed bool) {
	w.Helper()
	offsets := kadm.Offsets{}
	for p := range w.partitions {
		offsets.Add(kadm.Offset{Topic: w.topic, Partition: p, At: before, LeaderEpoch: -1})
		for o := from; o < before && !landed; o++ {
			w.lost[place{position{w.topic, w.epoch, p}, o}] = true
		}
	}
	resp, err := w.adm.DeleteRecords(w.Context(), offsets)
	if err != nil {
		w.Fatal(err)
	}
	if err := resp.Error(); err != nil {
		w.Fatal(err)
	}
}

// verifyPartial is verify where records were removed after some of them had landed, which nobody can
// foresee: what is in the table counts as landed, the rest as lost, and all of it must be on the account.
func (w *world) verifyPartial(from, before int64) {
	w.Helper()
	present := map[place]bool{}
	for _, f := range w.rowsOf("SELECT _topic, _epoch, _partition, _offset FROM " + w.db + ".events") {
		present[placeOf(f[0], f[1], f[2], f[3])] = true
	}
	w.mu.Lock()
	for i := range w.records {
		r := &w.records[i]
		if r.offset >= from && r.offset < before && !present[r.place] {
			w.lost[r.place] = true
		}
	}
	w.mu.Unlock()
	w.verify()
	w.observe("offsets lost", integer(w.query("SELECT sum(lost) FROM waybill.ledger WHERE pipeline = '"+w.pipeline+"'")))
}

func TestKafka_ConsumerProtocol(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"after-target", "commit-built", "before-ledger"} {
		t.Run(at, func(t *testing.T) {
			if at != "after-target" {
				fullOnly(t)
			}
			w := newWorld(t, setup{kafkaKeys: "protocol: consumer"})
			w.groupConfig("consumer.session.timeout.ms", "6000")
			w.produce(600, usual)
			w.start(at + ":1").died(at)
			a := w.start("")
			b := w.start("")
			w.produce(600, usual)
			w.eventually("both workers have partitions", func() bool { return a.owns() == 2 && b.owns() == 2 })
			w.produce(600, usual)
			w.quiet()
			b.kill()
			w.produce(600, usual)
			w.quiet()
			a.stop()
			w.verify()
		})
	}
}

// groupConfig sets a configuration of the group at the broker (Kafka 4).
func (w *world) groupConfig(name, value string) {
	w.Helper()
	const group = kmsg.ConfigResourceType(32)
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = group, w.group
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value = name, &value
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(w.Context(), w.client)
	if err != nil || resp.Resources[0].ErrorCode != 0 {
		w.Fatalf("configure the group: %v %+v", err, resp)
	}
}

func TestKafka_TransactionsWithMarkersAtTheEnd(t *testing.T) {
	w := newWorld(t, setup{partitions: 2})
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.kafka.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(w.pipeline))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	aborted := 0
	transaction := func(n int, end kgo.TransactionEndTry) {
		t.Helper()
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		sent := w.produceBy(cl, n, usual)
		if end == kgo.TryAbort {
			for i := range sent {
				sent[i].fate = asNothing
			}
			aborted += n
		}
		if err := cl.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	transaction(300, kgo.TryCommit)
	transaction(200, kgo.TryAbort)
	transaction(300, kgo.TryCommit)
	w.start("after-target:1").died("after-target")
	p := w.start("")
	w.quiet()
	transaction(100, kgo.TryAbort) // nothing but what is aborted, and markers, at the end
	w.quiet()
	p.stop()
	w.observe("records aborted", int64(aborted))
	w.verify()
}

func TestKafka_LargeRecordsAndGarbage(t *testing.T) {
	w := newWorld(t, setup{partitions: 2})
	large := usual
	large.body, large.truncated = 5<<20, 3
	w.produce(8, large)
	w.produce(600, mix{garbage: 2})
	w.start("after-target:1").died("after-target")
	p := w.start("")
	w.quiet()
	p.stop()
	w.observe("bytes of the largest row", integer(w.query("SELECT max(length(body)) FROM "+w.db+".events")))
	w.observe("dead letters", integer(w.query("SELECT count() FROM waybill.dead_letters WHERE pipeline = '"+w.pipeline+"'")))
	w.verify()
}

// Three workers come and go, killed and stopped, while records keep coming.
func TestGroup_WorkersComeAndGo(t *testing.T) {
	fullOnly(t)
	w := newWorld(t, setup{partitions: 6, check: "tenant != 'cursed'"})
	m := usual
	m.poisoned = 997
	workers := []*worker{w.start(""), w.start(""), w.start("")}
	kills := int64(0)
	for round := range 6 {
		w.produce(300, m)
		i := round % len(workers)
		w.awaitRows(w.count() + 1)
		if round%2 == 0 {
			workers[i].kill()
			kills++
		} else {
			workers[i].stop()
		}
		workers[i] = w.start("")
	}
	w.produce(300, m)
	w.quiet()
	for _, p := range workers {
		p.stop()
	}
	w.observe("workers killed", kills)
	w.verify()
}

func TestKafka_LatestSkipsWhatWasThere(t *testing.T) {
	w := newWorld(t, setup{partitions: 2, kafkaKeys: "start: latest"})
	w.produce(200, usual)
	p := w.start("")
	w.eventually("both partitions are consumed", func() bool { return p.owns() == 2 })
	skipped := w.count()
	w.produce(200, usual)
	w.quiet()
	p.kill()
	w.settle()
	rows := w.rowsOf("SELECT min(_offset), count() FROM " + w.db + ".events")
	if skipped != 0 || rows[0][0] < "100" || !strings.HasPrefix(rows[0][0], "10") {
		t.Errorf("the first row is of offset %s", rows[0][0])
	}
	w.observe("rows past the start", integer(rows[0][1]))
}
