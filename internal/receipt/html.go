package receipt

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/waybill-data/waybill/internal/ledger"
)

//go:embed receipt.html
var page string

var pages = template.Must(template.New("receipt").Funcs(template.FuncMap{
	"count":  grouped,
	"moment": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
	"minute": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") },
	"last":   func(next int64) int64 { return next - 1 },
	"list":   func(s []string) string { return strings.Join(s, ", ") },
	"fate":   fateWords,
	"became": becameWords,
}).Parse(page))

// HTML writes a receipt as a page that needs nothing else. It has the receipt as JSON in it, for whoever wants to compare.
func HTML(w io.Writer, d *Document) error {
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return pages.Execute(w, struct {
		*Document
		JSON template.JS
	}{d, template.JS(text)}) //nolint:gosec // json.Marshal escapes what could end the script
}

// fateWords is what an offset counts as, for people.
func fateWords(f ledger.Fate) string {
	switch f {
	case ledger.FateDead:
		return "dead letter"
	case ledger.FateNone:
		return "nothing on this account"
	case ledger.FateWritten, ledger.FateFiltered, ledger.FateTombstone, ledger.FateErased:
	}
	return string(f)
}

// becameWords is what has become of offsets.
func becameWords(a Amended) string {
	switch {
	case a.Is == ledger.FateWritten && a.Was == ledger.FateWritten:
		return "written anew"
	case a.Is == ledger.FateNone && a.Was == ledger.FateWritten:
		return "deleted, and its record was gone before it could be made again"
	case a.Is == ledger.FateNone:
		return "no record"
	}
	return fateWords(a.Is)
}

// grouped writes a number in groups of three digits.
func grouped(n int64) string {
	s, first := fmt.Sprint(n), 0
	if n < 0 {
		first = 1
	}
	for i := len(s) - 3; i > first; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}
