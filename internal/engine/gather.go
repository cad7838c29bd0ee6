package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/failpoint"
	"github.com/waybill-data/waybill/internal/kafka"
)

// pollRecords bounds what one poll hands over at most, see room. What a poll brings is converted and decoded
// while it is still in the processor's caches.
const pollRecords = 4_000

// pollBytes is about how many bytes one poll may bring: what is taken from the budget ahead of it.
const pollBytes = 4 << 20

// firstPoll is how many records are asked for before it is known how large they are.
const firstPoll = 100

// gatherer turns fetched records into batches. It belongs to one goroutine: only it polls and starts
// partitions, so records fetched before a start are never taken for records fetched after it.
type gatherer struct {
	l      *life
	proc   *Processor
	open   *data // being filled; nil if nothing has come
	opened time.Time
	taken  int64 // of the budget, for open
	rows   int   // at which a batch is full, see grow
	parts  map[waybill.TopicPartition]*gathering
	// seen records of seenBytes, in this life: how large records are.
	seen, seenBytes int64
	// scope of a backfill; nil: all is in scope.
	scope *Scope
}

// gathering is one partition that is being consumed.
type gathering struct {
	instance delivery.Instance
	next     int64 // offset after the last record taken, or where it was started
	frozen   bool  // stopped by an error that only a person can mend
	resume   bool  // start again at next once the open batch is closed
	retry    int   // failures in a row
	heard    bool  // records of it have come
	// in is the batch that span is of: the open one, or one of the past.
	in   *data
	span *spanData
	scoped
}

func (l *life) gather() {
	proc, err := l.processor(l.p.target.now().plan)
	if err != nil {
		l.step(delivery.Failed{Err: err})
		return
	}
	g := &gatherer{l: l, proc: proc, rows: min(firstRows, l.p.cfg.Batch.Rows), parts: map[waybill.TopicPartition]*gathering{}}
	for i := range l.p.blanks {
		l.p.blanks[i].run = 0 // what was not settled is gathered again
	}
	if l.p.backfill != nil {
		g.scope = l.p.backfill.scope.Load()
	}
	l.mu.Lock()
	l.plan = proc.Plan().ID()
	l.mu.Unlock()
	defer g.abandon()
	for l.ctx.Err() == nil {
		select {
		case <-l.draining.Done():
			g.stopped()
			return
		default:
		}
		if err := g.turn(); err != nil {
			return
		}
	}
}

// stopped gathers no more. It goes on reading the table anew where batches that are in flight need that.
func (g *gatherer) stopped() {
	g.abandon()
	for {
		if g.l.stale.Swap(false) && g.replan() != nil {
			return
		}
		select {
		case <-g.l.ctx.Done():
			return
		case <-g.l.wake:
		}
	}
}

// turn is one round: take up starts, poll what there is room for, close the batch if it is due.
func (g *gatherer) turn() error {
	g.takeUpStarts()
	if g.l.stale.Swap(false) {
		if err := g.replan(); err != nil {
			return err
		}
	}
	if err := g.keepToScope(); err != nil {
		return err
	}
	full, due := g.due()
	if !full && !g.reserve() {
		full = true // what it holds is what others, and this pipeline itself, wait for
	}
	if full || due {
		if g.close() {
			g.resumeLost()
			return nil
		}
		if full { // no room for more until the machine takes this one
			return g.sleep(0)
		}
	}
	if len(g.parts) == 0 {
		return g.sleep(0)
	}
	if wait := g.held(); wait > 0 {
		return g.sleep(wait)
	}
	if some, err := g.takeKept(); some || err != nil {
		return err
	}
	ctx, cancel := g.pollContext()
	fetched, err := g.l.sess.Poll(ctx, g.room())
	cancel()
	g.l.heard(fetched.Partitions)
	terr := g.takeAll(fetched.Partitions)
	failed := fetched.Errors
	fetched.Recycle() // nothing of the batch refers to the records any more
	if terr != nil {
		return terr
	}
	for _, e := range failed {
		g.problem(e)
	}
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		g.l.trouble(aboutPoll, nil, 0)
		return g.l.ctx.Err()
	}
	if g.l.sess.Err() != nil {
		return err // the membership is over, and with it this life
	}
	g.l.trouble(aboutPoll, err, 1)
	return g.sleep(firstBackoff)
}

// sleep waits for something to change, at most d if that is not 0.
func (g *gatherer) sleep(d time.Duration) error {
	var timer <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-g.l.ctx.Done():
		return g.l.ctx.Err()
	case <-g.l.draining.Done():
	case <-g.l.wake:
	case <-timer:
	}
	return nil
}

