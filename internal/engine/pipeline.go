package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/alert"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/drift"
	"github.com/waybill-data/waybill/internal/failpoint"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/telemetry"
	"github.com/waybill-data/waybill/internal/watchdog"
)

// MaxInFlight is how many batches of a worker may be unsettled at once: one being gathered against
// one being inserted, and room for one that is slow.
const MaxInFlight = 4

// partitionMaxBytes is how much is fetched of a partition at once, at most: large enough that a fetch's own cost does
// not count.
const partitionMaxBytes = 4 << 20

// DefaultMaxMetadata is Kafka's default of offset.metadata.max.bytes.
const DefaultMaxMetadata = 4096

// DefaultDrain is how long a graceful stop may take to settle what is in flight.
const DefaultDrain = 30 * time.Second

// Deps are what a pipeline shares with others of its process.
type Deps struct {
	Log     *slog.Logger
	Metrics *telemetry.Metrics
	Budget  *Budget
	// FetchBytes bounds what a pipeline asks one broker for at once; 0 means kafka.DefaultFetchMaxBytes.
	FetchBytes int32
	// Drain bounds a graceful stop; 0 means DefaultDrain.
	Drain time.Duration
	// Kafka, if not nil, may change how sessions are opened (tests: dialer, short intervals).
	Kafka func(*kafka.Config)
}

// Pipeline runs one pipeline file in this process.
type Pipeline struct {
	cfg     *config.Pipeline
	deps    Deps
	log     *slog.Logger
	metrics *telemetry.PipelineMetrics
	target  *target // set by prepare
	budget  *account

	mu       sync.Mutex // guards what Status reads
	state    status.PipelineState
	reason   string
	life     *life
	failure  *status.Failure
	troubles troubles
	findings *findings
	alerts   *alert.Sender
	totals   totals
	meter    meter
	assigned atomic.Bool
	ran      bool // it has been a member of the group; Run's alone
	drift    drifting
	dead     deadBudget
	mirrorTo *kafka.Producer // once there was something to mirror; mu guards it
	blanks   []blanks        // the gatherer's, one for each table
	inserts  []underway      // one for each table
	// complete is up to when all partitions are complete, as it was last read, in milliseconds since the Unix epoch.
	complete atomic.Int64
	auditor  *auditor
	boots    watchdog.Boots // the watch's
	backfill *backfill      // nil: it is none
	// outlived is the job whose hold is over for this worker, though it lasts: the tables have changed since. It is that of whoever asks.
	outlived outlived
	// lags are where the group stands while the pipeline stands still; nil: it does not.
	lags atomic.Pointer[[]status.Partition]
}

// New makes a pipeline that has not started.
func New(cfg *config.Pipeline, deps Deps) *Pipeline { return newPipeline(cfg, deps, nil) }

func newPipeline(cfg *config.Pipeline, deps Deps, b *backfill) *Pipeline {
	if deps.Drain == 0 {
		deps.Drain = DefaultDrain
	}
	log, weight := deps.Log.With("pipeline", cfg.Name), int64(weightLive)
	if b != nil {
		log, weight = log.With("backfill", cfg.Job), weightBackfill
	}
	p := &Pipeline{cfg: cfg, deps: deps, log: log, metrics: deps.Metrics.ForPipeline(labelOf(cfg)), budget: deps.Budget.account(weight), state: status.Starting,
		findings: newFindings(cfg.Name, cfg.Epoch), backfill: b}
	p.dead.DeadLetters = cfg.DeadLetters
	p.alerts = p.newAlerts()
	tables := len(cfg.Tables())
	p.blanks, p.inserts = make([]blanks, tables), make([]underway, tables)
	p.auditor = newAuditor(p)
	for range tables {
		p.drift.monitors = append(p.drift.monitors, drift.New(drift.Config{}))
	}
	return p
}

// labelOf is what metrics call a pipeline. What is shown of a backfill must not be taken for the pipeline's.
func labelOf(cfg *config.Pipeline) string {
	if cfg.Job != "" {
		return cfg.Name + "@" + cfg.Job
	}
	return cfg.Name
}

