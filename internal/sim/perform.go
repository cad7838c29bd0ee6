package sim

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"slices"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/sim/chmodel"
	"github.com/waybill-data/waybill/internal/sim/groupmodel"
)

var errInjected = errors.New("injected: no answer")

func backoff(attempt int) int64 { return int64(min(attempt, 10)) * 150 }

// perform begins to carry an effect out. Nothing is handed back to the machine before it returns.
func (p *proc) perform(e delivery.Effect) {
	w := p.w
	switch e := e.(type) {
	case delivery.FetchOffsets:
		p.after(backoff(e.Attempt)+w.latency(), func() { p.fetchOffsets(e) })
	case delivery.ResolveStart:
		p.after(backoff(e.Attempt)+w.latency(), func() { p.resolveStart(e) })
	case delivery.Gather:
		if a := p.holds(e.Part); a != nil {
			a.gathering, a.cursor = true, e.Offset
		}
	case delivery.Commit:
		p.after(backoff(e.Attempt)+w.latency(), func() { p.commit(e) })
	case delivery.Rebuild:
		p.after(backoff(e.Attempt)+w.latency(), func() { p.rebuild(e) })
	case delivery.ReadBack:
		wait := int64(0)
		if e.Wait {
			wait = stragglers
		}
		p.after(wait+backoff(e.Attempt)+w.latency(), func() { p.readBack(e) })
	case delivery.Send:
		p.after(backoff(e.Attempt)+w.latency(), func() { p.send(e) })
	case delivery.Claim:
		p.after(backoff(e.Attempt)+w.latency(), func() { p.claim(e) })
	case delivery.Probe:
		p.after(backoff(e.Attempt)+w.latency(), func() { p.probe(e) })
	case delivery.ProveWindow:
		p.after(backoff(e.Attempt)+w.latency(), func() { p.proveWindow(e) })
	case delivery.CheckTail:
		wait := int64(0)
		if e.Wait {
			wait = stragglers
		}
		p.after(wait+backoff(e.Attempt)+w.latency(), func() { p.checkTail(e) })
	case delivery.Drop:
		delete(p.data, e.Work)
	case delivery.Settled, delivery.Accounted:
	case delivery.Report:
		if p.shadow == nil || !p.shadow.closed { // of one that has not heard that its job is over: the epoch is another group's by then
			w.found(p.name, e.Finding)
		}
	case delivery.Leave:
		if e.Anew {
			p.anew(e.Reason)
			return
		}
		p.leave()
	case delivery.Stop:
		p.halt(e.Err)
	default:
		w.fail("%s: unknown effect %T", p.name, e)
	}
}

// leave gives up the membership and takes a new one. The goodbye itself may get lost.
func (p *proc) leave() {
	clear(p.parts)
	p.member = false
	if p.w.chance(20) {
		p.broker.Crash(p.name)
	} else {
		p.broker.Leave(p.name, p.w.now)
	}
	p.after(100+p.w.latency(), p.join)
}

// answer hands an event back after its way over the network.
func (p *proc) answer(point string, ev delivery.Event) {
	p.after(p.w.latency(), func() {
		p.step(ev)
		p.point(point)
	})
}

func (p *proc) fetchOffsets(e delivery.FetchOffsets) {
	w := p.w
	var positions []delivery.Position
	for _, h := range e.Parts {
		a := p.holds(h)
		if a == nil || h.Partition >= p.broker.Partitions() {
			continue
		}
		a.topicID = p.broker.TopicID()
		c := p.broker.FetchOffsets(h.Partition)[0]
		positions = append(positions, delivery.Position{Held: h, Committed: c.Offset, Metadata: c.Metadata, TopicID: topicID(a.topicID)})
	}
	p.after(w.latency(), func() {
		if p.strikes(DropReadReply, "", nil) {
			p.answer("fetched", delivery.OffsetsFetched{Op: e.Op, Err: errInjected})
			return
		}
		for i := range positions {
			pos := &positions[i]
			pos.Tip = w.tip(pos.Partition, p.epoch)
			pos.LedgerTopicID = w.ledgerTopic(p.epoch)
			pos.OldTip = -1
			if meta, err := delivery.ParseMetadata(pos.Metadata); err == nil && meta.Epoch != p.epoch {
				pos.OldTip = w.tip(pos.Partition, meta.Epoch)
				pos.Succeeded = meta.Epoch > p.epoch && w.operator.begun(meta.Epoch)
			}
		}
		p.answer("fetched", delivery.OffsetsFetched{Op: e.Op, Positions: positions})
	})
}

