package demo

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
)

// screen tells the story, in lines of at most 80 characters. On a terminal the last line is drawn anew as things move.
type screen struct {
	mu    sync.Mutex
	out   io.Writer
	live  bool
	began time.Time
	foot  string // the line that is drawn anew; empty if there is none
}

func newScreen(o *Options) *screen { return &screen{out: o.Out, live: o.Live, began: time.Now()} }

// print writes a block of text. What cannot be written has nobody to be told to.
func (s *screen) print(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	_, _ = fmt.Fprintf(s.out, format, args...)
	s.draw()
}

// event is something that happened, with the time since the start.
func (s *screen) event(format string, args ...any) {
	s.print("%6.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// progress draws the foot line; nothing where it could not be drawn anew.
func (s *screen) progress(format string, args ...any) {
	if !s.live {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.foot = fmt.Sprintf(format, args...)
	s.draw()
}

// endProgress removes the foot line.
func (s *screen) endProgress() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.foot = ""
}

func (s *screen) erase() {
	if s.foot != "" {
		_, _ = io.WriteString(s.out, "\r\x1b[2K")
	}
}

func (s *screen) draw() {
	if s.foot != "" {
		_, _ = io.WriteString(s.out, s.foot)
	}
}

// sumsHeader stands over lines of sums.
const sumsHeader = "\n   time  produced =     rows +  dead + tombst. + to come   twice  gaps\n"

func (s *screen) sums(b Sums) {
	verdict := "ok"
	if !b.OK() {
		verdict = fmt.Sprintf("%+d", b.Unaccounted)
	}
	s.print("%6.1fs  %8s   %8s   %5s   %7s   %7s   %5s  %4s  %s\n", time.Since(s.began).Seconds(), count(b.Produced), count(b.Rows),
		count(b.DeadLetters), count(b.Tombstones), count(b.ToCome), count(b.Duplicates), count(b.Gaps), verdict)
}

// balance shows the final balance.
func (s *screen) balance(b Balance) {
	var t strings.Builder
	fmt.Fprintf(&t, "\nThe balance. Killed on the way: the worker %d x, %d of them with an INSERT\nrunning; ClickHouse %d x.\n\n",
		b.WorkerKills, b.KillsInFlight, b.ServerKills)
	for _, l := range b.Laws {
		word := "holds "
		if !l.Holds {
			word = "BROKEN"
		}
		lines := wrap(l.Seen, 80-26)
		fmt.Fprintf(&t, "  %s  %-15s %s\n", word, l.Name, lines[0])
		for _, line := range lines[1:] {
			fmt.Fprintf(&t, "  %24s%s\n", "", line)
		}
	}
	if len(b.Findings) > 0 {
		t.WriteString("\nWhat Waybill noted itself (waybill.findings):\n")
		for _, f := range b.Findings {
			fmt.Fprintf(&t, "  %-8s %s (%d)\n", f.Severity, f.Kind, f.Count)
		}
	}
	verdict := "PASS: every event is accounted for."
	if !b.Pass {
		verdict = "FAIL: the balance does not hold."
	}
	fmt.Fprintf(&t, "\n%s %s events in %.0f s.\n", verdict, count(b.Produced), b.Seconds)
	s.print("%s", t.String())
}

// wrap breaks text into lines of at most width characters, at spaces.
func wrap(text string, width int) []string {
	lines := []string{""}
	for word := range strings.FieldsSeq(text) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case len([]rune(*last))+1+len([]rune(word)) <= width:
			*last += " " + word
		default:
			lines = append(lines, word)
		}
	}
	return lines
}

// count writes a number with its thousands apart.
func count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return sign + b.String()
}
