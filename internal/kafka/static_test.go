package kafka

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-data/waybill"
)

// static is a member with an instance id, whose session outlives any pause of a test.
func (e *env) static(id string) func(*Config) {
	if e.protocol == ProtocolConsumer {
		e.setGroupConfig("consumer.session.timeout.ms", "30000")
	}
	return func(c *Config) {
		c.InstanceID = id
		if e.protocol == ProtocolClassic {
			c.SessionTimeout = 30 * time.Second
		}
	}
}

func (m *member) said() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events)
}

func factStaticMemberComesBack(t *testing.T, base env) {
	e := base.with(t, 4, nil)
	a := e.open(e.static("a"))
	a.waitHeld(4)
	b := e.open(e.static("b"))
	b.waitHeld(2)
	mine := a.waitHeld(2)
	before := b.said()
	a.close(true)
	again := e.open(e.static("a"))
	if got := again.waitHeld(2); !slices.Equal(got, mine) {
		t.Errorf("it holds %v, and held %v before", got, mine)
	}
	if _, err := again.commitAll(CommitEntry{Offset: 0, LeaderEpoch: -1}, mine...); err != nil {
		t.Error(err)
	}
	if now := b.said(); !slices.Equal(now, before) {
		t.Errorf("another member was disturbed: %v, after %v", now, before)
	}
}

// Two members of one id: by the classic protocol the second has the first one's place, by KIP-848 it is kept out.
func factOneInstanceIDForTwo(t *testing.T, base env) {
	e := base.with(t, 2, nil)
	first := e.open(e.static("a"))
	tps := first.waitHeld(2)
	second := e.open(e.static("a"))
	if e.protocol == ProtocolConsumer {
		second.nothingHeldFor(time.Second)
		if results, err := first.commitAll(CommitEntry{Offset: 0, LeaderEpoch: -1}, tps...); err != nil || results[tps[0]] != nil {
			t.Errorf("the first one's commit: %v, %v", results, err)
		}
		return
	}
	second.waitHeld(2)
	select {
	case <-first.Done():
	case <-time.After(within):
		t.Fatal("the first one does not notice")
	}
	if waybill.ClassOf(first.Err()) != waybill.ClassFenced {
		t.Errorf("the first one ended with %v", first.Err())
	}
	if results, err := second.commitAll(CommitEntry{Offset: 0, LeaderEpoch: -1}, tps...); err != nil || results[tps[0]] != nil {
		t.Errorf("the second one's commit: %v, %v", results, err)
	}
}

// nothingHeldFor gives a member that must not get anything some time to get it.
func (m *member) nothingHeldFor(d time.Duration) {
	m.t.Helper()
	time.Sleep(d)
	if held := m.holds(); len(held) > 0 {
		m.t.Errorf("it holds %v", held)
	}
}

// Brokers choose the replica, see their replica.selector.class; a client tells them where it is.
func TestSession_SendsItsRack(t *testing.T) {
	e := kfakeEnv(t, ProtocolClassic).with(t, 1, nil)
	e.produceN(0, 1)
	var rack atomic.Pointer[string]
	e.fake.ControlKey(kmsg.Fetch.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		e.fake.KeepControl()
		req, _ := r.(*kmsg.FetchRequest)
		rack.Store(&req.Rack)
		return nil, nil, false
	})
	m := e.open(func(c *Config) { c.Rack = "eu-west-1a" })
	m.waitHeld(1)
	m.startAll(0)
	m.collectN(1)
	if got := rack.Load(); got == nil || *got != "eu-west-1a" {
		t.Errorf("the rack that was sent is %v", got)
	}
}

// An answer that is too large to be read is no answer of a partition; it must not be passed over in silence.
func TestSession_BatchTooLargeToBeReadIsAnError(t *testing.T) {
	size := "4000000"
	e := kfakeEnv(t, ProtocolClassic).with(t, 1, map[string]*string{"max.message.bytes": &size})
	cl := e.client(kgo.ProducerBatchCompression(kgo.NoCompression()))
	must(t, cl.ProduceSync(t.Context(), &kgo.Record{Topic: e.topic, Value: make([]byte, 3<<20)}).FirstErr())
	m := e.open(func(c *Config) { c.FetchMaxBytes, c.PartitionMaxBytes, c.readLimit = 64<<10, 64<<10, 1<<20 })
	m.waitHeld(1)
	m.startAll(0)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	var e2 *waybill.Error
	if _, err := m.Poll(ctx, 0); !errors.As(err, &e2) || !e2.Class.Heals() || !strings.Contains(e2.Hint, "larger than Waybill reads") {
		t.Fatalf("got %v", err)
	}
}
