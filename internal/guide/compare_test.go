package guide

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// volatile finds what may differ from run to run: moments, and ids of 64, 128 and 256 bits in hexadecimal.
var volatile = regexp.MustCompile(`\b\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z?)?\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(?:[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{16})\b|\bpaused by \w+ for [0-9.]+m?s\b`)

// names are the ids of a page and those of the run that stand for them.
type names struct {
	ofRun, ofPage map[string]string
	now           time.Time
}

func newNames(now time.Time) *names {
	return &names{ofRun: map[string]string{}, ofPage: map[string]string{}, now: now}
}

// compare is what is different in the lines, or "".
func (n *names) compare(want, got []string) string {
	want, got = trimmed(want), trimmed(got)
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(want):
			return fmt.Sprintf("a line more than on the page: %s", got[i])
		case i >= len(got):
			return fmt.Sprintf("the page has a line more: %s", want[i])
		case !n.same(want[i], got[i]):
			return fmt.Sprintf("\n\tpage: %s\n\trun:  %s", want[i], got[i])
		}
	}
	return ""
}

// trimmed is without blanks at the end of lines and empty lines at the end.
func trimmed(lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = strings.TrimRight(line, " ")
	}
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

func (n *names) same(want, got string) bool {
	a, b := volatile.FindAllStringIndex(want, -1), volatile.FindAllStringIndex(got, -1)
	if len(a) != len(b) || strings.Join(volatile.Split(want, -1), "\x00") != strings.Join(volatile.Split(got, -1), "\x00") {
		return false
	}
	for i := range a {
		if !n.stands(want[a[i][0]:a[i][1]], got[b[i][0]:b[i][1]]) {
			return false
		}
	}
	return true
}

// stands reports whether what the page has may stand for what the run has.
func (n *names) stands(page, run string) bool {
	at, isTime := moment(run)
	if _, pageTime := moment(page); isTime || pageTime {
		return page == run || pageTime && isTime && len(page) == len(run) && n.now.Sub(at).Abs() < 48*time.Hour
	}
	if _, known := n.ofRun[page]; !known && n.ofPage[run] == "" {
		n.ofRun[page], n.ofPage[run] = run, page
	}
	return len(page) == len(run) && n.ofRun[page] == run && n.ofPage[run] == page
}

// inRun is a text of the page with the ids of the run.
func (n *names) inRun(text string) string {
	return volatile.ReplaceAllStringFunc(text, func(id string) string { return cmp.Or(n.ofRun[id], id) })
}

func moment(text string) (time.Time, bool) {
	text = strings.TrimSuffix(strings.Replace(text, "T", " ", 1), "Z")
	for _, layout := range []string{time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
