package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
)

// For how long an owner is left alone without a word of it, and how often it says that it is there. The lease is a courtesy: two owners do no harm.
const (
	LeaseTime  = 30 * time.Second
	renewEvery = 5 * time.Second
	// HoldTime is for how long live stands still without another word. It is short, as nobody should wait for an operator who has died.
	HoldTime = 20 * time.Second
)

// Deps is what an operator works with.
type Deps struct {
	Journal Journal
	Tables  Tables
	Live    Live
	Run     Runner
	Log     *slog.Logger
	// Now is the server's clock. Pause waits before something is asked again.
	Now   func() time.Time
	Pause func(ctx context.Context, attempt int) error
	// Every calls fn again and again until stop is called, which waits for it.
	Every func(ctx context.Context, every time.Duration, fn func(context.Context)) (stop func())
	// Passed is called between steps, by name: tests stop the process there.
	Passed func(point string)

	Owner, Who string
	// Waiting is told whom a session waits for before it begins, and until when, or, if what that one does is worth it, for as long as it takes. nil: it does not
	// wait.
	Waiting func(who string, until time.Time, longer bool)
	// Lease is for how long the owner is left alone without a word of it; 0: LeaseTime.
	Lease time.Duration
	// Grace is for how long an insert that was sent before a fence stood may land behind it.
	Grace time.Duration
	// DrainTime is how long live's workers are given to stop.
	DrainTime time.Duration
}

// Operator carries out one pipeline's jobs. It is for one goroutine.
type Operator struct {
	Deps

	mu       sync.Mutex // one row after the other: the renewal goes on beside the work
	last     atomic.Pointer[backfill.Job]
	name     string // of the table that comes in, in this session
	lastRows int64  // that the last round has brought in
	anew     int    // how often rows that stay were brought in again
}

// New makes an operator.
func New(d Deps) *Operator {
	if d.Passed == nil {
		d.Passed = func(string) {}
	}
	if d.Lease == 0 {
		d.Lease = LeaseTime
	}
	if d.DrainTime == 0 {
		d.DrainTime = time.Minute
	}
	return &Operator{Deps: d}
}

// Errors of an operator.
var (
	// ErrNone: the pipeline has no job.
	ErrNone = errors.New("there is no backfill")
	// ErrTaken: somebody else goes on with the job.
	ErrTaken = errors.New("somebody else goes on with the backfill")
)

// refused is an error that a person has to do something about.
func (o *Operator) refused(hint, format string, args ...any) error {
	return &waybill.Error{Op: "backfill", Pipeline: o.Job().Pipeline, Class: waybill.ClassConfig, Hint: hint, Err: fmt.Errorf(format, args...)}
}

// Job is the job as this operator last had it: what it points to does not change.
func (o *Operator) Job() *backfill.Job {
	if j := o.last.Load(); j != nil {
		return j
	}
	return &backfill.Job{}
}

// Load reads a job: the one of the id, or the last one if it is empty.
func (o *Operator) Load(ctx context.Context, id string) (backfill.Job, error) {
	all, err := o.Journal.Jobs(ctx)
	if err != nil {
		return backfill.Job{}, err
	}
	for i := len(all) - 1; i >= 0; i-- {
		if id == "" || all[i].ID == id {
			return all[i], nil
		}
	}
	if id != "" {
		return backfill.Job{}, fmt.Errorf("%w %s", ErrNone, id)
	}
	return backfill.Job{}, ErrNone
}

// apply adds what the job is after an event to the journal. If somebody else was quicker nothing is added, and the job is as that one has left it.
func (o *Operator) apply(ctx context.Context, e backfill.Event) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.applyLocked(ctx, e)
}

func (o *Operator) applyLocked(ctx context.Context, e backfill.Event) error {
	next, err := o.Job().Apply(e, o.Now())
	if err != nil {
		return err
	}
	won, err := o.Journal.Add(ctx, &next)
	if err != nil {
		return err
	}
	if !won {
		return ErrTaken
	}
	o.last.Store(&next)
	return nil
}

