package result

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// table is some text in rows and columns, for a terminal or a document.
type table struct {
	title string
	note  string // below the title
	head  []string
	rows  [][]string
}

// tables are all that there is to show.
func (f *File) tables() (out []table) {
	for _, g := range groups(f.Runs) {
		out = append(out, f.contenders(g))
	}
	if len(f.Latency) > 0 {
		out = append(out, f.latencies())
	}
	if len(f.Flatness) > 0 {
		out = append(out, f.flatness())
	}
	out = append(out, f.Costs.tables()...)
	if len(f.Targets) > 0 {
		out = append(out, f.verdicts())
	}
	return out
}

func (f *File) contenders(g group) table {
	t := table{
		title: fmt.Sprintf("%s events, %s: CPU-seconds per million rows", g.workload, brokerNames[g.broker]),
		head:  []string{"contender", "rows/s", "worker", "server, merges included", "total", "x Waybill", "peak RSS MB", "allocs/row"},
	}
	for _, s := range f.Medians {
		if s.Broker != g.broker || s.Workload != g.workload {
			continue
		}
		worker, memory, allocs := s.WorkerCPU.String(), scaled(s.RSS, 1e-6).whole(), "-"
		if s.Contender == KafkaEngine {
			worker, memory = "in the server", "in the server"
		}
		if s.Allocations.Median > 0 {
			allocs = s.Allocations.String()
		}
		t.rows = append(t.rows, []string{s.Contender, scaled(s.RowsPerSecond, 1e-3).whole() + "k", worker, s.ServerCPU.String(),
			s.TotalCPU.String(), s.VersusWaybill.String(), memory, allocs})
	}
	return t
}

var brokerNames = map[string]string{KFake: "kfake", Kafka: "Apache Kafka"}

func (f *File) latencies() table {
	t := table{title: "Produced to visible, Waybill exactly-once, seconds", head: []string{"broker", "events", "rows", "rows/s", "p50", "p99", "max"}}
	for _, l := range f.Latency {
		t.rows = append(t.rows, []string{brokerNames[l.Broker], l.Workload, fmt.Sprint(l.Rows), fmt.Sprintf("%.0f", l.Rate),
			fmt.Sprintf("%.2f", l.P50), fmt.Sprintf("%.2f", l.P99), fmt.Sprintf("%.2f", l.Max)})
	}
	return t
}

func (f *File) flatness() table {
	t := table{title: "Cost of a row by number of partitions and pipelines: worker CPU-seconds per million rows", head: []string{"what", "worker", "x first"}}
	for _, series := range []string{Partitions, Pipelines} {
		var first []Run
		for _, n := range sizes(f.Flatness, series) {
			var own []Run
			for _, r := range f.Flatness {
				if r.Series == series && r.Size() == n {
					own = append(own, r)
				}
			}
			if first == nil {
				first = own
			}
			t.rows = append(t.rows, []string{fmt.Sprintf("%d %s", n, series), spread(each(own, workerCPU)).String(), spread(ratios(own, first, workerCPU)).String()})
		}
	}
	return t
}

func (f *File) verdicts() table {
	t := table{title: "Targets", head: []string{"target", "what", "want", "got", "verdict"}}
	for _, v := range f.Targets {
		sign, verdict := "<=", "pass"
		if v.Least {
			sign = ">="
		}
		if !v.Pass {
			verdict = "MISSED"
		}
		if v.Stretch {
			verdict = strings.ToLower(verdict) + " (stretch)"
		}
		t.rows = append(t.rows, []string{"`" + v.ID + "`", v.What, fmt.Sprintf("%s %.3g %s", sign, v.Want, v.Unit), v.Got.String(), verdict})
	}
	return t
}

// notes are the note as a paragraph of its own.
func (t table) notes() string {
	if t.note == "" {
		return ""
	}
	return t.note + "\n\n"
}

// String is the median, and the range if there is one.
func (s Spread) String() string {
	if s.Min == s.Max {
		return fmt.Sprintf("%.3g", s.Median)
	}
	return fmt.Sprintf("%.3g (%.3g-%.3g)", s.Median, s.Min, s.Max)
}

func (s Spread) whole() string {
	if s.Min == s.Max {
		return fmt.Sprintf("%.0f", s.Median)
	}
	return fmt.Sprintf("%.0f (%.0f-%.0f)", s.Median, s.Min, s.Max)
}

func scaled(s Spread, by float64) Spread { return Spread{s.Median * by, s.Min * by, s.Max * by} }

// Print shows everything on a terminal.
func (f *File) Print(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintln(&b, f.Machine)
	for _, t := range f.tables() {
		fmt.Fprintf(&b, "\n%s\n%s", t.title, t.notes())
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, row := range append([][]string{t.head}, t.rows...) {
			if _, err := fmt.Fprintln(w, "  "+strings.ReplaceAll(strings.Join(row, "\t"), "`", "")); err != nil {
				return err
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}
