package top

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// clean is s with everything escaped that is no visible character: controls, escape sequences, marks that turn the direction of writing, bytes
// that are no text.
func clean(s string) string {
	if !strings.ContainsFunc(s, odd) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && strings.HasPrefix(s[i:], "\uFFFD"):
			b.WriteRune(r)
		case r == utf8.RuneError:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case odd(r):
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func odd(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }

// cells is how many columns of a terminal a cleaned text takes.
func cells(s string) (n int) {
	for _, r := range s {
		n += cellsOf(r)
	}
	return n
}

func cellsOf(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
		return 2
	}
	return 1
}

// head is the beginning of a cleaned text that takes at most n columns.
func head(s string, n int) string {
	for i, r := range s {
		if n -= cellsOf(r); n < 0 {
			return s[:i]
		}
	}
	return s
}

// tail is its end.
func tail(s string, n int) string {
	i := len(s)
	for i > 0 {
		r, size := utf8.DecodeLastRuneInString(s[:i])
		if n -= cellsOf(r); n < 0 {
			break
		}
		i -= size
	}
	return s[i:]
}

// short is a cleaned text in at most n columns. The end of a name stays, for that is where a partition's number is.
func short(s string, n int) string {
	if cells(s) <= n {
		return s
	}
	if n < 1 {
		return ""
	}
	begin := (n - 1) / 3
	return head(s, begin) + "…" + tail(s, n-1-begin)
}

// begun is a cleaned text in at most n columns, of which the beginning stays.
func begun(s string, n int) string {
	if cells(s) <= n {
		return s
	}
	return head(s, max(0, n-1)) + head("…", n)
}

// wrap breaks a text, which it cleans, into lines of at most n columns; those after the first are indented by two.
func wrap(s string, n int) (lines []string) {
	n = max(n, 8)
	line := ""
	for _, word := range strings.Fields(s) {
		word = clean(word)
		if line != "" && cells(line)+1+cells(word) > n {
			lines, line = append(lines, line), " "
		}
		if line != "" {
			line += " "
		}
		for cells(line)+cells(word) > n {
			part := head(word, n-cells(line))
			lines, line, word = append(lines, line+part), "  ", word[len(part):]
		}
		line += word
	}
	if strings.TrimSpace(line) != "" {
		lines = append(lines, line)
	}
	return lines
}

// number writes a count in at most five characters.
func number(n int64) string {
	const k = 1000
	switch v := float64(n); {
	case n < 10*k:
		return strconv.FormatInt(n, 10)
	case v < .9995*k*k:
		return three(v/k) + "k"
	case v < .9995*k*k*k:
		return three(v/k/k) + "M"
	case v < .9995*k*k*k*k:
		return three(v/k/k/k) + "G"
	default:
		return three(v/k/k/k/k) + "T"
	}
}

// three writes three digits.
func three(v float64) string {
	switch {
	case v < 9.995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 99.95:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// rate writes how many in a second.
func rate(v float64) string {
	if v > 0 && v < 9.95 {
		return strconv.FormatFloat(max(v, .1), 'f', 1, 64)
	}
	return number(int64(math.Round(v)))
}

// length writes a length of time with two units at most.
func length(d time.Duration) string {
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
	case d >= time.Second || d == 0:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return fmt.Sprintf("%dms", max(1, d.Milliseconds()))
}

func seconds(v float64) time.Duration { return time.Duration(v * float64(time.Second)) }
