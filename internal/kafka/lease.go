package kafka

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Lease is how long a member may believe that it still owns its partitions: a session timeout from when the last
// answered heartbeat was *sent* (the broker counts from when it received it, which is later).
//
// It is kept on two clocks because each alone can be wrong by hours: the monotonic clock stops while a machine is
// suspended, the wall clock can be set back.
type Lease struct {
	SentWall time.Time     // zero: no heartbeat has been answered
	SentMono time.Duration // on the same scale as Session.Clock's
	Timeout  time.Duration
}

// Valid reports whether the lease is younger than its timeout on both clocks. A wall clock that went back behind the
// heartbeat proves nothing, so it does not count as young.
func (l Lease) Valid(nowWall time.Time, nowMono time.Duration) bool {
	if l.SentWall.IsZero() {
		return false
	}
	wall, mono := nowWall.Round(0).Sub(l.SentWall.Round(0)), nowMono-l.SentMono
	return wall >= 0 && mono >= 0 && wall < l.Timeout && mono < l.Timeout
}

// clock reads wall and monotonic time from one source.
type clock struct {
	now  func() time.Time
	base time.Time
}

func (c clock) read() (wall time.Time, mono time.Duration) {
	t := c.now()
	return t.Round(0), t.Sub(c.base)
}

// heartbeats learns from the client's log when a heartbeat was sent and how it was answered. No hook of the client tells
// the response's error code, and under KIP-848 a heartbeat of our own could swallow an assignment. The lines are part of
// the pinned version's behaviour; should they go, no lease is ever valid, nothing is sent, and TestLease fails.
type heartbeats struct {
	clock clock
	log   *slog.Logger

	mu      sync.Mutex
	pending Lease
	last    Lease
	ended   bool
}

const (
	lineHeartbeatSent     = "heartbeating"
	lineHeartbeatAnswered = "heartbeat complete"
	// Joining starts the broker's timer as well; the first heartbeat comes only an interval later. These lines are
	// written on success only.
	lineSyncSent       = "syncing"
	lineSyncAnswered   = "synced"
	lineFirst848Sent   = "beginning to manage the next-gen group lifecycle"
	lineFirst848Answer = "consumer group initial heartbeat received assignment"
)

// Level asks for debug lines, among which the heartbeats are; forward drops the others.
func (h *heartbeats) Level() kgo.LogLevel { return kgo.LogLevelDebug }

// Log implements kgo.Logger.
func (h *heartbeats) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	switch msg {
	case lineHeartbeatSent:
		h.sent()
		return
	case lineHeartbeatAnswered:
		h.answered(renews(keyvals))
		return
	case lineSyncSent, lineFirst848Sent:
		h.sent()
	case lineSyncAnswered, lineFirst848Answer:
		h.answered(true)
	}
	forward(h.log, level, msg, keyvals)
}

func (h *heartbeats) sent() {
	wall, mono := h.clock.read()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending = Lease{SentWall: wall, SentMono: mono}
}

func (h *heartbeats) answered(renewed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ended && renewed {
		h.last = h.pending
	}
}

// renews says whether a heartbeat's answer means that the broker still counts the member in and has restarted its timer.
// REBALANCE_IN_PROGRESS does; anything unknown does not. A line without its error would prove nothing.
func renews(keyvals []any) bool {
	for i := 0; i+1 < len(keyvals); i += 2 {
		if keyvals[i] != "err" {
			continue
		}
		err, _ := keyvals[i+1].(error)
		return keyvals[i+1] == nil || errors.Is(err, kerr.RebalanceInProgress)
	}
	return false
}

// end makes every lease of this membership invalid, whatever answer still arrives.
func (h *heartbeats) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended, h.last = true, Lease{}
}

func (h *heartbeats) lease() Lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// forward hands the client's lines on, one level lower than the client ranks them: what it calls an error it mostly
// retries, and what is one for us is returned as an error.
func forward(log *slog.Logger, level kgo.LogLevel, msg string, keyvals []any) {
	to := slog.LevelDebug
	switch level {
	case kgo.LogLevelError, kgo.LogLevelWarn:
		to = slog.LevelInfo
	case kgo.LogLevelDebug:
		return // one a request
	}
	log.Log(context.Background(), to, "the Kafka client says", "said", strings.TrimSpace(msg), slog.Group("client", keyvals...))
}

type plainLog struct{ log *slog.Logger }

func (plainLog) Level() kgo.LogLevel { return kgo.LogLevelInfo }

func (p plainLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	forward(p.log, level, msg, keyvals)
}
