package finding

import (
	"cmp"
	"slices"
	"time"

	waybill "github.com/waybill-data/waybill"
)

// Others is the subject of the finding that stands for all of a kind that there was no room for.
const Others = "…others"

// Config of a Tracker. Zero values take the defaults.
type Config struct {
	// Reopen is how long after its end a cause that is back goes on with its episode. 10 min: longer than a restart takes, and than a
	// worker is away in a rebalance.
	Reopen time.Duration
	// Hold is how long a cause that has come back must stay away before its finding is closed; it doubles each time, up to Reopen.
	Hold time.Duration
	// Update is how often at least the journal hears of a finding that is still seen; the longer it lasts the less often, down to once in UpdateMost.
	Update, UpdateMost time.Duration
	// Old is after how long a finding that nothing closes is no longer open. An error is data lost: somebody must have looked.
	Old map[waybill.Severity]time.Duration
	// Entries bounds the memory: as many findings are known one by one, those beyond as one for each kind.
	Entries int
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		to *time.Duration
		is time.Duration
	}{{&c.Reopen, 10 * time.Minute}, {&c.Hold, 30 * time.Second}, {&c.Update, time.Minute}, {&c.UpdateMost, time.Hour}} {
		if *d.to == 0 {
			*d.to = d.is
		}
	}
	if c.Old == nil {
		c.Old = map[waybill.Severity]time.Duration{waybill.SeverityWarning: 24 * time.Hour, waybill.SeverityError: 30 * 24 * time.Hour}
	}
	if c.Entries == 0 {
		c.Entries = 1000
	}
	return c
}

// News is what a finding that was seen is to a person.
type News uint8

// News.
const (
	Known  News = iota // it is open, and known
	Raised             // it is open and known, and worse than it was
	Fresh              // it was not open
)

// Tracker knows the findings of one pipeline, as one worker sees them. It is not safe for concurrent use.
type Tracker struct {
	pipeline, worker string
	epoch            waybill.Epoch
	cfg              Config
	entries          map[identity]*entry
	// marks are causes that were said to be gone while nothing was known to be open: another worker's finding may only be read later.
	marks map[waybill.FindingKey]mark
	extra []Row // to be written, of no entry
}

type mark struct {
	at  time.Time
	how string
}

// entry is a finding. Its row is cumulative: Seen counts all that is known of.
type entry struct {
	Row
	unsaid int64     // how often it was seen since the last row
	wrote  time.Time // when there was a row
	due    bool      // there must be a row
	// over is when the cause is taken to be gone, if it stays away till then; zero: it is not.
	over time.Time
	why  string
}

// NewTracker makes a tracker that knows nothing.
func NewTracker(pipeline, worker string, epoch waybill.Epoch, c Config) *Tracker {
	return &Tracker{pipeline: pipeline, worker: worker, epoch: epoch, cfg: c.withDefaults(), entries: map[identity]*entry{}, marks: map[waybill.FindingKey]mark{}}
}

// Found takes in that f was seen now.
func (t *Tracker) Found(f waybill.Finding, now time.Time) News {
	k, known := Of(f.Kind)
	if !known {
		k.Closes, k.Severity = Once, waybill.SeverityWarning
	}
	f.Severity = cmp.Or(f.Severity, k.Severity)
	if f.Severity == waybill.SeverityInfo {
		k.Closes = Told
	}
	id := identityOf(&f, k)
	delete(t.marks, id.FindingKey)
	e := t.entries[id]
	if e == nil {
		if !t.room() {
			f.Subject, f.TopicPartition, f.Span, f.Batch = Others, waybill.TopicPartition{}, waybill.Span{}, ""
			id = identityOf(&f, k)
			e = t.entries[id]
		}
		if e == nil {
			e = &entry{}
			t.entries[id] = e
		}
	}
	switch {
	case e.State.Open():
		return t.again(e, f, now)
	case k.Closes == Told:
		return t.tell(e, id, f, now)
	}
	t.open(e, id, f, now)
	if k.Closes == Once {
		e.Until = now.Add(t.cfg.Old[f.Severity])
	}
	return Fresh
}

func (t *Tracker) tell(e *entry, id identity, f waybill.Finding, now time.Time) News {
	news := Known
	if e.State != Noted {
		e.Row = Row{Pipeline: t.pipeline, Epoch: t.epoch, State: Noted, ID: id.in(t.pipeline, t.epoch, 0), FirstSeen: now}
		e.due, news = true, Fresh
	}
	e.see(f, now)
	return news
}

func (t *Tracker) again(e *entry, f waybill.Finding, now time.Time) News {
	worse := rank(f.Severity) > rank(e.Severity)
	e.over = time.Time{}
	e.see(f, now)
	e.State = Updated
	if worse {
		e.due = true
		return Raised
	}
	return Known
}

// open begins an episode, or goes on with one that has ended just now.
func (t *Tracker) open(e *entry, id identity, f waybill.Finding, now time.Time) {
	switch {
	case e.State == Closed && now.Sub(e.At) < t.cfg.Reopen:
		e.Reopened++
		now = later(now, e.At) // it is the later row that counts
	default:
		episode := max(e.Episode+1, uint32(now.Unix()/3600)) //nolint:gosec // until the year 490,000
		e.Row = Row{Pipeline: t.pipeline, Epoch: t.epoch, Episode: episode, ID: id.in(t.pipeline, t.epoch, episode), FirstSeen: now}
	}
	e.State, e.Why, e.due, e.over = Opened, "", true, time.Time{}
	e.see(f, now)
}

