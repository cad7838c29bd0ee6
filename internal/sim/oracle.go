package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/sim/chmodel"
)

// place is a record's place under one epoch.
type place struct {
	epoch     waybill.Epoch
	partition int32
	offset    int64
}

// judge compares what the tables hold with what was produced, and fails the run for every difference.
func (w *world) judge() {
	if w.operator.on {
		w.promoted()
		o := oracle{w: w}
		o.committed()
		o.findings()
		return
	}
	o := oracle{w: w, target: w.count(w.targets...), viewed: w.count(tableTarget), dead: w.count(tableDead), ledger: w.count(tableLedger), lost: map[place]bool{}}
	if w.opt.views {
		o.view = w.count(tableView)
	}
	o.ledgerRows()
	for life := range w.truth.logs {
		for n := range int32(len(w.truth.logs[life])) {
			o.continuity(life, n)
			o.records(life, n)
		}
	}
	for i, table := range w.targets {
		o.strangers(table)
		o.routed(i, table)
	}
	o.strangers(tableDead)
	if w.opt.mode == delivery.ExactlyOnce {
		o.committed()
		o.findings()
	}
}

type oracle struct {
	w                          *world
	target, dead, ledger, view map[place]int
	viewed                     map[place]int  // of target, what the view should hold
	lost                       map[place]bool // covered by a span of the ledger that counts losses
}

func (w *world) count(tables ...string) map[place]int {
	out := map[place]int{}
	for _, table := range tables {
		for _, r := range w.ch.Rows(table) {
			out[place{waybill.Epoch(r.Epoch), r.Partition, r.Offset}]++
		}
	}
	return out
}

// routed: each table holds what is routed to it.
func (o *oracle) routed(i int, table string) {
	for _, r := range o.w.ch.Rows(table) {
		if o.w.route(r.Content) != i {
			o.w.fail("%s holds partition %d epoch %d offset %d, which is routed to another table", table, r.Partition, r.Epoch, r.Offset)
		}
	}
}

// ledgerRows: once per key.
func (o *oracle) ledgerRows() {
	for p, n := range o.ledger {
		if n > 1 && o.w.opt.mode == delivery.ExactlyOnce {
			o.w.fail("ledger row %v is there %d times", p, n)
		}
	}
}

// lives of the topic that are over are judged less strictly: what was not read went with them.
func (o *oracle) over(life int) bool { return life < len(o.w.truth.logs)-1 }

// continuity is L1 and L2: the ledger's spans tile the offsets, and their counts are true.
func (o *oracle) continuity(life int, n int32) {
	w := o.w
	epoch, log := w.truth.epoch[life], w.truth.logs[life][n]
	rows := w.ledgerRows(n, epoch)
	if w.opt.mode == delivery.AtLeastOnce && w.faulty {
		return // spans that were gathered twice overlap; that nothing is missing is judged by the records
	}
	if len(rows) == 0 {
		for off, f := range log {
			if f.kind.delivered() && !f.removed {
				w.fail("partition %d epoch %d: no ledger, yet %s at %d", n, epoch, f.kind, off)
				return
			}
		}
		return
	}
	at := rows[0].First
	for off := range at {
		if log[off].kind.delivered() && !log[off].removed {
			w.fail("partition %d epoch %d: the ledger begins at %d, after a record at %d", n, epoch, at, off)
			break
		}
	}
	for _, r := range rows {
		if r.First != at {
			w.fail("L1: partition %d epoch %d: ledger span %s follows %d", n, epoch, r.Span, at)
		}
		at = r.Next
		if int(r.Next) > len(log) {
			w.fail("L1: partition %d epoch %d: ledger span %s is past the end %d", n, epoch, r.Span, len(log))
			return
		}
		o.conservation(epoch, n, r, log)
	}
	if at != int64(len(log)) && !o.over(life) {
		w.fail("L1: partition %d epoch %d: the ledger ends at %d, the log at %d", n, epoch, at, len(log))
	}
}

