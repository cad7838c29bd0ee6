package engine

import (
	"fmt"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/status"
)

// stallAfter is how many failures in a row are shown as a stall.
const stallAfter = 2

// repeatLog is how often the same trouble is logged while it lasts.
const repeatLog = 30 * time.Second

// fetchTrouble is how long a fetch that failed is shown when nothing more is heard of it: a fetch that
// succeeds and finds nothing says nothing.
const fetchTrouble = 2 * lastBackoff

// subject is what a trouble is about. Each fails, and heals, for itself: that one batch lands does not
// mean that another one moves.
type subject string

// The subjects that are not about one batch or partition.
const (
	aboutStart      subject = "start"      // connecting and preparing
	aboutMembership subject = "membership" // lives that end
	aboutOffsets    subject = "offsets"    // positions of newly assigned partitions
	aboutCommit     subject = "commit"
	aboutPoll       subject = "poll"
	aboutBrokers    subject = "brokers" // as the watch sees them
	aboutServer     subject = "server"  // ClickHouse, as the watch sees it
	aboutTable      subject = "table"   // reading it anew, or changing it
	aboutScope      subject = "scope"   // how far the whole of a backfill is
	aboutEpoch      subject = "epoch"   // the tables take no rows of it
)

const (
	fetchOf     = "fetch "
	beginningOf = "beginning "
)

func aboutBatch(id delivery.WorkID) subject            { return subject(fmt.Sprintf("batch %d", id)) }
func aboutFetch(tp waybill.TopicPartition) subject     { return subject(fetchOf + tp.String()) }
func aboutBeginning(tp waybill.TopicPartition) subject { return subject(beginningOf + tp.String()) }

func aboutPartition(tp waybill.TopicPartition) []subject {
	return []subject{aboutFetch(tp), aboutBeginning(tp)}
}

func (s subject) ofFetch() bool     { return strings.HasPrefix(string(s), fetchOf) }
func (s subject) ofPartition() bool { return s.ofFetch() || strings.HasPrefix(string(s), beginningOf) }

// trouble is an error that is being retried.
type trouble struct {
	err      error
	failures int // in a row
	since    time.Time
	last     time.Time
}

func (t *trouble) stalls() bool { return t.failures >= stallAfter }

// troubles of a pipeline, by subject. Guarded by Pipeline.mu.
type troubles struct {
	by       map[subject]*trouble
	stalled  time.Time // since when at least one stalls without a break; zero: none does
	logged   string    // the last trouble that was logged as a warning, and when
	loggedAt time.Time
}

// note an error; fresh says that it is the one that begins a stall.
func (t *troubles) note(about subject, err error, failures int, now time.Time) (fresh bool) {
	if t.by == nil {
		t.by = map[subject]*trouble{}
	}
	tr := t.by[about]
	if tr == nil {
		tr = &trouble{since: now}
		t.by[about] = tr
	}
	tr.err, tr.failures, tr.last = err, failures, now
	if fresh = tr.stalls() && t.stalled.IsZero(); fresh {
		t.stalled = now
	}
	return fresh
}

// clear forgets a trouble; since is not zero if that ends a stall.
func (t *troubles) clear(about subject) (since time.Time) {
	delete(t.by, about)
	if t.stalled.IsZero() || t.stalling() != nil {
		return time.Time{}
	}
	since, t.stalled = t.stalled, time.Time{}
	return since
}

// stalling is the newest trouble that stalls, nil if none does.
func (t *troubles) stalling() *trouble {
	var out *trouble
	for _, tr := range t.by {
		if tr.stalls() && (out == nil || tr.last.After(out.last)) {
			out = tr
		}
	}
	return out
}

// repeated reports whether these words have just been logged.
func (t *troubles) repeated(words string, now time.Time) bool {
	if words == t.logged && now.Sub(t.loggedAt) < repeatLog {
		return true
	}
	t.logged, t.loggedAt = words, now
	return false
}

// failed notes an error that will be tried again; failures is how many in a row there have been.
func (p *Pipeline) failed(about subject, err error, failures int) {
	now := time.Now()
	p.mu.Lock()
	p.failure = status.NewFailure(now, err)
	fresh := p.troubles.note(about, err, failures, now)
	since, stalling := p.troubles.stalled, p.troubles.stalling()
	repeated := p.troubles.repeated(err.Error(), now)
	p.mu.Unlock()
	if stalling != nil {
		p.metrics.SetStalled(waybill.ClassOf(stalling.err), now.Sub(since))
	}
	switch {
	case fresh:
		p.log.Error("stalled: retrying until it heals", "error", err, "class", waybill.ClassOf(err).String())
	case repeated:
		p.log.Debug("will be tried again", "error", err, "failures", failures)
	default:
		p.log.Warn("will be tried again", "error", err, "failures", failures)
	}
}

// cleared notes that something works again, or is over.
func (p *Pipeline) cleared(about ...subject) {
	now := time.Now()
	for _, a := range about {
		p.mu.Lock()
		since := p.troubles.clear(a)
		p.mu.Unlock()
		if !since.IsZero() {
			p.metrics.ClearStalled()
			p.log.Info("moving again", "stalled_for", now.Sub(since).Round(time.Millisecond))
		}
	}
}

// clearedAll forgets the troubles of a life that is over, but for what ended it, or will end the next one too.
func (p *Pipeline) clearedAll() {
	p.mu.Lock()
	var about []subject
	for a := range p.troubles.by {
		if a != aboutMembership && a != aboutEpoch {
			about = append(about, a)
		}
	}
	p.mu.Unlock()
	p.cleared(about...)
}

// trouble notes an error that will be tried again, or, with nil, that it went well.
func (l *life) trouble(about subject, err error, attempt int) {
	switch {
	case err == nil:
		l.p.cleared(about)
	case l.ctx.Err() == nil:
		l.p.failed(about, err, attempt+1)
	}
}

// batchTrouble notes an error of a step of a batch. That such a step goes well clears nothing: the batch
// moves when one of its inserts is answered.
func (l *life) batchTrouble(id delivery.WorkID, err error, attempt int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && l.alive(id) { // what is dropped troubles nobody
		l.trouble(aboutBatch(id), err, attempt)
	}
}

// forgetTroubles clears those of partitions that are not held any more, and those of fetches that nothing
// has been heard of for long. It runs every now and then.
func (p *Pipeline) forgetTroubles(held []delivery.PartitionStatus) {
	now := time.Now()
	mine := map[subject]bool{}
	for _, s := range held {
		for _, about := range aboutPartition(s.TopicPartition) {
			mine[about] = true
		}
	}
	var over []subject
	p.mu.Lock()
	for about, tr := range p.troubles.by {
		if !about.ofPartition() {
			continue
		}
		if !mine[about] || about.ofFetch() && now.Sub(tr.last) > fetchTrouble {
			over = append(over, about)
		}
	}
	p.mu.Unlock()
	p.cleared(over...)
}
