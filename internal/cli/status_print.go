package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/status"
)

// lineWidth is what every line of a status fits into.
const lineWidth = 80

// maxShown bounds the partitions, batches and findings that people are shown; JSON has them all.
const maxShown = 20

// printStatus writes a status for people.
func printStatus(w io.Writer, st *status.Status) error {
	var b strings.Builder
	fmt.Fprintf(&b, "waybill %s, up %s\n", st.Version, duration(st.Now.Sub(st.Started)))
	if len(st.Pipelines) == 0 {
		b.WriteString("no pipelines\n")
	}
	for i := range st.Pipelines {
		b.WriteByte('\n')
		printPipeline(&b, &st.Pipelines[i], st.Now)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func printPipeline(b *strings.Builder, p *status.Pipeline, now time.Time) {
	state := string(p.State)
	if p.StalledSince != nil {
		state += " for " + duration(now.Sub(*p.StalledSince))
	}
	wrap(b, "", p.Name+": "+state)
	if p.Reason != "" {
		wrap(b, "  ", p.Reason)
	}
	about := fmt.Sprintf("into %s, %s, epoch %d", p.Table, p.Delivery, p.Epoch)
	if p.Plan != "" {
		about += ", plan " + p.Plan
	}
	wrap(b, "  ", about)
	t, r := p.Totals, p.Rates
	wrap(b, "  ", fmt.Sprintf("read %s, written %s, filtered %s, dead letters %s, tombstones %s, lost %s",
		count(t.Read), count(t.Written), count(t.Filtered), count(t.DeadLettered), count(t.Tombstones), count(t.Lost)))
	wrap(b, "  ", fmt.Sprintf("values: discarded %s, defaulted %s, rounded %s",
		count(t.DiscardedFields), count(t.Defaulted), count(t.Rounded)))
	wrap(b, "  ", fmt.Sprintf("now: %s records/s read, %s records/s written, %s/s",
		count(int64(r.ReadPerSecond+.5)), count(int64(r.WrittenPerSecond+.5)), size(int64(r.BytesPerSecond))))
	if n := p.Inserts.Count; n > 0 {
		average := time.Duration(p.Inserts.Seconds / float64(n) * float64(time.Second))
		wrap(b, "  ", fmt.Sprintf("inserts: %s, %s on average", count(n), average.Round(time.Millisecond)))
	}
	if p.CompleteThrough != nil {
		wrap(b, "  ", "complete through "+moment(*p.CompleteThrough))
	}
	printPartitions(b, p)
	printInFlight(b, p)
	printTroubles(b, p, now)
}

func printPartitions(b *strings.Builder, p *status.Pipeline) {
	if !p.Assigned {
		wrap(b, "  ", "waiting for the group to assign partitions")
		return
	}
	if len(p.Partitions) == 0 {
		wrap(b, "  ", "owns no partitions: other workers of the group have them all")
		return
	}
	shown := p.Partitions
	if len(shown) > maxShown { // the ones that are furthest behind
		shown = slices.SortedStableFunc(slices.Values(shown), func(a, b status.Partition) int { return cmp.Compare(b.Lag, a.Lag) })[:maxShown]
	}
	rows := [][]string{{"PARTITION", "STATE", "POSITION", "SETTLED", "END", "LAG"}}
	for _, tp := range shown {
		rows = append(rows, []string{
			fmt.Sprintf("%s/%d", tp.Topic, tp.Partition), string(tp.State),
			offset(tp.Position), offset(tp.Settled), offset(tp.End), offset(tp.Lag),
		})
	}
	b.WriteByte('\n')
	table(b, rows, 2)
	more(b, len(p.Partitions)-len(shown), "partitions with less lag")
}

func printInFlight(b *strings.Builder, p *status.Pipeline) {
	if len(p.InFlight) == 0 {
		return
	}
	shown := p.InFlight[:min(len(p.InFlight), maxShown)]
	rows := [][]string{{"BATCH", "STATE", "ROWS", "SIZE", "AGE"}}
	for _, x := range shown {
		age := time.Duration(x.AgeSeconds * float64(time.Second))
		rows = append(rows, []string{clip(x.ID, 8), x.State, count(x.Rows), size(x.Bytes), duration(age)})
	}
	b.WriteByte('\n')
	table(b, rows, 2)
	more(b, len(p.InFlight)-len(shown), "batches")
}

func printTroubles(b *strings.Builder, p *status.Pipeline, now time.Time) {
	if e := p.LastError; e != nil {
		b.WriteByte('\n')
		wrap(b, "  ", fmt.Sprintf("last error, %s ago (%s): %s", duration(now.Sub(e.Time)), e.Class, e.Message))
		// The message of an error has its hint at the end already, unless it was shortened on its way.
		if e.Hint != "" && !strings.Contains(e.Message, e.Hint) {
			wrap(b, "  ", "hint: "+e.Hint)
		}
	}
	if len(p.Findings) == 0 {
		return
	}
	shown := p.Findings[max(0, len(p.Findings)-maxShown):]
	b.WriteByte('\n')
	wrap(b, "  ", openFindings(p.Findings)+"; findings, latest last:")
	for i := range shown {
		printFinding(b, &shown[i], now)
	}
	more(b, len(p.Findings)-len(shown), "earlier findings")
}

// openFindings says how many findings are open.
func openFindings(all []status.Finding) string {
	by := map[waybill.Severity]int{}
	for i := range all {
		if all[i].State == status.FindingOpen {
			by[all[i].Severity]++
		}
	}
	return fmt.Sprintf("open: %d errors, %d warnings", by[waybill.SeverityError], by[waybill.SeverityWarning])
}

func printFinding(b *strings.Builder, f *status.Finding, now time.Time) {
	where := ""
	switch {
	case f.Topic != "" && f.Partition >= 0:
		where = fmt.Sprintf(" %s/%d", f.Topic, f.Partition)
	case f.Topic != "":
		where = " " + f.Topic
	}
	if f.Span != nil {
		where += " " + f.Span.String()
	}
	if f.Subject != "" {
		where += " " + f.Subject
	}
	state := ""
	if f.State == status.FindingClosed {
		state = "closed "
	}
	wrap(b, "  ", fmt.Sprintf("- %s%s %s (%s ago)%s: %s", state, f.Severity, f.Kind, duration(now.Sub(f.Time)), where,
		strings.TrimSpace(f.Message+" "+f.Action)))
}

func more(b *strings.Builder, n int, what string) {
	if n > 0 {
		wrap(b, "  ", fmt.Sprintf("and %s more %s (see -o json)", count(int64(n)), what))
	}
}

// table writes rows under a header, indented by two. The first `left` columns are text, the others
// numbers. The first column gives way where a line would be too long.
func table(b *strings.Builder, rows [][]string, left int) {
	widths := make([]int, len(rows[0]))
	total := 0
	for c := range widths {
		for _, r := range rows {
			widths[c] = max(widths[c], utf8.RuneCountInString(r[c]))
		}
		total += widths[c] + 2
	}
	widths[0] = max(8, widths[0]-max(0, total-lineWidth))
	for _, r := range rows {
		line := ""
		for c, cell := range r {
			if c < left {
				line += fmt.Sprintf("  %-*s", widths[c], clip(cell, widths[c]))
			} else {
				line += fmt.Sprintf("  %*s", widths[c], cell)
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// clip shortens s to n characters. The end stays: that is where a partition's number is.
func clip(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	if isHex(s) {
		return s[:n]
	}
	keep := n - 1
	head := keep / 3
	return string(runes[:head]) + "…" + string(runes[len(runes)-(keep-head):])
}

// isHex tells batch ids, which are known by their first digits.
func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// wrap writes text in lines of at most lineWidth, words whole unless one is longer than a line.
// Lines after the first are indented by two more.
func wrap(b *strings.Builder, indent, text string) {
	line := indent
	empty := true
	flush := func() {
		b.WriteString(line + "\n")
		line, empty = indent+"  ", true
	}
	for _, word := range strings.Fields(text) {
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > lineWidth {
			flush()
		}
		if !empty {
			line += " "
		}
		for room := lineWidth - utf8.RuneCountInString(line); utf8.RuneCountInString(word) > room; room = lineWidth - utf8.RuneCountInString(line) {
			runes := []rune(word)
			line += string(runes[:room])
			word = string(runes[room:])
			flush()
		}
		line += word
		empty = false
	}
	if !empty {
		flush()
	}
}

// offset writes an offset or lag; what is not known yet is a dash.
func offset(n int64) string {
	if n < 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

// count writes a number with its thousands apart.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	digits, sign := strings.CutPrefix(s, "-")
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if sign {
		return "-" + digits
	}
	return digits
}

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

// duration writes a length of time with two units at most.
func duration(d time.Duration) string {
	d = max(d, 0)
	switch h, m := int(d.Hours()), int(d.Minutes())%60; {
	case h >= 48:
		return fmt.Sprintf("%dd%dh", h/24, h%24)
	case h > 0:
		return fmt.Sprintf("%dh%dm", h, m)
	case m > 0:
		return fmt.Sprintf("%dm%ds", m, int(d.Seconds())%60)
	case d >= 10*time.Second:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	}
	return fmt.Sprintf("%.1fs", d.Seconds())
}
