package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/status"
)

// aroundPartitions is about how many lines of a frame are no partitions.
const aroundPartitions = 9

// mostPartitions bounds the partitions that a text shows; JSON has them all.
const mostPartitions = 20

// Frame is what a terminal of a size is to show: at most height lines, none of more than width columns. It takes the view back to where there is something
// to see.
func Frame(s *Snapshot, v *View, width, height int, colour bool) []string {
	c := &canvas{width: width, colour: colour}
	c.header(s, max(1, height/4))
	foot := &canvas{width: width, colour: colour}
	room := height - len(c.lines) - 1 // above the foot
	switch at := v.index(s); {
	case v.help:
		c.help()
		foot.text(bold, "esc back  q quit")
	case at < 0:
		c.none(s)
		foot.text(bold, "? help  q quit")
	case v.open:
		foot.text(bold, c.opened(&s.Pipelines[at], v, room)+"  esc back  ? help  q quit")
	default:
		c.listed(s, at, room)
		foot.text(bold, "j/k choose  enter partitions  ? help  q quit")
	}
	if height < 1 {
		return nil
	}
	lines := c.lines[:min(len(c.lines), height-1)]
	for len(lines) < height-1 {
		lines = append(lines, "")
	}
	return append(lines, foot.lines...)
}

// Text is all that a person wants to know, for where there is no terminal: lines of at most width columns.
func Text(s *Snapshot, width int) string {
	c := &canvas{width: width}
	c.header(s, 0)
	if len(s.Pipelines) == 0 {
		c.none(s)
	} else {
		c.blank()
		var rows []row
		for i := range s.Pipelines {
			rows = append(rows, s.Pipelines[i].row(s.At))
		}
		c.table(pipelineColumns, rows)
	}
	for i := range s.Pipelines {
		p := &s.Pipelines[i]
		c.blank()
		c.details(p, s.At)
		if len(p.Partitions) == 0 {
			continue
		}
		shown := p.Partitions
		if len(shown) > mostPartitions {
			shown = slices.Clone(shown)
			slices.SortStableFunc(shown, func(a, b Partition) int { return cmp.Compare(b.Lag, a.Lag) })
			shown = shown[:mostPartitions]
		}
		c.blank()
		c.partitions(shown)
		if n := len(p.Partitions) - len(shown); n > 0 {
			c.text(plain, fmt.Sprintf("  and %d more partitions with less lag (see -o json)", n))
		}
	}
	return strings.Join(c.lines, "\n") + "\n"
}

// header says whom this is of: first of all whom it is not of. It has a line for each of at most so many; with 0 for all, and as many as it takes.
func (c *canvas) header(s *Snapshot, most int) {
	n, of := s.reached()
	c.ends(bold, fmt.Sprintf("waybill top  %d of %d workers answer", n, of), s.At.Format(time.DateTime)+" UTC")
	said := &canvas{width: c.width, colour: c.colour}
	say := said.text
	if most == 0 {
		say = func(p paint, s string) { said.wrapped(p, "", s, 0) }
	}
	for _, w := range s.Unreached() {
		who := " " + w.Address
		if strings.Contains(w.Error, w.Address) {
			who = "" // once is enough
		}
		say(red, fmt.Sprintf("NOT REACHED%s%s: %s", who, sinceOf(w, s.At), w.Error))
	}
	for _, w := range s.Workers {
		switch w.State {
		case Asked:
			say(yellow, w.Address+" has not answered yet")
		case Repeated:
			say(yellow, fmt.Sprintf("%s is the process that %s is: counted once", w.Address, w.SameAs))
		case Reached:
			if len(w.Problems) > 0 {
				say(yellow, fmt.Sprintf("%s: pipeline files: %s", w.Address, strings.Join(w.Problems, "; ")))
			}
		case Unreached:
		}
	}
	if more := len(said.lines) - most; most > 0 && more > 0 {
		said.lines = said.lines[:most-1]
		said.text(red, fmt.Sprintf("and %d more lines about workers (see -o json)", more+1))
	}
	c.lines = append(c.lines, said.lines...)
}

