package sim

import (
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/sim/chmodel"
	"github.com/waybill-data/waybill/internal/sim/groupmodel"
)

// armed is a fault of the script and what has become of it.
type armed struct {
	Fault
	ready  bool // its moment has come and it waits for a request or a point
	struck bool
	missed bool // its moment came, but there was nothing for it to do
}

// due is a fault's moment.
func (w *world) due(f *armed) {
	switch {
	case f.After != "" || f.Kind.waits() || f.Kind == SlowInsert:
		f.ready = true
	default:
		w.strike(f, w.worker(f))
	}
}

func (w *world) worker(f *armed) *proc {
	if f.Worker < 1 || f.Worker > len(w.procs) {
		return w.procs[0]
	}
	return w.procs[f.Worker-1]
}

// point is a moment in a worker's life; faults that wait for it strike.
func (p *proc) point(name string) {
	for _, f := range p.w.script {
		if f.ready && !f.struck && !f.missed && f.After == name && !f.Kind.waits() && (f.Worker == 0 || f.Worker == p.index+1 || f.Kind == Move) {
			p.w.strike(f, p)
		}
	}
}

// strikes reports whether a fault about requests strikes at this one.
func (p *proc) strikes(k FaultKind, store waybill.Store, b *waybill.Batch) bool {
	w := p.w
	for _, f := range w.script {
		if f.Kind != k || !f.ready || f.Worker != 0 && f.Worker != p.index+1 || f.Store != "" && f.Store != store {
			continue
		}
		if k == SlowInsert && w.now > f.At+f.For || k != SlowInsert && f.struck {
			continue
		}
		switch stage, known := stageOf[store]; {
		case known:
			w.hit(f, p.asking(b, stage))
		case k == DropReadReply: // of a position: no work is concerned
			w.hit(f, nil)
		default:
			w.hit(f, p.worksOf(b))
		}
		return true
	}
	return false
}

// hit notes that a fault has struck, and where the works concerned stood.
func (w *world) hit(f *armed, works []delivery.WorkStatus) {
	f.struck, w.faulty = true, true
	w.tracef("FAULT %s", f.Fault)
	if len(works) == 0 {
		w.matrix.add(f.Kind, Idle)
	}
	for _, s := range works {
		w.matrix.add(f.Kind, s.Stage.String())
	}
}

func (w *world) miss(f *armed) {
	f.missed = true
	w.tracef("FAULT NOT HIT %s", f.Fault)
}

// worksOf are the works of a batch, or all of the process's.
func (p *proc) worksOf(b *waybill.Batch) []delivery.WorkStatus {
	if p.dead || p.stopped != nil {
		return nil
	}
	all := p.m.Works()
	if b == nil {
		return all
	}
	for _, s := range all {
		if s.Batch.ID == b.ID {
			return []delivery.WorkStatus{s}
		}
	}
	return nil
}

// asking is the work that a request was sent for, at the stage that it was sent in; none if that work
// is over while its request still is under way.
func (p *proc) asking(b *waybill.Batch, in delivery.Stage) []delivery.WorkStatus {
	works := p.worksOf(b)
	for i := range works {
		works[i].Stage = in
	}
	return works
}

var stageOf = map[waybill.Store]delivery.Stage{
	waybill.StoreTarget: delivery.StageLanding, waybill.StoreDeadLetters: delivery.StageDeadLetters,
	waybill.StoreLedger: delivery.StageLedger, storeDecisions: delivery.StageClaiming, storeLog: delivery.StageRebuilding,
}

// Names for what is no store of the protocol, in the fault language only.
const (
	storeDecisions waybill.Store = "decisions" // what the server has refused
	storeLog       waybill.Store = "log"       // Kafka's, read again
	storeView      waybill.Store = "view"
)

// worksIn are all living processes' works on one partition, or on any if n is negative.
func (w *world) worksIn(n int32) []delivery.WorkStatus {
	var out []delivery.WorkStatus
	for _, p := range w.procs {
		if p.dead || p.stopped != nil {
			continue
		}
		for _, s := range p.m.Works() {
			if _, ok := s.Batch.Span(partitionOf(n)); ok || n < 0 {
				out = append(out, s)
			}
		}
	}
	return out
}

// strike lets a fault happen, to p if it is about a worker.
func (w *world) strike(f *armed, p *proc) {
	n := f.Partition
	if n >= w.broker.Partitions() {
		w.miss(f)
		return
	}
	switch f.Kind {
	case Crash:
		w.crash(f, p)
	case Pause:
		w.pause(f, p)
	case Move:
		w.hit(f, w.worksIn(n))
		w.broker.Pin(n, w.worker(f).name)
		w.broker.Rebalance(w.now)
	case Swallow:
		f.struck = true // the matrix counts it when it is consumed
		w.ch.SwallowNext(w.tableFor(f), int(n), false)
	case Evict:
		w.evict(f)
	case KillServer:
		w.killServer(f)
	case FailView:
		w.failView(f)
	case ExpireOffsets, AdminSet, WipeMetadata:
		w.outageFor(f)
	case LoseOffsets:
		w.loseOffsets(f)
	case RecreateTopic:
		w.recreate(f)
	case Trim, Compact:
		w.remove(f)
	case AddPartition:
		w.hit(f, w.worksIn(-1))
		w.broker.AddPartitions(1, w.now)
	default:
		w.miss(f)
	}
}