// pollContext ends when the open batch is due, when something changes, or when the life ends.
func (g *gatherer) pollContext() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(g.l.ctx)
	if g.open != nil {
		if left := g.l.p.cfg.Batch.Age - time.Since(g.opened); left > 0 {
			inner := cancel
			ctx, cancel = context.WithTimeout(ctx, left)
			outer := cancel
			cancel = func() { outer(); inner() }
		}
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-g.l.wake:
			poke(g.l.wake) // for the turn that follows
			cancel()
		case <-g.l.draining.Done():
			cancel()
		case <-done:
		case <-ctx.Done():
		}
	}()
	return ctx, func() { close(done); cancel() }
}

// takeUpStarts begins to gather where the machine says.
func (g *gatherer) takeUpStarts() {
	l := g.l
	select {
	case <-l.wake:
	default:
	}
	l.mu.Lock()
	starts := slices.SortedFunc(maps.Values(l.starts), func(a, b delivery.Gather) int { return a.Part.Compare(b.Part.TopicPartition) })
	clear(l.starts)
	retries := maps.Clone(l.retries)
	clear(l.retries)
	l.mu.Unlock()
	var at []kafka.StartAt
	for tp, part := range retries {
		// What the open batch holds of it stands. A partition that was started anew meanwhile, perhaps under
		// another assignment, has another position.
		if g.parts[tp] == part && !part.frozen {
			at = g.from(at, tp, part)
		}
	}
	touched := false
	for _, s := range starts {
		tp := s.Part.TopicPartition
		touched = touched || g.holds(tp)
		old := g.parts[tp]
		g.parts[tp] = &gathering{instance: s.Part.Instance, next: s.Offset}
		if old != nil && old.frozen && old.instance == s.Part.Instance {
			g.parts[tp].frozen = true // for as long as the assignment lasts
			continue
		}
		at = g.from(at, tp, g.parts[tp])
	}
	if touched {
		at = append(at, g.abandon()...)
	}
	if len(at) > 0 {
		l.sess.Start(at...)
	}
}

func startAt(tp waybill.TopicPartition, offset int64) kafka.StartAt {
	return kafka.StartAt{TopicPartition: tp, Offset: offset, LeaderEpoch: -1}
}

// from adds where to fetch a partition from, that goes on at part.next.
func (g *gatherer) from(at []kafka.StartAt, tp waybill.TopicPartition, part *gathering) []kafka.StartAt {
	if g.scope == nil {
		return append(at, startAt(tp, part.next))
	}
	return g.fromScope(at, tp, part)
}

func (g *gatherer) holds(tp waybill.TopicPartition) bool {
	part := g.parts[tp]
	return g.open != nil && part != nil && part.in == g.open
}

// span is the partition's part of the open batch.
func (g *gatherer) span(tp waybill.TopicPartition, part *gathering) *spanData {
	if part.in != g.open {
		part.in, part.span = g.open, g.open.open(tp, part.instance, part.next)
		part.span.erased = g.l.erasedPast(tp, part.next)
	}
	return part.span
}

// abandon drops the open batch. It returns where its partitions, but for those that have just been
// started anew, are to be started again.
func (g *gatherer) abandon() []kafka.StartAt {
	if g.open == nil {
		return nil
	}
	var again []kafka.StartAt
	for _, s := range g.open.spans {
		part := g.parts[s.TopicPartition]
		if part == nil || part.instance != s.instance || part.next < s.Next {
			continue
		}
		part.next, part.resume = s.First, false
		if !part.frozen {
			again = g.from(again, s.TopicPartition, part)
		}
	}
	g.l.p.budget.give(g.taken)
	g.open.takeNotes(g.proc) // forgotten with it
	g.l.mu.Lock()
	g.l.reuse(g.open)
	g.l.mu.Unlock()
	g.open, g.taken = nil, 0
	return again
}

// takeAll decodes what a poll has brought into the open batch.
func (g *gatherer) takeAll(fetched []kafka.PartitionRecords) error {
	var read, bytes int64
	for i := range fetched {
		n, b, err := g.take(&fetched[i])
		if err != nil {
			return err
		}
		read, bytes = read+n, bytes+b
	}
	if read == 0 {
		return nil
	}
	g.l.p.noteRead(read, bytes)
	g.seen, g.seenBytes = g.seen+read, g.seenBytes+bytes
	if over := g.open.size() - g.taken; over > 0 {
		g.l.p.budget.force(over)
		g.taken += over
	}
	g.foresee()
	return nil
}