// Run runs the pipeline until ctx ends, which drains what is in flight, or until it cannot go on. The
// error says what a person must do; nil after a graceful stop.
func (p *Pipeline) Run(ctx context.Context) error {
	stop := p.startAlerts(ctx)
	defer stop()
	err := p.run(ctx)
	if err != nil {
		p.setState(status.Stopped, err.Error())
		p.mu.Lock()
		p.failure = status.NewFailure(time.Now(), err)
		p.mu.Unlock()
		p.log.Error("stopped", "error", err, "class", waybill.ClassOf(err).String())
		return err
	}
	p.setState(status.Stopped, "")
	return nil
}

func (p *Pipeline) run(ctx context.Context) error {
	if err := p.prepare(ctx); err != nil {
		return ended(ctx, err)
	}
	defer p.endTarget()
	defer p.closeMirror()
	for attempt := 0; ; {
		began := time.Now()
		err := p.live(ctx)
		var stopped *stopError
		var replan *replanError
		switch {
		case (errors.As(err, &replan) || heldOf(err) != nil) && ctx.Err() == nil:
			epoch := p.target.epoch
			if err := p.anew(ctx); err != nil {
				return ended(ctx, err)
			}
			if replan == nil || replan.fence == "" || p.target.epoch > epoch {
				p.cleared(aboutEpoch)
				attempt = 0
				continue
			}
			attempt++
			p.failed(aboutEpoch, p.notNewer(replan.fence), attempt+1)
			if wait(ctx, backoff(attempt)) != nil {
				return nil //nolint:nilerr // asked to stop
			}
			continue
		case errors.As(err, &stopped):
			return stopped.err
		case errors.Is(err, errComplete):
			return nil
		case ctx.Err() != nil && errors.Is(err, errDrain):
			return err
		case ctx.Err() != nil:
			return nil
		case err != nil && !p.tries(err) && waybill.ClassOf(err).Action() != waybill.ActionRejoin:
			return err
		}
		if time.Since(began) > time.Minute {
			attempt = 0
		}
		attempt++
		if err != nil {
			p.failed(aboutMembership, err, attempt)
		}
		if wait(ctx, backoff(attempt)) != nil {
			return nil //nolint:nilerr // asked to stop
		}
	}
}

// ended is the error of a pipeline that cannot go on; nil if it was asked to stop.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// lasting reports whether a pipeline that runs goes on trying after an error: see waybill.Action.
func lasting(err error) bool {
	action := waybill.ClassOf(err).Action()
	return action == waybill.ActionRetry || action == waybill.ActionProbe
}

// tries is lasting once the pipeline has run. Before, whoever turns it away is told to a person, who is there: it was just started.
func (p *Pipeline) tries(err error) bool {
	return lasting(err) && (p.ran || waybill.ClassOf(err).Heals())
}

// anew looks at the tables as they are now, after a hold if one lasts.
func (p *Pipeline) anew(ctx context.Context) error {
	if _, err := p.standBy(ctx); err != nil {
		return err
	}
	p.closeTarget()
	return p.prepare(ctx)
}

// stopError ends a life for good: the machine has said Stop.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }
func (e *stopError) Unwrap() error { return e.err }

var (
	errLeft  = errors.New("left the group")
	errDrain = errors.New("the deadline for a graceful stop passed with batches in flight; they are settled at the next start")
)

// prepare connects and checks everything before the first record is read. What can heal is waited for.
func (p *Pipeline) prepare(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		t, err := openTarget(ctx, p.cfg, p.log)
		if err == nil {
			p.under(t)
			if err = p.know(ctx, t); err != nil {
				t.close()
			}
		}
		if err == nil {
			p.workWith(t)
			p.cleared(aboutStart)
			for _, f := range t.notes {
				p.found(f)
			}
			p.mendedBut("small_window", t.notes, "the tables remember enough blocks now")
			t.lookForRenames(p, t.now()) // since the life before
			return nil
		}
		if ctx.Err() != nil || !p.tries(err) {
			return err
		}
		p.failed(aboutStart, err, attempt+1)
		if werr := wait(ctx, backoff(attempt+2)); werr != nil {
			return werr
		}
	}
}