// on applies an event to the job as it is now, again if somebody was quicker. unless says that there is nothing left to do.
func (o *Operator) on(ctx context.Context, id string, e backfill.Event, unless func(*backfill.Job) bool) error {
	for attempt := 0; ; attempt++ {
		j, err := o.Load(ctx, id)
		if err != nil {
			return err
		}
		o.last.Store(&j)
		if unless != nil && unless(&j) {
			return nil
		}
		if err := o.apply(ctx, e); !errors.Is(err, ErrTaken) {
			return err
		}
		if err := o.Pause(ctx, attempt); err != nil {
			return err
		}
	}
}

// session makes the job this operator's for as long as fn works on it.
func (o *Operator) session(ctx context.Context, id string, fn func(context.Context) error) (err error) {
	return o.sessionAfter(ctx, id, nil, fn)
}

// sessionAfter is session that waits for others who are at the job for as long as they are, if what it has come to is worth waiting for.
func (o *Operator) sessionAfter(ctx context.Context, id string, worth func(*backfill.Job) bool, fn func(context.Context) error) (err error) {
	if err := o.claim(ctx, id, worth); err != nil {
		return err
	}
	o.Passed("claimed")
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := o.Every(ctx, min(renewEvery, o.Lease/4), func(ctx context.Context) {
		if err := o.renew(ctx); errors.Is(err, ErrTaken) {
			cancel(err)
		}
	})
	defer stop()
	err = fn(ctx)
	stop()
	if cause := context.Cause(ctx); errors.Is(cause, ErrTaken) {
		err = cause
	}
	if errors.Is(err, ErrTaken) {
		return err
	}
	note := ""
	if err != nil {
		note = err.Error()
	}
	// Whoever wants to go on need not wait for the lease. If that cannot be written they do.
	_ = o.apply(context.WithoutCancel(ctx), backfill.Yield{Owner: o.Owner, Note: note})
	return err
}

// claim makes the job this operator's. The owner before may have died: then its lease is waited for. One that renews it is alive, and it is an error that
// it is at it, unless its work is worth waiting for.
func (o *Operator) claim(ctx context.Context, id string, worth func(*backfill.Job) bool) error {
	owner, until := "", time.Time{}
	for attempt := 0; ; attempt++ {
		err := o.on(ctx, id, backfill.Claim{Owner: o.Owner, Who: o.Who, Until: o.Now().Add(o.Lease)}, nil)
		if illegal := (*backfill.Illegal)(nil); !errors.As(err, &illegal) || o.Waiting == nil {
			return err
		}
		j := o.Job()
		switch {
		case j.Owner != owner:
			owner, until = j.Owner, j.Lease
			o.Waiting(j.Who, until, worth != nil && worth(j))
		case j.Lease.After(until) && (worth == nil || !worth(j)):
			return err
		}
		if err := o.Pause(ctx, min(attempt, 2)); err != nil {
			return err
		}
	}
}