func (w *world) crash(f *armed, p *proc) {
	if p.dead || p.stopped != nil || w.outage {
		w.miss(f)
		return
	}
	w.hit(f, p.worksOf(nil))
	p.crash()
	w.after(f.For, func() {
		if w.procs[p.index] == p && !w.outage {
			w.launch(p.index)
		}
	})
}

func (w *world) pause(f *armed, p *proc) {
	if p.dead || p.stopped != nil {
		w.miss(f)
		return
	}
	w.hit(f, p.worksOf(nil))
	p.pausedUntil = max(p.pausedUntil, w.now+f.For)
}

// evict forgets what is old enough, and never a token that a request on its way carries: the window is
// sized so (rule 15).
func (w *world) evict(f *armed) {
	table, name := w.tableFor(f), tableOf[f.Store]
	if f.Store == storeView {
		table, name = tableView, tableView
	}
	evicted := map[string]bool{}
	for _, key := range sortedKeys(w.tokens) {
		t := w.tokens[key]
		of, token, _ := strings.Cut(key, " ")
		if of != table || t.evicted || w.now-t.last < tokenAge && w.mutant != MutantNoLease || w.carried(token) {
			continue
		}
		w.ch.EvictToken(table, token)
		t.evicted = true
		evicted[token] = true
	}
	if len(evicted) == 0 {
		w.miss(f)
		return
	}
	var works []delivery.WorkStatus
	for _, s := range w.worksIn(-1) {
		if evicted[tokenIn(waybill.ChainToken(pipelineName, clusterName, s.Batch.ID, s.Batch.Epoch, name, 0), table)] {
			works = append(works, s)
		}
	}
	w.hit(f, works)
}

func (w *world) carried(token string) bool {
	for _, r := range w.inserts {
		if r.token == token && w.mutant != MutantNoLease {
			return true
		}
	}
	return false
}

func (w *world) killServer(f *armed) {
	var works []delivery.WorkStatus
	for _, r := range w.inserts {
		works = append(works, r.from.asking(r.send.Batch, stageOf[r.send.Store])...)
		if r.in != nil {
			r.in.Abort()
		}
	}
	for _, s := range w.worksIn(-1) {
		if s.Stage == delivery.StageClaiming {
			works = append(works, s)
		}
	}
	w.hit(f, works)
	w.serverUp = max(w.serverUp, w.now+f.For)
}

func (w *world) failView(f *armed) {
	if !w.opt.views {
		w.miss(f)
		return
	}
	w.hit(f, w.worksIn(-1))
	name := chmodel.ViewName(tableTarget, tableView)
	w.ch.FailView(name, true)
	w.after(f.For, func() { w.ch.FailView(name, false) })
}

// loseOffsets leaves partitions alone that the ledger does not know: where they began is recorded
// nowhere else.
func (w *world) loseOffsets(f *armed) {
	if w.tip(f.Partition, w.epoch) < 0 {
		w.miss(f)
		return
	}
	w.hit(f, w.worksIn(f.Partition))
	w.unexpect(f.Partition)
	w.broker.LoseOffsets(f.Partition)
}

func (w *world) recreate(f *armed) {
	if len(w.truth.logs) > 1 || w.opt.mode == delivery.AtLeastOnce || w.outage || w.now > w.opt.producing || w.ledgerTopic(w.epoch) == [8]byte{} {
		w.miss(f)
		return
	}
	w.hit(f, w.worksIn(-1))
	for _, log := range w.truth.logs[len(w.truth.logs)-1] {
		for i := range log {
			log[i].removed = true
		}
	}
	w.truth.logs = append(w.truth.logs, map[int32][]fact{})
	w.truth.epoch = append(w.truth.epoch, w.epoch+1)
	for n := range w.broker.Partitions() {
		w.unexpect(n)
	}
	w.broker.RecreateTopic(int(w.broker.Partitions()), w.now)
	w.expect("topic_recreated", -1)
}

// remove is retention or compaction.
func (w *world) remove(f *armed) {
	n, log := f.Partition, w.truth.log(f.Partition)
	if f.Kind == Compact {
		at := w.broker.LogEnd(n) - 1 - f.By
		if at < w.broker.LogStart(n) || !log[at].kind.delivered() || log[at].removed {
			w.miss(f)
			return
		}
		w.hit(f, w.worksIn(n))
		log[at].removed, log[at].hole = true, true
		w.broker.Compact(n, at)
		return
	}
	from := w.broker.LogStart(n)
	w.broker.TrimTo(n, from+f.By)
	to := w.broker.LogStart(n)
	if from == to {
		w.miss(f)
		return
	}
	w.hit(f, w.worksIn(n))
	for o := from; o < to; o++ {
		log[o].removed = true
	}
}

// failCommit makes the broker refuse one partition of the commit that arrives now.
func (p *proc) failCommit(req groupmodel.CommitRequest) {
	if p.strikes(FailCommit, "", nil) {
		e := req.Entries[p.w.rng.IntN(len(req.Entries))]
		p.broker.FailNextCommit(e.Partition, groupmodel.UnknownTopicPartition)
	}
}