// foreseeAt is how many rows tell how large a batch will be.
const foreseeAt = 4096

// foresee makes room for the rows that the open batch is going to have, once it is known how large rows are and
// how fast they come.
func (g *gatherer) foresee() {
	d, b := g.open, g.l.p.cfg.Batch
	if d.foreseen || d.covered < foreseeAt {
		return
	}
	d.foreseen = true
	factor := min(float64(g.rows)/float64(d.covered), float64(b.Bytes)/float64(max(d.bytes, int64(d.blocks.Size()), 1)),
		float64(b.Age)/float64(max(time.Since(g.opened), time.Millisecond)))
	if factor > 1 {
		d.blocks.Reserve(factor + 0.05)
	}
}

// take decodes the records of one partition: how many, and of how many bytes.
func (g *gatherer) take(f *kafka.PartitionRecords) (read, bytes int64, err error) {
	part := g.parts[f.TopicPartition]
	if part == nil || uint64(part.instance) != f.Instance || part.frozen || len(f.Records) == 0 {
		return 0, 0, nil
	}
	if g.scope != nil {
		read, bytes, err = g.takeScoped(f, part)
	} else {
		read, bytes, err = g.takeWhole(f, part)
	}
	if err != nil {
		return 0, 0, err
	}
	if !part.heard {
		part.heard = true
		g.l.p.thawed(f.TopicPartition)
	}
	if part.retry > 0 {
		part.retry = 0
		g.l.p.cleared(aboutFetch(f.TopicPartition))
	}
	return read, bytes, nil
}

// takeWhole decodes all of the records.
func (g *gatherer) takeWhole(f *kafka.PartitionRecords, part *gathering) (read, bytes int64, err error) {
	if err := g.ensureOpen(); err != nil {
		return 0, 0, err
	}
	s := g.span(f.TopicPartition, part)
	before := g.open.bytes
	for i := range f.Records {
		r := &f.Records[i]
		if r.Offset < part.next {
			continue
		}
		g.open.add(g.proc, g.l.p.target.epoch, s, r)
		part.next = r.Offset + 1
		read++
	}
	return read, g.open.bytes - before, nil
}

// step is how many bytes are taken from the budget at a time: what one poll may bring.
func (g *gatherer) step() int64 { return g.l.p.budget.step(min(pollBytes, g.l.p.cfg.Batch.Bytes)) }

// reserve takes from the budget what the next poll may add to the open batch; false if it is not to be had. Then
// the batch is closed as it is: a pipeline that waited for bytes while it holds some might wait for one that
// does the same.
func (g *gatherer) reserve() bool {
	if g.open == nil {
		return true
	}
	need := g.open.size() + g.step() - g.taken
	if need <= 0 {
		return true
	}
	if !g.l.p.budget.try(need) {
		return false
	}
	g.taken += need
	return true
}

// ensureOpen opens a batch, once the budget has room for what it begins with.
func (g *gatherer) ensureOpen() error {
	if g.open != nil {
		return nil
	}
	step := g.step()
	if err := g.l.p.budget.take(g.l.ctx, step); err != nil {
		return err
	}
	g.l.mu.Lock()
	free, found := g.l.blocks.take()
	g.l.mu.Unlock()
	if !found {
		free.Blocks = g.proc.NewBlocks()
	}
	g.open, g.opened, g.taken = newData(free.Blocks), time.Now(), step
	g.open.complete = g.l.p.complete.Load()
	g.open.plan, g.open.made, g.open.peak = g.proc.Plan().ID(), g.proc.Plan(), free.peak
	return nil
}

// room is how many records may still go into the batch, so that it closes near its bounds: of rows exactly,
// of bytes by the size that records have had so far.
func (g *gatherer) room() int {
	rows, bytes := int64(g.rows), g.l.p.cfg.Batch.Bytes
	if g.open != nil {
		rows, bytes = rows-g.open.covered, bytes-max(g.open.bytes, g.open.size())
	}
	known := int64(firstPoll)
	if g.seen > 0 {
		known = min(bytes, g.step())/max(g.seenBytes/g.seen, 1) + 1
	}
	n := int(min(max(min(rows, known), 1), pollRecords))
	if b := g.l.p.backfill; b != nil {
		n = b.limit.most(n)
	}
	return n
}

// due says whether the open batch is full, and whether it is old enough.
func (g *gatherer) due() (full, due bool) {
	if g.open == nil {
		return false, false
	}
	b := g.l.p.cfg.Batch
	full = g.open.covered >= int64(g.rows) || max(g.open.bytes, g.open.size()) >= b.Bytes
	return full, full || time.Since(g.opened) >= b.Age
}

