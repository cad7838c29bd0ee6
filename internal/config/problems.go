package config

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-data/waybill"
)

// Problem is one thing that is wrong with a pipeline file.
type Problem struct {
	File string `json:"file"`
	// Line and Column start at 1; Column counts characters. Both are 0 when the file could not be read.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Path is the key concerned, as in "source.kafka.topic"; empty for the file as a whole.
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
	// Hint says what to write instead; empty if the message says it all.
	Hint string `json:"hint,omitempty"`
	// Source is the line, passwords masked; the problem's column is Caret characters into it.
	Source string `json:"source,omitempty"`
	Caret  int    `json:"-"`
}

// String is the problem on one line, as compilers write it.
func (p Problem) String() string {
	s := p.at() + ": " + p.Message
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

func (p Problem) at() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Problems is everything that is wrong with one or several pipeline files, in the order of the
// files and, within a file, of the lines. It is an error of class config.
type Problems []Problem

// Error lists the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap makes the class of Problems visible to waybill.ClassOf.
func (ps Problems) Unwrap() error {
	return &waybill.Error{Op: "config.load", Class: waybill.ClassConfig}
}

// Render writes the problems for a person: place, message, the line with a caret, and the hint.
// color adds ANSI colours.
func (ps Problems) Render(w io.Writer, color bool) error {
	paint := func(code, s string) string {
		if !color {
			return s
		}
		return "\x1b[" + code + "m" + s + "\x1b[0m"
	}
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s: %s\n", paint("1", p.at()), paint("31", p.Message))
		margin := strings.Repeat(" ", max(4, len(strconv.Itoa(p.Line))))
		if p.Source != "" {
			fmt.Fprintf(&b, "%*d | %s\n", len(margin), p.Line, p.Source)
			fmt.Fprintf(&b, "%s | %s%s\n", margin, pad(p.Source, p.Caret), paint("31", "^"))
		}
		if p.Hint != "" {
			fmt.Fprintf(&b, "%s = %s\n", margin, p.Hint)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// pad is the white space before the caret: tabs stay tabs, so that it lines up.
func pad(line string, n int) string {
	var b strings.Builder
	for _, r := range line {
		if n--; n < 0 {
			break
		}
		if r != '\t' {
			r = ' '
		}
		b.WriteRune(r)
	}
	for ; n > 0; n-- {
		b.WriteByte(' ')
	}
	return b.String()
}

// source is a file's text, kept to show lines of it.
type source struct {
	name  string
	lines []string
}

func newSource(name string, data []byte) *source {
	lines := strings.Split(string(data), "\n")
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\r")
	}
	return &source{name, lines}
}

func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return s.lines[n-1]
}

func (s *source) problem(line, col int, path, message, hint string) Problem {
	text, caret := mask(s.line(line), col-1)
	return Problem{File: s.name, Line: line, Column: col, Path: path, Message: message, Hint: hint, Source: text, Caret: caret}
}

// literalPassword finds a password written into a URL. It takes all up to the last @, since a
// password that was not percent-encoded may itself hold one.
var literalPassword = regexp.MustCompile(`://[^:/\s]*:([^\s"']+)@`)

// literalSecret finds the secret of a redaction policy, and what clients prove themselves with: to its end, which may be a quote, the next key
// of a mapping in braces, or the line's.
var literalSecret = regexp.MustCompile(`\b(?:secret|password|token|client_secret)["']?:\s*("(?:[^"\\]|\\.)*"|'[^']*'|\$\{\w+\}|.+?)(?:, |\}|\s*$|\s+#)`)

// mask hides passwords in a line of a file, placeholders excepted: a build log keeps what it is shown.
func mask(line string, caret int) (string, int) {
	line, caret = maskOne(literalPassword, line, caret)
	return maskOne(literalSecret, line, caret)
}

func maskOne(literal *regexp.Regexp, line string, caret int) (string, int) {
	m := literal.FindStringSubmatchIndex(line)
	if len(m) < 4 {
		return line, caret
	}
	if password := line[m[2]:m[3]]; placeholder.FindString(password) == password {
		return line, caret
	}
	before, secret := len([]rune(line[:m[2]])), len([]rune(line[m[2]:m[3]]))
	switch {
	case caret >= before+secret:
		caret += len(redacted) - secret
	case caret > before:
		caret = before
	}
	return line[:m[2]] + redacted + line[m[3]:], caret
}

func (ps Problems) sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return ps
}

// ProblemAt makes a problem at a place of the pipeline's file, such as a contract column's Line and
// Col, for what only a server can tell.
func (p *Pipeline) ProblemAt(line, col int, path, message, hint string) Problem {
	if p.src == nil {
		return Problem{File: p.File, Line: line, Column: col, Path: path, Message: message, Hint: hint}
	}
	return p.src().problem(line, col, path, message, hint)
}