// renew says that the owner is there, and that live is to go on standing still.
func (o *Operator) renew(ctx context.Context) error {
	if j := o.Job(); j.Step.Held() {
		if err := o.Live.Hold(ctx, j.ID, o.Now().Add(HoldTime)); err != nil {
			o.Log.Warn("the hold could not be renewed", "error", err)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.Job().Lease.Sub(o.Now()) > o.Lease/2 {
		return nil
	}
	err := o.applyLocked(ctx, backfill.Claim{Owner: o.Owner, Who: o.Who, Until: o.Now().Add(o.Lease), Renew: true})
	if err != nil && !errors.Is(err, ErrTaken) {
		o.Log.Warn("the lease could not be renewed", "error", err)
	}
	return err
}

// Run makes the shadow, if it is not there, and has it filled until it has caught up with live. Any number of processes may.
func (o *Operator) Run(ctx context.Context, id string) error {
	j, err := o.Load(ctx, id)
	if err != nil {
		return err
	}
	if j.State == backfill.Planned || j.State == backfill.Failed || j.Leg.In == "" {
		// Another that is making it lets this one take part once it is done.
		filling := func(j *backfill.Job) bool {
			return j.State == backfill.Planned || j.State == backfill.Running || j.State == backfill.Failed
		}
		if err := o.sessionAfter(ctx, j.ID, filling, o.make); err != nil {
			return err
		}
	} else if err := o.on(ctx, j.ID, backfill.Run{}, func(j *backfill.Job) bool { return j.State == backfill.Running }); err != nil {
		return err
	}
	o.Passed("running")
	j = *o.Job()
	name, err := o.Tables.Name(ctx, j.Leg.In)
	if err != nil {
		return err
	}
	if name == "" {
		return o.refused("cancel it and plan it anew", "the table of backfill %s is gone", j.ID)
	}
	if name != j.WorkName() { // a swap was given up
		if err := o.session(ctx, j.ID, func(ctx context.Context) error { return o.Tables.Rename(ctx, name, o.Job().WorkName()) }); err != nil {
			return err
		}
	}
	caught, err := o.follow(ctx, j.WorkName())
	if err != nil && ctx.Err() == nil && !waybill.ClassOf(err).Heals() {
		return errors.Join(err, o.on(context.WithoutCancel(ctx), j.ID, backfill.Fail{Why: err.Error()}, func(j *backfill.Job) bool { return j.State != backfill.Running }))
	}
	if err != nil || !caught {
		return err
	}
	return o.on(ctx, j.ID, backfill.Caught{}, func(j *backfill.Job) bool { return j.State != backfill.Running })
}

// Compare compares a job's shadow, by its name, with live. refusals are why it must not be promoted, result is what was found, for the record.
type Compare func(ctx context.Context, shadow string, j *backfill.Job) (refusals []string, result json.RawMessage, err error)

// Verify compares live and shadow, and puts on record whether the shadow may be promoted.
func (o *Operator) Verify(ctx context.Context, id string, compare Compare) error {
	return o.session(ctx, id, func(ctx context.Context) error {
		if err := o.apply(ctx, backfill.Verify{}); err != nil {
			return err
		}
		o.Passed("verifying")
		name, err := o.Tables.Name(ctx, o.Job().Leg.In)
		if err != nil {
			return err
		}
		refusals, result, err := compare(ctx, name, o.Job())
		if err != nil {
			return err
		}
		return o.apply(ctx, backfill.Verified{Refusals: refusals, Result: result})
	})
}

// make makes the shadow. The epoch is on record before there is a table, and the table's epoch before it is on record that there is one.
func (o *Operator) make(ctx context.Context) error {
	if o.Job().State == backfill.Planned {
		epoch, err := o.Live.NextEpoch(ctx)
		if err != nil {
			return err
		}
		if err := o.apply(ctx, backfill.Run{Epoch: epoch}); err != nil {
			return err
		}
	} else if err := o.apply(ctx, backfill.Run{}); err != nil {
		return err
	}
	o.Passed("epoch chosen")
	if o.Job().Leg.In != "" {
		return nil
	}
	name, epoch := o.Job().WorkName(), o.Job().Leg.Epoch
	if err := o.Tables.Make(ctx, name, o.Job().Table); err != nil {
		return err
	}
	o.Passed("shadow made")
	if err := o.Tables.Fence(ctx, name, epoch); err != nil {
		return err
	}
	o.Passed("shadow fenced")
	in, err := o.Tables.UUID(ctx, name)
	if err != nil {
		return err
	}
	out, err := o.Tables.UUID(ctx, o.Job().Table)
	if err != nil {
		return err
	}
	if err := o.Live.Epoch(ctx, in, epoch, o.Job().ID); err != nil {
		return err
	}
	o.Passed("epoch on record")
	return o.apply(ctx, backfill.Made{In: in, Out: out})
}

// closeBy: a table that is where live was so long ago has caught up, but for what is read since. It cannot be asked to be where live is now: what live has
// settled is read, inserted and settled once more, and live goes on meanwhile.
const closeBy = 10 * time.Second

// chase is how far a table is to be filled, as live goes on.
type chase struct {
	mu    sync.Mutex
	until backfill.Positions
	final bool // until grows no more
	marks []mark
}

// mark is where live was.
type mark struct {
	at time.Time
	backfill.Positions
}

// near: the table is where live was a moment ago. Of what lies further back the last mark counts however old it is: nobody knows of a later one.
func (c *chase) near(now time.Time, tips backfill.Positions) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.marks) > 1 && now.Sub(c.marks[0].at) > closeBy {
		c.marks = c.marks[1:]
	}
	c.final = c.final || tips.Reached(c.marks[0].Positions)
}

