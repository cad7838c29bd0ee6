package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/check"
)

// groupTitles in the order in which groups are shown.
var groupTitles = []struct {
	group check.Group
	title string
}{{check.GroupFile, "file"}, {check.GroupKafka, "Kafka"}, {check.GroupClickHouse, "ClickHouse"}, {check.GroupTable, "table"}, {check.GroupViews, "views"}}

func (r *checkReport) print(s Streams) error {
	var b strings.Builder
	if len(r.Reports) > 1 {
		b.WriteString(fmt.Sprintf("%d pipelines: ", len(r.Reports)) + headline(r.worst()) + "\n")
	}
	for i, one := range r.Reports {
		if i > 0 || len(r.Reports) > 1 {
			b.WriteString("\n")
		}
		printReport(&b, one)
	}
	_, err := io.WriteString(s.Out, b.String())
	return err
}

// headline is a report in one line: the worst finding, whole.
func headline(r *check.Report) string {
	name := cmp.Or(r.Pipeline, r.File)
	worst := r.Worst()
	if worst == nil {
		return name + ": all is well"
	}
	word := string(worst.Severity)
	if worst.Severity == waybill.SeverityInfo {
		word = "it could run; note"
	}
	return fmt.Sprintf("%s: %s: %s", name, word, worst.What)
}

func printReport(b *strings.Builder, r *check.Report) {
	b.WriteString(headline(r) + "\n") // in one line, however long
	var counts []string
	for _, c := range []struct {
		severity waybill.Severity
		word     string
	}{{waybill.SeverityError, "error"}, {waybill.SeverityWarning, "warning"}, {waybill.SeverityInfo, "note"}} {
		if n := r.Count(c.severity); n == 1 {
			counts = append(counts, "1 "+c.word)
		} else if n > 1 {
			counts = append(counts, fmt.Sprintf("%d %ss", n, c.word))
		}
	}
	if len(counts) > 0 {
		b.WriteString(strings.Join(counts, ", ") + "\n")
	}
	for _, g := range groupTitles {
		printGroup(b, r, g.group, g.title)
	}
}

// printGroup shows the checks of a group. Those that were not made for one reason are one line.
func printGroup(b *strings.Builder, r *check.Report, group check.Group, title string) {
	var items []*check.Item
	for i := range r.Items {
		if r.Items[i].Group == group {
			items = append(items, &r.Items[i])
		}
	}
	if len(items) == 0 {
		return
	}
	b.WriteString("\n" + title + "\n")
	var reasons []string
	skipped := map[string][]string{}
	subjects := map[string]bool{}
	for _, i := range items {
		subjects[i.Subject] = true
	}
	for _, i := range items {
		if i.Mark == check.MarkSkipped {
			if !slices.Contains(reasons, i.Text) {
				reasons = append(reasons, i.Text)
			}
			skipped[i.Text] = append(skipped[i.Text], i.ID)
			continue
		}
		printItem(b, i, len(subjects) > 1)
	}
	for _, reason := range reasons {
		slices.Sort(skipped[reason])
		markLine(b, check.MarkSkipped, fmt.Sprintf("%s: %s", reason, strings.Join(slices.Compact(skipped[reason]), ", ")))
	}
}

func printItem(b *strings.Builder, i *check.Item, named bool) {
	name := i.ID
	if named && i.Subject != "" {
		name += " of " + i.Subject
	}
	if len(i.Findings) == 0 {
		markLine(b, i.Mark, name+": "+i.Text)
		return
	}
	for _, f := range i.Findings {
		markLine(b, markOf(f.Severity), name+": "+f.What)
		const under = "             "
		if f.Line > 0 {
			wrap(b, under, fmt.Sprintf("at line %d, column %d of the file", f.Line, f.Column))
		}
		if f.Why != "" {
			wrap(b, under, "why: "+f.Why)
		}
		for _, m := range f.Mend {
			printMend(b, under, m)
		}
	}
}

// printMend: statements and commands are whole, to be copied.
func printMend(b *strings.Builder, under string, m check.Mend) {
	switch m.Kind {
	case "do":
		wrap(b, under, "do: "+m.Text)
	case "sql":
		word := "sql: "
		if m.Safe {
			word = "sql (--fix runs it): "
		} else if m.Creates {
			word = "sql (--fix --create runs it): "
		}
		b.WriteString(under + word + strings.ReplaceAll(m.Text, "\n", "\n"+under+"  ") + "\n")
	default:
		b.WriteString(under + "run: " + m.Text + "\n")
	}
}

func markOf(s waybill.Severity) check.Mark {
	switch s {
	case waybill.SeverityError:
		return check.MarkError
	case waybill.SeverityWarning:
		return check.MarkWarning
	}
	return check.MarkNote
}

// markLine is one line with a mark, wrapped under its text.
func markLine(b *strings.Builder, mark check.Mark, text string) {
	var lines strings.Builder
	wrap(&lines, "           ", text)
	b.WriteString(fmt.Sprintf("  %-7s  ", mark) + strings.TrimLeft(lines.String(), " "))
}
