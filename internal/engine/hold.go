package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-data/waybill/internal/ledger"
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

// heldError ends a life because a job holds the pipeline, or a person has paused it.
type heldError struct {
	job   string
	until time.Time     // if nobody renews it
	pause *ledger.Pause // nil: it is a job
}

func (e *heldError) Error() string {
	if e.pause == nil {
		return "held by job " + e.job
	}
	text := "paused by " + e.pause.Who + " at " + e.pause.At.UTC().Format(time.RFC3339)
	if e.pause.Why != "" {
		text += ": " + e.pause.Why
	}
	return text
}

// state is how a pipeline that waits for e's end is shown.
func (e *heldError) state() (state status.PipelineState, reason string) {
	if e.pause != nil {
		return status.Paused, e.Error()
	}
	return status.Held, fmt.Sprintf("%s until %s, unless it is renewed", e.Error(), e.until.UTC().Format(time.RFC3339))
}

// stopped asks whether somebody wants the pipeline to stand still: a person, or a job. nil: nobody does, or it cannot be asked.
func (p *Pipeline) stopped(ctx context.Context) *heldError {
	if h := p.pausedBy(ctx); h != nil {
		return h
	}
	return p.heldBy(ctx)
}

// pausedBy asks whether a person has paused the pipeline. The one that keeps its records is paused with it; a backfill is not.
func (p *Pipeline) pausedBy(ctx context.Context) *heldError {
	if p.cfg.Job != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, heedTimeout)
	defer cancel()
	pause, err := p.target.ledger.PauseOf(ctx, archiveOf(p.cfg))
	if err != nil {
		p.log.Debug("whether the pipeline is paused could not be read", "error", err)
		return nil
	}
	if !pause.Paused {
		return nil
	}
	return &heldError{pause: &pause}
}

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
	return &heldError{job: job, until: until}
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
		if h := l.p.stopped(l.ctx); h != nil {
			state, reason := h.state()
			l.p.log.Warn("settling what is in flight, then leaving the group", "to_be", state, "reason", reason)
			l.drain(h)
			return
		}
	}
}

// standBy waits while a job holds the pipeline, or a person has paused it: until the hold is lifted, or ends by itself, or the tables are others; a pause
// lasts whatever becomes of the tables. waited: there was something to wait for, and everything is to be looked at anew. The error is that of ctx.
func (p *Pipeline) standBy(ctx context.Context) (waited bool, err error) {
	began := time.Now()
	how := "the hold is over"
	lags := p.newLags()
	defer lags.end()
	for {
		h := p.stopped(ctx)
		if h == nil {
			break
		}
		state, reason := h.state()
		if was, _ := p.stateNow(); was != state {
			p.log.Warn("standing still", "state", state, "reason", reason)
		}
		waited = true
		p.metrics.SetHeld(h.pause == nil)
		p.metrics.SetPaused(h.pause != nil)
		p.setState(state, reason)
		if moved, err := p.target.moved(ctx); err == nil && moved && h.pause == nil {
			how, p.outlived = "the tables are others", outlived{h.job, time.Now().Add(outlive)}
			break
		}
		lags.look(ctx)
		if err := wait(ctx, heedEvery); err != nil {
			p.metrics.SetHeld(false)
			p.metrics.SetPaused(false)
			return waited, err
		}
	}
	if waited {
		p.metrics.SetHeld(false)
		p.metrics.SetPaused(false)
		p.setState(status.Starting, "")
		p.log.Info("going on", "why", how, "stood_still_for", time.Since(began).Round(time.Millisecond))
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
