// Package drift watches how the events of a pipeline differ from its contract over time. A decoder says what it saw in
// single events; what only many events show (a field that is gone, a share that jumps, events that match nothing) is found
// here. It is pure: the time is handed in, and what it says follows from what it is told. Its memory is bounded, whatever
// the events hold.
package drift

import (
	"maps"
	"slices"
	"time"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

// Batch is what became of some events, all decoded under one plan.
type Batch struct {
	Plan    *contract.Plan
	Written int64 // events that became rows
	Blank   int64 // of those written: no column was filled from the event
	// First and Last are the batch's first and last record: the place of what has none of its own.
	First, Last contract.At
	Drift       []contract.FieldDrift
	Columns     map[string]Counts // by name, where there is anything to count
}

// Counts are the events whose value for a column was not in the event, was null, or could not be taken.
type Counts struct {
	Missing int64 // the event has no such field
	Null    int64 // it says null, whether the column took it as NULL or got its default
	Invalid int64 // the value does not fit, and the column got NULL or its default
}

// Monitor watches one pipeline in one worker. It belongs to one goroutine.
type Monitor struct {
	cfg  Config
	plan *contract.Plan

	fields  map[Key]*field // at most cfg.Paths, and one for the others of each kind
	columns map[string]*column
	pending map[Key]*Row // of the kinds that are no fields, for the next flush

	window  window
	blanks  rate
	settled bool // Standing has said what is not unusual
	stood   int  // windows that had been closed when it was called last

	fresh []*field // without their finding yet, in order of appearance
	told  quota
}

// field is a path that drifts.
type field struct {
	pending  Row // since the last flush; Count 0: nothing
	observed contract.Observed
	known    bool // has its finding, or waits for it; for that:
	first    contract.At
	sample   string
	mode     contract.Mode
	reason   string
	seen     time.Time
	share    rate // of events that have it
}

// column is what is watched of a column of the plan.
type column struct {
	name, path                string
	elements                  bool // counts are of elements of arrays, not of events
	present, nulls, defaulted rate
}

// New makes a monitor that has seen nothing.
func New(cfg Config) *Monitor {
	return &Monitor{cfg: cfg.withDefaults(), fields: map[Key]*field{}, columns: map[string]*column{}, pending: map[Key]*Row{}}
}

// Know says what has been found before, by this or another worker: there are no findings that it is new.
func (m *Monitor) Know(keys ...Key) {
	for _, k := range keys {
		if k.Kind == KindNewField || k.Kind == KindTypeConflict {
			m.field(k).known = true
		}
	}
}

// Observe takes in a batch that has settled.
func (m *Monitor) Observe(b Batch) {
	if m.plan == nil || m.plan.ID() != b.Plan.ID() {
		m.replan(b.Plan)
	}
	m.window.now += b.Written
	m.count(Key{Kind: KindWritten}, b.Written, b)
	m.count(Key{Kind: KindBlank}, b.Blank, b)
	m.blanks.now += b.Blank
	for i := range b.Drift {
		m.drift(&b.Drift[i])
	}
	for _, name := range slices.Sorted(maps.Keys(b.Columns)) {
		m.defaults(name, b.Columns[name], b)
	}
}

// replan: fields move between columns and the rescue column, so shares of before say nothing of those under another plan.
func (m *Monitor) replan(p *contract.Plan) {
	m.plan = p
	m.window, m.settled = window{}, false
	m.blanks = rate{}
	for _, f := range m.fields {
		f.share = rate{}
	}
	clear(m.columns)
	for _, c := range p.Columns() {
		if path, err := contract.ParsePath(c.Path); err == nil && c.Source == contract.SourceField {
			m.columns[c.Name] = &column{name: c.Name, path: c.Path, elements: path.Each() >= 0}
		}
	}
}

// count adds to a row without a place of its own.
func (m *Monitor) count(k Key, n int64, b Batch) {
	if n == 0 {
		return
	}
	r := m.pending[k]
	if r == nil {
		r = &Row{Key: k, First: b.First}
		m.pending[k] = r
	}
	r.Count += n
	r.First, r.Last = earlier(r.First, b.First), later(r.Last, b.Last)
}

func (m *Monitor) defaults(name string, n Counts, b Batch) {
	m.count(Key{Kind: KindMissing, Column: name}, n.Missing, b)
	m.count(Key{Kind: KindNull, Column: name}, n.Null, b)
	m.count(Key{Kind: KindInvalid, Column: name}, n.Invalid, b)
	if c := m.columns[name]; c != nil {
		c.present.now -= n.Missing // of the window's events, see judge
		c.nulls.now += n.Null
		c.defaulted.now += n.Missing + n.Invalid
	}
}

func (m *Monitor) drift(d *contract.FieldDrift) {
	f := m.field(Key{Kind: Kind(d.Kind), Path: d.Path, Column: d.Column})
	f.observed.Merge(&d.Observed)
	if !f.known {
		f.known, f.first, f.sample, f.mode, f.reason = true, d.First, d.Sample, d.Mode, d.Reason
		m.fresh = append(m.fresh, f)
	}
	f.share.now += d.Count
	r := &f.pending
	if r.Count == 0 {
		r.First, r.Sample = d.First, d.Sample
	}
	r.Count += d.Count
	r.First, r.Last = earlier(r.First, d.First), later(r.Last, d.Last)
	r.Mode, r.Reason = d.Mode, d.Reason
	r.Kinds = sum(r.Kinds, d.Observed.Kinds)
}

// field is the one for a key, or that for the others if there are too many.
func (m *Monitor) field(k Key) *field {
	f := m.fields[k]
	if f == nil && k.Path != contract.OtherPaths && len(m.fields) >= m.cfg.Paths {
		return m.field(Key{Kind: k.Kind, Path: contract.OtherPaths})
	}
	if f == nil {
		f = &field{pending: Row{Key: k}}
		m.fields[k] = f
	}
	return f
}

// Flush says what to add to the drift table since the last call, in order of keys, and what a person should know. It is called every
// few seconds; now is the server's time.
func (m *Monitor) Flush(now time.Time) ([]Row, []waybill.Finding) {
	rows := m.rows(now.UTC().Truncate(24 * time.Hour))
	findings := m.newcomers(now)
	if m.window.ends(now, m.cfg) {
		findings = append(findings, m.judge(now)...)
		m.window.roll(now, m.cfg)
	}
	m.seen(now)
	return rows, findings
}

func (m *Monitor) rows(day time.Time) []Row {
	var out []Row
	for _, r := range m.pending {
		r.Day = day
		out = append(out, *r)
	}
	clear(m.pending)
	for k, f := range m.fields {
		if f.pending.Count == 0 {
			continue
		}
		f.pending.Day, f.pending.Type = day, typeOf(&f.observed)
		out = append(out, f.pending)
		f.pending = Row{Key: k}
		f.seen = time.Time{}
	}
	slices.SortFunc(out, func(a, b Row) int { return compareKeys(a.Key, b.Key) })
	return out
}

// seen makes room where fields have not been seen for long: if they come back they are new again.
func (m *Monitor) seen(now time.Time) {
	full := len(m.fields) >= m.cfg.Paths
	for k, f := range m.fields {
		if f.seen.IsZero() {
			f.seen = now
		}
		if full && now.Sub(f.seen) > m.cfg.Accept && f.pending.Count == 0 {
			delete(m.fields, k)
		}
	}
}

func earlier(a, b contract.At) contract.At {
	if b.Time < a.Time || b.Time == a.Time && b.Partition == a.Partition && b.Offset < a.Offset {
		return b
	}
	return a
}

func later(a, b contract.At) contract.At {
	if b.Time > a.Time || b.Time == a.Time && b.Partition == a.Partition && b.Offset > a.Offset {
		return b
	}
	return a
}

func sum(a, b contract.Kinds) contract.Kinds {
	o := contract.Observed{Kinds: a}
	o.Merge(&contract.Observed{Kinds: b})
	return o.Kinds
}
