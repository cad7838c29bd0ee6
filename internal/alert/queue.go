package alert

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/waybill-data/waybill/internal/finding"
)

const (
	// maxWaiting bounds what one receiver has not heard yet.
	maxWaiting = 1000
	// takeOver is after how long a claim that has come to nothing is another worker's to take.
	takeOver = 2 * time.Minute
	// relook is how often a claim of another worker is looked at.
	relook = 20 * time.Second
	// sendTimeout bounds one request.
	sendTimeout = 10 * time.Second
	// claimTimeout bounds one look at the record: a server that is away must not hold up the news that it is away.
	claimTimeout = 5 * time.Second
	// resend is how often an Alertmanager is told what is open, and stands for how long that holds: its own resolve_timeout is 5 min by default.
	resend, stands = time.Minute, 5 * time.Minute
)

func (d Deps) withDefaults() Deps {
	if d.Client == nil {
		d.Client = NewClient()
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Count == nil {
		d.Count = func(string, Outcome, int) {}
	}
	if d.Waiting == nil {
		d.Waiting = func(string, int) {}
	}
	if d.Claims == nil {
		d.Claims = func() Claims { return nil }
	}
	if d.Wait == nil {
		d.Wait = func(ctx context.Context, attempt int) error {
			most := min(500*time.Millisecond<<min(attempt, 10), time.Minute)
			return wait(ctx, most/2+rand.N(most/2))
		}
	}
	return d
}

// NewClient is an HTTP client for receivers. It follows no redirects: headers that hold a secret are for whom the file names.
func NewClient() *http.Client {
	return &http.Client{Timeout: sendTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// queue is what one receiver is to be told.
type queue struct {
	to   *Receiver
	deps Deps
	news chan struct{} // cap 1

	mu sync.Mutex
	// heard is the last event that the receiver has heard of, by finding, and when that was; what is forgotten is on record.
	heard   map[finding.ID]heardOf
	waiting map[finding.ID]*Note // one for each finding: what it is now
	order   []finding.ID         // of waiting, the first come first; may name some that are not waiting any more
	dropped int
	// level is what an Alertmanager is told: what is open, and for a while what was.
	level map[finding.ID]finding.Row
	idle  *sync.Cond // nothing is waiting
	busy  bool       // something is being sent
	dirty bool       // of an Alertmanager: something has changed since it was told
}

type heardOf struct {
	Key
	at time.Time
}

func newQueue(r *Receiver, d Deps) *queue {
	q := &queue{to: r, deps: d, news: make(chan struct{}, 1), heard: map[finding.ID]heardOf{}, waiting: map[finding.ID]*Note{}, level: map[finding.ID]finding.Row{}}
	q.idle = sync.NewCond(&q.mu)
	for _, o := range Outcomes() {
		d.Count(r.Name, o, 0) // there to be seen before the first one
	}
	d.Waiting(r.Name, 0)
	return q
}

func (q *queue) update(rows []finding.Row) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.deps.Now()
	before := q.dropped
	for i := range rows {
		if r := &rows[i]; q.to.wants(r) || q.knows(r.ID) {
			if q.to.Protocol == Alertmanager {
				q.raise(*r, now)
			} else {
				q.want(r, now)
			}
		}
	}
	if n := q.dropped - before; n > 0 {
		q.deps.Count(q.to.Name, Dropped, n)
		q.deps.Log.Error("alerts are dropped: too many are waiting for the receiver", "receiver", q.to.Name, "dropped", n, "waiting", len(q.waiting)+len(q.level))
	}
	q.deps.Waiting(q.to.Name, len(q.waiting))
	if len(q.waiting) > 0 || q.dirty {
		select {
		case q.news <- struct{}{}:
		default:
		}
	}
}

// knows: the receiver has heard of the finding, and so hears of its end, whatever its severity is by then.
func (q *queue) knows(id finding.ID) bool {
	_, level := q.level[id]
	_, heard := q.heard[id]
	return level || heard
}

// old is how long ago a finding can have been closed or told that a receiver still hears of it: a process that starts does not tell of the day before.
const old = 10 * time.Minute

// want puts what a webhook has not heard of a finding among what is waiting.
func (q *queue) want(r *finding.Row, now time.Time) {
	n := &Note{Receiver: q.to.Name, Event: Opened, Row: *r}
	switch {
	case r.State.Open():
	case r.State == finding.Closed:
		n.Event = Closed
	default:
		n.Event = Told
	}
	have := q.heard[r.ID].Key
	same := have.Event == n.Event && have.Reopened == n.Reopened && rank(n.Severity) <= rank(have.Severity)
	if same || n.Event != Opened && now.Sub(r.At) > old || n.Event == Closed && have.Event == Closed {
		return
	}
	if have := q.waiting[r.ID]; have != nil {
		*have = *n // the opening was not sent yet: it is told of as it is now
		return
	}
	if len(q.waiting) >= maxWaiting {
		q.dropped++
		q.heard[r.ID] = heardOf{n.Key(), now} // counted, once
		return
	}
	q.waiting[r.ID] = n
	q.order = append(q.order, r.ID)
}

// next is the first note that is waiting, nil if none is.
func (q *queue) next() *Note {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.order) > 0 {
		n := q.waiting[q.order[0]]
		if n != nil {
			c := *n
			q.busy = true
			return &c
		}
		q.order = q.order[1:]
	}
	q.order, q.busy = nil, false
	q.idle.Broadcast()
	return nil
}

// told: the receiver has heard of the note, or never will.
func (q *queue) told(n *Note, o Outcome) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.deps.Count(q.to.Name, o, 1)
	now := q.deps.Now()
	q.heard[n.ID] = heardOf{n.Key(), now}
	for id, h := range q.heard {
		if now.Sub(h.at) > 24*time.Hour && len(q.heard) > maxWaiting {
			delete(q.heard, id)
		}
	}
	if have := q.waiting[n.ID]; have != nil && have.Key() == n.Key() {
		delete(q.waiting, n.ID)
	}
	q.deps.Waiting(q.to.Name, len(q.waiting))
}

