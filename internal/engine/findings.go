package engine

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/finding"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/telemetry"
)

// findings of a pipeline: what is open, and what the journal has not been told yet.
type findings struct {
	mu      sync.Mutex // held for moments only: who reports may hold life.mu
	tracker *finding.Tracker
	epoch   waybill.Epoch // that the tracker is of
	news    chan struct{} // cap 1: the journal should hear of something

	// The recorder's.
	unsent []finding.Row
	token  waybill.Token // that they are sent with
	rows   int64         // that the journal had when it was last looked at
}

// refreshInterval is how often the journal is read: how soon a worker knows what the others have found.
const refreshInterval = 15 * time.Second

func newFindings(pipeline string, epoch waybill.Epoch) *findings {
	return &findings{tracker: finding.NewTracker(pipeline, worker(), epoch, finding.Config{}), epoch: epoch, news: make(chan struct{}, 1)}
}

// serverTime is now by the server's clock, as far as it is known.
func (p *Pipeline) serverTime() time.Time {
	now := time.Now()
	p.mu.Lock()
	t := p.target
	p.mu.Unlock()
	if t != nil {
		now = t.client.ServerNow(now)
	}
	return now.UTC().Truncate(time.Millisecond) // as the journal has it
}

// found takes in a finding. It may be told of a cause as often as that is seen: it is opened once, and updated after that. What becomes known goes to the
// log, to metrics and to the journal waybill.findings.
func (p *Pipeline) found(f waybill.Finding) {
	if f.Over {
		p.mended(f.Key(), f.Message)
		return
	}
	now := p.serverTime()
	p.findings.mu.Lock()
	news := p.findings.tracker.Found(f, now)
	p.findings.mu.Unlock()
	if news == finding.Known {
		p.log.Debug("finding seen again", "kind", f.Kind, "severity", f.Severity, "topic", f.Topic, "partition", f.Partition, "subject", f.Subject, "message", f.Message)
		return
	}
	p.metrics.Finding(f)
	p.log.Warn("finding", "kind", f.Kind, "severity", f.Severity, "topic", f.Topic, "partition", f.Partition, "subject", f.Subject, "span", f.Span.String(), "message", f.Message, "action", f.Action)
	p.tell()
}

// mended takes in that what findings of this key are about is gone: the one that is open is closed. It costs little if none is.
func (p *Pipeline) mended(key waybill.FindingKey, how string) {
	now := p.serverTime()
	p.findings.mu.Lock()
	closed := p.findings.tracker.Mended(key, how, now)
	p.findings.mu.Unlock()
	if closed {
		p.log.Info("finding closed", "kind", key.Kind, "partition", key.Partition, "subject", key.Subject, "how", how)
		p.tell()
	}
}

// tell has what has changed written down, and told to whoever has asked for alerts: without waiting for the record, for the sink may be away.
func (p *Pipeline) tell() {
	p.findings.mu.Lock()
	known := p.findings.tracker.List()
	p.findings.mu.Unlock()
	p.alerts.Update(known)
	poke(p.findings.news)
}

// mendedBut closes what is open of a kind and not among the findings: whoever looks at all that there is of a kind knows what is over.
func (p *Pipeline) mendedBut(kind string, still []waybill.Finding, how string) {
	keep := map[waybill.FindingKey]bool{}
	for i := range still {
		keep[still[i].Key()] = true
	}
	p.findings.mu.Lock()
	known := p.findings.tracker.List()
	p.findings.mu.Unlock()
	for i := range known {
		if r := &known[i]; r.Kind == kind && r.State.Open() && !keep[r.Key()] {
			p.mended(r.Key(), how)
		}
	}
}

// knowFindings reads what is on record: what is open stays so over restarts, and is closed by whoever sees the mending.
func (p *Pipeline) knowFindings(ctx context.Context, t *target) error {
	rows, err := t.ledger.FindingsNow(ctx, ledger.FindingsOf{Pipeline: p.cfg.Name, Latest: true})
	if err != nil {
		return err
	}
	if p.backfill != nil { // those of earlier epochs are not over: the pipeline runs under them
		rows = slices.DeleteFunc(rows, func(r finding.Row) bool { return r.Epoch < t.epoch })
	}
	now := t.client.ServerNow(time.Now())
	p.findings.mu.Lock()
	p.findings.tracker.Adopt(rows, now)
	p.findings.mu.Unlock()
	return p.passOn(ctx, t, now)
}

// passOnTime is how old a finding of a command can be that a worker tells of.
const passOnTime = 10 * time.Minute

// passOn has receivers told of what a command has put on record. It tells them itself, but does not wait for one that is away.
func (p *Pipeline) passOn(ctx context.Context, t *target, now time.Time) error {
	if len(p.cfg.Alerts) == 0 {
		return nil
	}
	rows, err := t.ledger.FindingsNow(ctx, ledger.FindingsOf{Pipeline: p.cfg.Name, All: true, Kinds: []string{kindPromoted}, Since: now.Add(-passOnTime)})
	if err == nil {
		p.alerts.Update(rows)
	}
	return err
}

// evidence is what the open finding of a key has, and whether there is one.
func (s *findings) evidence(key waybill.FindingKey) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, open := s.tracker.Open(key)
	return r.Evidence, open
}

