package watchdog

import (
	"fmt"
	"time"

	waybill "github.com/waybill-data/waybill"
)

// SourceConfig are the thresholds for a topic that has gone quiet. The zero value of a field means its default.
type SourceConfig struct {
	// Days is how many days must tell what is usual at this hour. Default 3.
	Days int
	// Least is how long a topic must be quiet in any case. Default 45 s.
	Least time.Duration
	// Expected is how many records must have been due meanwhile, by the quietest of those days. Default 20.
	Expected float64
	// Times is how many times the longest silence of those days it must be quiet. Default 3.
	Times float64
}

func (c SourceConfig) withDefaults() SourceConfig {
	if c.Days <= 0 {
		c.Days = 3
	}
	if c.Least <= 0 {
		c.Least = 45 * time.Second
	}
	if c.Expected <= 0 {
		c.Expected = 20
	}
	if c.Times <= 0 {
		c.Times = 3
	}
	return c
}

// keepDays is how many days back it is looked.
const keepDays = 8

// Source notices that a topic has gone quiet against its own history. It knows how many records came in each minute of the last days, and compares
// a silence with the same hour of each of them: with the day that was quietest then, and with the longest silence of all of them. A topic that is
// quiet every night is quiet by right; of one that is younger than a few days nothing can be said.
type Source struct {
	cfg     SourceConfig
	states  states
	minutes map[int64]int64 // records by minute since the epoch
	first   int64           // of minutes; 0: there are none
	pruned  int64           // up to which minute old ones were last forgotten
	last    time.Time       // when a record came
	topic   string
}

// NewSource knows no history.
func NewSource(topic string, cfg SourceConfig) *Source {
	return &Source{cfg: cfg.withDefaults(), states: states{}, minutes: map[int64]int64{}, topic: topic}
}

// Came takes in that records came, now or, from the ledger, at an earlier time.
func (d *Source) Came(at time.Time, records int64) {
	if records <= 0 {
		return
	}
	minute := at.Unix() / 60
	if d.minutes[minute] += records; d.first == 0 || minute < d.first {
		d.first = minute
	}
	if at.After(d.last) {
		d.last = at
	}
}

// Look judges the silence. waiting: records may be there that have not been read, so that it is not the topic that is quiet.
func (d *Source) Look(now time.Time, waiting bool) (out Said) {
	key := waybill.FindingKey{Kind: KindQuietSource, Subject: d.topic}
	d.prune(now)
	quiet := now.Sub(d.last)
	if d.last.IsZero() || waiting {
		return out
	}
	if quiet < d.cfg.Least {
		d.states.clear(&out, key, "records come again")
		return out
	}
	days, rate, silence := d.usual(now)
	if days < d.cfg.Days || rate*quiet.Minutes() < d.cfg.Expected || quiet < time.Duration(d.cfg.Times*float64(silence))+d.cfg.Least {
		return out
	}
	d.states.tell(&out, waybill.Finding{Kind: KindQuietSource, Severity: waybill.SeverityWarning, Subject: d.topic,
		Message: fmt.Sprintf("topic %s has brought nothing for %s; at this hour of the last %d days at least %.3g records a minute came, and the longest silence was %s",
			d.topic, quiet.Round(time.Second), days, rate, silence),
		Action: "ask whether the producer runs, and whether it writes to this topic and cluster"}, fmt.Sprint(d.last.Unix()))
	return out
}

// prune forgets what is too long ago, once an hour.
func (d *Source) prune(now time.Time) {
	minute := now.Unix() / 60
	if minute-d.pruned < 60 {
		return
	}
	d.pruned = minute
	for m := range d.minutes {
		if minute-m > keepDays*24*60 {
			delete(d.minutes, m)
		}
	}
}

// around is how many minutes before and after count as the same time of the day.
const around = 30

// usual is what came at about this time on each of the last days: on how many of them anything is known, how many records a minute on the quietest,
// and the longest silence on any, from its beginning to its end.
func (d *Source) usual(now time.Time) (days int, rate float64, silence time.Duration) {
	for day := int64(1); day < keepDays; day++ {
		centre := now.Unix()/60 - day*24*60
		if d.first == 0 || d.first > centre-around {
			break // there was no pipeline yet
		}
		days++
		r, longest := d.about(centre)
		if days == 1 || r < rate {
			rate = r
		}
		silence = max(silence, time.Duration(longest)*time.Minute)
	}
	return days, rate, silence
}

// about is how many records a minute came around a minute, and the longest silence there in minutes.
func (d *Source) about(centre int64) (rate float64, longest int64) {
	const most = 24 * 60
	first, next := centre-around, centre+around+1
	for d.minutes[first] == 0 && centre-first < most {
		first--
	}
	for d.minutes[next-1] == 0 && next-centre < most {
		next++
	}
	var records, gap int64
	for m := first; m < next; m++ {
		n := d.minutes[m]
		if m >= centre-around && m <= centre+around {
			records += n
		}
		if gap++; n > 0 {
			gap = 0
		}
		longest = max(longest, gap)
	}
	return float64(records) / (2*around + 1), longest
}
