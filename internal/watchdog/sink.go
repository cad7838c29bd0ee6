package watchdog

import (
	"fmt"
	"time"

	waybill "github.com/waybill-data/waybill"
)

// Stall is what a pipeline waits for.
type Stall struct {
	Since time.Time // zero: it does not wait
	About string    // what failed, and the class of the error
	Words string    // the error's
	View  string    // the materialized view that throws, if it is one
}

// Stalls tells of a pipeline that has been waiting for an outside system for longer than After.
type Stalls struct {
	After  time.Duration // default 45 s
	states states
	view   string // that there is a finding about
}

// Look takes in what the pipeline waits for.
func (d *Stalls) Look(now time.Time, s Stall) (out Said) {
	if d.states == nil {
		d.states = states{}
		if d.After <= 0 {
			d.After = 45 * time.Second
		}
	}
	stalled := waybill.FindingKey{Kind: KindStalledSink}
	if d.view != "" && s.View != d.view {
		d.states.clear(&out, waybill.FindingKey{Kind: KindViewFailing, Subject: d.view}, "an insert went through the view")
		d.view = ""
	}
	if s.Since.IsZero() {
		d.states.clear(&out, stalled, "the pipeline moves again")
		return out
	}
	if s.View != "" {
		d.view = s.View
		d.states.tell(&out, waybill.Finding{Kind: KindViewFailing, Severity: waybill.SeverityError, Subject: s.View,
			Message: fmt.Sprintf("materialized view %s throws, so that nothing can be written: %s", s.View, s.Words),
			Action:  "mend or drop the view; the batch is sent again as a whole, so that the view gets its rows"}, s.View)
	}
	if now.Sub(s.Since) >= d.After {
		d.states.tell(&out, waybill.Finding{Kind: KindStalledSink, Severity: waybill.SeverityError,
			Message: fmt.Sprintf("nothing has moved for %s: %s", now.Sub(s.Since).Round(time.Second), s.Words),
			Action:  "see what the server or the brokers say; it goes on by itself when that is mended, and until then Kafka keeps the records"}, s.About)
	}
	return out
}

// Boot is which server answers, and since when it is up.
type Boot struct {
	Started time.Time
	Server  string // its id
}

// bootTolerance: the server tells its uptime in whole seconds.
const bootTolerance = 3 * time.Second

// Boots notices that the server was restarted, or that another one answers.
type Boots struct{ last Boot }

// Look says what has happened, in words; empty: nothing.
func (d *Boots) Look(b Boot) (what string) {
	last := d.last
	d.last = b
	switch {
	case last.Started.IsZero():
		return ""
	case last.Server != b.Server:
		return fmt.Sprintf("another ClickHouse server answers now, %s in place of %s", b.Server, last.Server)
	case b.Started.Sub(last.Started) > bootTolerance:
		return fmt.Sprintf("the ClickHouse server was restarted at %s", b.Started.UTC().Format(time.RFC3339))
	}
	d.last.Started = last.Started // so that no drift adds up
	return ""
}

// ServerConfig are thresholds for the server. The zero value of a field means its default.
type ServerConfig struct {
	// Needed is for how long a token must be remembered: a lease and the time that an insert may take.
	Needed time.Duration
	// Delay is how far a replica may lag behind. Default one minute.
	Delay time.Duration
}

// Window is how a table's deduplication window is used.
type Window struct {
	Table string // database.table
	Size  int64  // ids that it holds
	Used  int64  // ids that came in, of all writers
	Over  time.Duration
}

// Server watches what the server says of its tables.
type Server struct {
	Config ServerConfig
	states states
}

// Windows compares how long each table remembers tokens with how long it must.
func (d *Server) Windows(all []Window) (out Said) {
	if d.states == nil {
		d.states = states{}
	}
	for _, w := range all {
		f := waybill.Finding{Kind: KindWindowSmall, Severity: waybill.SeverityWarning, Subject: w.Table,
			Action: fmt.Sprintf("ALTER TABLE %s MODIFY SETTING non_replicated_deduplication_window = %d, or write larger blocks", w.Table, max(10_000, 10*w.Size))}
		if w.Used == 0 || w.Over <= 0 || w.Size == 0 {
			continue
		}
		lasts := time.Duration(float64(w.Over) * float64(w.Size) / float64(w.Used))
		switch {
		case lasts < d.Config.Needed:
			f.Message = fmt.Sprintf("%s remembers %d tokens, and its writers used %d in %s: a token is forgotten after %s, and an insert may take %s to arrive",
				w.Table, w.Size, w.Used, w.Over.Round(time.Second), lasts.Round(time.Second), d.Config.Needed)
			d.states.tell(&out, f, "small")
		case lasts > d.Config.Needed*5/4:
			d.states.clear(&out, f.Key(), "tokens are remembered for "+lasts.Round(time.Second).String())
		}
	}
	return out
}

// Replica says how far a table's replica is behind.
type Replica struct {
	Table    string
	Delay    time.Duration
	ReadOnly bool
}

// Replicas compares the delays with what is bearable.
func (d *Server) Replicas(all []Replica) (out Said) {
	if d.states == nil {
		d.states = states{}
	}
	limit := d.Config.Delay
	if limit <= 0 {
		limit = time.Minute
	}
	for _, r := range all {
		f := waybill.Finding{Kind: KindReplicaLags, Severity: waybill.SeverityWarning, Subject: r.Table,
			Action: "look at system.replication_queue; until it has caught up, queries on this replica do not see all rows"}
		switch {
		case r.ReadOnly:
			f.Message = fmt.Sprintf("the replica of %s on this server is read-only", r.Table)
			d.states.tell(&out, f, "read-only")
		case r.Delay >= limit:
			f.Message = fmt.Sprintf("the replica of %s on this server is %s behind the others", r.Table, r.Delay)
			d.states.tell(&out, f, "behind")
		case r.Delay < limit/2:
			d.states.clear(&out, f.Key(), "the replica has caught up")
		}
	}
	return out
}