// workWith makes t what the pipeline works with, until closeTarget. What it finds is recorded there.
func (p *Pipeline) workWith(t *target) {
	p.mu.Lock()
	p.target = t
	p.mu.Unlock()
	if t.topicWas != "" {
		p.log.Warn("the file names another topic than the pipeline had under this epoch: it is read from where the file says (source.kafka.start); what the old one has past the position is not read",
			"topic", p.cfg.Source.Kafka.Topic, "was", t.topicWas)
	}
	if t.epoch != p.cfg.Epoch {
		p.log.Info("the epoch follows the table", "epoch", t.epoch, "file", p.cfg.Epoch, "tables", t.identities())
	}
	var over context.Context
	over, t.overRecording = context.WithCancel(t.recordCtx)
	t.recording.Go(func() { p.recordFindings(over, t) })
}

// under begins a new account of what is known of an epoch, if t is under another one than before.
func (p *Pipeline) under(t *target) {
	if !p.findings.under(p.cfg.Name, t.epoch, t.client.ServerNow(time.Now())) {
		return
	}
	p.complete.Store(0)
	p.auditor.anew()
}

// know reads what is on record of the pipeline.
func (p *Pipeline) know(ctx context.Context, t *target) error {
	if err := p.knowDrift(ctx, t); err != nil {
		return err
	}
	if err := p.knowDead(ctx, t); err != nil {
		return err
	}
	return p.knowFindings(ctx, t)
}

// life is one membership of the group.
type life struct {
	p      *Pipeline
	ctx    context.Context // ends with the life
	cancel context.CancelCauseFunc
	// draining ends when no more is to be gathered, by drain if that is not because the pipeline is to stop.
	draining context.Context
	drain    context.CancelCauseFunc
	sess     *kafka.Session
	joined   chan struct{}                               // closed when sess is set
	erased   atomic.Pointer[map[int32]waybill.OffsetSet] // see knowErased
	wg       sync.WaitGroup
	extents  *shared[struct{}, kafka.TopicInfo]
	tails    *shared[tail, map[waybill.TopicPartition]waybill.OffsetSet]

	// placing is what a life without a group is about: see Replayer. nil: it has one.
	placing *placing

	mu      sync.Mutex // guards the machine and what follows
	machine *delivery.Machine
	data    map[delivery.WorkID]*data
	plan    waybill.PlanID // that batches are gathered under
	blocks  blocks
	// doubts and refusals are of sends that were not cleanly answered, until their work is done with.
	doubts   map[delivery.WorkID]func(delivery.RowSet)
	refusals map[delivery.WorkID]*refusals
	epochs   map[waybill.TopicPartition]map[int64]int32 // leader epochs of the records before batch ends
	starts   map[waybill.TopicPartition]delivery.Gather // for the gatherer to take up
	retries  map[waybill.TopicPartition]*gathering      // likewise: to be started again where they stand
	wake     chan struct{}                              // cap 1: something changed for the gatherer
	stale    atomic.Bool                                // the table's columns have changed since they were read
	ends     map[waybill.TopicPartition]int64           // end offsets, as last heard of
	begins   map[waybill.TopicPartition]int64           // log start offsets, likewise
	frozen   map[waybill.TopicPartition]bool            // not read on until a person acts
	holes    []passed                                   // for the gatherer: holes that a look has found
	idle     chan struct{}                              // cap 1: a work has gone
	telling  telling
	closed   bool
}

