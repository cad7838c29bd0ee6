package delivery

import (
	"errors"
	"fmt"
	"slices"

	"github.com/waybill-data/waybill"
)

// partState is where a held partition stands on its way to being consumed.
type partState uint8

const (
	partFetching   partState = iota // the group's position and the ledger's tip are being read
	partResolving                   // no position anywhere: the start is being looked up
	partStarting                    // the start is known and must be committed before anything is gathered
	partRecovering                  // batches of its string are being carried out
	partChecking                    // looking for rows at or past the position
	partRunning                     // may be gathered
)

var partStateNames = [...]string{"fetching", "resolving", "starting", "recovering", "checking", "running"}

func (s partState) String() string { return partStateNames[s] }

// partition is one assignment of one partition.
type partition struct {
	held  Held
	state partState
	// epoch and topicID are written into the string: the pipeline's and the topic's, or older ones while
	// batches of theirs are pending.
	epoch     waybill.Epoch
	topicID   [8]byte
	committed int64   // acknowledged by the broker, -1: none
	queue     []*work // batches past committed, in offset order
	next      int64   // end of the queue: where the next batch begins
	// suspect: rows below this offset may be in the tables though no string tells of them.
	suspect int64
	dirty   bool // the broker has not been told the newest position
	// unexplained: the strings may have been lost, so wait out old inserts before looking at the tail.
	unexplained bool
	// newTip and newTopicID are for when an older epoch has been left.
	newTip     int64
	newTopicID [8]byte
	former     bool // MutantFormerOwner only
}

func (m *Machine) assigned(e Assigned) {
	if len(e.Parts) == 0 {
		return
	}
	for _, h := range e.Parts {
		if old := m.parts[h.TopicPartition]; old != nil {
			m.losePart(old)
		}
		m.parts[h.TopicPartition] = &partition{held: h, committed: -1, next: -1, newTip: -1, epoch: m.cfg.Epoch}
	}
	m.fetch(e.Parts, 0)
}

func (m *Machine) fetch(parts []Held, attempt int) {
	m.ask(func(op Op) Effect { return FetchOffsets{Op: op, Parts: parts, Attempt: attempt} },
		func(ev Event) {
			e := ev.(OffsetsFetched)
			if e.Err != nil {
				m.fetch(parts, attempt+1)
				return
			}
			m.resume(e.Positions)
		})
}

// resume decides for each partition where to go on and which batches to carry out first.
func (m *Machine) resume(positions []Position) {
	slices.SortFunc(positions, func(a, b Position) int { return a.Compare(b.TopicPartition) })
	pending := map[waybill.BatchID]*work{}
	var recovered []*work
	for _, pos := range positions {
		p := m.current(pos.Held)
		if p == nil || m.stopped != nil {
			continue
		}
		p.topicID, p.newTopicID = pos.TopicID, pos.TopicID
		p.committed = pos.Committed
		p.newTip = pos.Tip
		intents, done := m.readPosition(p, pos)
		if m.stopped != nil || m.current(pos.Held) != p {
			return // or the machine has left
		}
		for i, in := range intents {
			if in.Table != m.cfg.Table {
				m.stop(&waybill.Error{Op: "delivery.recover", Pipeline: m.cfg.Pipeline, Class: waybill.ClassConfig,
					Position: waybill.Position{Topic: p.held.Topic, Partition: p.held.Partition, Offset: in.Span.First},
					Hint:     "run the pipeline with the table it had until it has settled, then change the table",
					Err:      errors.New("a batch is pending for another table")})
				return
			}
			w := pending[in.ID]
			if w == nil || i < done {
				w = &work{id: m.NewWork(), stage: StageRebuilding, recovered: true, doubt: true, rows: RowSet{}, dead: RowSet{}, refused: RowSet{},
					held: map[waybill.TopicPartition]Instance{}, tallies: map[waybill.TopicPartition]Tally{},
					batch: &waybill.Batch{ID: in.ID, Epoch: p.epoch, Plan: in.Plan, Decoder: in.Decoder, Table: in.Table, Time: in.Time}}
				if i >= done {
					pending[in.ID] = w
					recovered = append(recovered, w)
				}
				m.works = append(m.works, w)
			}
			w.batch.Spans = append(w.batch.Spans, waybill.BatchSpan{TopicPartition: p.held.TopicPartition, Span: in.Span, Count: in.Count, Checksum: in.Checksum})
			w.held[p.held.TopicPartition] = p.held.Instance
			w.total = in.Spans
			w.suspect = in.Spans == 0
			w.full = len(w.batch.Spans) == in.Spans
			w.gone = w.gone || p.topicGone(pos)
			p.queue = append(p.queue, w)
			p.next = in.Span.Next
			if i < done {
				m.move(w, StageFinished)
				p.dirty = true
			}
		}
		if len(p.queue) > 0 {
			p.state = partRecovering
		}
	}
	for _, w := range recovered {
		m.rebuild(w, 0)
	}
	for _, pos := range positions {
		if p := m.current(pos.Held); p != nil && p.state == partFetching {
			m.afterRecovery(p)
		}
	}
}

