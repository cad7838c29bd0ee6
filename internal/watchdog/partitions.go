package watchdog

import (
	"fmt"
	"time"

	waybill "github.com/waybill-data/waybill"
)

// Standing is where a partition stands that this worker consumes.
type Standing struct {
	waybill.TopicPartition
	// Running: it is consumed. A partition that is recovered, or that was left standing with a finding that says why, is not.
	Running bool
	// Next is how far it has been gathered, Committed how far it is settled.
	Next, Committed int64
	// LogStart and End are Kafka's.
	LogStart, End int64
}

// PartitionsConfig are the thresholds for partitions. The zero value of a field means its default.
type PartitionsConfig struct {
	// Frozen is how long a partition may have records and not move. Default 45 s.
	Frozen time.Duration
	// InFlight is how long it may not move while a batch of it is on its way. Default 5 min: a slow insert is no frozen partition.
	InFlight time.Duration
	// Behind is how long a partition must be behind for its retention to matter. Default 30 s.
	Behind time.Duration
	// Warn is how long before the loss there is a warning. Default one hour.
	Warn time.Duration
	// History is how far back it is looked how fast records are removed. Default one hour.
	History time.Duration
}

func (c PartitionsConfig) withDefaults() PartitionsConfig {
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{{&c.Frozen, 45 * time.Second}, {&c.InFlight, 5 * time.Minute}, {&c.Behind, 30 * time.Second}, {&c.Warn, time.Hour}, {&c.History, time.Hour}} {
		if *d.value <= 0 {
			*d.value = d.fallback
		}
	}
	return c
}

// Partitions watches that each partition moves while it has records, and that Kafka does not remove records before they are read (law L4).
type Partitions struct {
	cfg    PartitionsConfig
	by     map[waybill.TopicPartition]*path
	states states
}

// path is how a partition has moved.
type path struct {
	last    Standing
	moved   time.Time // when it last moved, or had a reason not to
	samples []sample
}

type sample struct {
	at            time.Time
	logStart, end int64
	committed     int64
}

// maxSamples bounds a partition's history; older ones are thinned out.
const maxSamples = 240

// NewPartitions knows no partition yet.
func NewPartitions(cfg PartitionsConfig) *Partitions {
	return &Partitions{cfg: cfg.withDefaults(), by: map[waybill.TopicPartition]*path{}, states: states{}}
}

// Look takes in where all partitions stand that this worker has. stalled: it waits for an outside system, and says so.
func (d *Partitions) Look(now time.Time, stalled bool, all []Standing) (out Said) {
	held := map[waybill.TopicPartition]bool{}
	for _, s := range all {
		held[s.TopicPartition] = true
		p := d.by[s.TopicPartition]
		if p == nil {
			p = &path{last: s, moved: now}
			d.by[s.TopicPartition] = p
		}
		if s.Next != p.last.Next || s.Committed != p.last.Committed || !s.Running || stalled || s.End <= s.Committed {
			p.moved = now
		}
		p.last = s
		p.note(now, s, d.cfg.History)
	}
	for _, tp := range sortedKeys(d.by) {
		if !held[tp] {
			delete(d.by, tp)
			d.states.forget(tp)
			continue
		}
		d.frozen(&out, now, d.by[tp])
		d.retention(&out, now, d.by[tp])
	}
	return out
}

func (d *Partitions) frozen(out *Said, now time.Time, p *path) {
	s, limit := p.last, d.cfg.Frozen
	if s.Next > s.Committed {
		limit = d.cfg.InFlight
	}
	f := waybill.Finding{Kind: KindFrozen, Severity: waybill.SeverityError, TopicPartition: s.TopicPartition, Span: waybill.Span{First: s.Committed, Next: s.End},
		Action: "look at the partition's leader and at this worker's log; a restart of the worker gives the partition to another one"}
	if now.Sub(p.moved) < limit {
		if now.Equal(p.moved) {
			d.states.clear(out, f.Key(), "the partition moves again")
		}
		return
	}
	others := 0
	for tp, o := range d.by {
		if tp != s.TopicPartition && now.Sub(o.moved) < d.cfg.Frozen {
			others++
		}
	}
	f.Message = fmt.Sprintf("%s has stood at %d for %s, though %d records are there up to %d and nothing is known to be wrong; %d other partitions of this worker are well",
		s.TopicPartition, s.Committed, now.Sub(p.moved).Round(time.Second), s.End-s.Committed, s.End, others)
	d.states.tell(out, f, fmt.Sprint(s.Committed))
}

