package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/watchdog"
)

const (
	// auditInterval is how often the auditor looks at what it is told; auditRound how often it asks, if nothing it knows of is wrong.
	auditInterval = 5 * time.Second
	auditRound    = 10 * time.Second
	// auditShare is the part of its time that the auditor may spend asking: after a round that took long it asks nothing for a while, but for
	// no longer than auditPause.
	auditShare = 20
	auditPause = 20 * time.Second
	// auditTimeout bounds one round.
	auditTimeout = 30 * time.Second
	// auditBuckets is how many buckets are compared offset by offset in one round.
	auditBuckets = 64
	// auditLaws and auditServer are how often the ledger's laws and the group's position are looked at, and how the server treats the tables.
	auditLaws   = 20 * time.Second
	auditServer = time.Minute
	// auditWhole is how often all rows of the ledger are looked at, and not only new ones, unless that takes long.
	auditWhole = 20 * time.Second
	// auditInbox bounds how many runs of offsets may wait for the auditor.
	auditInbox = 1 << 20
	// adoptBuckets bounds what is asked for at once of the partitions' past, adoptTime how long that goes on in one round.
	adoptBuckets = 16
	adoptTime    = 300 * time.Millisecond
	// restartHorizon is how long before a restart of the server rows may have been written that were not on disk.
	restartHorizon = 15 * time.Minute
)

// auditor runs the detectors of package watchdog beside the delivery of one pipeline: it compares what the ledger says with what the tables
// hold, for the partitions that this worker has, and looks after what else goes wrong without a sound. It delays nothing: it asks with one
// connection, for a small share of its time, and who has news for it leaves them in its inbox. It outlives a life, so that what is usual need not
// be learnt anew.
type auditor struct {
	p *Pipeline

	mu       sync.Mutex // held for moments only: who leaves news holds life.mu
	inbox    []news
	runs     int   // of offsets, in inbox
	dropped  int64 // offsets that found no room there
	boot     string
	bootedAt time.Time
	threw    error // of a view, by the last insert that was answered; nil: none did

	// What follows is the goroutine's.
	presence   *watchdog.Presence
	partitions *watchdog.Partitions
	group      watchdog.Group
	records    *watchdog.Records
	units      *watchdog.Units
	stalls     watchdog.Stalls
	server     watchdog.Server
	source     *watchdog.Source
	laws       *watchdog.Laws

	touched  bool                             // records have been replayed, repaired or erased
	adopt    map[waybill.TopicPartition]int64 // accounts before it are not adopted yet
	balanced map[waybill.TopicPartition]int64 // ledger rows before it have been seen to balance
	learnt   bool                             // the source's history
	lawsAt   time.Time
	wholeAt  time.Time
	serverAt time.Time
}

// news is a batch that is on the ledger's account.
type news struct {
	accounts []watchdog.Account
	parts    []watchdog.Part
	samples  []*watchdog.Sample
	read     int64
}

func newAuditor(p *Pipeline) *auditor {
	return &auditor{p: p, partitions: watchdog.NewPartitions(watchdog.PartitionsConfig{}), records: watchdog.NewRecords(watchdog.RecordsConfig{}),
		units: watchdog.NewUnits(watchdog.UnitsConfig{}), source: watchdog.NewSource(p.cfg.Source.Kafka.Topic, watchdog.SourceConfig{}), laws: watchdog.NewLaws()}
}

