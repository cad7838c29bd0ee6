package watchdog

import (
	"fmt"
	"math"
	"time"

	waybill "github.com/waybill-data/waybill"
)

// Octaves are the magnitudes that a Sketch tells apart: powers of two from 2^-MinOctave on.
const (
	Octaves   = 160
	minOctave = -64
)

// Sketch is how large the values of a numeric column are: how many in each octave. Zeros are left out.
type Sketch struct {
	N    int64
	Sum  float64 // of the logarithms
	Bins [Octaves]uint32
}

// Add takes in a value.
func (s *Sketch) Add(v float64) {
	bits := math.Float64bits(v) &^ (1 << 63)
	octave := int(bits>>52) - 1023 - minOctave
	if v == 0 || octave < 0 || octave >= Octaves {
		return
	}
	s.N++
	s.Bins[octave]++
	// The bits of a positive number are its logarithm, but for at most a twelfth of an octave.
	s.Sum += float64(bits)/(1<<52) - 1023
}

func (s *Sketch) merge(o *Sketch) {
	s.N += o.N
	s.Sum += o.Sum
	for i, n := range o.Bins {
		s.Bins[i] += n
	}
}

// Sample is the sketches of one table's numeric columns in a batch, by column.
type Sample struct {
	Table   string
	Columns []string
	Values  []Sketch // of Columns
	Of      waybill.BatchSpan
}

// UnitsConfig are the thresholds for units. The zero value of a field means its default.
type UnitsConfig struct {
	// Window is how long values are gathered before they are compared with those before, Least how many there must be of a column. Defaults 15 s
	// and 50.
	Window time.Duration
	Least  int64
	// Warm is how many windows there must be before. Default 4.
	Warm int
	// Share of a window's values that must lie where hardly any has been. Default 0.2.
	Share float64
	// Accept is how long a shift lasts before it is what is usual. Default 24 hours.
	Accept time.Duration
}

func (c UnitsConfig) withDefaults() UnitsConfig {
	if c.Window <= 0 {
		c.Window = 15 * time.Second
	}
	if c.Least <= 0 {
		c.Least = 50
	}
	if c.Warm <= 0 {
		c.Warm = 4
	}
	if c.Share <= 0 {
		c.Share = .2
	}
	if c.Accept <= 0 {
		c.Accept = 24 * time.Hour
	}
	return c
}

// Units notices that a number comes in another unit: seconds that become milliseconds, dollars that become cents. A share of the values must lie
// in octaves where hardly any has been before, and about a factor away that units are apart by: growth and new customers do neither as a rule.
type Units struct {
	cfg    UnitsConfig
	states states
	by     map[column]*magnitude
}

type column struct{ table, name string }

// magnitude is how large the values of a column are.
type magnitude struct {
	began   time.Time
	now     Sketch
	before  [Octaves]float64 // weighted, each window weighing less than the one after it
	sum, n  float64          // of before
	waiting []Sketch         // windows that are not part of it yet, so that a shift that begins slowly does not become what is usual
	windows int
	since   time.Time // of the finding that is open
	of      waybill.BatchSpan
}

// NewUnits knows no column.
func NewUnits(cfg UnitsConfig) *Units {
	return &Units{cfg: cfg.withDefaults(), states: states{}, by: map[column]*magnitude{}}
}

// Settled takes in the values of a batch.
func (d *Units) Settled(now time.Time, s *Sample) (out Said) {
	for i, name := range s.Columns {
		if s.Values[i].N == 0 {
			continue
		}
		at := column{s.Table, name}
		m := d.by[at]
		if m == nil {
			m = &magnitude{began: now}
			d.by[at] = m
		}
		if m.now.N == 0 {
			m.of = s.Of
		}
		m.now.merge(&s.Values[i])
		if now.Sub(m.began) >= d.cfg.Window && m.now.N >= d.cfg.Least {
			d.judge(&out, now, at, m)
			m.began, m.now = now, Sketch{}
		}
	}
	return out
}

// factors that units are apart by, and what they are as a rule.
var factors = []struct {
	by   float64
	what string
}{
	{60, "minutes and seconds"}, {100, "parts of a hundred"}, {1000, "seconds and milliseconds, or bytes and kilobytes"}, {3600, "hours and seconds"},
	{60_000, "minutes and milliseconds"}, {86_400, "days and seconds"}, {1e6, "seconds and microseconds, or bytes and megabytes"}, {1e9, "seconds and nanoseconds, or bytes and gigabytes"},
}

