package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/failpoint"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/telemetry"
)

// do starts what the machine wants done. Called with l.mu held; nothing here waits.
func (l *life) do(effects []delivery.Effect) {
	for _, effect := range effects {
		switch e := effect.(type) {
		case delivery.FetchOffsets:
			l.try(e.Attempt, func() { l.fetchOffsets(e) })
		case delivery.ResolveStart:
			l.try(e.Attempt, func() { l.resolveStart(e) })
		case delivery.Gather:
			l.starts[e.Part.TopicPartition] = e
			poke(l.wake)
		case delivery.Commit:
			l.try(e.Attempt, func() { l.commit(e) })
		case delivery.Rebuild:
			l.try(e.Attempt, func() { l.rebuild(e) })
		case delivery.ReadBack:
			l.try(e.Attempt, func() { l.readBack(e) })
		case delivery.Send:
			l.try(e.Attempt, func() { l.send(e) })
		case delivery.Claim:
			l.try(e.Attempt, func() { l.claim(e) })
		case delivery.Probe:
			l.try(e.Attempt, func() { l.probe(e) })
		case delivery.ProveWindow:
			l.try(e.Attempt, func() { l.proveWindow(e) })
		case delivery.CheckTail:
			l.try(e.Attempt, func() { l.checkTail(e) })
		case delivery.Drop:
			if e.Settled {
				l.p.metrics.Settled()
			}
			if d := l.data[e.Work]; d != nil && e.Settled {
				l.p.noteDecoded(d)
				l.p.observe(d)
			}
			l.release(e.Work, e.Settled)
			poke(l.wake)
			poke(l.idle)
		case delivery.Settled:
			l.settled(e)
		case delivery.Accounted:
			l.p.auditor.accounted(e, l.data[e.Work])
		case delivery.Placed:
			l.placing.done <- e
		case delivery.Report:
			l.p.found(e.Finding)
		case delivery.Leave:
			if e.Anew {
				l.cancel(&replanError{fence: e.Reason})
				continue
			}
			l.cancel(&waybill.Error{Op: "group", Pipeline: l.p.cfg.Name, Class: waybill.ClassFenced, Err: fmt.Errorf("%w: %s", errLeft, e.Reason)})
		case delivery.Stop:
			l.cancel(&stopError{e.Err})
		default:
			l.cancel(&stopError{&waybill.Error{Op: "engine", Pipeline: l.p.cfg.Name, Class: waybill.ClassBug, Err: fmt.Errorf("unknown effect %T", e)}})
		}
	}
}

// try performs an effect in a goroutine of its own, after the backoff that its attempt calls for.
func (l *life) try(attempt int, fn func()) {
	l.perform(func() {
		if wait(l.ctx, backoff(attempt)) == nil {
			fn()
		}
	})
}

func (l *life) commit(e delivery.Commit) {
	build := func() map[waybill.TopicPartition]kafka.CommitEntry {
		l.mu.Lock()
		defer l.mu.Unlock()
		out := map[waybill.TopicPartition]kafka.CommitEntry{}
		if l.closed {
			return out
		}
		for _, c := range l.machine.BuildCommit(e.Op) {
			epoch, known := l.epochs[c.TopicPartition][c.Offset]
			if !known {
				epoch = -1
			}
			out[c.TopicPartition] = kafka.CommitEntry{Offset: c.Offset, LeaderEpoch: epoch, Metadata: c.Metadata}
		}
		failpoint.Hit(failpoint.CommitBuilt)
		return out
	}
	results, err := l.sess.Commit(l.ctx, build)
	answer := delivery.CommitAnswered{Op: e.Op, Errs: map[waybill.TopicPartition]error{}}
	outcome := telemetry.CommitOK
	switch {
	case err != nil && kafka.NotApplied(err):
		answer.Errs[waybill.TopicPartition{}] = err // whatever was built, none of it was sent
		answer.NotSent = true
		outcome = telemetry.CommitRefused
	case err != nil:
		answer.Unknown = true
		outcome = telemetry.CommitUnknown
	}
	for tp, perr := range results {
		if perr == nil {
			continue
		}
		outcome = telemetry.CommitRefused
		if waybill.ClassOf(perr) == waybill.ClassFenced {
			outcome = telemetry.CommitFenced
		}
		answer.Errs[tp] = commitError(perr)
		// Some refusals can come after the coordinator has written the offset.
		answer.Unknown = answer.Unknown || !kafka.NotApplied(perr)
		err = perr
	}
	l.p.metrics.Commit(outcome)
	l.trouble(aboutCommit, err, e.Attempt)
	failpoint.Hit(failpoint.CommitAnswered)
	l.step(answer)
}

