package diff

import (
	_ "embed"
	"html/template"
	"io"
	"strconv"
	"time"
)

//go:embed report.html
var page string

var pages = template.Must(template.New("diff").Funcs(template.FuncMap{
	"count": grouped,
	"share": func(n, of int64) string { return share(n, of).String() },
	"size":  func(n int64) string { return strconv.FormatInt(n>>20, 10) + " MiB" },
	"stats": func(s *Stats, name string) *ColumnStats { return s.column(name) },
	"rows": func(s *Stats) int64 {
		if s == nil {
			return 0
		}
		return s.Rows
	},
	"moment": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
	"pct":    func(s Share) string { return s.String() },
	"width":  func(n, of int64) string { return strconv.FormatFloat(min(100, 100*float64(share(n, of))), 'f', 1, 64) },
	"sub":    func(a, b int64) int64 { return a - b },
}).Parse(page))

// Page is what a page says.
type Page struct {
	Title string
	About string // one line, empty: none
	At    time.Time
	// Verdict is there if there was something to hold to.
	Verdict *Verdict
	Tables  []PageTable
}

// Verdict is whether what was asked for holds.
type Verdict struct {
	OK       bool
	Refusals []string
	Notes    []string // what could not be told
}

// PageTable is the comparison of one pair of tables.
type PageTable struct {
	Route     string
	Report    *Report
	Checksums *Checksums // nil: there are none
}

// HTML writes a page that needs nothing else: no script, no font, no other file.
func HTML(w io.Writer, p Page) error { return pages.Execute(w, p) }

// grouped writes a number in groups of three digits.
func grouped(n int64) string {
	s, first := strconv.FormatInt(n, 10), 0
	if n < 0 {
		first = 1
	}
	for i := len(s) - 3; i > first; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}