// under begins a new account under an epoch, unless this one is of it. What is not written yet of the old one is not lost. Nobody records meanwhile.
func (s *findings) under(pipeline string, epoch waybill.Epoch, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if epoch == s.epoch {
		return false
	}
	if rows := s.tracker.Due(now); len(rows) > 0 {
		s.unsent, s.token = append(s.unsent, rows...), waybill.Token("findings-"+uuid.NewString())
	}
	s.tracker, s.epoch = finding.NewTracker(pipeline, worker(), epoch, finding.Config{}), epoch
	return true
}

// recordFindings keeps the journal up to date until over ends, and what is known then is written, or given up.
func (p *Pipeline) recordFindings(over context.Context, t *target) {
	failures := 0
	for {
		last := over.Err() != nil
		err := p.flushFindings(t.recordCtx, t)
		if t.recordCtx.Err() != nil || last && (err == nil || !waybill.ClassOf(err).Heals()) {
			if n := len(p.findings.unsent); n > 0 {
				p.log.Error("findings could not be recorded in the table", "findings", n, "first", p.findings.unsent[0].Message, "error", err)
			}
			return
		}
		if err != nil {
			failures++
			p.notRecorded(err, failures)
			_ = wait(t.recordCtx, backoff(failures)) // what has ended is seen above
			continue
		}
		failures = 0
		p.awaitFindings(over, t)
	}
}

// toldFailures is how many failures in a row are worth a word: that a server was away for moments is none.
const toldFailures = 5

func (p *Pipeline) notRecorded(err error, failures int) {
	level := slog.LevelDebug
	if failures == toldFailures || !waybill.ClassOf(err).Heals() {
		level = slog.LevelError
	}
	p.log.Log(context.Background(), level, "findings are not in the table waybill.findings yet", "findings", len(p.findings.unsent), "failures", failures, "error", err)
}

// awaitFindings waits until there may be something to write. Meanwhile it reads what others have written.
func (p *Pipeline) awaitFindings(over context.Context, t *target) {
	tick := time.NewTimer(refreshInterval)
	defer tick.Stop()
	select {
	case <-over.Done():
	case <-t.recordCtx.Done():
	case <-p.findings.news:
	case <-tick.C:
		if err := p.refreshFindings(t.recordCtx, t); err != nil {
			p.log.Debug("the journal of findings could not be read", "error", err)
		}
	}
}

// refreshFindings is knowFindings if there is anything new.
func (p *Pipeline) refreshFindings(ctx context.Context, t *target) error {
	n, err := t.ledger.FindingRows(ctx, p.cfg.Name) // counted first: rows that come meanwhile are read the next time
	if err != nil || n == p.findings.rows {
		return err
	}
	if err := p.knowFindings(ctx, t); err != nil {
		return err
	}
	p.findings.rows = n
	return nil
}

// flushFindings writes what the journal should have now. What cannot be written stays for the next time.
func (p *Pipeline) flushFindings(ctx context.Context, t *target) error {
	s := p.findings
	s.mu.Lock()
	if len(s.unsent) == 0 {
		s.unsent, s.token = s.tracker.Due(t.client.ServerNow(time.Now())), waybill.Token("findings-"+uuid.NewString())
	}
	known := s.tracker.List()
	s.mu.Unlock()
	p.measureFindings(known)
	p.alerts.Update(known)
	if len(s.unsent) == 0 {
		return nil
	}
	a := t.client.Insert(ctx, clickhouse.Insert{Database: t.ledger.Database(), Table: ledger.TableFindings, Token: s.token, Input: ledger.FindingBlock(s.unsent)})
	if a.Err != nil {
		return a.Err
	}
	s.unsent = nil
	return nil
}

// measureFindings shows how many are open.
func (p *Pipeline) measureFindings(known []finding.Row) {
	open := map[telemetry.FindingLabels]int{}
	for i := range known {
		if r := &known[i]; r.State.Open() {
			open[telemetry.FindingLabels{Kind: r.Kind, Severity: r.Severity}]++
		}
	}
	p.metrics.SetOpenFindings(open)
}

// shown is what is open, and the latest of what was closed or only told, the latest last.
func (s *findings) shown() []status.Finding {
	s.mu.Lock()
	known := s.tracker.List()
	s.mu.Unlock()
	over := 0
	for i := range known {
		if !known[i].State.Open() {
			over++
		}
	}
	out := []status.Finding{}
	for i := range known {
		r := &known[i]
		if !r.State.Open() {
			if over--; over >= keepFindings {
				continue
			}
		}
		out = append(out, shownFinding(r))
	}
	return out
}

func shownFinding(r *finding.Row) status.Finding {
	f := status.NewFinding(r.FirstSeen, r.Finding)
	f.ID, f.LastSeen, f.Seen, f.Reopened = string(r.ID), r.LastSeen, r.Seen, r.Reopened
	switch {
	case r.State.Open():
		f.State = status.FindingOpen
	case r.State == finding.Closed:
		at := r.At
		f.State, f.Closed, f.Why = status.FindingClosed, &at, r.Why
	default:
		f.State = status.FindingTold
	}
	return f
}