// codeMetadataTooLarge is Kafka's OFFSET_METADATA_TOO_LARGE.
const codeMetadataTooLarge = 12

func commitError(err error) error {
	var e *waybill.Error
	if errors.As(err, &e) && e.Code == codeMetadataTooLarge {
		return fmt.Errorf("%w: %w", delivery.ErrMetadataTooLarge, err)
	}
	return err
}

func (l *life) send(e delivery.Send) {
	d, alive := l.dataOf(e.Work)
	clean := true // the blocks, see blocks
	defer func() { l.doneWith(d, clean) }()
	if !alive {
		return // dropped meanwhile; nobody waits for the answer
	}
	shape := l.p.target.now()
	reqs, count, err := l.p.target.insertsOf(l, e, d)
	if err != nil {
		answer := delivery.NoAnswer
		if errors.Is(err, errShapeMoves) {
			l.outdated()
		}
		if class := waybill.ClassOf(err); class == waybill.ClassSchema || class == waybill.ClassBug {
			answer = delivery.Impossible
		}
		l.batchTrouble(e.Work, err, e.Attempt)
		l.step(delivery.SendAnswered{Op: e.Op, Answer: answer, Err: err})
		return
	}
	before, after := hits(e.Store)
	failpoint.Hit(before)
	var ev delivery.SendAnswered
	ev, clean = l.sendAll(e, shape, reqs)
	if e.Store == waybill.StoreTarget {
		l.p.auditor.answered(ev)
	}
	if ev.Answer != delivery.NotSent {
		failpoint.Hit(after)
	}
	if ev.Answer == delivery.Impossible && e.Store == waybill.StoreTarget && l.outdatedSince(shape) {
		ev.Answer = delivery.NoAnswer // it was made for tables that are no longer so
	}
	if ev.Err != nil {
		l.batchTrouble(e.Work, ev.Err, e.Attempt)
	} else if ev.Answer != delivery.NotSent {
		l.p.cleared(aboutBatch(e.Work))
	}
	switch ev.Answer {
	case delivery.NotSent:
	case delivery.Landed:
		count(e.Rows)
	default:
		l.doubt(e.Work, count)
	}
	l.step(ev)
}

func hits(s waybill.Store) (before, after failpoint.Name) {
	switch s {
	case waybill.StoreDeadLetters:
		return failpoint.BeforeDeadLetters, failpoint.AfterDeadLetters
	case waybill.StoreLedger:
		return failpoint.BeforeLedger, failpoint.AfterLedger
	}
	return failpoint.BeforeTarget, failpoint.AfterTarget
}

// deadline is until when the server may begin to process an insert that is sent now: the insert's own
// bound, and never past the lease. ok is false if there is no lease.
func (l *life) deadline() (time.Time, bool) {
	if l.placing != nil {
		return l.placeDeadline()
	}
	wall, mono := l.sess.Clock()
	lease := l.sess.Lease()
	if !lease.Valid(wall, mono) {
		return time.Time{}, false
	}
	until := wall.Add(l.p.cfg.Sink.ClickHouse.InsertDeadline)
	if end := wall.Add(lease.Timeout - (mono - lease.SentMono)); end.Before(until) {
		until = end
	}
	return l.p.target.client.ServerNow(until), true
}

// unsaid: nobody will say whether a request was deduplicated. HTTP does not, and at-least-once reads nothing back.
func (p *Pipeline) unsaid() bool {
	return p.cfg.Delivery == config.AtLeastOnce && p.cfg.Sink.ClickHouse.HTTP()
}

// answerOf is answerOf for a request under tokenOf: under a token of its own, acknowledged means landed.
func (p *Pipeline) answerOf(a clickhouse.Answer) delivery.Answer {
	if p.unsaid() && a.Outcome == clickhouse.Deduplicated && !a.Duplicated {
		return delivery.Landed
	}
	return answerOf(a)
}

// answerOf maps what the server said to what it means for delivery.
func answerOf(a clickhouse.Answer) delivery.Answer {
	switch a.Outcome {
	case clickhouse.Landed:
		return delivery.Landed
	case clickhouse.Deduplicated:
		return delivery.Deduplicated
	case clickhouse.Refused:
		switch {
		case a.Fenced:
			return delivery.Fenced
		case a.Late, a.Changed, a.View() != "":
			// A view throws after the rows have landed: that is no verdict on them. It is retried until
			// somebody mends the view.
			return delivery.NoAnswer
		}
		return refusedAs[a.Err.Class.Action()]
	}
	return delivery.NoAnswer
}