func (o *oracle) conservation(epoch waybill.Epoch, n int32, r delivery.LedgerRow, log []fact) {
	w := o.w
	if r.Read != r.Written+r.Dead+r.Filtered+r.Tombstones+r.Lost {
		w.fail("L2: partition %d epoch %d %s: %+v does not add up", n, epoch, r.Span, r)
	}
	var c struct{ delivered, written, dead, filtered, tombstones, removed, missing, holes int64 }
	for off := r.First; off < r.Next; off++ {
		p, f := place{epoch, n, off}, log[off]
		if r.Lost > 0 {
			o.lost[p] = true
		}
		here := o.target[p] + o.dead[p]
		if f.kind.delivered() {
			c.delivered++
		}
		if f.removed {
			c.removed++
		}
		if f.hole && here == 0 { // told of by the batch's count, or by nobody
			c.holes++
			continue
		}
		c.written += min(1, int64(o.target[p]))
		c.dead += min(1, int64(o.dead[p]))
		switch {
		case f.kind == kindFiltered:
			c.filtered++
		case f.kind == kindTombstone:
			c.tombstones++
		case f.kind.delivered() && here == 0:
			c.missing++
		}
	}
	switch {
	case r.Written != c.written || r.Dead != c.dead:
		w.fail("L3: partition %d epoch %d %s: ledger says written=%d dead=%d, there are %d and %d", n, epoch, r.Span, r.Written, r.Dead, c.written, c.dead)
	case r.Read < o.gatheredCount(epoch, n, r.Span):
		w.fail("L2: partition %d epoch %d %s: ledger says read=%d, the batch was gathered from more", n, epoch, r.Span, r.Read)
	case r.Lost == 0 && (r.Read > c.delivered || r.Read < c.delivered-c.holes || r.Filtered < c.filtered || r.Tombstones < c.tombstones || r.Filtered+r.Tombstones > c.filtered+c.tombstones+c.holes):
		w.fail("L2: partition %d epoch %d %s: ledger says read=%d filtered=%d tombstones=%d, there were %d, %d, %d", n, epoch, r.Span, r.Read, r.Filtered, r.Tombstones, c.delivered, c.filtered, c.tombstones)
	case r.Lost > c.removed || r.Lost < c.missing:
		w.fail("L2: partition %d epoch %d %s: ledger says lost=%d, but %d are missing and %d were removed", n, epoch, r.Span, r.Lost, c.missing, c.removed)
	}
}

// gatheredCount is the number of records that a batch with this span was gathered from; the least, if
// there were several.
func (o *oracle) gatheredCount(epoch waybill.Epoch, n int32, s waybill.Span) int64 {
	least := int64(-1)
	for _, b := range o.w.batches {
		if x, ok := b.Span(partitionOf(n)); ok && b.Epoch == epoch && x.Span == s && (least < 0 || x.Count < least) {
			least = x.Count
		}
	}
	return least
}

// records: each of them once, in its place, or lost on record.
func (o *oracle) records(life int, n int32) {
	w := o.w
	epoch := w.truth.epoch[life]
	for off, f := range w.truth.logs[life][n] {
		p := place{epoch, n, int64(off)}
		target, dead := o.target[p], o.dead[p]
		if w.opt.mode == delivery.AtLeastOnce && w.faulty {
			target, dead = min(1, target), min(1, dead)
		}
		wantTarget, wantDead := 0, 0
		switch f.kind {
		case kindRow:
			wantTarget = 1
		case kindDead, kindPoison:
			wantDead = 1
		}
		if f.removed && target == 0 && dead == 0 && (f.hole || wantTarget+wantDead == 0 || o.lost[p] || w.opt.mode == delivery.AtLeastOnce || o.over(life) || !o.covered(p)) {
			continue
		}
		if target != wantTarget || dead != wantDead {
			w.fail("partition %d epoch %d offset %d (%s, removed=%v): %d in target, %d in dead letters", n, epoch, off, f.kind, f.removed, target, dead)
		}
		if o.view != nil && !(o.over(life) && int64(off) >= w.tip(n, epoch)) {
			o.inView(p, min(target, o.viewed[p]))
		}
	}
}

// covered: the ledger begins at or before p, so that p had to be accounted for.
func (o *oracle) covered(p place) bool {
	rows := o.w.ledgerRows(p.partition, p.epoch)
	return len(rows) > 0 && rows[0].First <= p.offset
}

// inView: the view holds what the target holds, or a finding says that it may not.
func (o *oracle) inView(p place, target int) {
	n := o.view[p]
	if o.w.opt.mode == delivery.AtLeastOnce && o.countedAsLost(p) {
		return // on record as lost: whoever sent the row did not come to the end, and nobody can send it again
	}
	if n == target || o.excused(p) || n > target && o.swallowedThenForgotten(p) || o.w.opt.mode == delivery.AtLeastOnce && o.w.faulty && min(n, 1) == target {
		return
	}
	o.w.fail("partition %d epoch %d offset %d: %d in target, %d in the view", p.partition, p.epoch, p.offset, target, n)
}

// countedAsLost: a span of the ledger that counts nothing but losses covers p.
func (o *oracle) countedAsLost(p place) bool {
	return slices.ContainsFunc(o.w.ledgerRows(p.partition, p.epoch), func(r delivery.LedgerRow) bool { return r.Contains(p.offset) && r.Lost == r.Len() })
}

