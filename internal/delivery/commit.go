package delivery

import (
	"errors"
	"fmt"

	"github.com/waybill-data/waybill"
)

// CommitEntry is one partition's part of an offset commit.
type CommitEntry struct {
	Held
	Offset   int64
	Metadata string
}

// commit is one that is outstanding.
type commit struct {
	built   bool
	entries []CommitEntry
	works   []*work // whose intents it carries
}

// wantCommit asks for a commit if one is due. At most one is outstanding: two could be applied in the
// wrong order, which would rewind offsets and erase intents.
func (m *Machine) wantCommit() {
	if m.stopped != nil || (len(m.commits) > 0 && !m.mutant(MutantTwoCommits)) || len(m.commits) > 1 || !m.commitDue() {
		return
	}
	m.ops++
	m.commits[m.ops] = &commit{}
	m.emit(Commit{Op: m.ops, Attempt: m.commitAttempt})
}

func (m *Machine) commitDue() bool {
	for _, c := range m.commits {
		if !c.built {
			return false
		}
	}
	for _, p := range m.parts {
		if p.dirty {
			return true
		}
	}
	for _, w := range m.works {
		if w.stage == StageGathered && m.cfg.Mode == ExactlyOnce && m.intendable(w) {
			return true
		}
	}
	return false
}

// BuildCommit builds the content of the commit that was asked for, from what is held now. To be called
// after the member's generation has been read into the request: then what is left out here because it
// was revoked can't be written by this request, and what is put in is fenced by that generation. It
// returns nil for an Op that is no longer wanted; nothing may be sent then, and the answer is
// CommitAnswered without errors.
func (m *Machine) BuildCommit(op Op) []CommitEntry {
	c := m.commits[op]
	if c == nil || m.stopped != nil {
		return nil
	}
	c.built = true
	intending := map[*work]bool{}
	for _, w := range m.works {
		if w.stage == StageGathered && m.cfg.Mode == ExactlyOnce && m.intendable(w) && m.fits(w, intending) {
			intending[w] = true
		}
	}
	for _, p := range m.sortedParts() {
		carries := false
		for _, w := range p.queue {
			carries = carries || intending[w]
		}
		if p.next < 0 || (!p.dirty && !carries) {
			continue
		}
		c.entries = append(c.entries, m.entry(p, intending))
		p.dirty = false
	}
	for _, w := range append([]*work(nil), m.works...) {
		if intending[w] {
			m.move(w, StageIntending)
			c.works = append(c.works, w)
		}
	}
	return c.entries
}

// intendable: every partition of the batch is held, and no batch before it is without an intent.
func (m *Machine) intendable(w *work) bool {
	for _, s := range w.batch.Spans {
		p := m.parts[s.TopicPartition]
		if _, held := w.held[s.TopicPartition]; !held && m.mutant(MutantHalfIntent) {
			continue
		}
		if p == nil || p.held.Instance != w.held[s.TopicPartition] || p.state != partRunning {
			return false
		}
	}
	return true
}

// fits: with w, every string stays within the broker's limit. If not, w waits until earlier batches
// are settled.
func (m *Machine) fits(w *work, with map[*work]bool) bool {
	trial := map[*work]bool{w: true}
	for k := range with {
		trial[k] = true
	}
	for _, s := range w.batch.Spans {
		p := m.parts[s.TopicPartition]
		if _, held := w.held[s.TopicPartition]; !held {
			continue // MutantHalfIntent
		}
		for _, q := range p.queue {
			if q == w {
				break
			}
			if q.stage == StageGathered && !with[q] {
				return false // its predecessor did not fit
			}
		}
		e := m.entry(p, trial)
		if len(e.Metadata) <= m.cfg.MaxMetadata {
			continue
		}
		if len(p.queue) > 0 && p.queue[0] == w {
			m.stop(&waybill.Error{Op: "delivery.intent", Pipeline: m.cfg.Pipeline, Class: waybill.ClassConfig,
				Hint: "raise offset.metadata.max.bytes on the brokers",
				Err:  fmt.Errorf("an intent takes %d bytes of offset metadata, the broker allows %d", len(e.Metadata), m.cfg.MaxMetadata)})
		}
		return false
	}
	return true
}

