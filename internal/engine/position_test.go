package engine_test

import (
	"context"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

// Short deadlines and sessions, so that waiting out what may be under way is short too.
const (
	quick        = "1s"
	quickSession = ", session_timeout: 3s"
)

func (w *world) group() string { return "waybill-" + w.name }

func TestPosition_RetentionPastThePositionIsLossOnRecord(t *testing.T) {
	w := newWorld(t, 2)
	cfg := w.file(spec{})
	w.produce(400)
	a := w.start(cfg)
	w.quiet(400)
	a.stop()
	w.produce(2000) // 1000 each, behind 200
	w.admin(func(ctx context.Context, adm *kadm.Client) error {
		var to kadm.Offsets
		to.Add(kadm.Offset{Topic: topic, Partition: 0, At: 700})
		_, err := adm.DeleteRecords(ctx, to)
		return err
	})
	b := w.start(cfg)
	w.quiet(2400)
	b.stop()
	w.verify()
	w.wantFinding("retention_loss", 1)
	if got := w.query(w.ofLedger("concat(toString(sumIf(lost, partition = 0)), ' ', toString(sumIf(lost, partition = 1)))")); got != "500 0" {
		t.Errorf("lost %s, want 500 0", got)
	}
	if s := b.p.Status().Totals; s.Lost != 500 {
		t.Errorf("totals %+v", s)
	}
	if got := w.query(w.ofLedger("toString(groupArrayIf((first, next), lost > 0))")); got != "[(200,700)]" {
		t.Errorf("lost spans %s", got)
	}
}

func TestPosition_DeletedGroupGoesOnAtTheLedgersEnd(t *testing.T) {
	w := newWorld(t, 2)
	cfg := w.file(spec{deadline: quick, kafka: quickSession})
	w.produce(400)
	a := w.start(cfg)
	w.quiet(400)
	a.stop()
	w.admin(func(ctx context.Context, adm *kadm.Client) error {
		_, err := adm.DeleteGroup(ctx, w.group())
		return err
	})
	w.produce(400)
	b := w.start(cfg)
	w.quiet(800)
	b.stop()
	w.verify()
	w.wantCounts("800 792 8 0")
	w.wantFinding("group_missing", 2) // one a partition
}

func (w *world) move(to int64) {
	w.Helper()
	w.admin(func(ctx context.Context, adm *kadm.Client) error {
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: to, LeaderEpoch: -1})
		_, err := adm.CommitOffsets(ctx, w.group(), offsets)
		return err
	})
}

func TestPosition_MovedByHandGoesOnAtTheLedgersEnd(t *testing.T) {
	for kind, to := range map[string]int64{"position_moved_back": 10, "position_moved_forward": 300} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, 1)
			cfg := w.file(spec{deadline: quick, kafka: quickSession})
			w.produce(200)
			a := w.start(cfg)
			w.quiet(200)
			a.stop()
			w.produce(200)
			w.move(to)
			b := w.start(cfg)
			w.quiet(400)
			b.stop()
			w.verify()
			w.wantCounts("400 396 4 0")
			w.wantFinding(kind, 1)
		})
	}
}

func TestPosition_MovedByHandStopsWhereTheFileSaysSo(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.file(spec{deadline: quick, kafka: quickSession + ", when_moved: stop"})
	w.produce(200)
	a := w.start(cfg)
	w.quiet(200)
	a.stop()
	w.move(10)
	b := w.start(cfg)
	err := b.ended()
	if waybill.ClassOf(err) != waybill.ClassConfig || !strings.Contains(err.Error(), "when_moved") {
		t.Fatalf("ended with %v", err)
	}
	w.wantFinding("position_moved_back", 1) // on record before the end
	w.wantCounts("200 198 2 0")
}

func TestPosition_RaisedEpochReadsEverythingAgain(t *testing.T) {
	w := newWorld(t, 2)
	w.produce(400)
	a := w.start(w.file(spec{}))
	w.quiet(400)
	a.stop()
	w.produce(100)
	b := w.start(w.file(spec{top: "epoch: 1"}))
	w.quiet(900)
	b.stop()
	w.verify()
	if got := w.query("SELECT toString(groupArray((e, n))) FROM (SELECT _epoch AS e, count() AS n FROM " + w.db + ".calls GROUP BY e ORDER BY e)"); got != "[(0,396),(1,495)]" {
		t.Errorf("rows by epoch %s", got)
	}
	// A worker with the old file is fenced off.
	c := w.start(w.file(spec{}))
	if err := c.ended(); waybill.ClassOf(err) != waybill.ClassFenced {
		t.Errorf("the old epoch ended with %v", err)
	}
}