func (o *oracle) excused(p place) bool {
	for _, f := range o.w.findings {
		if f.Kind != "view_incomplete" {
			continue
		}
		b := o.w.batches[f.Batch]
		if b == nil {
			continue
		}
		if s, ok := b.Span(partitionOf(p.partition)); ok && b.Epoch == p.epoch && s.Contains(p.offset) {
			return true
		}
	}
	return false
}

// swallowedThenForgotten: the one case in which a view is wrong and no finding names the batch. The
// target lost a slice under a used token, a retry fed its rows to the view, and then the intent was
// lost with the group's offsets. The finding about the offsets is all that tells.
func (o *oracle) swallowedThenForgotten(p place) bool {
	swallowed := o.w.matrix[Swallow] != nil
	for _, f := range o.w.findings {
		switch f.Kind {
		case "group_missing", "position_moved_forward", "position_moved_back", "metadata_wiped":
			if swallowed && f.Partition == p.partition && f.Span.First <= p.offset {
				return true
			}
		}
	}
	return false
}

// strangers: nothing is there that was not produced, and with the content that it was produced with.
func (o *oracle) strangers(table string) {
	for _, r := range o.w.ch.Rows(table) {
		if !o.produced(r) {
			o.w.fail("%s holds partition %d epoch %d offset %d with content %x, which was never produced", table, r.Partition, r.Epoch, r.Offset, r.Content)
		}
	}
}

func (o *oracle) produced(r chmodel.Row) bool {
	for life, epoch := range o.w.truth.epoch {
		log := o.w.truth.logs[life][r.Partition]
		if uint32(epoch) == r.Epoch && r.Offset < int64(len(log)) {
			return log[r.Offset].value == r.Content
		}
	}
	return false
}

// committed: the offsets are at the ends, and nothing is pending in the strings.
func (o *oracle) committed() {
	for _, c := range o.w.broker.FetchOffsets() {
		if o.w.forgotten(c) {
			continue
		}
		meta, err := delivery.ParseMetadata(c.Metadata)
		if err != nil || len(meta.Intents) > 0 || c.Offset != o.w.broker.LogEnd(c.Partition) {
			o.w.fail("partition %d ends with offset %d of %d, %d intents, %v", c.Partition, c.Offset, o.w.broker.LogEnd(c.Partition), len(meta.Intents), err)
		}
	}
}

// causes says which faults account for a finding; a finding without a cause is a failure. A finding
// that is not listed is never in order.
var causes = map[string][]FaultKind{
	"records_lost":           {Trim},
	"records_gone":           {Trim, Compact, RecreateTopic},
	"topic_recreated":        {RecreateTopic},
	"group_missing":          {ExpireOffsets, LoseOffsets},
	"position_moved_forward": {AdminSet, WipeMetadata},
	"position_moved_back":    {AdminSet, WipeMetadata},
	"metadata_wiped":         {AdminSet, WipeMetadata},
	"rows_past_position":     {AdminSet, WipeMetadata, ExpireOffsets, LoseOffsets, Pause}, // a zombie's position is old
}

func (o *oracle) findings() {
	w := o.w
	for _, e := range w.expected {
		if !w.came(e) {
			w.fail("the finding %s about partition %d, expected since %.3f, has not come", e.kind, e.partition, float64(e.since)/1000)
		}
	}
	struck := map[FaultKind]bool{}
	for _, f := range w.script {
		struck[f.Kind] = struck[f.Kind] || f.struck
	}
	for _, f := range w.findings {
		caused := false
		for _, k := range causes[f.Kind] {
			caused = caused || struck[k]
		}
		if f.Kind == "view_incomplete" {
			caused = true // refused rows, and the moves when workers start, make batches go in parts
		}
		if !caused {
			w.fail("finding %s without a cause: %s %s %s", f.Kind, f.TopicPartition, f.Span, f.Message)
		}
	}
}

// state describes what is not quiet, for a run that is stuck.
func (w *world) state() string {
	var b strings.Builder
	for _, c := range w.broker.FetchOffsets() {
		fmt.Fprintf(&b, "  partition %d: committed %d of %d\n", c.Partition, c.Offset, w.broker.LogEnd(c.Partition))
	}
	for _, p := range w.procs {
		fmt.Fprintf(&b, "  %s life %d dead=%v stopped=%v member=%v handing=%d quiet=%v\n", p.name, p.life, p.dead, p.stopped, p.member, p.handing, p.m.Quiet())
		for _, s := range p.m.Partitions() {
			fmt.Fprintf(&b, "    partition %d %s committed=%d next=%d pending=%d\n", s.Partition, s.State, s.Committed, s.Next, s.Pending)
		}
		for _, s := range p.m.Works() {
			fmt.Fprintf(&b, "    batch %s %s attempt=%d spans=%v\n", s.Batch.ID.Short(), s.Stage, s.Attempt, s.Batch.Spans)
		}
	}
	return b.String()
}