// accounted leaves word of a batch; d is nil if its records are not at hand. life.mu is held.
func (a *auditor) accounted(e delivery.Accounted, d *data) {
	if !a.p.cfg.Audit.Continuous {
		return
	}
	n := news{}
	runs, offsets := 0, int64(0)
	closed := time.UnixMilli(e.Batch.Time)
	for _, part := range e.Parts {
		n.accounts = append(n.accounts, watchdog.Account{TopicPartition: part.TopicPartition, Span: part.Span, Rows: part.Rows, Dead: part.Dead})
		runs += 1 + len(part.Rows.Spans()) + len(part.Dead.Spans())
		offsets += part.Len()
		n.read += part.Count
		of := watchdog.Part{TopicPartition: part.TopicPartition, Span: part.Span, Read: part.Count, Dead: part.Dead.Len(), Closed: closed}
		if s := d.spanOf(part.TopicPartition); s != nil && s.Count > 0 {
			of.Earliest, of.Latest = time.UnixMilli(s.earliest), time.UnixMilli(s.latest)
		}
		n.parts = append(n.parts, of)
	}
	if d != nil {
		for i := range d.tables {
			if s := d.tables[i].sizes; s != nil && len(e.Batch.Spans) > 0 {
				s.Of = e.Batch.Spans[0]
				n.samples = append(n.samples, s)
			}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.runs+runs > auditInbox {
		a.dropped += offsets
		n.accounts = nil
		runs = 0
	}
	a.runs += runs
	a.inbox = append(a.inbox, n)
}

// spanOf is the batch's part of a partition; d may be nil.
func (d *data) spanOf(tp waybill.TopicPartition) *spanData {
	if d == nil {
		return nil
	}
	for _, s := range d.spans {
		if s.TopicPartition == tp {
			return s
		}
	}
	return nil
}

// answered leaves word of what came of an insert into the tables.
func (a *auditor) answered(e delivery.SendAnswered) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case e.Err != nil && clickhouse.ViewOf(e.Err) != "":
		a.threw = e.Err
	case e.Answer == delivery.Landed:
		a.threw = nil
	}
}

// restarted leaves word of a restart of the server.
func (a *auditor) restarted(at time.Time, what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.boot, a.bootedAt = what, at
}

// audit is the auditor's goroutine in a life.
func (l *life) audit() {
	a := l.p.auditor
	a.begin()
	var askAt time.Time
	for wait(l.ctx, auditInterval) == nil {
		now := time.Now()
		standing := l.standing()
		a.take(now, standing)
		a.look(now, standing)
		if now.Before(askAt) {
			continue
		}
		ctx, cancel := context.WithTimeout(l.ctx, auditTimeout)
		err := a.round(ctx, now, l)
		cancel()
		took := time.Since(now)
		pause := auditRound - auditInterval/2 // ticks are not exact
		if err != nil || a.presence.Wrong() {
			pause = 0
		}
		askAt = now.Add(max(pause, min(took*auditShare, auditPause)))
		l.p.metrics.AuditRound(took, err == nil)
		if err != nil && l.ctx.Err() == nil {
			l.p.log.Debug("the continuous audit could not ask", "error", err)
		}
	}
}

// anew forgets what was so of the ledger under another epoch.
func (a *auditor) anew() {
	a.laws, a.lawsAt, a.wholeAt = watchdog.NewLaws(), time.Time{}, time.Time{}
}

// sameTables: what has just been read is of the tables that the accounts are of. Another table that has taken the place of one holds rows of
// another epoch, and what it lacks of this one is not missing.
func (a *auditor) sameTables(ctx context.Context) error {
	moved, err := a.p.target.moved(ctx)
	if err == nil && moved {
		err = errExchanged
	}
	return err
}

// begin starts on what a life has.
func (a *auditor) begin() {
	cfg := watchdog.PresenceConfig{Twice: a.p.cfg.Delivery == config.AtLeastOnce}
	for i, s := range a.p.target.now().tables {
		switch {
		case !keepsRows(s.info.Engine):
			cfg.Forgets = fmt.Sprintf("%s is a %s, which merges or removes rows", a.p.target.tables[i].name(), s.info.Engine)
		case strings.Contains(s.info.EngineFull, " TTL "):
			cfg.Forgets = a.p.target.tables[i].name() + " has a TTL"
		}
	}
	if cfg.Forgets != "" {
		a.p.log.Info("rows that are missing cannot be told from rows that are gone by right", "reason", cfg.Forgets)
	}
	a.presence = watchdog.NewPresence(cfg)
	a.adopt, a.balanced = map[waybill.TopicPartition]int64{}, map[waybill.TopicPartition]int64{}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inbox, a.runs = nil, 0 // of a life before: it is on the ledger
}

func (a *auditor) say(s watchdog.Said) {
	for _, f := range s.Found {
		a.p.found(f)
	}
	for _, m := range s.Mended {
		a.p.mended(m.Key, m.How)
	}
}