// unitOf is the factor that lies nearest to a distance in octaves, within a third of an octave.
func unitOf(octaves float64) (factor float64, what string, ok bool) {
	best := 1. / 3
	for _, f := range factors {
		if off := math.Abs(math.Abs(octaves) - math.Log2(f.by)); off < best {
			best, factor, what, ok = off, f.by, f.what, true
		}
	}
	return factor, what, ok
}

// rare is the share of values before below which an octave counts as one where hardly any has been.
const rare = .002

func (d *Units) judge(out *Said, now time.Time, at column, m *magnitude) {
	f := waybill.Finding{Kind: KindUnitShift, Severity: waybill.SeverityWarning, TopicPartition: waybill.TopicPartition{}, Span: m.of.Span, Subject: at.table + "." + at.name}
	novel, novelMean := m.novel()
	share := float64(novel) / float64(m.now.N)
	octaves := novelMean - m.sum/max(m.n, 1)
	factor, what, known := unitOf(octaves)
	if m.windows >= d.cfg.Warm && share >= d.cfg.Share && known {
		if m.since.IsZero() {
			m.since = now
		}
		direction := "larger"
		if octaves < 0 {
			direction = "smaller"
		}
		f.Message = fmt.Sprintf("%.3g %% of the last %d values of %s in table %s are about %g times %s than the values before (around %.3g, and now %.3g): that is the factor between %s; first in %s %s",
			100*share, m.now.N, at.name, at.table, factor, direction, math.Exp2(m.sum/m.n), math.Exp2(novelMean), what, m.of.TopicPartition, m.of.Span)
		f.Action = "ask who produces the events whether the unit has changed; until that is mended the column holds two units"
		if now.Sub(m.since) < d.cfg.Accept {
			d.states.tell(out, f, direction)
			m.waiting = nil
			return // what is usual stays what it was
		}
		d.states.clear(out, f.Key(), "it has been so for "+d.cfg.Accept.String()+" and is what is usual now")
		m.n, m.sum = float64(m.now.N), m.now.Sum
		for i, n := range m.now.Bins {
			m.before[i] = float64(n)
		}
	} else if m.windows >= d.cfg.Warm || m.since.IsZero() {
		d.states.clear(out, f.Key(), "the values are as large as before")
	}
	m.since = time.Time{}
	if known && m.windows >= d.cfg.Warm && share < d.cfg.Share {
		m.strip()
	}
	m.roll()
}

// novel is how many values of the window lie where hardly any has been, an octave on either side included, and the mean of their logarithms.
func (m *magnitude) novel() (n int64, mean float64) {
	var sum float64
	for i, count := range m.now.Bins {
		if count > 0 && m.rare(i) {
			n += int64(count)
			sum += float64(count) * (float64(i+minOctave) + .5)
		}
	}
	if n == m.now.N { // all of them: the sum is exact
		return n, m.now.Sum / float64(m.now.N)
	}
	return n, sum / float64(max(n, 1))
}

// rare: hardly any value before lies in an octave or next to it.
func (m *magnitude) rare(i int) bool {
	around := m.before[i]
	if i > 0 {
		around += m.before[i-1]
	}
	if i+1 < Octaves {
		around += m.before[i+1]
	}
	return around < rare*m.n
}

// strip takes the novel values out of the window: what may be another unit is not what is usual.
func (m *magnitude) strip() {
	for i, count := range m.now.Bins {
		if count > 0 && m.rare(i) {
			m.now.N -= int64(count)
			m.now.Sum -= float64(count) * (float64(i+minOctave) + .5)
			m.now.Bins[i] = 0
		}
	}
}

// roll adds a window to what was before: the one of a few windows ago.
func (m *magnitude) roll() {
	const keep, delay = .97, 4
	if m.waiting = append(m.waiting, m.now); len(m.waiting) <= delay {
		return
	}
	w := &m.waiting[0]
	m.n, m.sum = m.n*keep+float64(w.N), m.sum*keep+w.Sum
	for i := range m.before {
		m.before[i] = m.before[i]*keep + float64(w.Bins[i])
	}
	m.waiting = m.waiting[1:]
	m.windows++
}
