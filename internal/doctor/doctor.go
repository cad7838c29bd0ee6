// Package doctor says why a pipeline does not move, or does not look right, most likely causes first. It is pure: who asks brokers and servers is cli/doctor.go.
package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
)

// Facts are what was seen of a pipeline, at two moments that lie Apart.
type Facts struct {
	Now      time.Time // the server's
	Pipeline string
	File     string
	// Faults are what `waybill check` has found, in its order.
	Faults []Fault
	Group  Group
	// Recorded: Waybill's own database is there, and knows the pipeline; what follows is of it.
	Recorded bool
	Pause    *Pause
	Held     *Hold
	Findings []Finding // open ones
	// LastSettled is when the newest batch was read that the ledger has; zero: it has none.
	LastSettled time.Time
	Tables      []Table
	// Unknown are questions that were not answered, and why.
	Unknown []string
}

// Fault is one of check's.
type Fault struct {
	Severity waybill.Severity
	What     string
	Why      string
	Next     []string
}

// Group is the pipeline's group, and how it and its topic have moved.
type Group struct {
	Name    string
	Known   bool
	Members []string
	// Lag is how many offsets lie before the group at the second moment; Came and Done by how much topic and group have moved between the two.
	Lag, Came, Done int64
	Apart           time.Duration
	// Settles is how long a batch may take to be filled and settled: as long no step of the position says nothing.
	Settles time.Duration
}

// Pause is somebody's word that the pipeline is to stand still.
type Pause struct {
	Who, Why string
	At       time.Time
}

// Hold is a backfill's.
type Hold struct {
	Job   string
	Until time.Time
}

// Finding is one that is open.
type Finding struct {
	Kind, Message string
	Severity      waybill.Severity
	Since         time.Time
}

// Table is one that the pipeline writes, or that a view of it does.
type Table struct {
	Name string
	// Parts are the active ones of the table partition that has most, PartsLimit is where the server refuses inserts; 0: not known.
	Parts, PartsLimit int64
	Mutations         []Mutation // that are not done
}

// Mutation is a change of a table's rows.
type Mutation struct {
	Command string
	Since   time.Time
	Failure string // the last one; empty: none
}

// Diagnosis is a cause, why it is one, and what to do next.
type Diagnosis struct {
	Severity waybill.Severity `json:"severity"`
	Cause    string           `json:"cause"`
	Because  string           `json:"because"`
	Next     []string         `json:"next"`
}

// long is how long a mutation may run before that is told.
const long = 10 * time.Minute

// Diagnose gives the causes, the likeliest first: what keeps everything from running, what somebody has said, who is missing, what workers have found, what the
// servers show, and what may become a cause.
func Diagnose(f *Facts) (out []Diagnosis) {
	add := func(s waybill.Severity, cause, because string, next ...string) {
		out = append(out, Diagnosis{Severity: s, Cause: cause, Because: because, Next: next})
	}
	for _, c := range f.Faults {
		if c.Severity == waybill.SeverityError {
			add(c.Severity, c.What, c.Why, c.Next...)
		}
	}
	if p := f.Pause; p != nil {
		add(waybill.SeverityWarning, fmt.Sprintf("it is paused: by %s, since %s%s", p.Who, moment(p.At), because(p.Why)), "all its workers stand still until it is resumed", "waybill resume "+f.File)
	}
	if h := f.Held; h != nil {
		add(waybill.SeverityWarning, fmt.Sprintf("backfill %s holds it, until %s at the latest", h.Job, moment(h.Until)), "its workers stand still while tables change places; seconds are usual", "waybill backfill status "+f.File)
	}
	f.movement(add)
	for _, s := range []waybill.Severity{waybill.SeverityError, waybill.SeverityWarning} {
		for _, found := range f.Findings {
			if found.Severity == s {
				add(s, found.Kind+": "+found.Message, "a worker has found it, first at "+moment(found.Since), "waybill findings explain "+found.Kind)
			}
		}
	}
	for i := range f.Tables {
		f.Tables[i].judge(f.Now, add)
	}
	for _, c := range f.Faults {
		if c.Severity == waybill.SeverityWarning {
			add(c.Severity, c.What, c.Why, c.Next...)
		}
	}
	slices.SortStableFunc(out, func(a, b Diagnosis) int { return rank(a.Severity) - rank(b.Severity) })
	return out
}