func (e *entry) see(f waybill.Finding, now time.Time) {
	f.Span = hull(e.Span, f.Span)
	e.Finding = f
	e.Seen++
	e.unsaid++
	if now.After(e.LastSeen) {
		e.LastSeen = now
	}
	e.At = e.LastSeen
}

// later is now, or a millisecond after then, if that is later.
func later(now, then time.Time) time.Time {
	if after := then.Add(time.Millisecond); now.Before(after) {
		return after
	}
	return now
}

func rank(s waybill.Severity) int {
	return slices.Index([]waybill.Severity{waybill.SeverityInfo, waybill.SeverityWarning, waybill.SeverityError}, s)
}

// maxMarks bounds the memory for causes that were said to be gone.
const maxMarks = 10_000

// Mended takes in that the cause is gone, and how that is known. It reports whether a finding was open.
func (t *Tracker) Mended(key waybill.FindingKey, how string, now time.Time) bool {
	if k, known := Of(key.Kind); known && k.Closes == ByItself {
		e := t.entries[identity{FindingKey: key}]
		if e != nil && e.State.Open() {
			return t.end(e, how, now)
		}
		if len(t.marks) < maxMarks || t.marks[key] != (mark{}) {
			t.marks[key] = mark{now, how}
		}
		return false
	}
	ended := false
	for id, e := range t.entries {
		if id.FindingKey == key && e.State.Open() {
			ended = t.end(e, how, now) || ended
		}
	}
	return ended
}

// Open is the open finding of a key, if there is one. Of a kind that has one for each batch or span it is any of them.
func (t *Tracker) Open(key waybill.FindingKey) (Row, bool) {
	if e := t.entries[identity{FindingKey: key}]; e != nil {
		return e.Row, e.State.Open()
	}
	for id, e := range t.entries {
		if id.FindingKey == key && e.State.Open() {
			return e.Row, true
		}
	}
	return Row{}, false
}

// end closes a finding. One that has come back before must stay away for a while first.
func (t *Tracker) end(e *entry, how string, now time.Time) bool {
	if e.Reopened == 0 {
		t.close(e, how, now)
		return true
	}
	if e.over.IsZero() {
		e.over, e.why = now.Add(min(t.cfg.Hold<<min(e.Reopened, 10), t.cfg.Reopen)), how
	}
	return false
}

func (t *Tracker) close(e *entry, why string, now time.Time) {
	e.State, e.Why, e.At, e.due, e.over = Closed, why, later(now, e.LastSeen), true, time.Time{}
}

// Due are the rows that the journal should have now. They count as written: who takes them writes them, however long that takes.
func (t *Tracker) Due(now time.Time) []Row {
	t.tick(now)
	out := t.extra
	t.extra = nil
	for _, e := range t.entries {
		if e.due || e.unsaid > 0 && now.Sub(e.wrote) >= t.interval(e, now) {
			r := e.Row
			r.Seen, r.Worker = e.unsaid, t.worker
			out = append(out, r)
			e.unsaid, e.due, e.wrote = 0, false, now
		}
	}
	slices.SortFunc(out, func(a, b Row) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) })
	return out
}

// interval is a tenth of how long the finding has lasted, within bounds.
func (t *Tracker) interval(e *entry, now time.Time) time.Duration {
	return min(max(now.Sub(e.FirstSeen)/10, t.cfg.Update), t.cfg.UpdateMost)
}

// tick does what time does: it ends what has stayed away, and forgets.
func (t *Tracker) tick(now time.Time) {
	for id, e := range t.entries {
		switch {
		case e.State.Open() && !e.over.IsZero() && !now.Before(e.over):
			t.close(e, e.why, now)
		case e.State.Open() && !e.Until.IsZero() && now.After(e.Until) && !e.due:
			delete(t.entries, id)
		case !e.State.Open() && !e.due && now.Sub(e.At) > remember:
			delete(t.entries, id)
		}
	}
	for key, m := range t.marks {
		if now.Sub(m.at) > t.cfg.Reopen {
			delete(t.marks, key)
		}
	}
}

// remember is how long the end of an episode is remembered, so that the next one gets another number: the number is the hour.
const remember = 2 * time.Hour

// room makes room for one more entry, if it can: what is closed or only told is forgotten, the oldest first.
func (t *Tracker) room() bool {
	if len(t.entries) < t.cfg.Entries {
		return true
	}
	var oldest *entry
	var of identity
	for id, e := range t.entries {
		if !e.State.Open() && !e.due && e.unsaid == 0 && (oldest == nil || e.At.Before(oldest.At)) {
			oldest, of = e, id
		}
	}
	if oldest != nil {
		delete(t.entries, of)
	}
	return oldest != nil
}

// List is what is open, and what was open or told lately, the latest last.
func (t *Tracker) List() []Row {
	out := make([]Row, 0, len(t.entries))
	for _, e := range t.entries {
		out = append(out, e.Row)
	}
	slices.SortFunc(out, func(a, b Row) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) })
	return out
}
