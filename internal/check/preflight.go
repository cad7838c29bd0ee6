package check

import (
	"errors"
	"slices"
	"strings"

	"github.com/waybill-data/waybill"
)

// guards are the checks of a table without which the guarantee does not hold: `waybill run` starts on no table for which one of them finds an
// error. Columns and lineage are not among them, as they are compiled into the plan.
var guards = []string{"engine", "quorum", "row_policies", "dedup_window", "views", "projection"}

// Preflight refuses tables that cannot hold the guarantee that the file asks for, and says what to change. What is only worth knowing comes back
// as findings. Of the facts, those about the one table count.
func Preflight(f *Facts, t *Table) (notes []waybill.Finding, err error) {
	failed := map[string]string{}
	var problems []error
	for _, c := range Checks() {
		if !slices.Contains(guards, c.ID) || c.skip(failed) != "" {
			continue
		}
		for _, one := range c.judgeTable(f, t).findings {
			switch {
			case one.Severity == waybill.SeverityError:
				failed[c.ID] = c.Asks
				problems = append(problems, errors.New(one.brief))
			case one.kind != "":
				notes = append(notes, one.forRun())
			}
		}
	}
	if len(problems) > 0 {
		how := "change the table, or set `delivery: at-least-once` if rows may land twice"
		if failed["quorum"] != "" && len(problems) == 1 {
			how = mendQuorum
		}
		return nil, &waybill.Error{Op: "preflight", Pipeline: f.Pipeline.Name, Class: waybill.ClassConfig, Err: errors.Join(problems...), Hint: how}
	}
	return notes, nil
}

// forRun is the finding as `waybill run` tells of it.
func (f *Finding) forRun() waybill.Finding {
	var action []string
	for _, m := range f.Mend {
		action = append(action, m.Text)
	}
	return waybill.Finding{Kind: f.kind, Severity: f.Severity, Subject: f.subject, Message: f.What, Action: strings.Join(action, "; ")}
}