// live is one life. It returns nil or an error that can heal if another life should follow.
func (p *Pipeline) live(ctx context.Context) error {
	if p.backfill != nil {
		if _, err := p.backfill.refresh(); err != nil {
			return &stopError{p.badScope(err)}
		}
	}
	if h := p.stopped(ctx); h != nil {
		return h
	}
	if err := p.soleGroup(ctx); err != nil {
		return err
	}
	l := &life{p: p, joined: make(chan struct{}), data: map[delivery.WorkID]*data{}, doubts: map[delivery.WorkID]func(delivery.RowSet){}, refusals: map[delivery.WorkID]*refusals{},
		epochs: map[waybill.TopicPartition]map[int64]int32{}, starts: map[waybill.TopicPartition]delivery.Gather{}, retries: map[waybill.TopicPartition]*gathering{},
		ends: map[waybill.TopicPartition]int64{}, begins: map[waybill.TopicPartition]int64{}, frozen: map[waybill.TopicPartition]bool{}, wake: make(chan struct{}, 1), idle: make(chan struct{}, 1),
		telling: newTelling(p.cfg.AllowedLateness), extents: newShared[struct{}, kafka.TopicInfo](), tails: newShared[tail, map[waybill.TopicPartition]waybill.OffsetSet]()}
	l.ctx, l.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	defer l.cancel(nil)
	l.draining, l.drain = context.WithCancelCause(ctx)
	defer l.drain(nil)
	sess, err := l.open(ctx)
	if err != nil {
		return err
	}
	l.machine = delivery.New(p.machineConfig(sess.ClusterID()))
	l.mu.Unlock() // callbacks may have been waiting since open
	close(l.joined)
	p.mu.Lock()
	p.life = l
	p.mu.Unlock()
	p.setState(status.Running, "")
	p.ran = true

	if p.backfill != nil {
		l.perform(l.keepScope)
	}
	l.perform(func() { l.gather() })
	l.perform(func() { l.watch() })
	l.perform(func() { l.heed() })
	if p.cfg.Audit.Continuous {
		l.perform(func() { l.audit() })
	}
	cause := l.until()
	l.cancel(cause)
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wg.Wait()
	if cause == nil || heldOf(cause) != nil {
		l.lastWord(p.target.recordCtx)
	}
	// Leaving lets others take over at once; after a crash they wait for the session to time out.
	sess.Close(true)
	p.assigned.Store(false)
	p.mu.Lock()
	p.life = nil
	p.mu.Unlock()
	p.clearedAll()
	l.mu.Lock()
	for id := range l.data {
		l.release(id, false)
	}
	l.mu.Unlock()
	return cause
}

// kafkaConfig is how the pipeline's brokers are spoken to.
func (p *Pipeline) kafkaConfig() kafka.Config {
	cfg := KafkaConfig(p.cfg, p.log)
	if cfg.PartitionMaxBytes == 0 {
		cfg.PartitionMaxBytes = partitionMaxBytes
	}
	if most := p.deps.FetchBytes; most > 0 { // memory is shared; the file may ask for less of it
		if cfg.FetchMaxBytes == 0 {
			cfg.FetchMaxBytes = most
		}
		cfg.FetchMaxBytes = min(cfg.FetchMaxBytes, most)
	}
	if cfg.FetchMaxBytes > 0 {
		cfg.PartitionMaxBytes = min(cfg.PartitionMaxBytes, cfg.FetchMaxBytes)
	}
	if p.deps.Kafka != nil {
		p.deps.Kafka(&cfg)
	}
	return cfg
}

// open joins the group. It returns with l.mu held, so that callbacks which come before there is a
// machine wait for it.
func (l *life) open(ctx context.Context) (*kafka.Session, error) {
	cfg := l.p.kafkaConfig()
	l.mu.Lock()
	sess, err := kafka.Open(ctx, cfg, kafka.Callbacks{Assigned: l.onAssigned, Revoked: l.onRevoked, Lost: l.onRevoked})
	if err != nil {
		l.mu.Unlock()
		return nil, err
	}
	l.sess = sess
	return sess, nil
}

