package kafka

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-data/waybill/internal/testenv"
)

func TestLease_Valid(t *testing.T) {
	t0 := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	l := Lease{SentWall: t0, SentMono: time.Hour, Timeout: 10 * time.Second}
	for _, c := range []struct {
		name       string
		wall, mono time.Duration // since the heartbeat
		want       bool
	}{
		{"just sent", 0, 0, true},
		{"nearly over", 10*time.Second - 1, 10*time.Second - 1, true},
		{"over", 10 * time.Second, 10 * time.Second, false},
		{"suspended machine: monotonic stood still", time.Minute, time.Second, false},
		{"wall clock set back a little", -time.Millisecond, time.Second, false},
		{"wall clock set back to look young", time.Second, time.Minute, false},
		{"wall clock set forward", time.Hour, time.Second, false},
	} {
		if got := l.Valid(t0.Add(c.wall), time.Hour+c.mono); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if (Lease{Timeout: time.Hour}).Valid(time.Time{}, 0) {
		t.Error("a lease without a heartbeat is valid")
	}
}

func TestHeartbeats_OnlyGoodAnswersRenew(t *testing.T) {
	now := time.Now()
	h := &heartbeats{clock: clock{now: func() time.Time { return now }, base: now}}
	beat := func(keyvals ...any) Lease {
		now = now.Add(time.Second)
		h.Log(kgo.LogLevelDebug, lineHeartbeatSent)
		now = now.Add(time.Second) // the answer takes its time: the lease counts from the sending
		h.Log(kgo.LogLevelDebug, lineHeartbeatAnswered, keyvals...)
		return h.lease()
	}
	var none error
	first := beat("group", "g", "err", none)
	if first.SentMono != time.Second {
		t.Fatalf("counted from %s", first.SentMono)
	}
	for _, err := range []error{kerr.UnknownMemberID, kerr.NotCoordinator, errors.New("connection lost")} {
		if beat("group", "g", "err", err) != first {
			t.Errorf("%v renewed the lease", err)
		}
	}
	if beat("group", "g") != first {
		t.Error("a line without an error field renewed the lease")
	}
	rebalance := beat("group", "g", "err", kerr.RebalanceInProgress)
	if rebalance == first {
		t.Error("REBALANCE_IN_PROGRESS is an answer of a coordinator that knows the member")
	}
	h.end()
	if beat("group", "g", "err", none) != (Lease{}) {
		t.Error("a lease after the end")
	}
}

// TestLease_NotRenewedByErrorAnswers drives the real client: a heartbeat that is answered with an error code renews
// nothing, one that is answered well does. It fails if the client's log lines change.
func TestLease_NotRenewedByErrorAnswers(t *testing.T) {
	for _, p := range []Protocol{ProtocolClassic, ProtocolConsumer} {
		t.Run(string(p), func(t *testing.T) {
			e := kfakeEnv(t, p).with(t, 1, nil)
			if p == ProtocolConsumer {
				e.setGroupConfig("consumer.session.timeout.ms", "20000")
			}
			m := e.open(func(c *Config) { c.SessionTimeout = 20 * time.Second })
			m.waitHeld(1)
			testenv.Eventually(t, within, "a lease", m.LeaseValid)
			refuse := e.fake.Fault(kfake.Fault{
				Keys: []kmsg.Key{kmsg.Heartbeat, kmsg.ConsumerGroupHeartbeat}, TopLevel: true, Err: kerr.CoordinatorLoadInProgress, Count: -1,
			})
			must(t, refuse.Wait(t.Context(), 1))
			stale := m.Lease()
			must(t, refuse.Wait(t.Context(), 3))
			if m.Lease() != stale {
				t.Error("an error answer renewed the lease")
			}
			refuse.Remove()
			testenv.Eventually(t, within, "a newer lease", func() bool { return m.Err() != nil || m.Lease().SentMono > stale.SentMono })
			must(t, m.Err())
		})
	}
}