// firstRows is at how many rows a batch is full while the pipeline keeps up, or if it has just begun.
const firstRows = 100_000

// grow sets the size of the next batch by that of the one being closed. The server's cost per row falls with the
// size of the block, and so a pipeline that is behind makes larger ones: twice as large each time that a batch
// was full before it was old and as much again is waiting, up to the bound of the pipeline file. A batch that
// became old half empty makes the next one smaller.
func (g *gatherer) grow() {
	first, most := min(firstRows, g.l.p.cfg.Batch.Rows), g.l.p.cfg.Batch.Rows
	switch covered := g.open.covered; {
	case covered >= int64(g.rows) && time.Since(g.opened) < g.l.p.cfg.Batch.Age:
		if g.rows < most && g.lag() >= int64(g.rows) {
			g.rows = min(2*g.rows, most)
		}
	case covered < int64(g.rows)/2:
		g.rows = max(g.rows/2, first)
	}
}

// lag is how many offsets are known to wait.
func (g *gatherer) lag() (n int64) {
	g.l.mu.Lock()
	defer g.l.mu.Unlock()
	for tp, part := range g.parts {
		n += max(0, g.l.ends[tp]-part.next)
	}
	return n
}

// close hands the open batch to the machine; false if it takes none now.
func (g *gatherer) close() bool {
	l, d := g.l, g.open
	l.mu.Lock()
	ready := l.machine.Ready()
	l.mu.Unlock()
	if !ready {
		return false
	}
	d.takeNotes(g.proc)
	if g.evolve() || g.isBlank() || g.isOverBudget() {
		return true
	}
	g.grow()
	if l.p.cfg.Audit.Continuous && !d.made.Raw() { // nobody measures anything in coordinates
		for i := range d.tables {
			d.tables[i].sample(l.p.target.tables[i].name(), d.blocks[i])
		}
	}
	slices.SortFunc(d.spans, func(a, b *spanData) int { return a.Compare(b.TopicPartition) })
	now := l.p.target.client.ServerNow(time.Now())
	d.batch = l.p.target.newBatch(g.proc.Plan(), l.p.target.epoch, now)
	ev := delivery.Gathered{Batch: d.batch}
	for _, s := range d.spans {
		d.batch.Spans = append(d.batch.Spans, s.BatchSpan)
		ev.Instances = append(ev.Instances, s.instance)
		ev.Tallies = append(ev.Tallies, s.tally)
	}
	d.held = d.size()
	if d.held > g.taken {
		l.p.budget.force(d.held - g.taken)
	} else {
		l.p.budget.give(g.taken - d.held)
	}
	failpoint.Hit(failpoint.BatchClosed)
	g.open, g.taken = nil, 0
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		l.p.budget.give(d.held)
		return true
	}
	ev.Work = l.machine.NewWork()
	l.data[ev.Work] = d
	for _, s := range d.spans {
		if l.epochs[s.TopicPartition] == nil {
			l.epochs[s.TopicPartition] = map[int64]int32{}
		}
		l.epochs[s.TopicPartition][s.Next] = s.leaderEpoch
	}
	l.timesOf(d)
	l.do(l.machine.Step(ev))
	return true
}

// problem is what to do when a partition's fetching has stopped.
func (g *gatherer) problem(e kafka.PartitionError) {
	part := g.parts[e.TopicPartition]
	if part == nil || uint64(part.instance) != e.Instance || part.frozen {
		return
	}
	part.retry++
	g.l.p.log.Warn("fetch stopped", "partition", e.Partition, "problem", e.Problem, "error", e.Err)
	switch e.Problem {
	case kafka.ProblemOutOfRange:
		g.outOfRange(e.TopicPartition, part)
	case kafka.ProblemRecreated:
		g.l.step(delivery.Failed{Err: &waybill.Error{Op: "kafka.fetch", Pipeline: g.l.p.cfg.Name, Class: waybill.ClassConfig, Err: e.Err,
			Position: waybill.Position{Topic: e.Topic, Partition: e.Partition, Offset: part.next},
			Hint:     "the topic was deleted or created again: raise `epoch` in the pipeline file to read the new one from its start"}})
	case kafka.ProblemTruncated:
		g.freeze(e.TopicPartition, part, kindTruncated, fmt.Sprintf("the log was cut below %d and written anew (unclean leader election): %v", part.next, e.Err))
	default:
		g.l.trouble(aboutFetch(e.TopicPartition), e.Err, part.retry-1)
		g.again(e.TopicPartition, part)
	}
}