// until waits for the life's end: the membership is over, the machine wants out, or nothing more is to be gathered and what
// is in flight has been settled.
func (l *life) until() error {
	select {
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	case <-l.sess.Done():
		return l.sess.Err()
	case <-l.draining.Done():
	}
	var over error // nil: the pipeline is to stop
	reason := ""
	if h := heldOf(context.Cause(l.draining)); h != nil {
		over, reason = h, h.Error()
	}
	l.p.setState(status.Draining, reason)
	deadline := time.NewTimer(l.p.deps.Drain)
	defer deadline.Stop()
	for {
		l.mu.Lock()
		left := len(l.machine.Works())
		l.mu.Unlock()
		if left == 0 {
			failpoint.Hit(failpoint.Drained)
			return over
		}
		select {
		case <-l.idle:
		case <-l.ctx.Done():
			return context.Cause(l.ctx)
		case <-l.sess.Done():
			return l.sess.Err()
		case <-deadline.C:
			if over != nil {
				l.p.log.Warn("leaving the group with batches in flight: whoever is assigned their partitions carries them out, or drops them under a later epoch", "batches", left, "reason", reason)
				return over
			}
			return &waybill.Error{Op: "stop", Pipeline: l.p.cfg.Name, Class: waybill.ClassRetryable, Err: errDrain}
		}
	}
}

func (p *Pipeline) machineConfig(clusterID string) delivery.Config {
	c := delivery.Config{Pipeline: p.cfg.Name, ClusterID: clusterID, Epoch: p.target.epoch, Superseded: p.target.standing.Superseded, Table: p.target.tableID, Tables: p.target.storeNames(),
		Views: p.target.views(), MaxMetadata: DefaultMaxMetadata, MaxInFlight: MaxInFlight}
	if p.cfg.Delivery == config.AtLeastOnce {
		c.Mode = delivery.AtLeastOnce
	}
	if p.cfg.Source.Kafka.WhenMoved == config.Stop {
		c.WhenMoved = delivery.StopWhenMoved
	}
	return c
}

// perform runs fn as one of the life's goroutines.
func (l *life) perform(fn func()) {
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		fn()
	}()
}

// step gives the machine an event and starts what it wants done.
func (l *life) step(ev delivery.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return // the next life recovers whatever this answer was about
	}
	l.do(l.machine.Step(ev))
}

func (l *life) onAssigned(parts []waybill.TopicPartition) {
	failpoint.Hit(failpoint.Assigned)
	l.p.metrics.Rebalance()
	l.p.log.Info("partitions assigned", "partitions", numbers(parts))
	held := l.held(parts)
	l.step(delivery.Assigned{Parts: held})
	l.p.assigned.Store(true)
}

func (l *life) onRevoked(parts []waybill.TopicPartition) {
	l.p.metrics.Rebalance()
	l.p.log.Info("partitions revoked", "partitions", numbers(parts))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.machine == nil {
		return
	}
	known := map[waybill.TopicPartition]delivery.Held{}
	for _, s := range l.machine.Partitions() {
		known[s.TopicPartition] = s.Held
	}
	var held []delivery.Held
	for _, tp := range parts {
		if h, ok := known[tp]; ok {
			held = append(held, h)
		}
		l.p.metrics.ForPartition(tp).Release()
		delete(l.starts, tp)
		delete(l.frozen, tp)
		delete(l.telling.times, tp)
		l.telling.tracker.Lost(tp.Partition)
		l.p.cleared(aboutPartition(tp)...)
	}
	if !l.closed {
		l.do(l.machine.Step(delivery.Revoked{Parts: held}))
	}
	failpoint.Hit(failpoint.Revoked)
}

// held binds partitions to the instance that the session gave them. The callback runs before anything
// else can happen to the assignment, so the session's number is of this very assignment.
func (l *life) held(parts []waybill.TopicPartition) []delivery.Held {
	l.mu.Lock() // waits until open has set sess
	sess := l.sess
	l.mu.Unlock()
	var out []delivery.Held
	for _, tp := range parts {
		if n, ok := sess.Instance(tp); ok {
			out = append(out, delivery.Held{TopicPartition: tp, Instance: delivery.Instance(n)})
		}
	}
	return out
}

func numbers(parts []waybill.TopicPartition) []int32 {
	out := make([]int32, len(parts))
	for i, tp := range parts {
		out[i] = tp.Partition
	}
	return out
}

// poke tells the gatherer to look up.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
