package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/trial"
)

func (r *planReport) print(s Streams, o output) error {
	if o == outputJSON {
		return printJSON(s.Out, r)
	}
	var b strings.Builder
	r.head(&b)
	r.change(&b)
	r.sample(&b)
	for _, n := range r.Notes {
		wrap(&b, "", fmt.Sprintf("%s: %s", n.Severity, n.Message))
		if n.Action != "" {
			wrap(&b, "  ", n.Action)
		}
	}
	if err := r.refusals(&b, s.OutTTY); err != nil {
		return err
	}
	_, err := io.WriteString(s.Out, b.String())
	return err
}

func (r *planReport) head(b *strings.Builder) {
	verdict := "would run"
	if !r.OK {
		verdict = "would not start, see below"
	}
	if len(r.Tables) == 1 && r.Tables[0].Route == "" {
		wrap(b, "", fmt.Sprintf("%s: %s; topic %s into table %s", r.Pipeline, verdict, r.Topic, r.Tables[0].Table))
		return
	}
	wrap(b, "", fmt.Sprintf("%s: %s; topic %s into %d tables", r.Pipeline, verdict, r.Topic, len(r.Tables)))
	for _, t := range r.Tables {
		wrap(b, "  ", fmt.Sprintf("route %s into table %s: %s", t.Route, t.Table, cmp.Or(t.When, "all that is left")))
	}
	if r.Unrouted != "" {
		wrap(b, "  ", "events that no route takes: "+r.Unrouted)
	}
}

// change is what would be different.
func (r *planReport) change(b *strings.Builder) {
	for _, t := range r.Tables {
		if t.Create == "" {
			continue
		}
		wrap(b, "", fmt.Sprintf("table %s does not exist; this would make it:", t.Table))
		b.WriteString("\n" + t.Create + "\n\n") // whole, to be copied
		wrap(b, "", fmt.Sprintf("rows would be sorted by %s: %s. Choose another key now, by creating the table yourself: it cannot be changed later.",
			strings.Join(t.SortedBy, ", "), t.SortWhy))
	}
	switch {
	case r.Plan == "":
	case r.InUse == "":
		wrap(b, "", fmt.Sprintf("plan %s; none of this pipeline is on record", r.Plan))
	case len(r.Differences) == 0:
		wrap(b, "", fmt.Sprintf("plan %s, which is in use: no difference", r.Plan))
	default:
		wrap(b, "", fmt.Sprintf("plan %s; different from plan %s, which is in use:", r.Plan, r.InUse))
		for _, d := range r.Differences {
			wrap(b, "  ", d.String())
		}
	}
	for _, t := range r.Tables {
		if len(t.LeftToServer) > 0 {
			wrap(b, "", fmt.Sprintf("columns of table %s that are left to the server: %s", t.Table, strings.Join(t.LeftToServer, ", ")))
		}
	}
}

// sample is what would become of the records that were read.
func (r *planReport) sample(b *strings.Builder) {
	if r.Trial == nil {
		return
	}
	ends := map[string]string{"latest": "end", "earliest": "beginning"}[r.Sample.From]
	wrap(b, "", fmt.Sprintf("of %s offsets in the topic, those at the %s of each of %d partitions were read:", count(r.Sample.InTopic), ends, len(r.Sample.Spans)))
	printTrial(b, r.Trial)
	for i := range r.Trial.Tables {
		if t := &r.Trial.Tables[i]; t.Rows > 0 {
			printColumns(b, t)
		}
	}
}

// printColumns shows how the rows' columns are filled.
func printColumns(b *strings.Builder, t *trial.Table) {
	if t.Route != "" {
		wrap(b, "", "route "+t.Route+":")
	}
	rows := [][]string{{"column", "from", "filled", "missing", "null", "misfit", "rounded"}}
	for _, c := range t.Columns {
		filled := "by element"
		if c.Filled != nil {
			filled = share(*c.Filled, t.Rows)
		}
		rows = append(rows, []string{c.Name, c.Source, filled, few(c.Missing), few(c.Null), few(c.Invalid + c.Conflicts), few(c.Rounded)})
	}
	table(b, narrow(rows), 2)
}

// few is a count, or nothing for none.
func few(n int64) string {
	if n == 0 {
		return ""
	}
	return count(n)
}

func (r *planReport) refusals(b *strings.Builder, color bool) error {
	if r.OK {
		return nil
	}
	b.WriteString("\nwould not start:\n")
	for _, x := range r.Refusals {
		if x.problem != nil {
			if err := (config.Problems{*x.problem}).Render(b, color); err != nil {
				return err
			}
			continue
		}
		wrap(b, "  ", x.Message)
		if x.Hint != "" {
			wrap(b, "    ", "hint: "+x.Hint)
		}
	}
	return nil
}