// refusedAs is what a server's refusal means for delivery.
var refusedAs = map[waybill.Action]delivery.Answer{
	waybill.ActionRetry: delivery.NoAnswer, waybill.ActionProbe: delivery.NoAnswer, waybill.ActionRejoin: delivery.NoAnswer,
	waybill.ActionBisect: delivery.Refused, waybill.ActionReplan: delivery.Impossible, waybill.ActionStop: delivery.Impossible,
}

func insertOutcome(a clickhouse.Answer) telemetry.InsertOutcome {
	switch {
	case a.Late:
		return telemetry.InsertLate
	case a.Outcome == clickhouse.Landed:
		return telemetry.InsertLanded
	case a.Outcome == clickhouse.Deduplicated && !a.Duplicated:
		return telemetry.InsertAnswered
	case a.Outcome == clickhouse.Deduplicated:
		return telemetry.InsertDeduplicated
	case a.Outcome == clickhouse.Refused:
		return telemetry.InsertRefused
	}
	return telemetry.InsertUnknown
}

func (l *life) readBack(e delivery.ReadBack) {
	failpoint.Hit(failpoint.BeforeReadBack)
	if e.Wait && l.outwait() != nil {
		return
	}
	l.p.metrics.ReadBack(e.Store)
	present, err := l.present(e)
	l.batchTrouble(e.Work, err, e.Attempt)
	if err == nil {
		l.resolve(e.Work, present)
		if e.Store == waybill.StoreTarget && present.Len() > 0 {
			l.p.target.foundWritten(l.ctx, l.p, e.Batch)
		}
		l.p.log.Debug("read back", "batch", e.Batch.ID.Short(), "store", e.Store, "present", present.Len())
		failpoint.Hit(failpoint.AfterReadBack)
	}
	l.step(delivery.ReadBackDone{Op: e.Op, Present: present, Err: err})
}

func (l *life) present(e delivery.ReadBack) (delivery.RowSet, error) {
	if l.placing != nil {
		return l.look()
	}
	present, err := l.p.target.present(l.ctx, e.Store, e.Batch, e.Spans)
	if err != nil || e.Store != waybill.StoreTarget {
		return present, err
	}
	// Rows of this epoch that another table lacks have not vanished.
	moved, err := l.p.target.moved(l.ctx)
	if err == nil && moved {
		l.p.log.Warn("another table has taken the table's place: looking at everything anew")
		l.cancel(&replanError{})
		err = &waybill.Error{Op: "engine.readback", Pipeline: l.p.cfg.Name, Class: waybill.ClassRetryable, Err: errExchanged}
	}
	return present, err
}

func (l *life) claim(e delivery.Claim) {
	failpoint.Hit(failpoint.BeforeClaim)
	l.mu.Lock()
	why := l.refusals[e.Work]
	l.mu.Unlock()
	refused, err := l.p.target.claim(l.ctx, e.Batch, e.Rows, why)
	l.batchTrouble(e.Work, err, e.Attempt)
	if err == nil {
		failpoint.Hit(failpoint.AfterClaim)
	}
	l.step(delivery.Claimed{Op: e.Op, Refused: refused, Err: err})
}

func (l *life) proveWindow(e delivery.ProveWindow) {
	inside, evidence, err := l.p.target.proveWindow(l.ctx, e.Batch)
	l.batchTrouble(e.Work, err, e.Attempt)
	l.p.log.Info("window of a batch in doubt", "batch", e.Batch.ID.Short(), "inside", inside, "evidence", evidence)
	l.step(delivery.WindowProved{Op: e.Op, Inside: inside, Err: err})
}

func (l *life) checkTail(e delivery.CheckTail) {
	if e.Wait && l.outwait() != nil {
		return
	}
	present, err := l.past(e)
	if err == nil && !l.sess.LeaseValid() {
		// Somebody else may own the partition by now, and have written since.
		err = &waybill.Error{Op: "recover", Pipeline: l.p.cfg.Name, Class: waybill.ClassRetryable, Err: errors.New("the lease ran out while looking for rows past the position")}
	}
	l.trouble(aboutBeginning(e.Part.TopicPartition), err, e.Attempt)
	if err == nil {
		failpoint.Hit(failpoint.TailChecked)
	}
	l.step(delivery.TailChecked{Op: e.Op, Present: present, Err: err})
}

// tail is a question for the offsets that are present past a position.
type tail struct {
	waybill.TopicPartition
	from int64
}

// past is what is present past a partition's position; partitions that ask at the same time share the queries.
func (l *life) past(e delivery.CheckTail) (waybill.OffsetSet, error) {
	tp := e.Part.TopicPartition
	sets, err := l.tails.ask(l.ctx, tail{tp, e.From}, func(ctx context.Context, tails []tail) (map[waybill.TopicPartition]waybill.OffsetSet, error) {
		from := make(map[waybill.TopicPartition]int64, len(tails))
		for _, t := range tails {
			from[t.TopicPartition] = t.from
		}
		return l.p.target.past(ctx, l.p.target.epoch, from)
	})
	return sets[tp], err
}

