// Package alert tells other systems of findings: a webhook that takes JSON, one that understands Slack's messages, an Alertmanager.
//
// It is told what findings are (Update), as often as anybody likes, and works out what a receiver has not heard yet. A webhook hears of each
// event once: before one is sent it is claimed on record (Claims), so that of several workers one sends it, and none that starts anew sends it
// again; a claim that came to nothing is taken over. If the record cannot be reached it is sent all the same: twice is better than never. An
// Alertmanager is told all that is open every minute, as it expects, and drops what it has already.
//
// Nothing here holds up records: Update only notes, and what a receiver that is away could not be told is bounded, and counted.
package alert

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/finding"
)

// Protocol is what a receiver understands.
type Protocol string

// Protocols.
const (
	Webhook      Protocol = "webhook"
	Slack        Protocol = "slack"
	Alertmanager Protocol = "alertmanager"
)

// Receiver is who is told.
type Receiver struct {
	Name     string
	Protocol Protocol
	URL      string // may hold a secret, as the headers: neither is ever logged
	Headers  map[string]string
	Labels   map[string]string // of an Alertmanager's alerts, beside ours
	Severity waybill.Severity  // or worse
	Kinds    []string          // none: all
}

func (r *Receiver) wants(f *finding.Row) bool {
	return rank(f.Severity) >= rank(r.Severity) && (len(r.Kinds) == 0 || slices.Contains(r.Kinds, f.Kind))
}

// Outcome is what became of an attempt to tell a receiver of an event.
type Outcome string

// Outcomes.
const (
	Delivered Outcome = "delivered" // the receiver has taken it
	Failed    Outcome = "failed"    // it will be tried again
	Refused   Outcome = "refused"   // the receiver does not take it, and will not
	Dropped   Outcome = "dropped"   // too many were waiting
	Elsewhere Outcome = "elsewhere" // another worker has sent it, or this one before it was started anew
)

// Outcomes are all of them.
func Outcomes() []Outcome { return []Outcome{Delivered, Failed, Refused, Dropped, Elsewhere} }

// Event is what a webhook is told of.
type Event string

// Events.
const (
	Opened Event = "opened"
	Closed Event = "closed"
	Told   Event = "told"
)

// rank orders severities.
func rank(s waybill.Severity) int {
	return slices.Index([]waybill.Severity{waybill.SeverityInfo, waybill.SeverityWarning, waybill.SeverityError}, s)
}

// Note is one event of one finding for one receiver.
type Note struct {
	Receiver string
	Event    Event
	finding.Row
}

// Key names the event: that a finding was opened again, or is worse than it was, is another one.
func (n *Note) Key() Key {
	return Key{Receiver: n.Receiver, Finding: n.ID, Event: n.Event, Severity: n.Severity, Reopened: n.Reopened}
}

// Key is the name of an event for a receiver.
type Key struct {
	Receiver string
	Finding  finding.ID
	Event    Event
	Severity waybill.Severity
	Reopened uint32
}

// Claim is who is to send an event.
type Claim struct {
	Attempt uint32 // 0: nobody
	Mine    bool
	At      time.Time
	Done    bool // it has been sent, or refused
}

// Claims is the record of who sends what.
type Claims interface {
	// Look reads the latest claim.
	Look(ctx context.Context, k Key) (Claim, error)
	// Take claims an attempt; of several workers that do, one succeeds.
	Take(ctx context.Context, k Key, attempt uint32) error
	// Done notes what came of it.
	Done(ctx context.Context, k Key, attempt uint32, o Outcome) error
}

// Deps are what a Sender needs.
type Deps struct {
	Log     *slog.Logger
	Client  *http.Client                                 // nil: NewClient
	Now     func() time.Time                             // nil: the system's
	Count   func(receiver string, o Outcome, n int)      // a metric; nil: nobody counts
	Waiting func(receiver string, n int)                 // likewise
	Claims  func() Claims                                // nil, or an answer of nil: there is no record now
	Wait    func(ctx context.Context, attempt int) error // how long to wait before another attempt; nil: with backoff
}

// Sender tells the receivers of one pipeline.
type Sender struct {
	queues []*queue
}

// New makes a sender. Run must be called for anything to be sent.
func New(receivers []Receiver, d Deps) *Sender {
	d = d.withDefaults()
	s := &Sender{}
	for i := range receivers {
		s.queues = append(s.queues, newQueue(&receivers[i], d))
	}
	return s
}

// Update says what findings are now: all that are open, and those that have been closed or told of late.
func (s *Sender) Update(rows []finding.Row) {
	for _, q := range s.queues {
		q.update(rows)
	}
}

// Run sends until ctx ends.
func (s *Sender) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, q := range s.queues {
		wg.Go(func() { q.run(ctx) })
	}
	wg.Wait()
}

// Flush waits until nothing is waiting to be sent, or ctx ends.
func (s *Sender) Flush(ctx context.Context) {
	for _, q := range s.queues {
		q.flush(ctx)
	}
}