// sinceOf is for how long a worker has not answered, once that is longer than a moment.
func sinceOf(w Worker, at time.Time) string {
	if w.Since == nil || at.Sub(*w.Since) < time.Second {
		return ""
	}
	return " for " + length(at.Sub(*w.Since))
}

// none says why there are no pipelines.
func (c *canvas) none(s *Snapshot) {
	c.blank()
	n, of := s.reached()
	switch {
	case n == of:
		c.text(plain, "No pipelines run.")
	case n > 0:
		c.text(yellow, "No pipelines run on those that answer.")
	case len(s.Unreached()) == of:
		c.wrapped(red, "", "No worker is reached, so nothing is known of any pipeline. Does waybill run? If it listens elsewhere, name that: waybill top HOST:PORT", 0)
	}
}

// listed writes all pipelines and the details of the chosen one.
func (c *canvas) listed(s *Snapshot, chosen, room int) {
	c.blank()
	// Titles and two blank lines are around them, and half of what is left is for details.
	n := min(len(s.Pipelines), max(3, (room-3)/2))
	from := min(max(0, chosen-n/2), len(s.Pipelines)-n)
	var rows []row
	for i := from; i < from+n; i++ {
		r := s.Pipelines[i].row(s.At)
		r.chosen = i == chosen
		rows = append(rows, r)
	}
	c.table(pipelineColumns, rows)
	if n < len(s.Pipelines) {
		c.text(plain, fmt.Sprintf("  %d to %d of %d pipelines", from+1, from+n, len(s.Pipelines)))
		room--
	}
	c.blank()
	d := &canvas{width: c.width, colour: c.colour}
	d.details(&s.Pipelines[chosen], s.At)
	if left := max(1, room-3-n); len(d.lines) > left {
		d.lines = append(d.lines[:left-1], "  …")
	}
	c.lines = append(c.lines, d.lines...)
}

// opened writes one pipeline with its partitions, and says which of them they are.
func (c *canvas) opened(p *Pipeline, v *View, room int) string {
	began := len(c.lines)
	c.blank()
	c.title(p)
	c.wrapped(yellow, "  ", p.Reason, 2)
	c.wrapped(plain, "  ", p.sums(), 2)
	c.blank()
	n := max(1, room-(len(c.lines)-began)-1)
	v.first = min(v.first, max(0, len(p.Partitions)-n))
	to := min(v.first+n, len(p.Partitions))
	if to == 0 {
		c.text(plain, "  "+noPartitions(p))
		return "no partitions"
	}
	c.partitions(p.Partitions[v.first:to])
	return fmt.Sprintf("%d to %d of %d partitions", v.first+1, to, len(p.Partitions))
}

func noPartitions(p *Pipeline) string {
	if p.State == Unknown {
		return "What partitions there are is not known."
	}
	return "No worker that answers has partitions of it."
}

func (c *canvas) title(p *Pipeline) {
	state := string(p.State)
	if p.StalledSeconds > 0 {
		state += " for " + length(seconds(p.StalledSeconds))
	}
	c.text(bold, p.label()+": "+state)
}

// sums are the pipeline's figures in a line.
func (p *Pipeline) sums() string {
	var out []string
	if p.Rates != nil {
		out = append(out, rate(p.Rates.Read)+"/s read", rate(p.Rates.Written)+"/s written")
	}
	out = append(out, "lag "+p.lag())
	if p.InFlight > 0 {
		out = append(out, fmt.Sprintf("%d in flight, the oldest %s old", p.InFlight, length(seconds(p.BatchAge))))
	}
	if p.InsertSeconds != nil {
		out = append(out, "insert "+length(seconds(*p.InsertSeconds)))
	}
	if p.CompleteThrough != nil {
		out = append(out, "complete through "+p.CompleteThrough.UTC().Format(time.DateTime)+" UTC")
	}
	return strings.Join(out, ", ")
}

