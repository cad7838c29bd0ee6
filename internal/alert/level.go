package alert

import (
	"context"
	"time"

	"github.com/waybill-data/waybill/internal/finding"
)

// raise notes what an Alertmanager is to be told of a finding, by level: what is open is told again and again.
func (q *queue) raise(r finding.Row, now time.Time) {
	have, there := q.level[r.ID]
	switch {
	case !r.State.Open() && (!there && now.Sub(r.At) > stands || r.State == finding.Noted):
		return // it does not know of it, or there is nothing to resolve
	case !there && len(q.level) >= maxWaiting:
		q.dropped++
		return
	}
	q.level[r.ID] = r
	if !there || have.State.Open() != r.State.Open() || have.Severity != r.Severity {
		q.dirty = true
	}
}

func (q *queue) runLevel(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		open, err := q.tellLevel(ctx)
		if err != nil {
			failures++
			q.deps.Log.Warn("alerts not delivered yet", "receiver", q.to.Name, "alerts", open, "failures", failures, "error", err)
			_ = q.deps.Wait(ctx, failures) // what has ended is seen above
			continue
		}
		failures = 0
		again := time.NewTimer(resend)
		select {
		case <-ctx.Done():
		case <-q.news:
		case <-again.C:
		}
		again.Stop()
	}
}

// tellLevel sends all that is open, and what was open until a while ago.
func (q *queue) tellLevel(ctx context.Context) (int, error) {
	now := q.deps.Now()
	q.mu.Lock()
	var rows []finding.Row
	for id, r := range q.level {
		if over := q.over(&r); !over.IsZero() && now.Sub(over) > stands {
			delete(q.level, id) // it has been told several times
			continue
		}
		rows = append(rows, r)
	}
	dirty := q.dirty
	q.dirty, q.busy = false, true
	select {
	case <-q.news: // it is in rows
	default:
	}
	q.mu.Unlock()
	var err error
	if len(rows) > 0 {
		err = q.sendLevel(ctx, rows, now)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case err != nil:
		q.dirty = q.dirty || dirty
		q.deps.Count(q.to.Name, Failed, len(rows))
	default:
		q.deps.Count(q.to.Name, Delivered, len(rows))
	}
	q.busy = false
	if !q.dirty {
		q.idle.Broadcast()
	}
	return len(rows), err
}

// over is when a finding has ended, as far as is known; zero: it is open.
func (q *queue) over(r *finding.Row) time.Time {
	switch {
	case !r.State.Open():
		return r.At
	case !r.Until.IsZero() && r.Until.Before(q.deps.Now()):
		return r.Until
	}
	return time.Time{}
}
