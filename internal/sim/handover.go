package sim

import (
	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/delivery"
)

// drainTime is how long a worker that is held goes on with what is in flight.
const drainTime = 4_000

// handover is what a life knows of the changes of tables that an operator makes (see operator).
type handover struct {
	superseded waybill.Epoch
	uuid       int       // of the table that the name meant when the life began
	shadow     *backfill // that it works for; nil: it is a live worker
	deafUntil  int64     // it does not hear of a hold before
	holding    bool      // it gathers no more and is about to leave
	drainBy    int64
}

// outlived is a hold that is over for a worker: the table has changed since.
type outlived struct {
	job   int
	until int64
}

// outlive is for how long it goes on though the job holds the pipeline still.
const outlive = 5_000

// planOf is the plan that an epoch is gathered under: each has another, so that a row tells which one has made it.
func planOf(e waybill.Epoch) waybill.PlanID { return waybill.PlanID(10 + e) }

// contentOf is what a row holds of a record: its value, and the plan that made it. Without an operator there is one plan.
func (w *world) contentOf(value uint64, plan waybill.PlanID) uint64 {
	if !w.operator.on {
		return value
	}
	return value | uint64(plan)<<56
}

// standing is the epoch that a live worker begins under: the highest on record for its table, else the file's.
func (w *world) standing() (waybill.Epoch, handover) {
	if !w.operator.on {
		return w.epoch, handover{}
	}
	h := handover{uuid: w.ch.UUID(tableTarget)}
	if w.chance(15) {
		h.deafUntil = w.now + w.between(2_000, 20_000)
	}
	if e := w.operator.highest(h.uuid); e > 0 {
		h.superseded = e
		return e, h
	}
	return w.epoch, h
}

// launchShadow starts a worker of the backfill that is under way, if one is.
func (w *world) launchShadow(i int) {
	j := w.operator.job()
	if j == nil || j.closed || !w.ch.Exists(j.as) || w.ch.UUID(j.as) != j.table {
		return
	}
	for len(w.procs) <= i {
		w.procs = append(w.procs, nil)
	}
	w.begin(i, j.group, []string{j.as}, j.epoch, handover{uuid: j.table, shadow: j})
}

// held: a job holds the pipeline, as far as this worker knows.
func (p *proc) held() bool {
	o := &p.w.operator
	return o.on && p.shadow == nil && p.w.now >= p.deafUntil && o.held() && (o.outlived[p.index].job != o.hold.job || p.w.now > o.outlived[p.index].until)
}

// heedLoop looks out for holds.
func (p *proc) heedLoop() {
	if !p.holding && p.member && p.held() {
		p.w.tracef("%s is held", p.name)
		p.holding, p.drainBy = true, p.w.now+drainTime
	}
	if p.holding && (len(p.m.Works()) == 0 && p.handing == 0 || p.w.now > p.drainBy) {
		p.standBy()
		return
	}
	p.after(p.w.between(200, 2_000), p.heedLoop)
}

// standBy leaves the group, and begins anew when the hold is over or the table is another.
func (p *proc) standBy() {
	p.retire()
	w := p.w
	job := w.operator.hold.job
	var look func()
	look = func() {
		switch moved := w.ch.UUID(tableTarget) != p.uuid; {
		case w.procs[p.index] != p || w.outage:
			return
		case moved && w.operator.held():
			w.operator.outlived[p.index] = outlived{job, w.now + outlive}
		case w.operator.held():
			w.after(w.between(300, 2_000), look)
			return
		}
		w.launch(p.index)
	}
	w.after(w.between(300, 2_000), look)
}

// retire ends a life in good order.
func (p *proc) retire() {
	p.w.tracef("%s ends its life %d", p.name, p.life)
	p.dead = true
	if p.member {
		p.broker.Leave(p.name, p.w.now)
	}
}

// inScope: a backfill delivers the record. One of a standby leaves out what the table has.
func (p *proc) inScope(n int32, offset int64) bool {
	return p.shadow == nil || offset >= p.shadow.floor[n]
}

// exchanged: the name means another table than when the life began.
func (p *proc) exchanged() bool {
	return p.w.operator.on && p.tabled() && p.w.ch.UUID(p.targets[0]) != p.uuid && p.w.mutant != MutantLateV
}

// tabled: there is a table of the name that it sends to.
func (p *proc) tabled() bool { return p.w.ch.Exists(p.targets[0]) }

// anew ends the life of an epoch that is over. The next one looks which it is now.
func (p *proc) anew(reason string) {
	w := p.w
	w.tracef("%s begins anew: %s", p.name, reason)
	p.retire()
	delay := 100 + w.latency()
	if p.shadow != nil || w.ch.UUID(tableTarget) == p.uuid {
		delay += 1_500 // it is told what is wrong, and tried again
	}
	w.after(delay, func() {
		if w.procs[p.index] == p && !w.outage {
			w.launch(p.index)
		}
	})
}

// watchLoop looks whether the name still means the table that the life was begun with.
func (p *proc) watchLoop() {
	switch w := p.w; {
	case p.shadow == nil && w.ch.UUID(tableTarget) != p.uuid:
		p.anew("the table has changed")
		return
	case p.shadow != nil && (!p.tabled() || p.exchanged()):
		p.retire() // its table is no longer at that name
		return
	}
	p.after(p.w.between(500, 5_000), p.watchLoop)
}