// details writes what there is to say of a pipeline beside its row, the most urgent first.
func (c *canvas) details(p *Pipeline, at time.Time) {
	c.title(p)
	c.wrapped(yellow, "  ", p.Reason, 4)
	for i := range p.Findings {
		f := &p.Findings[i]
		c.wrapped(severity(f.Severity), "  ", fmt.Sprintf("- %s %s%s, %s ago: %s", f.Severity, f.Kind, about(f), length(at.Sub(f.Time)), strings.TrimSpace(f.Message+" "+f.Action)), 3)
	}
	if e := p.LastError; e != nil {
		c.wrapped(plain, "  ", fmt.Sprintf("last error, %s ago (%s): %s", length(at.Sub(e.Time)), e.Class, e.Message), 2)
	}
	if t := p.CompleteThrough; t != nil {
		c.text(plain, fmt.Sprintf("  complete through %s UTC, %s ago", t.UTC().Format(time.DateTime), length(seconds(p.BehindSeconds))))
	}
	if p.Job != "" {
		eta := "how long that takes is not known yet"
		if p.ETASeconds >= 0 {
			eta = length(seconds(p.ETASeconds)) + " to go"
		}
		c.text(plain, fmt.Sprintf("  a backfill: %s left, %s", p.lag(), eta))
	}
	c.wrapped(plain, "  ", fmt.Sprintf("into %s, %s, epoch %d", p.Table, p.Delivery, p.Epoch), 2)
	for _, w := range p.Shares {
		line := fmt.Sprintf("  %s: %s, %d partitions", w.Worker, w.State, w.Partitions)
		if w.Rates != nil {
			line += fmt.Sprintf(", %s/s read, %s/s written", rate(w.Rates.Read), rate(w.Rates.Written))
		}
		c.text(stateOf(w.State).paint, line)
	}
}

func about(f *status.Finding) (s string) {
	if f.Topic != "" {
		s = " " + f.Topic
		if f.Partition >= 0 {
			s += fmt.Sprintf("/%d", f.Partition)
		}
	}
	if f.Subject != "" {
		s += " " + f.Subject
	}
	return s
}

func severity(s waybill.Severity) paint {
	switch s {
	case waybill.SeverityError:
		return red
	case waybill.SeverityWarning:
		return yellow
	}
	return plain
}

var pipelineColumns = []column{
	{title: "PIPELINE"},
	{title: "STATE", min: 8, keep: 10},
	{title: "READ/S", right: true, min: 6, keep: 7},
	{title: "WRITTEN/S", right: true, keep: 4},
	{title: "LAG", right: true, min: 6, keep: 9},
	{title: "BATCH", right: true, min: 6, keep: 5},
	{title: "INSERT", right: true, min: 6, keep: 3},
	{title: "FINDINGS", right: true, keep: 8},
	{title: "THROUGH", right: true, min: 8, keep: 6},
	{title: "PARTS", right: true, keep: 2},
	{title: "WORKERS", right: true, keep: 1},
}

// label is the pipeline's name; a backfill says which it is.
func (p *Pipeline) label() string {
	if p.Job != "" {
		return p.Name + "@" + p.Job
	}
	return p.Name
}

func (p *Pipeline) row(at time.Time) row {
	read, written, insert, batch := "-", "-", "-", "-"
	if p.Rates != nil {
		read, written = rate(p.Rates.Read), rate(p.Rates.Written)
	}
	if p.InsertSeconds != nil {
		insert = length(seconds(*p.InsertSeconds))
	}
	if p.InFlight > 0 {
		batch = length(seconds(p.BatchAge))
	}
	answering := 0
	for _, w := range p.Shares {
		if w.State != Unknown {
			answering++
		}
	}
	workers := fmt.Sprint(answering)
	if answering < len(p.Shares) {
		workers += fmt.Sprintf("/%d", len(p.Shares))
	}
	return row{cells: []cell{
		{p.label(), plain}, stateOf(p.State), {read, plain}, {written, plain}, {p.lag(), plain}, {batch, plain}, {insert, plain}, p.found(),
		{p.through(at), plain}, {fmt.Sprint(len(p.Partitions)), plain}, {workers, plain},
	}}
}

