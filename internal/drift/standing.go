package drift

import (
	"fmt"
	"maps"
	"slices"
	"time"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

// Standing is what is so now of what lasts: findings that are open; and, as Over, those of before that are not. A state that has lasted for
// Config.Accept is what is usual: it is over too. Of findings that are open from before this monitor knew anything, by an earlier start of the worker or under another
// plan, it says that they are over once it has seen enough to compare with, and nothing unusual in it.
func (m *Monitor) Standing() []waybill.Finding {
	var out []waybill.Finding
	settled, next := m.window.warm(m.cfg) && !m.settled, m.window.closed != m.stood
	each := func(r *rate, of about, present bool) {
		switch {
		case r.open && r.told && next: // once a window
			out = append(out, r.said)
		case r.accepted:
			r.accepted = false
			out = append(out, over(of, fmt.Sprintf("it has been so for %s: it is what is usual from now on", m.cfg.Accept.Round(time.Hour))))
		case settled && !r.open && present:
			out = append(out, over(of, fmt.Sprintf("nothing unusual in the %d windows since the worker was started, or the plan compiled anew", m.window.closed)))
		}
	}
	each(&m.blanks, about{FindingBlank, ""}, true)
	for _, name := range slices.Sorted(maps.Keys(m.columns)) {
		c := m.columns[name]
		each(&c.present, about{FindingVanished, name}, c.present.before > 0)
		each(&c.defaulted, about{FindingDefaultRate, name}, true)
		each(&c.nulls, about{FindingNullRate, name}, true)
	}
	for _, k := range slices.SortedFunc(maps.Keys(m.fields), compareKeys) {
		if k.Kind == KindNewField && k.Path != contract.OtherPaths {
			f := m.fields[k]
			each(&f.share, about{FindingVanished, "field " + k.Path}, f.share.before > 0)
		}
	}
	m.settled, m.stood = m.settled || settled, m.window.closed
	return condensed(out, m.cfg.Findings)
}

func over(of about, how string) waybill.Finding {
	return waybill.Finding{Kind: of.kind, Severity: waybill.SeverityInfo, Subject: of.subject, Message: how, Over: true}
}