// again starts a partition where it stood, after a while, unless the machine has started it anew by then.
func (g *gatherer) again(tp waybill.TopicPartition, part *gathering) {
	g.l.try(part.retry, func() {
		// Only the gatherer starts partitions, so that it knows what it has been given.
		g.l.mu.Lock()
		defer g.l.mu.Unlock()
		g.l.retries[tp] = part
		poke(g.l.wake)
	})
}

// freeze stops a partition for a person to look at; the others go on.
func (g *gatherer) freeze(tp waybill.TopicPartition, part *gathering, kind, msg string) {
	part.frozen = true
	g.l.mu.Lock()
	g.l.frozen[tp] = true
	g.l.mu.Unlock()
	g.l.p.found(waybill.Finding{Kind: kind, Severity: waybill.SeverityError, TopicPartition: tp, Span: waybill.Span{First: part.next, Next: part.next},
		Message: msg, Action: "this partition is frozen, the others go on; compare table and topic, then raise `epoch` to read the topic again"})
}

// thawed: records come of a partition; whatever froze it before is over.
func (p *Pipeline) thawed(tp waybill.TopicPartition) {
	for _, kind := range []string{kindEndBelow, kindTruncated} {
		p.mended(waybill.FindingKey{Kind: kind, TopicPartition: tp}, "records of the partition come again")
	}
}

// Kinds of findings that freeze a partition.
const (
	kindEndBelow  = "end_below_position"
	kindTruncated = "log_truncated"
)

// endGrace is how often a position past the end is looked at before it is believed: right after a
// change of leader the end can be behind for a moment.
const endGrace = 5

// outOfRange: the position is before the log's start (retention has won: the records are lost, and are
// put on the account) or past its end.
func (g *gatherer) outOfRange(tp waybill.TopicPartition, part *gathering) {
	info, err := g.l.sess.Describe(g.l.ctx)
	if err != nil {
		g.l.trouble(aboutFetch(tp), err, part.retry-1)
		g.again(tp, part)
		return
	}
	for _, pi := range info.Partitions {
		if pi.Partition != tp.Partition {
			continue
		}
		at := part.position(part.next)
		switch {
		case pi.LogStart > at && g.holds(tp):
			g.opened = time.Time{} // close the batch first
			g.again(tp, part)
		case pi.LogStart > at:
			g.gone(tp, part, pi.LogStart)
		case pi.End < at && part.retry >= endGrace:
			g.freeze(tp, part, kindEndBelow, fmt.Sprintf("the topic ends at %d, below the position %d: records were lost on the broker side, and their offsets will be given out again", pi.End, at))
		default:
			g.again(tp, part)
		}
	}
}

// gone: the topic no longer has what is to be read next. The archive may.
func (g *gatherer) gone(tp waybill.TopicPartition, part *gathering, logStart int64) {
	kept, lost, err := g.keptHere(tp, part, logStart)
	switch {
	case err != nil:
		g.l.trouble(aboutFetch(tp), err, part.retry-1)
		g.again(tp, part)
	case !kept:
		g.lose(tp, part, lost)
	}
}

// lose accounts for records that retention removed before they were read.
func (g *gatherer) lose(tp waybill.TopicPartition, part *gathering, logStart int64) {
	lost := waybill.Span{First: part.next, Next: logStart}
	n := lost.Len()
	if g.scope != nil {
		lost.Next = min(logStart, part.until)
		n = g.scope.count(tp.Partition, lost)
	}
	g.l.p.found(waybill.Finding{Kind: "retention_loss", Severity: waybill.SeverityError, TopicPartition: tp, Span: lost,
		Message: fmt.Sprintf("%d offsets were removed from the topic before they were read", n),
		Action:  "they are counted as lost in the ledger; raise the topic's retention or find out why this pipeline stood still"})
	// The lost offsets get a span of their own in a batch, so that whoever recovers it can tell them from
	// records; the partition goes on after it.
	if g.ensureOpen() != nil {
		return
	}
	s := g.span(tp, part)
	g.open.reach(s, lost.Next)
	s.tally.Lost, part.next = n, lost.Next
	part.resume = true
	g.opened = time.Time{} // due at once
}

// resumeLost starts the partitions whose losses are in the batch that was just closed.
func (g *gatherer) resumeLost() {
	var at []kafka.StartAt
	for tp, part := range g.parts {
		if part.resume {
			part.resume = false
			at = g.from(at, tp, part)
		}
	}
	if len(at) > 0 {
		g.l.sess.Start(at...)
	}
}