// note adds a sample.
func (p *path) note(now time.Time, s Standing, history time.Duration) {
	p.samples = append(p.samples, sample{now, s.LogStart, s.End, s.Committed})
	for len(p.samples) > 2 && now.Sub(p.samples[1].at) > history {
		p.samples = p.samples[1:]
	}
	if len(p.samples) > maxSamples {
		// Thin out the older half; where the log's start moved is kept.
		kept := p.samples[:1:1]
		for i := 1; i < len(p.samples); i++ {
			if i >= maxSamples/2 || i%2 == 0 || p.samples[i].logStart != p.samples[i-1].logStart {
				kept = append(kept, p.samples[i])
			}
		}
		if len(kept) == len(p.samples) { // it moves all the time
			kept = append([]sample{}, p.samples[len(p.samples)/4:]...)
		}
		p.samples = kept
	}
}

// behind reports whether records that were there so long ago have not been settled.
func (p *path) behind(now time.Time, d time.Duration) bool {
	for i := len(p.samples) - 1; i >= 0; i-- {
		if now.Sub(p.samples[i].at) >= d {
			return p.samples[i].end > p.last.Committed
		}
	}
	return false
}

// speed is how many offsets a second have been settled in the last minute or so.
func (p *path) speed(now time.Time) float64 {
	for i := len(p.samples) - 1; i >= 0; i-- {
		if took := now.Sub(p.samples[i].at); took >= time.Minute || i == 0 && took > 0 {
			return float64(p.last.Committed-p.samples[i].committed) / took.Seconds()
		}
	}
	return 0
}

// removal is how Kafka has removed records: in the biggest step, in all, and in how many steps.
func (p *path) removal() (step, total int64, steps int) {
	for i := 1; i < len(p.samples); i++ {
		if n := p.samples[i].logStart - p.samples[i-1].logStart; n > 0 {
			step, total, steps = max(step, n), total+n, steps+1
		}
	}
	return step, total, steps
}

func (d *Partitions) retention(out *Said, now time.Time, p *path) {
	s := p.last
	room := s.Committed - s.LogStart
	f := waybill.Finding{Kind: KindRetention, Severity: waybill.SeverityWarning, TopicPartition: s.TopicPartition, Span: waybill.Span{First: s.Committed, Next: s.End},
		Action: "raise retention.ms and retention.bytes of the topic now, then find out why the pipeline is behind"}
	step, total, steps := p.removal()
	if steps == 0 || room < 0 || !p.behind(now, d.cfg.Behind) {
		if s.End <= s.Committed || room >= 0 && (steps == 0 || !p.behind(now, d.cfg.Behind)) {
			d.states.clear(out, f.Key(), "the pipeline is no longer behind what the topic retains")
		}
		return
	}
	left := time.Duration(-1)
	if took := now.Sub(p.samples[0].at); steps >= 2 && took > 0 {
		closing := float64(total)/took.Seconds() - p.speed(now)
		if closing > 0 {
			left = time.Duration(float64(room) / closing * float64(time.Second))
		}
	}
	switch {
	case left >= 0 && left < d.cfg.Warn:
		f.Message = fmt.Sprintf("Kafka removes records of %s faster than they are read: %d offsets are left between the log's start, %d, and the position, %d; at the rate of the last %s they last for %s",
			s.TopicPartition, room, s.LogStart, s.Committed, now.Sub(p.samples[0].at).Round(time.Second), left.Round(time.Second))
	case room <= step:
		f.Message = fmt.Sprintf("Kafka may remove records of %s before they are read: %d offsets are left between the log's start, %d, and the position, %d, and the last removals took up to %d at once",
			s.TopicPartition, room, s.LogStart, s.Committed, step)
	default:
		if room > 2*step {
			d.states.clear(out, f.Key(), "there is room again between what the topic retains and the position")
		}
		return
	}
	d.states.tell(out, f, fmt.Sprint(s.Committed, s.LogStart))
}