// tip is the end of the ledger's gapless prefix, -1 if it has no row.
func (w *world) tip(n int32, epoch waybill.Epoch) int64 {
	rows := w.ledgerRows(n, epoch)
	if len(rows) == 0 {
		return -1
	}
	at := rows[0].First
	for _, r := range rows {
		if r.First == at {
			at = r.Next
		}
	}
	return at
}

// ledgerTopic is the topic id in the ledger's newest row under an epoch.
func (w *world) ledgerTopic(epoch waybill.Epoch) (id [8]byte) {
	for _, r := range w.ch.Rows(tableLedger) {
		if waybill.Epoch(r.Epoch) == epoch {
			id = w.ledger[r.Content].TopicID
		}
	}
	return id
}

// ledgerRows are the ledger's rows of one partition, in offset order.
func (w *world) ledgerRows(n int32, epoch waybill.Epoch) []delivery.LedgerRow {
	var out []delivery.LedgerRow
	for _, r := range w.ch.Rows(tableLedger) {
		if r.Partition == n && waybill.Epoch(r.Epoch) == epoch {
			out = append(out, w.ledger[r.Content])
		}
	}
	slices.SortFunc(out, func(a, b delivery.LedgerRow) int { return cmp.Compare(a.First, b.First) })
	return out
}

func (p *proc) resolveStart(e delivery.ResolveStart) {
	ev := delivery.StartResolved{Op: e.Op}
	if e.Part.Partition < p.broker.Partitions() {
		ev.Offset = p.broker.LogStart(e.Part.Partition)
	}
	p.answer("resolved", ev)
}

// commit: built, sent, applied and answered at four moments.
func (p *proc) commit(e delivery.Commit) {
	w := p.w
	id, generation, ok := p.broker.Membership(p.name)
	entries := p.m.BuildCommit(e.Op)
	if !ok || len(entries) == 0 {
		p.answer("commit-answered", delivery.CommitAnswered{Op: e.Op, NotSent: !ok})
		return
	}
	req := groupmodel.CommitRequest{MemberID: id, Generation: generation}
	for _, c := range entries {
		req.Entries = append(req.Entries, groupmodel.CommitEntry{Partition: c.Partition, Offset: c.Offset, Metadata: c.Metadata})
	}
	p.after(w.gap(), func() { p.sendCommit(e, req) })
	p.point("commit-built")
}

func (p *proc) sendCommit(e delivery.Commit, req groupmodel.CommitRequest) {
	w := p.w
	over := false
	end := func(ev delivery.CommitAnswered) {
		if !over {
			over = true
			p.step(ev)
			p.point("commit-answered")
		}
	}
	p.after(commitTimeout, func() { end(delivery.CommitAnswered{Op: e.Op, Unknown: true}) })
	delay := w.latency()
	switch {
	case p.strikes(DropCommitRequest, "", nil):
		return
	case p.strikes(DelayCommit, "", nil):
		delay += w.between(500, 5_000)
	}
	w.after(delay, func() {
		p.failCommit(req)
		res := p.broker.Commit(req, w.now)
		if p.strikes(DropCommitReply, "", nil) {
			return
		}
		errs := map[waybill.TopicPartition]error{}
		for _, c := range res.Partitions {
			switch c.Code {
			case groupmodel.OK:
			case groupmodel.OffsetMetadataTooLarge:
				errs[partitionOf(c.Partition)] = delivery.ErrMetadataTooLarge
			default:
				errs[partitionOf(c.Partition)] = errors.New(c.Code.String())
			}
		}
		p.after(w.latency(), func() { end(delivery.CommitAnswered{Op: e.Op, Errs: errs}) })
	})
	p.point("commit-sent")
}