// grow hears where live is.
func (c *chase) grow(now time.Time, live backfill.Positions) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.final {
		return
	}
	c.until = c.until.Grown(live)
	c.marks = append(c.marks, mark{now, c.until})
}

func (c *chase) now() (until backfill.Positions, final bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.until, c.final
}

// follow has the table filled until it is where live was a moment ago. caught is false if ctx ended before.
func (o *Operator) follow(ctx context.Context, name string) (caught bool, err error) {
	until, err := o.position(ctx)
	if err != nil {
		return false, err
	}
	c := &chase{until: until, marks: []mark{{o.Now(), until}}}
	stop := o.Every(ctx, time.Second, func(ctx context.Context) {
		if _, final := c.now(); final {
			return
		}
		tips, err := o.tips(ctx)
		if err != nil {
			return // it is asked again
		}
		c.near(o.Now(), tips)
		if now, err := o.position(ctx); err == nil {
			c.grow(o.Now(), now)
		}
	})
	defer stop()
	err = o.Deps.Run(ctx, Work{Job: o.Job(), Table: name, Until: c.now})
	if err != nil || ctx.Err() != nil {
		return false, err
	}
	_, caught = c.now()
	return caught, nil
}

// position is where live stands, for all partitions of the topic: one that nobody has read stands at its beginning. A worker accounts for records before it
// commits, so what it has committed is in the table; but for a group that has not been there since the table's epoch began, which has committed
// under the one before.
func (o *Operator) position(ctx context.Context) (backfill.Positions, error) {
	return o.orBegin(ctx, func(ctx context.Context) (backfill.Positions, error) {
		at, err := o.Live.Committed(ctx)
		if err != nil || o.Job().Leg.Out == "" {
			return at, err
		}
		epoch, err := o.Live.Effective(ctx, o.Job().Leg.Out)
		if err != nil {
			return nil, err
		}
		tips, err := o.Live.Tips(ctx, epoch)
		if err != nil {
			return nil, err
		}
		out := backfill.Positions{}
		for p, committed := range at {
			out[p] = committed
			if tip, ok := tips[p]; ok {
				out[p] = min(committed, tip)
			}
		}
		return out, nil
	})
}

// tips is how far the account of the leg has got; a partition without rows stands at its beginning.
func (o *Operator) tips(ctx context.Context) (backfill.Positions, error) {
	return o.orBegin(ctx, func(ctx context.Context) (backfill.Positions, error) { return o.Live.Tips(ctx, o.Job().Leg.Epoch) })
}

func (o *Operator) orBegin(ctx context.Context, ask func(context.Context) (backfill.Positions, error)) (backfill.Positions, error) {
	at, err := ask(ctx)
	if err != nil {
		return nil, err
	}
	out, err := o.Live.Begins(ctx)
	if err != nil {
		return nil, err
	}
	maps.Copy(out, at)
	return out, nil
}
