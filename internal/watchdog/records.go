package watchdog

import (
	"fmt"
	"time"

	waybill "github.com/waybill-data/waybill"
)

// Part is what a settled batch shows of one partition's records.
type Part struct {
	waybill.TopicPartition
	waybill.Span
	Read, Dead int64
	// Earliest and Latest are the records' times in Kafka; zero if there are none.
	Earliest, Latest time.Time
	// Closed is when the batch was closed, by the server's clock.
	Closed time.Time
}

// RecordsConfig are the thresholds for records. The zero value of a field means its default.
type RecordsConfig struct {
	// Window is how long records are gathered before their share of dead letters is compared with that before, and Least how many there must be.
	// Defaults 15 s and 100.
	Window time.Duration
	Least  int64
	// Warm is how many windows there must be before. Default 4.
	Warm int
	// Jump and Times say what is a jump: by so much of all records, and so many times the share before. Defaults 0.05 and 5.
	Jump, Times float64
	// Most is a share that is a finding whatever was before. Default 0.5.
	Most float64
	// Ahead is how far a record's time may lie in the future. Default one minute.
	Ahead time.Duration
	// Late is how much older than those before it a record may be. Default 24 hours.
	Late time.Duration
	// Quiet is how long after the last such record its finding is closed. Default 5 minutes.
	Quiet time.Duration
}

func (c RecordsConfig) withDefaults() RecordsConfig {
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{{&c.Window, 15 * time.Second}, {&c.Ahead, time.Minute}, {&c.Late, 24 * time.Hour}, {&c.Quiet, 5 * time.Minute}} {
		if *d.value <= 0 {
			*d.value = d.fallback
		}
	}
	for _, d := range []struct {
		value    *float64
		fallback float64
	}{{&c.Jump, .05}, {&c.Times, 5}, {&c.Most, .5}} {
		if *d.value <= 0 {
			*d.value = d.fallback
		}
	}
	if c.Least <= 0 {
		c.Least = 100
	}
	if c.Warm <= 0 {
		c.Warm = 4
	}
	return c
}

// Records watches what settled batches show of their records: how many became dead letters, and what times they bear.
type Records struct {
	cfg    RecordsConfig
	states states

	began      time.Time // of the window
	read, dead int64
	usual      float64 // share of dead letters before, each window weighing less than the one after it
	windows    int
	where      Part // the first part of the window with dead letters

	latest map[waybill.TopicPartition]time.Time // newest record time so far, of records that are not ahead
	skewed map[waybill.FindingKey]time.Time     // when there was such a record last
}

// NewRecords has seen no record.
func NewRecords(cfg RecordsConfig) *Records {
	return &Records{cfg: cfg.withDefaults(), states: states{}, latest: map[waybill.TopicPartition]time.Time{}, skewed: map[waybill.FindingKey]time.Time{}}
}

// Settled takes in a batch.
func (d *Records) Settled(now time.Time, parts []Part) (out Said) {
	for _, p := range parts {
		if p.Dead > d.where.Dead {
			d.where = p
		}
		d.read += p.Read
		d.dead += p.Dead
		if !p.Latest.IsZero() {
			d.times(&out, now, p)
		}
	}
	return out
}

// times judges the records' times.
func (d *Records) times(out *Said, now time.Time, p Part) {
	if ahead := p.Latest.Sub(p.Closed); ahead > d.cfg.Ahead {
		f := waybill.Finding{Kind: KindClockSkew, Severity: waybill.SeverityWarning, TopicPartition: p.TopicPartition, Span: p.Span,
			Message: fmt.Sprintf("records of %s %s bear times up to %s in the future, by the ClickHouse server's clock", p.TopicPartition, p.Span, ahead.Round(time.Second)),
			Action:  "set the clock of the producer (or of the server) right; views by time and TTLs go by these times"}
		d.skewed[f.Key()] = now
		d.states.tell(out, f, "ahead")
	} else if p.Latest.After(d.latest[p.TopicPartition]) {
		defer func() { d.latest[p.TopicPartition] = p.Latest }()
	}
	newest, known := d.latest[p.TopicPartition]
	if late := newest.Sub(p.Earliest); known && late > d.cfg.Late {
		f := waybill.Finding{Kind: KindLateData, Severity: waybill.SeverityWarning, TopicPartition: p.TopicPartition, Span: p.Span,
			Message: fmt.Sprintf("records of %s %s are up to %s older than records before them", p.TopicPartition, p.Span, late.Round(time.Second)),
			Action:  "what has been computed of that time already lacks them; if somebody fills the topic up on purpose, nothing is to be done"}
		d.skewed[f.Key()] = now
		d.states.tell(out, f, "late")
	}
}

// Look ends the window, if it is over, and closes what is over.
func (d *Records) Look(now time.Time) (out Said) {
	for key, last := range d.skewed {
		if now.Sub(last) >= d.cfg.Quiet {
			delete(d.skewed, key)
			d.states.clear(&out, key, "no such record has come for "+d.cfg.Quiet.String())
		}
	}
	if d.began.IsZero() {
		d.began = now
	}
	if now.Sub(d.began) < d.cfg.Window || d.read < d.cfg.Least {
		return out
	}
	share := float64(d.dead) / float64(d.read)
	f := waybill.Finding{Kind: KindDeadRate, Severity: waybill.SeverityError, TopicPartition: d.where.TopicPartition, Span: d.where.Span,
		Action: "`waybill dlq groups` shows why; mend the producer or the contract, then replay them"}
	f.TopicPartition = waybill.TopicPartition{} // it is about the pipeline; the span is where it began
	key := f.Key()
	high := share >= d.cfg.Most || d.windows >= d.cfg.Warm && share >= d.usual+d.cfg.Jump && share >= d.usual*d.cfg.Times
	open := d.states[key] != nil && d.states[key].open
	switch {
	case high:
		before := fmt.Sprintf("; it was %.2g %% before", 100*d.usual)
		if d.windows < d.cfg.Warm {
			before = ""
		}
		f.Message = fmt.Sprintf("%.3g %% of the last %d records became dead letters%s; most of them in %s %s", 100*share, d.read, before, d.where.TopicPartition, d.where.Span)
		d.states.tell(&out, f, "high")
	case !open || share < d.usual+d.cfg.Jump/2:
		d.states.clear(&out, key, fmt.Sprintf("%.2g %% of the last %d records became dead letters", 100*share, d.read))
		open = false
	}
	if !high && !open { // what is usual stays what it was while there is a finding
		const weight = .1
		if d.windows++; d.windows == 1 {
			d.usual = share
		}
		d.usual += weight * (share - d.usual)
	}
	d.began, d.read, d.dead, d.where = now, 0, 0, Part{}
	return out
}

// Forget drops what is known of a partition.
func (d *Records) Forget(tp waybill.TopicPartition) {
	delete(d.latest, tp)
	d.states.forget(tp)
	for key := range d.skewed {
		if key.TopicPartition == tp {
			delete(d.skewed, key)
		}
	}
}
