package drift

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

// Kinds of findings, beside those of contract.DriftKind.
const (
	FindingVanished    = "field_vanished"
	FindingNullRate    = "null_rate"
	FindingDefaultRate = "default_rate"
	FindingBlank       = "blank_events"
	FindingManyFields  = "too_many_fields"
)

// judge compares the window that ends with those before.
func (m *Monitor) judge(now time.Time) []waybill.Finding {
	var out []waybill.Finding
	add := func(f *waybill.Finding) {
		if f != nil {
			out = append(out, *f)
		}
	}
	add(m.judgeBlank(now))
	for _, name := range slices.Sorted(maps.Keys(m.columns)) {
		c := m.columns[name]
		c.present.now += m.window.now // Observe has taken off those without
		if !c.elements {
			add(m.vanished(&c.present, c.name, c.title(), now))
			add(m.jumped(&c.defaulted, c.present.absent > 0, about{FindingDefaultRate, c.name}, "without a value that "+c.name+" can take", now))
			add(m.jumped(&c.nulls, false, about{FindingNullRate, c.name}, "with null for "+c.name, now))
		}
		c.present.roll(&m.window, c.present.absent > 0, m.cfg)
		c.defaulted.roll(&m.window, c.defaulted.open || c.present.absent > 0, m.cfg)
		c.nulls.roll(&m.window, c.nulls.open, m.cfg)
	}
	for _, k := range slices.SortedFunc(maps.Keys(m.fields), compareKeys) {
		f := m.fields[k]
		if k.Kind == KindNewField && k.Path != contract.OtherPaths {
			add(m.vanished(&f.share, "field "+k.Path, "the field "+k.Path+", which no column takes,", now))
		}
		f.share.roll(&m.window, f.share.absent > 0, m.cfg)
	}
	return condensed(out, m.cfg.Findings)
}

// condensed says in one finding what would take more than limit of one kind and severity: it has one cause.
func condensed(all []waybill.Finding, limit int) []waybill.Finding {
	type like struct {
		kind     string
		severity waybill.Severity
	}
	number := map[like]int{}
	for _, f := range all {
		if !f.Over { // each that is open must be closed
			number[like{f.Kind, f.Severity}]++
		}
	}
	var out []waybill.Finding
	for _, f := range all {
		k := like{f.Kind, f.Severity}
		if n := number[k]; n > limit {
			f.Message += fmt.Sprintf("; and %d more findings of the kind, at the same time", n-1)
			number[k] = 0
		} else if n == 0 && !f.Over {
			continue
		}
		out = append(out, f)
	}
	return out
}

func (c *column) title() string {
	if c.path == c.name {
		return "the field of column " + c.name
	}
	return "the field " + c.path + " of column " + c.name
}

// vanished: it was in a good share of the events, and is in none.
func (m *Monitor) vanished(r *rate, subject, what string, now time.Time) *waybill.Finding {
	usual, w := r.usual(&m.window), &m.window
	lacks := w.warm(m.cfg) && r.now <= 0 && usual >= m.cfg.VanishShare
	r.absent++
	if !lacks {
		r.absent = 0
	}
	switch r.step(now, r.absent >= m.cfg.Absent, r.now > 0, w, m.cfg) {
	case opens:
		return r.says(&waybill.Finding{
			Kind: FindingVanished, Severity: waybill.SeverityWarning, Subject: subject,
			Message: fmt.Sprintf("%s is in none of the events of %d windows, %d in the last one; it was in %s before", what, r.absent, w.now, Percent(usual)),
			Action:  "ask who produces the events whether it was renamed or removed",
		})
	case closes:
		return &waybill.Finding{
			Kind: FindingVanished, Severity: waybill.SeverityInfo, Subject: subject, Over: true,
			Message: fmt.Sprintf("%s is back, in %s of the last %d events", what, Percent(r.share(w)), w.now),
		}
	}
	return nil
}

// about is what a finding on a rate is about.
type about struct{ kind, subject string }

// jumped: the share is far above what is usual. suspended is true while another finding says why.
func (m *Monitor) jumped(r *rate, suspended bool, of about, what string, now time.Time) *waybill.Finding {
	usual, w := r.usual(&m.window), &m.window
	share := r.share(w)
	begun := w.warm(m.cfg) && !suspended && share >= usual+m.cfg.Jump
	switch r.step(now, begun, share < usual+m.cfg.Jump*m.cfg.Settle, w, m.cfg) {
	case opens:
		return r.says(&waybill.Finding{
			Kind: of.kind, Severity: waybill.SeverityWarning, Subject: of.subject,
			Message: fmt.Sprintf("%s of the last %d events are %s; it was %s before", Percent(share), w.now, what, Percent(usual)),
			Action:  "ask who produces the events what has changed; `waybill schema drift` shows what they carry",
		})
	case closes:
		return &waybill.Finding{
			Kind: of.kind, Severity: waybill.SeverityInfo, Subject: of.subject, Over: true,
			Message: fmt.Sprintf("%s of the last %d events are %s, as before", Percent(share), w.now, what),
		}
	}
	return nil
}