// topicGone: the string is about a topic that has been deleted since (and perhaps made anew).
func (p *partition) topicGone(pos Position) bool {
	meta, err := ParseMetadata(pos.Metadata)
	return err == nil && meta.TopicID != pos.TopicID
}

// readPosition sets p.next to where the line begins and returns the intents from there on; the first
// done of them are in the ledger already. Each way in which Kafka and the ledger can disagree has a
// named finding; none is a silent reset.
func (m *Machine) readPosition(p *partition, pos Position) (intents []Intent, done int) {
	meta, err := ParseMetadata(pos.Metadata)
	ours := err == nil
	tip := pos.Tip
	switch {
	case m.cfg.Mode == AtLeastOnce && m.cfg.Superseded > 0 && m.cfg.Superseded == m.cfg.Epoch:
		// The group's offset may be one of an older epoch, which counts for nothing in this table.
		p.next = tip
		p.dirty = tip != pos.Committed && tip >= 0
		return nil, 0
	case m.cfg.Mode == AtLeastOnce:
		// No strings: what the ledger has was written; a commit that is behind it was merely late.
		p.next = max(pos.Committed, tip)
		p.dirty = p.next != pos.Committed && p.next >= 0
		return nil, 0
	case errors.Is(err, ErrNewerMetadata):
		m.stop(&waybill.Error{Op: "delivery.resume", Pipeline: m.cfg.Pipeline, Class: waybill.ClassFenced, Err: err,
			Position: waybill.Position{Topic: p.held.Topic, Partition: p.held.Partition, Offset: pos.Committed},
			Hint:     "a newer Waybill has run this pipeline; use that version"})
		return nil, 0
	case ours && meta.Epoch > m.cfg.Epoch && pos.Succeeded:
		m.succeeded(fmt.Sprintf("%s was gone on with under epoch %d", p.held.TopicPartition, meta.Epoch))
		return nil, 0
	case ours && meta.Epoch > m.cfg.Epoch:
		m.stop(&waybill.Error{Op: "delivery.resume", Pipeline: m.cfg.Pipeline, Class: waybill.ClassFenced, Err: fmt.Errorf("%w: %d, this worker has %d", errEpoch, meta.Epoch, m.cfg.Epoch),
			Position: waybill.Position{Topic: p.held.Topic, Partition: p.held.Partition, Offset: pos.Committed},
			Hint:     "use the pipeline file with the newer epoch"})
		return nil, 0
	case ours && meta.Epoch < min(m.cfg.Superseded, m.cfg.Epoch) && !pos.ledgerRecreated() && !m.mutant(MutantCarrySuperseded):
		// Nothing of the old epoch is missed. Nobody can have written past the new one's tip: whoever does has told so in a string of it first.
		p.next, p.committed = tip, -1
		return nil, 0
	case ours && meta.Epoch < m.cfg.Superseded && m.mutant(MutantCarrySuperseded): // as if it were of this epoch
	case ours && meta.Epoch < m.cfg.Epoch && !pos.ledgerRecreated():
		p.epoch, p.topicID = meta.Epoch, meta.TopicID
		tip = pos.OldTip
	case pos.recreated(ours, meta) && !m.mutant(MutantSameEpoch):
		m.topicRecreated(p, pos)
		return nil, 0
	case ours && meta.TopicID != pos.TopicID: // MutantSameEpoch: as if nothing had happened
		p.next = 0
		return nil, 0
	}
	if pos.Committed < 0 {
		if tip >= 0 {
			m.moved(p, "group_missing", tip, waybill.Span{First: tip, Next: tip},
				fmt.Sprintf("the group has no committed offset (expired or deleted), but the ledger ends at %d", tip))
		}
		return nil, 0
	}
	intents = meta.Intents
	end := pos.Committed
	tiles := len(intents) == 0 || intents[0].Span.First == pos.Committed
	if tiles && len(intents) > 0 {
		end = intents[len(intents)-1].Span.Next
	}
	switch {
	case tip >= 0 && pos.Committed > tip:
		m.moved(p, "position_moved_forward", tip, waybill.Span{First: tip, Next: pos.Committed},
			fmt.Sprintf("the group stands at %d, but the ledger ends at %d: offsets between are not accounted for", pos.Committed, tip))
		return nil, 0
	case tip > end:
		m.moved(p, "position_moved_back", tip, waybill.Span{First: pos.Committed, Next: tip},
			fmt.Sprintf("the group stands at %d, but the ledger accounts for everything before %d", pos.Committed, tip))
		return nil, 0
	case !tiles:
		m.moved(p, "string_does_not_tile", max(tip, pos.Committed), waybill.Span{First: pos.Committed, Next: intents[0].Span.First},
			fmt.Sprintf("the group stands at %d, but its pending batches begin at %d", pos.Committed, intents[0].Span.First))
		return nil, 0
	case !ours:
		m.unstrung(p, pos, tip, err)
		return nil, 0
	}
	p.next = pos.Committed
	for done < len(intents) && intents[done].Span.Next <= tip {
		done++
	}
	return intents, done
}