func rank(s waybill.Severity) int {
	return slices.Index([]waybill.Severity{waybill.SeverityError, waybill.SeverityWarning, waybill.SeverityInfo}, s)
}

type adder func(s waybill.Severity, cause, because string, next ...string)

// movement judges whether it moves.
func (f *Facts) movement(add adder) {
	g := &f.Group
	if !g.Known || f.Pause != nil || f.Held != nil {
		return
	}
	idle := f.LastSettled.IsZero() || f.Now.Sub(f.LastSettled) > g.Settles
	switch {
	case len(g.Members) == 0 && (g.Lag > 0 || !f.Recorded):
		add(waybill.SeverityError, fmt.Sprintf("no worker runs: nobody is in the group %s", g.Name), fmt.Sprintf("%d offsets of the topic wait", g.Lag), "waybill run "+f.File, "if one runs: look whether it names the same group and brokers (its log, /status)")
	case g.Lag > 0 && g.Done == 0 && idle:
		because := "the ledger has no batch of it"
		if !f.LastSettled.IsZero() {
			because = "the newest batch of the ledger is of " + moment(f.LastSettled)
		}
		add(waybill.SeverityError, fmt.Sprintf("it stands still: %d offsets wait, and none was settled in %s", g.Lag, g.Apart.Round(time.Second)), because+"; in the group: "+strings.Join(g.Members, ", "),
			"waybill status   # what each partition waits for, in the server's words", "look into the worker's log for `stalled` and `stopped`")
	case g.Lag > 0 && g.Done > 0 && g.Came > g.Done:
		add(waybill.SeverityWarning, fmt.Sprintf("it falls behind: in %s %d offsets came and %d were settled; %d wait", g.Apart.Round(time.Second), g.Came, g.Done, g.Lag),
			"workers, brokers or the server do not keep up", "start another worker if there are more partitions than workers", "waybill status   # where the time goes: reading, inserting")
	}
}

func (t *Table) judge(now time.Time, add adder) {
	switch {
	case t.PartsLimit > 0 && t.Parts >= t.PartsLimit:
		add(waybill.SeverityError, fmt.Sprintf("%s has %d parts in one table partition: the server refuses inserts from %d on", t.Name, t.Parts, t.PartsLimit), "merges do not keep up", "look at system.merges; larger batches make fewer parts (batch.rows, batch.age)")
	case t.PartsLimit > 0 && t.Parts >= t.PartsLimit/2:
		add(waybill.SeverityWarning, fmt.Sprintf("%s has %d parts in one table partition: the server refuses inserts from %d on", t.Name, t.Parts, t.PartsLimit), "merges fall behind, and slow inserts down before they are refused", "look at system.merges; larger batches make fewer parts (batch.rows, batch.age)")
	}
	for _, m := range t.Mutations {
		switch {
		case m.Failure != "":
			add(waybill.SeverityError, fmt.Sprintf("a mutation of %s fails: %s", t.Name, m.Command), m.Failure, fmt.Sprintf("mend its cause, or KILL MUTATION WHERE table = '%s' AND NOT is_done", t.Name[strings.LastIndexByte(t.Name, '.')+1:]))
		case now.Sub(m.Since) > long:
			add(waybill.SeverityWarning, fmt.Sprintf("a mutation of %s runs since %s: %s", t.Name, moment(m.Since), m.Command), "parts are rewritten, and others wait for them", "SELECT * FROM system.mutations WHERE NOT is_done")
		}
	}
}

// Summary is how the pipeline does, in a sentence, where nothing is wrong.
func (f *Facts) Summary() string {
	g := &f.Group
	switch {
	case !g.Known:
		return "nothing is wrong that could be seen; the group's position is not known"
	case g.Lag == 0:
		return "nothing is wrong: everything in the topic is settled"
	}
	return fmt.Sprintf("nothing is wrong: %d offsets wait, %d were settled in %s", g.Lag, g.Done, g.Apart.Round(time.Second))
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

func because(why string) string {
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}