// promoted judges a run in which an operator has put tables in the place of tables: the table that is live at the end holds each record once,
// made under the plan of the epoch that accounts for it.
func (w *world) promoted() {
	account := w.operator.account(w.ch.UUID(tableTarget))
	rows, dead := map[rowKey]int{}, w.count(tableDead)
	for _, r := range w.ch.Rows(tableTarget) {
		rows[rowKey{r.Partition, r.Offset}]++
		epoch := account.of(r.Partition, r.Offset)
		log := w.truth.log(r.Partition)
		switch {
		case r.Offset >= int64(len(log)):
			w.fail("partition %d offset %d is in the table, and was never produced", r.Partition, r.Offset)
		case waybill.Epoch(r.Epoch) != epoch:
			w.fail("partition %d offset %d is in the table under epoch %d, and epoch %d accounts for it", r.Partition, r.Offset, r.Epoch, epoch)
		case r.Content != w.contentOf(log[r.Offset].value, planOf(epoch)):
			w.fail("partition %d offset %d holds %x under epoch %d, want %x", r.Partition, r.Offset, r.Content, epoch, w.contentOf(log[r.Offset].value, planOf(epoch)))
		}
	}
	for n := range w.broker.Partitions() {
		for o, f := range w.truth.log(n) {
			wantRows, wantDead := 0, 0
			switch f.kind {
			case kindRow:
				wantRows = 1
			case kindDead, kindPoison:
				wantDead = 1
			}
			epoch := account.of(n, int64(o))
			if got := rows[rowKey{n, int64(o)}]; got != wantRows {
				w.fail("partition %d offset %d (%s): %d times in the live table", n, o, f.kind, got)
			}
			if got := dead[place{epoch, n, int64(o)}]; got != wantDead {
				w.fail("partition %d offset %d (%s): %d dead letters under epoch %d", n, o, f.kind, got, epoch)
			}
		}
		w.accounted(n, account[n])
	}
}

// segments are which epochs account for the rows of a table's partition: each from its offset to that of the next.
type segments []segment

type segment struct {
	epoch waybill.Epoch
	from  int64
}

// account is that of a table by partition.
type account map[int32]segments

func (a account) of(n int32, offset int64) waybill.Epoch {
	epoch := waybill.Epoch(0)
	for _, s := range a[n] {
		if offset >= s.from {
			epoch = s.epoch
		}
	}
	return epoch
}

// accounted: each epoch's ledger tiles what it accounts for, and says of it what is so.
func (w *world) accounted(n int32, of segments) {
	end := w.broker.LogEnd(n)
	for i, s := range of {
		to := end
		if i+1 < len(of) {
			to = of[i+1].from
		}
		if s.from >= to {
			continue
		}
		rows := w.ledgerRows(n, s.epoch)
		if len(rows) == 0 || rows[0].First > s.from || w.tip(n, s.epoch) < to {
			w.fail("L1: partition %d epoch %d: the ledger does not account for [%d, %d)", n, s.epoch, s.from, to)
			continue
		}
		for j, r := range rows {
			if j > 0 && rows[j-1].Next != r.First {
				w.fail("L1: partition %d epoch %d: ledger span %s follows %d", n, s.epoch, r.Span, rows[j-1].Next)
			}
			if r.First >= s.from && r.Next <= to {
				w.counted(s.epoch, r, w.truth.log(n))
			}
		}
	}
}

// counted: a span's counts are what was produced.
func (w *world) counted(epoch waybill.Epoch, r delivery.LedgerRow, log []fact) {
	var written, dead, filtered, tombstones int64
	for _, f := range log[r.First:r.Next] {
		switch f.kind {
		case kindRow:
			written++
		case kindDead, kindPoison:
			dead++
		case kindFiltered:
			filtered++
		case kindTombstone:
			tombstones++
		}
	}
	if r.Written != written || r.Dead != dead || r.Filtered != filtered || r.Tombstones != tombstones || r.Lost != 0 {
		w.fail("L2: partition %d epoch %d %s: %+v; there were %d rows, %d dead letters, %d filtered, %d tombstones", r.Partition, epoch, r.Span, r, written, dead, filtered, tombstones)
	}
}

// handoverFaults are what strikes workers while tables change.
func handoverFaults() []FaultKind {
	return []FaultKind{Crash, Pause, Pause, Move, DropCommitRequest, DropCommitReply, DelayCommit, FailCommit, DropInsertRequest, DropInsertReply,
		DelayInsert, DelayInsert, SlowInsert, RefuseInsert, DropReadReply, Swallow, KillServer}
}

// HandoverMix is for runs in which an operator puts one table in the place of another, and back.
func HandoverMix() Mix { return Mix{Kinds: handoverFaults(), shape: handedOver} }

func handedOver(l *layout) {
	l.handover, l.views, l.mode, l.tables = true, false, delivery.ExactlyOnce, 0
	l.producing = max(l.producing, 14_000)
}

// shadows is how many workers a backfill has at most.
func (l *layout) shadows() int {
	if l.handover {
		return 2
	}
	return 0
}