// rebuild reads the spans again, one after the other.
func (p *proc) rebuild(e delivery.Rebuild) {
	ev := delivery.Rebuilt{Op: e.Op}
	data := map[rowKey]uint64{}
	var next func(i int)
	next = func(i int) {
		if i == len(e.Batch.Spans) {
			p.data[e.Work] = data
			ev.Refused = p.w.decisions[e.Batch.ID]
			p.answer("rebuilt", ev)
			return
		}
		if p.strikes(DropReadReply, storeLog, e.Batch) {
			p.answer("rebuilt", delivery.Rebuilt{Op: e.Op, Err: errInjected})
			return
		}
		for _, n := range slices.Sorted(maps.Keys(p.parts)) {
			if !p.sameTopic(p.parts[n]) {
				return
			}
		}
		s := e.Batch.Spans[i]
		t, sum := p.reread(s, data)
		ev.Tallies = append(ev.Tallies, t)
		ev.Checksums = append(ev.Checksums, sum)
		p.after(p.w.between(1, 30), func() { next(i + 1) })
		p.point("rebuilding")
	}
	next(0)
}

func (p *proc) reread(s waybill.BatchSpan, data map[rowKey]uint64) (t delivery.Tally, sum uint64) {
	start := p.broker.LogStart(s.Partition)
	if s.Count == 0 && s.First < start {
		t.Lost = min(start, s.Next) - s.First
	}
	for _, r := range p.broker.Fetch(s.Partition, max(s.First, start), 0).Records {
		if r.Offset < s.Next && p.inScope(s.Partition, r.Offset) {
			sum += take(&t, s.Partition, r, data)
		}
	}
	return t, sum
}

func (p *proc) readBack(e delivery.ReadBack) {
	w := p.w
	ev := delivery.ReadBackDone{Op: e.Op, Present: delivery.RowSet{}}
	if e.Store == waybill.StoreTarget && p.exchanged() {
		p.anew("what is read is another table")
		return
	}
	if w.now < w.serverUp || !p.tabled() || p.strikes(DropReadReply, e.Store, e.Batch) {
		p.answer("read-back", delivery.ReadBackDone{Op: e.Op, Err: errInjected})
		return
	}
	for tp, s := range e.Spans {
		found := p.present(p.tablesOf(e.Store), tp.Partition, e.Batch.Epoch, s.First, s.Next)
		if !found.Empty() {
			ev.Present[tp] = found
		}
	}
	p.answer("read-back", ev)
}

// present is the linearizable read, unless a mutant makes it lag behind.
func (p *proc) present(tables []string, n int32, epoch waybill.Epoch, first, next int64) (out waybill.OffsetSet) {
	for _, table := range tables {
		if p.w.mutant == MutantLaggingReadBack {
			out = out.Union(p.w.ch.PresentLagged(table, topic, n, uint32(epoch), first, next, p.w.lagged()).Set())
			continue
		}
		out = out.Union(p.w.ch.Present(table, topic, n, uint32(epoch), first, next).Set())
	}
	return out
}

func (p *proc) checkTail(e delivery.CheckTail) {
	if p.w.now < p.w.serverUp || !p.tabled() || p.w.now-p.lease >= sessionTimeout || p.strikes(DropReadReply, "", nil) {
		p.answer("checked", delivery.TailChecked{Op: e.Op, Err: errInjected})
		return
	}
	n := e.Part.Partition
	set := p.present(append([]string{tableDead}, p.targets...), n, p.epoch, e.From, math.MaxInt64)
	p.answer("checked", delivery.TailChecked{Op: e.Op, Present: set})
}

