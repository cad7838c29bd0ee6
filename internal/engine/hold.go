package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-data/waybill/internal/status"
)

// heedEvery is how often a worker asks whether its pipeline is held: its answer to a hold is not to take two seconds.
const heedEvery = time.Second

// outlive is for how long a worker goes on though its job holds the pipeline still, after that has put other tables in the place of the old
// ones. Whoever holds it for longer wants something else.
const outlive = 30 * time.Second

// outlived is a hold that is over for a worker.
type outlived struct {
	job  string
	till time.Time
}

// heedTimeout bounds one question.
const heedTimeout = 5 * time.Second

// heldError ends a life because a job holds the pipeline.
type heldError struct {
	job   string
	until time.Time // if nobody renews it
}

func (e *heldError) Error() string { return "held by job " + e.job }

// heldBy asks whether a job holds the pipeline. nil: none does, or it cannot be asked: correctness does not rest on the hold (adr/0015).
func (p *Pipeline) heldBy(ctx context.Context) *heldError {
	if p.cfg.Job != "" {
		return nil // a backfill itself, which is what the others wait for
	}
	ctx, cancel := context.WithTimeout(ctx, heedTimeout)
	defer cancel()
	job, until, err := p.target.ledger.HeldBy(ctx, p.cfg.Name)
	switch {
	case err != nil:
		p.log.Debug("whether the pipeline is held could not be read", "error", err)
		return nil
	case job == "", job == p.outlived.job && time.Now().Before(p.outlived.till):
		return nil
	}
	return &heldError{job, until}
}

// heed is the goroutine of a life that looks out for holds.
func (l *life) heed() {
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-l.draining.Done():
			return
		case <-time.After(heedEvery):
		}
		if h := l.p.heldBy(l.ctx); h != nil {
			l.p.log.Warn("held: settling what is in flight, then leaving the group", "job", h.job, "until", h.until)
			l.drain(h)
			return
		}
	}
}

// standBy waits while a job holds the pipeline: until that lifts the hold, or it ends by itself, or the tables are others. waited: there was
// something to wait for, and everything is to be looked at anew. The error is that of ctx.
func (p *Pipeline) standBy(ctx context.Context) (waited bool, err error) {
	began := time.Now()
	how, job := "the hold is over", ""
	for {
		h := p.heldBy(ctx)
		if h == nil {
			break
		}
		if !waited {
			waited, job = true, h.job
			p.metrics.SetHeld(true)
			p.log.Warn("held: waiting", "job", h.job, "until", h.until)
		}
		p.setState(status.Held, fmt.Sprintf("held by job %s until %s, unless it is renewed", h.job, h.until.UTC().Format(time.RFC3339)))
		if moved, err := p.target.moved(ctx); err == nil && moved {
			how, p.outlived = "the tables are others", outlived{job, time.Now().Add(outlive)}
			break
		}
		if err := wait(ctx, heedEvery); err != nil {
			p.metrics.SetHeld(false)
			return waited, err
		}
	}
	if waited {
		p.metrics.SetHeld(false)
		p.setState(status.Starting, "")
		p.log.Info("going on after a hold", "why", how, "held_for", time.Since(began).Round(time.Millisecond))
	}
	return waited, nil
}

// heldOf is the hold that an error is about, nil if it is about something else.
func heldOf(err error) *heldError {
	var h *heldError
	if errors.As(err, &h) {
		return h
	}
	return nil
}