func TestPosition_LatestTakesAddedPartitionsFromTheirBeginning(t *testing.T) {
	w := newWorld(t, 2)
	w.produce(400)
	cfg := w.file(spec{kafka: ", start: latest"})
	a := w.start(cfg)
	settled := func(s status.Pipeline) bool {
		for _, p := range s.Partitions {
			if p.State != status.Consuming || p.Settled < 0 {
				return false
			}
		}
		return len(s.Partitions) > 0
	}
	a.await("the start is committed", settled)
	a.stop()
	w.produce(100) // 50 each: to be read, though nobody was there
	w.admin(func(ctx context.Context, adm *kadm.Client) error {
		_, err := adm.CreatePartitions(ctx, 1, topic)
		return err
	})
	w.produce(300) // 100 each, in the added one too
	b := w.start(cfg)
	w.quiet(400)
	b.stop()
	w.verify()
	if got := w.query(w.ofLedger("toString(arraySort(groupUniqArrayIf((partition, first), first IN (0, 200))))")); got != "[(0,200),(1,200),(2,0)]" {
		t.Errorf("first offsets %s", got)
	}
}

func TestAtLeastOnce_DeliversAndGoesOn(t *testing.T) {
	w := newWorld(t, 2)
	w.exec("ALTER TABLE " + w.db + ".calls RESET SETTING non_replicated_deduplication_window")
	cfg := w.file(spec{top: "delivery: at-least-once"})
	w.produce(1000)
	a := w.start(cfg)
	w.quiet(1000)
	a.stop()
	w.produce(500)
	b := w.start(cfg)
	w.quiet(1500)
	b.stop()
	w.verify() // nothing went wrong here, so nothing is there twice either
	w.wantCounts("1500 1485 15 0")
	// The same table is refused where exactly once is asked for.
	c := w.start(w.file(spec{}))
	if err := c.ended(); waybill.ClassOf(err) != waybill.ClassConfig || !strings.Contains(err.Error(), "non_replicated_deduplication_window") {
		t.Errorf("ended with %v", err)
	}
}

// recreate deletes the topic and makes it anew.
func (w *world) recreate(partitions int32) {
	w.Helper()
	w.admin(func(ctx context.Context, adm *kadm.Client) error {
		if _, err := adm.DeleteTopic(ctx, topic); err != nil {
			return err
		}
		_, err := adm.CreateTopic(ctx, partitions, 1, nil, topic)
		return err
	})
}

func TestPosition_RecreatedTopicStopsUntilTheEpochIsRaised(t *testing.T) {
	w := newWorld(t, 1)
	w.produce(200)
	a := w.start(w.file(spec{}))
	w.quiet(200)
	a.stop()
	w.recreate(1)
	w.produce(100)
	b := w.start(w.file(spec{}))
	if err := b.ended(); waybill.ClassOf(err) != waybill.ClassConfig || !strings.Contains(err.Error(), "epoch") {
		t.Fatalf("ended with %v", err)
	}
	w.wantFinding("topic_recreated", 1)
	c := w.start(w.file(spec{top: "epoch: 1"}))
	w.quiet(300)
	c.stop()
	w.verify()
	w.wantCounts("300 297 3 0")
}

// A batch was pending when its topic was deleted: there is nothing to rebuild it from, and it is settled all
// the same.
func TestPosition_PendingBatchOfAGoneTopicIsSettled(t *testing.T) {
	w := newWorld(t, 1)
	proxy := testenv.Proxy(t, w.ch.TCPAddr())
	proxy.Set(faultproxy.Answer(252, "DB::Exception", "no ledger now").On(faultproxy.Insert("ledger")))
	w.produce(100)
	a := w.start(w.file(spec{addr: proxy.Addr(), deadline: quick, kafka: quickSession}))
	a.await("stalled before the ledger", stalled("no ledger now"))
	a.sockets.cutAll()
	a.cancel()
	<-a.done
	a.checkBudget()
	var strung kadm.OffsetResponses
	w.admin(func(ctx context.Context, adm *kadm.Client) (err error) {
		strung, err = adm.FetchOffsets(ctx, w.group())
		return err
	})
	w.recreate(1)
	testenv.Eventually(t, soon, "the dead worker's session has run out, and the group stands where it stood", func() bool {
		cl := w.client()
		defer cl.Close()
		return kadm.NewClient(cl).CommitAllOffsets(t.Context(), w.group(), strung.Offsets()) == nil
	})
	w.produce(100)
	b := w.start(w.file(spec{deadline: quick, kafka: quickSession, top: "epoch: 1"}))
	w.quiet(200)
	b.stop()
	w.verify()
	w.wantCounts("200 198 2 0") // rows and dead letters of the old topic had landed; only their records are gone
}
