package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/delivery"
)

// shareOf is how many records a window must have before a share of them says anything.
const shareOf = 100

// deadBudget counts what became of the records of the last while, and says when too many of them are dead letters. It knows what all workers
// have settled before this one began, and what this one has settled since.
type deadBudget struct {
	config.DeadLetters

	mu      sync.Mutex
	settled []deadCount // oldest first
}

// deadCount is records of one time, by the server's clock.
type deadCount struct {
	at         time.Time
	read, dead int64
}

func (b *deadBudget) bounded() bool { return b.MaxShare > 0 || b.MaxCount > 0 }

// settle takes in what has settled.
func (b *deadBudget) settle(now time.Time, read, dead int64) {
	if !b.bounded() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.settled); n > 0 && now.Sub(b.settled[n-1].at) < b.Window/300 {
		b.settled[n-1].read += read
		b.settled[n-1].dead += dead
		return
	}
	b.settled = append(b.settled, deadCount{now, read, dead})
}

// over says whether the window is over the budget with these records that have not settled; why is empty if it is not.
func (b *deadBudget) over(now time.Time, read, dead int64) (why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.settled) > 0 && now.Sub(b.settled[0].at) > b.Window {
		b.settled = b.settled[1:]
	}
	for _, c := range b.settled {
		read, dead = read+c.read, dead+c.dead
	}
	switch {
	case b.MaxCount > 0 && dead > b.MaxCount:
		return fmt.Sprintf("%d dead letters in %s, and dead_letters.max_count is %d", dead, b.Window, b.MaxCount)
	case b.MaxShare > 0 && read >= shareOf && float64(dead) > b.MaxShare*float64(read):
		return fmt.Sprintf("%d of %d records in %s are dead letters, and dead_letters.max_share is %g%%", dead, read, b.Window, 100*b.MaxShare)
	}
	return ""
}

// knowDead reads what all workers have settled in the window. A pipeline that is started again goes on counting where it stopped.
func (p *Pipeline) knowDead(ctx context.Context, t *target) error {
	if !p.dead.bounded() {
		return nil
	}
	now := t.client.ServerNow(time.Now())
	since := now.Add(-p.dead.Window)
	if taken, err := t.takenOver(ctx); err != nil {
		return err
	} else if taken.After(since) { // what a backfill has read before is not what comes in
		since = taken
	}
	read, dead, err := t.ledger.SettledSince(ctx, p.cfg.Name, t.epoch, since)
	if err != nil {
		return err
	}
	p.dead.mu.Lock()
	p.dead.settled = []deadCount{{now, read, dead}}
	p.dead.mu.Unlock()
	return nil
}

const kindDeadBudget = "dead_letter_budget"

// isOverBudget stops the pipeline before a batch with dead letters that goes past the budget. It is false if the batch may go.
func (g *gatherer) isOverBudget() bool {
	p, d := g.l.p, g.open
	at := waybill.TopicPartition{Topic: p.cfg.Source.Kafka.Topic, Partition: -1}
	within := waybill.FindingKey{Kind: kindDeadBudget, TopicPartition: at}
	if !p.dead.bounded() {
		p.mended(within, "the pipeline file allows any number of dead letters")
		return false
	}
	read, dead := d.counts()
	open := dead
	g.l.mu.Lock()
	for _, other := range g.l.data { // on their way
		r, n := other.counts()
		read, dead = read+r, dead+n
	}
	g.l.mu.Unlock()
	why := p.dead.over(p.serverTime(), read, dead)
	if why == "" {
		if g.isPastRefused(within) {
			p.mended(within, "dead letters are within the budget")
		}
		return false
	}
	if open == 0 {
		return false // what it brings is welcome
	}
	first := d.dead[0]
	f := waybill.Finding{Kind: kindDeadBudget, Severity: waybill.SeverityError, TopicPartition: at,
		Evidence: encodeRefused(refused{first.record.Topic, first.record.Partition, first.record.Offset}),
		Message:  fmt.Sprintf("%s; %d are in a batch that was not written: %s/%d offset %d: %s", why, open, first.record.Topic, first.record.Partition, first.record.Offset, first.reason.Message),
		Action:   "nothing of the batch was written, its records stay in the topic: mend the contract or the producer, or raise dead_letters in the pipeline file, and start again"}
	p.found(f)
	g.l.step(delivery.Failed{Err: &waybill.Error{Op: "engine.gather", Pipeline: p.cfg.Name, Class: waybill.ClassConfig,
		Position: waybill.Position{Topic: first.record.Topic, Partition: first.record.Partition, Offset: first.record.Offset},
		Err:      fmt.Errorf("%s", f.Message), Hint: f.Action}})
	return true
}

// refused is the first dead letter of a batch that went past the budget: the evidence of its finding.
type refused struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

func encodeRefused(r refused) string {
	b, _ := json.Marshal(r) // has nothing that could not be
	return string(b)
}

// isPastRefused says whether the open batch has come to the record that the pipeline stopped at, or is past it. Batches before that say nothing of
// whether it will stop there again: a finding that closed on them would open and close with every restart.
func (g *gatherer) isPastRefused(key waybill.FindingKey) bool {
	evidence, open := g.l.p.findings.evidence(key)
	if !open {
		return false
	}
	var r refused
	if json.Unmarshal([]byte(evidence), &r) != nil {
		return true // one of which that is not known
	}
	for _, s := range g.open.spans {
		if s.Topic == r.Topic && s.Partition == r.Partition && s.Next > r.Offset {
			return true
		}
	}
	return false
}

// counts are the batch's records, and how many of them are dead letters already.
func (d *data) counts() (read, dead int64) {
	for _, s := range d.spans {
		read += s.tally.Read
	}
	return read, int64(len(d.dead))
}