// entry is what the broker should hold for p: the end of the finished prefix, and every batch past
// it, finished or not.
func (m *Machine) entry(p *partition, intending map[*work]bool) CommitEntry {
	tp := p.held.TopicPartition
	e := CommitEntry{Held: p.held, Offset: p.next}
	meta := Metadata{Epoch: p.epoch, TopicID: p.topicID}
	if m.cfg.Mode == AtLeastOnce {
		e.Offset = p.finishedPrefix()
		return e
	}
	e.Offset = p.finishedPrefix()
	for _, w := range p.queue {
		s, _ := w.batch.Span(tp)
		switch {
		case s.First < e.Offset, w.stage == StageGathered && !intending[w]:
			continue
		case m.mutant(MutantDropFinished) && w.stage == StageFinished:
			continue
		}
		meta.Intents = append(meta.Intents, Intent{ID: w.batch.ID, Plan: w.batch.Plan, Decoder: w.batch.Decoder, Table: w.batch.Table,
			Time: w.batch.Time, Spans: w.spans(), Span: s.Span, Count: s.Count, Checksum: s.Checksum})
	}
	e.Metadata = meta.Encode()
	return e
}

// finishedPrefix is the offset up to which everything is proven.
func (p *partition) finishedPrefix() int64 {
	if len(p.queue) == 0 {
		return p.next
	}
	for _, w := range p.queue {
		s, _ := w.batch.Span(p.held.TopicPartition)
		if w.stage != StageFinished {
			return s.First
		}
	}
	return p.next
}

func (m *Machine) commitAnswered(e CommitAnswered) {
	c := m.commits[e.Op]
	if c == nil {
		return
	}
	delete(m.commits, e.Op)
	switch {
	case e.NotSent:
		m.commitAttempt++
		m.unapplied(c)
	case e.Unknown && !m.mutant(MutantTwoCommits):
		// The request may still be applied, after any later one. A new membership fences it.
		m.leave("the outcome of an offset commit is unknown")
	case len(e.Errs) == 0, e.Unknown, m.mutant(MutantPartialIntent):
		m.commitAttempt = 0
		m.applied(c)
	case m.tooLarge(e.Errs):
		m.stop(&waybill.Error{Op: "delivery.commit", Pipeline: m.cfg.Pipeline, Class: waybill.ClassConfig, Err: firstErr(e.Errs),
			Hint: "raise offset.metadata.max.bytes on the brokers"})
	case len(e.Errs) == len(c.entries):
		m.commitAttempt++
		m.unapplied(c)
	default:
		m.leave(fmt.Sprintf("an offset commit was applied for some partitions only: %v", firstErr(e.Errs)))
	}
}

// ErrMetadataTooLarge marks a partition whose string the broker refused for its size.
var ErrMetadataTooLarge = errors.New("offset metadata too large for the broker")

func (m *Machine) tooLarge(errs map[waybill.TopicPartition]error) bool {
	for _, err := range errs {
		if errors.Is(err, ErrMetadataTooLarge) {
			return true
		}
	}
	return false
}

func firstErr(errs map[waybill.TopicPartition]error) error {
	var first waybill.TopicPartition
	var out error
	for tp, err := range errs {
		if out == nil || tp.Compare(first) < 0 {
			first, out = tp, err
		}
	}
	return out
}

// applied: the broker has the offsets, and the intents count.
func (m *Machine) applied(c *commit) {
	for _, e := range c.entries {
		p := m.current(e.Held)
		if p == nil {
			continue
		}
		p.committed = e.Offset
		m.emit(Settled{Part: p.held, Offset: e.Offset})
		for len(p.queue) > 0 {
			w := p.queue[0]
			s, _ := w.batch.Span(e.TopicPartition)
			if s.Next > e.Offset {
				break
			}
			p.queue = p.queue[1:]
			delete(w.held, e.TopicPartition)
			if len(w.held) == 0 {
				m.drop(w, true)
			}
		}
		switch {
		case p.state == partStarting && !p.dirty:
			m.checkTail(p, 0)
		case p.state == partRecovering && len(p.queue) == 0:
			m.afterRecovery(p)
		}
	}
	for _, w := range c.works {
		if w.stage == StageIntending {
			m.land(w)
		}
	}
}

// unapplied: the broker has certainly not taken any of it.
func (m *Machine) unapplied(c *commit) {
	for _, e := range c.entries {
		if p := m.current(e.Held); p != nil {
			p.dirty = true
		}
	}
	for _, w := range c.works {
		if w.stage != StageIntending {
			continue
		}
		m.move(w, StageGathered)
		if w.lost {
			m.dropUnsent(w)
		}
	}
}