// later puts the first note behind the others: another worker has claimed it.
func (q *queue) later(n *Note) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.order) > 0 && q.order[0] == n.ID {
		q.order = append(q.order[1:], n.ID)
	}
}

func (q *queue) run(ctx context.Context) {
	if q.to.Protocol == Alertmanager {
		q.runLevel(ctx)
		return
	}
	failures := 0
	for ctx.Err() == nil {
		n := q.next()
		if n == nil {
			select {
			case <-ctx.Done():
			case <-q.news:
			}
			continue
		}
		err := q.tell(ctx, n)
		var theirs *claimedError
		switch {
		case err == nil:
			failures = 0
		case errors.As(err, &theirs):
			q.later(n)
			_ = wait(ctx, theirs.wait) // what has ended is seen above
		default:
			failures++
			q.deps.Count(q.to.Name, Failed, 1)
			q.deps.Log.Warn("alert not delivered yet", "receiver", q.to.Name, "kind", n.Kind, "event", n.Event, "finding", n.ID, "failures", failures, "error", err)
			_ = q.deps.Wait(ctx, failures)
		}
	}
}

// claimedError: another worker is at it.
type claimedError struct{ wait time.Duration }

func (*claimedError) Error() string { return "another worker has claimed it" }

// tell sends a note, if it is this worker's to send.
func (q *queue) tell(ctx context.Context, n *Note) error {
	attempt, err := q.claim(ctx, n.Key())
	if errors.Is(err, errDone) {
		q.told(n, Elsewhere)
		return nil
	}
	if err != nil {
		return err
	}
	err = q.send(ctx, n)
	outcome := Delivered
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		outcome = Refused
		q.deps.Log.Error("alert refused by its receiver", "receiver", q.to.Name, "kind", n.Kind, "event", n.Event, "finding", n.ID, "error", err)
	case err != nil:
		return err
	default:
		q.deps.Log.Info("alert delivered", "receiver", q.to.Name, "kind", n.Kind, "event", n.Event, "finding", n.ID)
	}
	q.told(n, outcome)
	if c := q.deps.Claims(); c != nil && attempt > 0 {
		ctx, cancel := context.WithTimeout(ctx, claimTimeout)
		defer cancel()
		if err := c.Done(ctx, n.Key(), attempt, outcome); err != nil {
			q.deps.Log.Warn("that an alert was delivered is not on record: it may be sent again", "receiver", q.to.Name, "finding", n.ID, "error", err)
		}
	}
	return nil
}

var errDone = errors.New("it has been sent")

// claim makes sure that this worker is the one that sends; with no record, every worker does, under attempt 0.
func (q *queue) claim(ctx context.Context, k Key) (attempt uint32, err error) {
	c := q.deps.Claims()
	if c == nil {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	for range 2 {
		have, err := c.Look(ctx, k)
		switch {
		case err != nil:
			q.deps.Log.Debug("alert is sent without a claim: the record cannot be read", "receiver", q.to.Name, "error", err)
			return 0, nil
		case have.Done:
			return 0, errDone
		case have.Mine:
			return have.Attempt, nil
		case have.Attempt > 0 && q.deps.Now().Sub(have.At) < takeOver:
			return 0, &claimedError{relook}
		}
		if err := c.Take(ctx, k, have.Attempt+1); err != nil {
			q.deps.Log.Debug("alert is sent without a claim: it could not be put on record", "receiver", q.to.Name, "error", err)
			return 0, nil
		}
	}
	return 0, &claimedError{relook}
}

func (q *queue) flush(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.idle.Broadcast()
	})
	defer stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for ctx.Err() == nil && (len(q.waiting) > 0 || q.busy || q.dirty) {
		q.idle.Wait()
	}
	if n := len(q.waiting); n > 0 {
		q.deps.Log.Warn("alerts were not delivered before the end; whoever runs the pipeline next sends them", "receiver", q.to.Name, "alerts", n)
	}
}