// recreated: the string or the ledger speaks of a topic that has been deleted since. Deleting a topic
// deletes its committed offsets too, so often only the ledger remembers.
func (pos Position) recreated(ours bool, meta Metadata) bool {
	return ours && meta.TopicID != pos.TopicID || pos.ledgerRecreated()
}

func (pos Position) ledgerRecreated() bool {
	return pos.LedgerTopicID != [8]byte{} && pos.LedgerTopicID != pos.TopicID
}

func (m *Machine) topicRecreated(p *partition, pos Position) {
	m.finding(p, "topic_recreated", waybill.SeverityError, waybill.Span{First: pos.Committed, Next: pos.Committed},
		"the topic was deleted and created again: offsets of the old topic and of the new one are different records under the same number",
		"stopped; raise `epoch` in the pipeline file to read the new topic from its start")
	m.stop(&waybill.Error{Op: "delivery.resume", Pipeline: m.cfg.Pipeline, Class: waybill.ClassConfig, Err: errors.New("topic was deleted and created again"),
		Position: waybill.Position{Topic: p.held.Topic, Partition: p.held.Partition, Offset: pos.Committed},
		Hint:     "raise `epoch` in the pipeline file to read the new topic from its start"})
}

// unstrung: a committed offset without a string of ours. Another consumer's group, or a tool has
// rewritten the position.
func (m *Machine) unstrung(p *partition, pos Position, tip int64, why error) {
	p.next = pos.Committed
	p.unexplained = true
	p.dirty = true
	kind, severity := "group_adopted", waybill.SeverityInfo
	msg := fmt.Sprintf("the group already stood at %d, put there by another consumer", pos.Committed)
	if tip >= 0 || errors.Is(why, ErrBrokenMetadata) {
		kind, severity = "metadata_wiped", waybill.SeverityWarning
		msg = fmt.Sprintf("the group stands at %d, but its metadata string is gone: %v", pos.Committed, why)
	}
	m.finding(p, kind, severity, waybill.Span{First: pos.Committed, Next: pos.Committed}, msg,
		"goes on from there, after looking for rows past it")
}

// moved: the group's position cannot be right; the ledger's is.
func (m *Machine) moved(p *partition, kind string, to int64, span waybill.Span, msg string) {
	action := fmt.Sprintf("goes on at %d, where the ledger ends; to read offsets again on purpose, raise `epoch`", to)
	if m.cfg.WhenMoved == StopWhenMoved {
		action = "stopped, as `when_moved: stop` asks"
	}
	m.finding(p, kind, waybill.SeverityWarning, span, msg, action)
	if m.cfg.WhenMoved == StopWhenMoved {
		m.stop(&waybill.Error{Op: "delivery.resume", Pipeline: m.cfg.Pipeline, Class: waybill.ClassConfig, Err: errors.New(msg),
			Position: waybill.Position{Topic: p.held.Topic, Partition: p.held.Partition, Offset: span.First},
			Hint:     "set `when_moved: ledger` to go on where the ledger ends"})
		return
	}
	p.next = to
	p.unexplained = true
	p.dirty = true
}

func (m *Machine) finding(p *partition, kind string, sev waybill.Severity, span waybill.Span, msg, action string) {
	m.report(waybill.Finding{Kind: kind, Severity: sev, TopicPartition: p.held.TopicPartition, Span: span, Message: msg, Action: action})
}