// round asks about everything once. The error is why not all could be asked.
func (a *auditor) round(ctx context.Context, now time.Time, l *life) error {
	var errs []error
	for _, step := range []func(context.Context, time.Time) error{a.count, a.compare, a.adoptPast, a.checkLaws, a.checkServer} {
		if err := step(ctx, now); err != nil {
			errs = append(errs, err)
			break // it will be much the same with the others
		}
	}
	if err := a.checkGroup(ctx, l); err != nil {
		errs = append(errs, err)
	}
	a.say(a.presence.Say())
	a.measure(now)
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}

// standing is where the partitions stand that the life has.
func (l *life) standing() []watchdog.Standing {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []watchdog.Standing
	for _, s := range l.machine.Partitions() {
		end, known := l.ends[s.TopicPartition]
		out = append(out, watchdog.Standing{TopicPartition: s.TopicPartition, Running: known && s.State == "running" && !l.frozen[s.TopicPartition],
			Next: s.Next, Committed: s.Committed, LogStart: l.begins[s.TopicPartition], End: end})
	}
	return out
}

// take holds and releases partitions, and takes in what has come.
func (a *auditor) take(now time.Time, standing []watchdog.Standing) {
	held := map[waybill.TopicPartition]bool{}
	for _, s := range standing {
		held[s.TopicPartition] = true
		if s.Running && !a.presence.Held(s.TopicPartition) {
			a.presence.Hold(s.TopicPartition, s.Committed)
			a.adopt[s.TopicPartition] = -1 // where the ledger ends
		}
	}
	for _, tp := range a.presence.Partitions() {
		if !held[tp] {
			a.presence.Release(tp)
			a.records.Forget(tp)
			a.laws.Forget(tp)
			delete(a.adopt, tp)
			delete(a.balanced, tp)
			a.p.metrics.ForPartition(tp).ReleaseAudit()
		}
	}
	a.mu.Lock()
	inbox, boot, at := a.inbox, a.boot, a.bootedAt
	a.inbox, a.runs, a.boot = nil, 0, ""
	a.mu.Unlock()
	for _, n := range inbox {
		for _, acc := range n.accounts {
			a.presence.Account(now, acc)
		}
		a.say(a.records.Settled(now, n.parts))
		for _, s := range n.samples {
			a.say(a.units.Settled(now, s))
		}
		a.source.Came(now, n.read)
	}
	if boot != "" {
		a.say(a.presence.Restarted(at.Add(-restartHorizon), boot))
	}
}

// look has those detectors look that need not ask anybody.
func (a *auditor) look(now time.Time, standing []watchdog.Standing) {
	p := a.p
	p.mu.Lock()
	stall := watchdog.Stall{}
	if tr := p.troubles.stalling(); tr != nil {
		stall = watchdog.Stall{Since: p.troubles.stalled, About: waybill.ClassOf(tr.err).String(), Words: tr.err.Error()}
	}
	p.mu.Unlock()
	a.mu.Lock()
	if a.threw != nil {
		stall.View, stall.ViewWords = clickhouse.ViewOf(a.threw), a.threw.Error()
	}
	a.mu.Unlock()
	a.say(a.stalls.Look(now, stall))
	a.say(a.partitions.Look(now, !stall.Since.IsZero(), standing))
	a.say(a.records.Look(now))
	waiting := !a.learnt || !stall.Since.IsZero() || len(standing) == 0
	for _, s := range standing {
		waiting = waiting || !s.Running || s.End > s.Committed
	}
	a.say(a.source.Look(now, waiting))
}

// measure shows what has been checked, and how far behind that is.
func (a *auditor) measure(now time.Time) {
	p := a.presence.Progress()
	a.mu.Lock()
	p.Given += a.dropped
	a.mu.Unlock()
	late := time.Duration(0)
	if !p.Since.IsZero() {
		late = max(0, now.Sub(p.Since))
	}
	a.p.metrics.SetAudit(p.Verified, p.Waiting, p.Given, late)
	for _, tp := range a.presence.Partitions() {
		a.p.metrics.ForPartition(tp).SetVerifiedThrough(a.presence.Through(tp))
	}
}