// lag is the lag as far as it is known.
func (p *Pipeline) lag() string {
	switch {
	case len(p.Partitions) == p.LagUnknown:
		return "-"
	case p.LagUnknown > 0:
		return number(p.Lag) + "+?"
	}
	return number(p.Lag)
}

// through is up to when the pipeline is complete: a time of the last day, or else a date.
func (p *Pipeline) through(at time.Time) string {
	switch t := p.CompleteThrough; {
	case t == nil:
		return "-"
	case at.Sub(*t).Abs() < 24*time.Hour:
		return t.UTC().Format(time.TimeOnly)
	default:
		return t.UTC().Format(time.DateOnly)
	}
}

// found is how many findings are open: errors, warnings, others.
func (p *Pipeline) found() cell {
	by := map[waybill.Severity]int{}
	for i := range p.Findings {
		by[p.Findings[i].Severity]++
	}
	var out []string
	worst := plain
	for _, s := range []waybill.Severity{waybill.SeverityError, waybill.SeverityWarning, waybill.SeverityInfo} {
		if by[s] == 0 {
			continue
		}
		out = append(out, fmt.Sprintf("%d%.1s", by[s], strings.ToUpper(string(s))))
		if worst == plain {
			worst = severity(s)
		}
	}
	if len(out) == 0 {
		return cell{"-", plain}
	}
	return cell{strings.Join(out, " "), worst}
}

var partitionColumns = []column{
	{title: "PARTITION"},
	{title: "STATE", min: 10, keep: 9},
	{title: "SETTLED", right: true, keep: 5},
	{title: "END", right: true, keep: 4},
	{title: "LAG", right: true, min: 6, keep: 10},
	{title: "SETTLED/S", right: true, keep: 7},
	{title: "WORKER", keep: 8},
}

func (c *canvas) partitions(all []Partition) {
	var rows []row
	for _, p := range all {
		lag, per := "-", "-"
		if p.Lag >= 0 {
			lag = number(p.Lag)
		}
		if p.PerSecond != nil {
			per = rate(*p.PerSecond)
		}
		rows = append(rows, row{cells: []cell{
			{fmt.Sprintf("%s/%d", p.Topic, p.Partition), plain}, stateOf(p.State), {offset(p.Settled), plain}, {offset(p.End), plain}, {lag, plain}, {per, plain},
			{cmp.Or(p.Worker, "-"), plain},
		}})
	}
	c.table(partitionColumns, rows)
}

// offset writes an offset; what is not known is a dash.
func offset(n int64) string {
	if n < 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// help says what keys do and what columns mean.
func (c *canvas) help() {
	c.blank()
	for _, l := range []string{
		"up, down, k, j: another pipeline, or through its partitions",
		"enter: the partitions of a pipeline   esc, left: back   q, Ctrl-C: leave",
		"page up, page down, home, end: further",
		"",
		"READ/S, WRITTEN/S  records settled in a second, over the last ten seconds",
		"LAG        offsets that are not settled; +? more in partitions of no worker",
		"           that answers",
		"BATCH      age of the oldest batch in flight",
		"INSERT     how long an INSERT takes, on average; without any, the last one",
		"FINDINGS   open ones: E errors, W warnings, I others",
		"THROUGH    all of the topic from before then is accounted for, in UTC",
		"PARTS, WORKERS  where there is room for them",
		"-          not known, or nothing to tell",
	} {
		c.text(plain, l)
	}
}