// judgeBlank needs nothing to compare with: an event that fills no column is never right. A window in which all are blank is not its
// business: whoever wrote them has stopped at that, or has been told (engine's all_blank).
func (m *Monitor) judgeBlank(now time.Time) *waybill.Finding {
	w := &m.window
	share := m.blanks.share(w)
	step := m.blanks.step(now, share >= m.cfg.BlankShare && share < 1, share < m.cfg.BlankShare*m.cfg.Settle, w, m.cfg)
	m.blanks.now = 0
	f := &waybill.Finding{
		Kind: FindingBlank, Severity: waybill.SeverityWarning,
		Message: fmt.Sprintf("%s of the last %d events match no field of the contract, while others do: their rows are blank", Percent(share), w.now),
		Action:  "find out who else writes to the topic; filter such events out, or map their fields",
	}
	switch step {
	case opens:
		m.blanks.says(f)
	case closes:
		f.Severity, f.Action, f.Over = waybill.SeverityInfo, "", true
		f.Message = fmt.Sprintf("%s of the last %d events match no field of the contract", Percent(share), w.now)
	default:
		return nil
	}
	return f
}

// newcomers are findings on fields that are seen for the first time. Those beyond the quota share one.
func (m *Monitor) newcomers(now time.Time) []waybill.Finding {
	left := m.told.left(now, m.cfg)
	if len(m.fresh) == 0 || left <= 0 {
		return nil
	}
	single := m.fresh
	if len(single) > left {
		single = single[:left-1]
	}
	var out []waybill.Finding
	for _, f := range single {
		out = append(out, f.finding(m.cfg))
	}
	if rest := m.fresh[len(single):]; len(rest) > 0 {
		out = append(out, together(rest))
	}
	m.told.used += len(out)
	m.fresh = nil
	return out
}

// becomes says what became of values, by mode.
var becomes = map[contract.Mode]string{
	contract.ModeEvolve: "kept in the rescue column", contract.ModeRescue: "kept in the rescue column",
	contract.ModeDiscard: "dropped and counted", contract.ModeFreeze: "kept as dead letters",
}

func (f *field) finding(c Config) waybill.Finding {
	k := f.pending.Key
	out := waybill.Finding{
		Kind: string(k.Kind), Severity: waybill.SeverityInfo, Subject: k.Path,
		TopicPartition: waybill.TopicPartition{Topic: f.first.Topic, Partition: f.first.Partition},
		Span:           waybill.Span{First: f.first.Offset, Next: f.first.Offset + 1},
		Action:         "`waybill schema drift` shows how often it comes; `waybill schema promote` gives it a column",
	}
	fate := cmp.Or(becomes[f.mode], "counted")
	switch {
	case k.Path == contract.OtherPaths:
		out.Kind, out.Severity = FindingManyFields, waybill.SeverityWarning
		out.Message = fmt.Sprintf("events have more than %d fields that the contract does not expect; the others are counted as one", c.Paths)
		out.Action = "give objects with free keys a column of Map or JSON"
	case k.Kind == KindTypeConflict:
		out.Severity, out.Subject = waybill.SeverityWarning, k.Path+" for column "+k.Column
		out.Message = fmt.Sprintf("values of %s do not fit column %s (%s), as %s; they are %s", k.Path, k.Column, f.reason, f.sample, fate)
		out.Action = "give the column a type that takes them, or mend who produces them"
	default:
		out.Message = fmt.Sprintf("events carry %s, which no column takes, as %s; its values are %s", k.Path, f.sample, fate)
	}
	return out
}

// together is one finding for many fields.
func together(fields []*field) waybill.Finding {
	const named = 10
	names := ""
	for _, f := range fields[:min(len(fields), named)] {
		names += ", " + f.pending.Path
	}
	if len(fields) > named {
		names += ", ..."
	}
	return waybill.Finding{
		Kind: string(KindNewField), Severity: waybill.SeverityInfo, Subject: names[2:],
		Message: fmt.Sprintf("%d more fields are not as the contract expects: %s", len(fields), names[2:]),
		Action:  "`waybill schema drift` shows them all",
	}
}

// Percent writes a share so that neither little looks like none nor much like all.
func Percent(share float64) string {
	switch p := 100 * share; {
	case p > 0 && p < .1:
		return "under 0.1 %"
	case p > 99.9 && p < 100:
		return "over 99.9 %"
	case p == float64(int(p)):
		return fmt.Sprintf("%d %%", int(p))
	default:
		return fmt.Sprintf("%.1f %%", p)
	}
}