// outwait waits until no insert that a former owner may still send or has sent can arrive any more: its
// lease ends after the session timeout, the server begins no insert after its deadline, by its own clock, and
// gives up what it has begun after the insert's timeout.
func (l *life) outwait() error {
	deadline := l.p.cfg.Sink.ClickHouse.InsertDeadline
	d := l.p.cfg.Source.Kafka.SessionTimeout + deadline + insertTimeout(deadline) + l.p.target.client.ClockMargin()
	l.p.log.Info("waiting out inserts that may be under way", "for", d)
	return wait(l.ctx, d)
}

// dataOf is a work's data, which is nil if there was nothing to rebuild it from, and whether the machine
// still has the work. The caller says doneWith when it looks at the data no longer.
func (l *life) dataOf(id delivery.WorkID) (d *data, alive bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d = l.data[id]
	if d != nil {
		d.users++
	}
	return d, l.alive(id)
}

// doneWith ends the use of what dataOf gave. clean: nobody whom the caller handed the block on to can be reading
// it still.
func (l *life) doneWith(d *data, clean bool) {
	if d == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	d.users--
	d.soiled = d.soiled || !clean
}

// alive: the machine has the work. l.mu is held.
func (l *life) alive(id delivery.WorkID) bool {
	return slices.ContainsFunc(l.machine.Works(), func(w delivery.WorkStatus) bool { return w.ID == id })
}

// doubt keeps what is to be counted of rows that were sent without a clean answer: the read-back that
// follows says which of them are there.
func (l *life) doubt(id delivery.WorkID, count func(delivery.RowSet)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.alive(id) {
		l.doubts[id] = count
	}
}

// resolve counts rows of an earlier send that a read-back has found.
func (l *life) resolve(id delivery.WorkID, present delivery.RowSet) {
	l.mu.Lock()
	count := l.doubts[id]
	delete(l.doubts, id)
	l.mu.Unlock()
	if count != nil {
		count(present)
	}
}

// refused notes the server's words. Those on a single row are that row's; those on a block are kept for
// rows of which nothing better is known.
func (l *life) refused(id delivery.WorkID, rows delivery.RowSet, err *waybill.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.alive(id) {
		return
	}
	r := l.refusals[id]
	if r == nil {
		r = &refusals{rows: map[waybill.Position]*waybill.Error{}}
		l.refusals[id] = r
	}
	r.last = err
	if rows.Len() == 1 {
		tp := rows.Partitions()[0]
		r.rows[waybill.Position{Topic: tp.Topic, Partition: tp.Partition, Offset: rows[tp].Bounds().First}] = err
	}
}

// refusals are why the server refused rows of one work.
type refusals struct {
	rows map[waybill.Position]*waybill.Error
	last *waybill.Error
}

// of one row; nil if nothing is known.
func (r *refusals) of(tp waybill.TopicPartition, offset int64) *waybill.Error {
	if r == nil {
		return nil
	}
	if err := r.rows[waybill.Position{Topic: tp.Topic, Partition: tp.Partition, Offset: offset}]; err != nil {
		return err
	}
	return r.last
}

// release forgets a work's data. l.mu is held.
func (l *life) release(id delivery.WorkID, settled bool) {
	delete(l.doubts, id)
	delete(l.refusals, id)
	l.p.cleared(aboutBatch(id))
	d := l.data[id]
	if d == nil {
		return
	}
	delete(l.data, id)
	l.p.budget.give(d.held)
	if settled {
		l.reuse(d)
	}
}

// reuse keeps the block of a batch that is done with, if nobody can be reading it. l.mu is held.
func (l *life) reuse(d *data) {
	if d.users > 0 || d.soiled || d.plan != l.plan {
		return
	}
	size := d.blocks.Size()
	l.blocks.put(freeBlock{d.blocks, max(d.peak, size)}, size)
	d.blocks = nil
}

// settled is told that the committed offset of a partition has moved. l.mu is held.
func (l *life) settled(e delivery.Settled) {
	l.p.cleared(aboutEpoch) // it is taken, or there was nothing to be taken
	for offset := range l.epochs[e.Part.TopicPartition] {
		if offset < e.Offset {
			delete(l.epochs[e.Part.TopicPartition], offset)
		}
	}
	l.passed(e.Part.TopicPartition, e.Offset)
	if end, ok := l.ends[e.Part.TopicPartition]; ok {
		l.p.metrics.ForPartition(e.Part.TopicPartition).SetLag(max(0, end-e.Offset))
	}
	poke(l.idle)
}