// afterRecovery is called when nothing is pending on p any more.
func (m *Machine) afterRecovery(p *partition) {
	if p.epoch != m.cfg.Epoch { // an older epoch is settled: begin the new one
		p.epoch, p.topicID = m.cfg.Epoch, p.newTopicID
		p.next = p.newTip
		p.unexplained = p.newTip >= 0
		p.committed = -1
	}
	if p.next < 0 {
		m.resolveStart(p, 0)
		return
	}
	if p.committed < 0 {
		p.state = partStarting
		p.dirty = true
		return
	}
	m.checkTail(p, 0)
}

func (m *Machine) resolveStart(p *partition, attempt int) {
	p.state = partResolving
	m.ask(func(op Op) Effect { return ResolveStart{Op: op, Part: p.held, Attempt: attempt} },
		func(ev Event) {
			e := ev.(StartResolved)
			if m.current(p.held) != p {
				return
			}
			if e.Err != nil {
				m.resolveStart(p, attempt+1)
				return
			}
			p.next = e.Offset
			p.state = partStarting
			p.dirty = true
		})
}

func (m *Machine) checkTail(p *partition, attempt int) {
	if m.cfg.Mode == AtLeastOnce || m.mutant(MutantNoTailCheck) {
		m.run(p)
		return
	}
	p.state = partChecking
	m.ask(func(op Op) Effect {
		return CheckTail{Op: op, Part: p.held, From: p.next, Wait: p.unexplained, Attempt: attempt}
	}, func(ev Event) {
		e := ev.(TailChecked)
		if m.current(p.held) != p {
			return
		}
		if e.Err != nil {
			m.checkTail(p, attempt+1)
			return
		}
		if !e.Present.Empty() {
			p.suspect = e.Present.Bounds().Next
			m.finding(p, "rows_past_position", waybill.SeverityWarning, e.Present.Bounds(),
				fmt.Sprintf("%d offsets at or past %d are already in the tables, though no pending batch tells of them", e.Present.Len(), p.next),
				"they are read again and only the absent ones are inserted")
		}
		m.run(p)
	})
}

func (m *Machine) run(p *partition) {
	p.state = partRunning
	p.unexplained = false
	m.emit(Gather{Part: p.held, Offset: p.next})
}

func (m *Machine) revoked(e Revoked) {
	for _, h := range e.Parts {
		p := m.current(h)
		if p == nil {
			continue
		}
		if m.mutant(MutantFormerOwner) {
			p.former = true
			continue
		}
		m.losePart(p)
	}
}

// losePart ends an assignment. Works whose intent is out go on with the data as long as some partition
// of theirs is held; others are dropped and gathered anew.
func (m *Machine) losePart(p *partition) {
	tp := p.held.TopicPartition
	delete(m.parts, tp)
	for _, w := range append([]*work(nil), p.queue...) {
		if w.stage == StageGone || w.held[tp] != p.held.Instance {
			continue
		}
		delete(w.held, tp)
		w.lost = true
		switch {
		case w.stage == StageGathered && m.mutant(MutantHalfIntent) && len(w.held) > 0:
		case w.stage == StageGathered:
			m.dropUnsent(w)
		case m.mutant(MutantAbandonAfterIntent) && (w.stage == StageIntending || w.stage == StageLanding):
			m.dropUnsent(w)
		case len(w.held) == 0:
			m.drop(w, false)
		default:
			m.narrow(w, tp)
		}
	}
	m.tryQueued()
}

// dropUnsent forgets a batch that no one can have seen, and everything gathered after it in the
// partitions that are still held; they are gathered again from its beginning.
func (m *Machine) dropUnsent(w *work) {
	if w.stage == StageGone {
		return
	}
	m.drop(w, false)
	for _, s := range w.batch.Spans {
		p := m.parts[s.TopicPartition]
		if p == nil || w.held[s.TopicPartition] != p.held.Instance {
			continue
		}
		at := -1
		for i, q := range p.queue {
			if q == w {
				at = i
			}
		}
		if at < 0 {
			continue
		}
		later := append([]*work(nil), p.queue[at+1:]...)
		p.queue = p.queue[:at]
		p.next = s.First
		for _, l := range later {
			m.dropUnsent(l)
		}
		if p.state == partRunning {
			m.emit(Gather{Part: p.held, Offset: p.next})
		}
	}
}