// claim: decisions are a grow-only set in a durable table; what is answered is read after the write.
func (p *proc) claim(e delivery.Claim) {
	w := p.w
	if w.now < w.serverUp || p.strikes(DropInsertRequest, storeDecisions, e.Batch) || p.strikes(RefuseInsert, storeDecisions, e.Batch) {
		p.answer("claimed", delivery.Claimed{Op: e.Op, Err: errInjected})
		return
	}
	delay := w.latency()
	if p.strikes(DelayInsert, storeDecisions, e.Batch) {
		delay += w.between(500, sendDeadline)
	}
	w.after(delay, func() {
		w.decisions[e.Batch.ID] = w.decisions[e.Batch.ID].Union(e.Rows)
		p.after(w.latency(), func() {
			if p.strikes(DropInsertReply, storeDecisions, e.Batch) {
				p.answer("claimed", delivery.Claimed{Op: e.Op, Err: errInjected})
				return
			}
			p.answer("claimed", delivery.Claimed{Op: e.Op, Refused: w.decisions[e.Batch.ID]})
		})
	})
	p.point("claim-sent")
}

// probe finds the refused rows on a copy of the table; in every other batch there can be no copy, so that
// halving in the table itself is met as well.
func (p *proc) probe(e delivery.Probe) {
	w := p.w
	switch {
	case w.now < w.serverUp || p.strikes(DropInsertRequest, storeDecisions, e.Batch):
		p.answer("probed", delivery.Probed{Op: e.Op, Err: errInjected})
		return
	case e.Batch.ID[0]%2 == 0:
		p.answer("probed", delivery.Probed{Op: e.Op, Unable: true})
		return
	}
	refused := delivery.RowSet{}
	rows, ok := p.rows(delivery.Send{Work: e.Work, Store: waybill.StoreTarget, Batch: e.Batch, Rows: e.Rows})
	if !ok {
		return // dropped meanwhile
	}
	for _, r := range rows {
		if r.Poison && w.ch.Options(tableTarget).PoisonRefused {
			tp := waybill.TopicPartition{Topic: r.Topic, Partition: r.Partition}
			set := refused[tp]
			set.Add(r.Offset)
			refused[tp] = set
		}
	}
	p.answer("probed", delivery.Probed{Op: e.Op, Refused: refused})
}

// proveWindow says yes only if the batch's first token was planted, nothing has evicted it, and nothing
// can before a send that follows this answer has come and gone.
func (p *proc) proveWindow(e delivery.ProveWindow) {
	w := p.w
	token := waybill.ChainToken(pipelineName, clusterName, e.Batch.ID, e.Batch.Epoch, tableTarget, 0)
	inside, planted := true, false
	for _, table := range append([]string{tableView}, w.targets...) {
		t := w.tokens[table+" "+tokenIn(token, table)]
		switch {
		case t == nil: // planted nowhere yet: nothing to forget
		case t.evicted || w.now-t.first > tokenAge-2*stragglers:
			inside = false
		default:
			planted = planted || table != tableView
		}
	}
	inside = inside && planted
	p.answer("window", delivery.WindowProved{Op: e.Op, Inside: inside})
}

// lagged is the server's commit index as a replica some seconds behind would have it.
func (w *world) lagged() uint64 {
	if len(w.reads) == 0 {
		return 0
	}
	return w.reads[max(0, len(w.reads)-4)]
}

// options of an insert: with the deadline, unless a mutant leaves it out.
func (w *world) options() chmodel.InsertOptions {
	if w.mutant == MutantNoLease {
		return chmodel.InsertOptions{}
	}
	return chmodel.InsertOptions{Deadline: w.now + sendDeadline, FailIfExchanged: w.operator.on && w.chance(50)}
}
