package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/trial"
)

// shownDifferences is how many differences are shown to people.
const shownDifferences = 50

func (r *testResult) print(s Streams, o output, opts testOptions) error {
	if o == outputJSON {
		return printJSON(s.Out, r)
	}
	var b strings.Builder
	switch {
	case opts.golden == "":
		b.Write(r.text())
	case opts.update:
		fmt.Fprintf(&b, "%s: written, %d lines\n", opts.golden, len(r.Outcomes))
	}
	for i, d := range r.Differences {
		if i == shownDifferences {
			fmt.Fprintf(&b, "and %d more differences\n", len(r.Differences)-i)
			break
		}
		fmt.Fprintf(&b, "%s %v\n", opts.golden, d)
	}
	if _, err := io.WriteString(s.Out, b.String()); err != nil {
		return err
	}
	b.Reset()
	printTrial(&b, &r.Summary)
	if r.Empty > 0 {
		wrap(&b, "", fmt.Sprintf("empty lines, skipped: %d", r.Empty))
	}
	if opts.golden != "" && !opts.update {
		wrap(&b, "", fmt.Sprintf("%s: %s", opts.golden, verdict(r)))
	}
	tell(s.Err, "%s", b.String())
	return nil
}

func verdict(r *testResult) string {
	if r.OK {
		return "no difference"
	}
	return fmt.Sprintf("%d differences", len(r.Differences))
}

// printTrial shows what became of records, or would become of them.
func printTrial(b *strings.Builder, s *trial.Summary) {
	rows := [][]string{{"records", count(s.Records), ""}}
	add := func(name string, n int64) {
		if n > 0 {
			rows = append(rows, []string{"  " + name, count(n), share(n, s.Records)})
		}
	}
	add("whole rows", s.Rows-s.RescuedRows)
	add("rows with rescued fields", s.RescuedRows)
	add("dead letters", s.DeadLettered)
	add("filtered", s.Filtered)
	add("tombstones", s.Tombstones)
	add("of the rows: blank, no field of the contract in them", s.Blank)
	add("redacted", s.Redacted)
	add("brought to the current version", s.Upcast)
	add("of an unknown version, taken for the current one", s.Assumed)
	table(b, rows, 1)
	for _, d := range s.DeadLetters {
		wrap(b, "  ", fmt.Sprintf("dead letters, %s: %s (%s), first %s: %s", strings.TrimSpace(d.Code+" "+d.Column), count(d.Count),
			share(d.Count, s.Records), d.Example, d.Message))
	}
	for _, r := range s.RedactedBy {
		wrap(b, "  ", fmt.Sprintf("redaction, %s: %s", r.Rule, changed(r.Values)))
	}
	for i := range s.Tables {
		printTrialTable(b, &s.Tables[i], s.Records)
	}
}

func printTrialTable(b *strings.Builder, t *trial.Table, records int64) {
	indent := "  "
	if t.Route != "" {
		wrap(b, indent, fmt.Sprintf("route %s, rows in table %s: %s (%s)", t.Route, t.Table, count(t.Rows), share(t.Rows, records)))
		indent += "  "
	}
	for _, d := range t.Drift {
		wrap(b, indent, driftLine(d))
	}
	for _, c := range t.Changes {
		wrap(b, indent, fmt.Sprintf("evolve would change the table for %s: %s", c.Path, c.Why))
		b.WriteString(indent + "  " + c.SQL + "\n") // whole, to be copied
	}
	for _, h := range t.Held {
		wrap(b, indent, fmt.Sprintf("evolve would leave %s to the rescue column: %s", h.Path, h.Why))
	}
}

// changed says how many values a rule of redaction changed. A rule that changed none may be spelt wrong.
func changed(values int64) string {
	if values == 0 {
		return "changed nothing"
	}
	return "values changed: " + count(values)
}

// fates are what becomes of values under the modes.
var fates = map[string]string{
	string(contract.ModeEvolve): "rescued, as the table has no room for them", string(contract.ModeRescue): "rescued",
	string(contract.ModeDiscard): "discarded", string(contract.ModeFreeze): "dead letters",
}

func driftLine(d trial.Drift) string {
	what := "new field " + d.Path
	if d.Kind == string(contract.DriftTypeConflict) {
		what = fmt.Sprintf("%s does not fit column %s (%s)", d.Path, d.Column, d.Reason)
	}
	line := fmt.Sprintf("%s: values %[3]s: %[2]s", what, count(d.Count), fates[d.Mode])
	if d.Type != "" && d.Mode != string(contract.ModeEvolve) { // which says itself what it makes of them
		line += ", would fit " + d.Type
	}
	return line + "; the first: " + d.Sample
}

// share is a part of a whole in percent.
func share(n, of int64) string {
	if of == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
}
