package column

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/waybill-data/waybill/internal/testenv"
)

var update = flag.Bool("update", false, "write the tables of docs/reference/types.md anew")

// parse is the example's format.
func (e example) parse() (TimeFormat, error) {
	name, zone, _ := strings.Cut(e.format, " in ")
	return ParseTimeFormat(name, zone)
}

// Every example in the document is what the columns do.
func TestCatalogue_ExamplesAreTrue(t *testing.T) {
	for _, e := range catalogue {
		typ, err := ParseType(e.typ)
		if err != nil {
			t.Error(err)
			continue
		}
		if typ.String() != strings.ReplaceAll(e.typ, "'a' = 1, 'b' = -2", "'b' = -2, 'a' = 1") {
			t.Errorf("%s is not how DESCRIBE writes %s", e.typ, typ)
		}
		c := typ.New()
		for _, x := range e.cases {
			f, err := x.parse()
			if err == nil {
				err = f.Check(typ)
			}
			if err != nil {
				t.Errorf("%s: %v", e.typ, err)
				continue
			}
			rows := c.Rows()
			isExact, err := AppendJSON(c, []byte(x.json), f)
			if got := outcomeOf(isExact, err); got != x.want {
				t.Errorf("%s %s %s: got %s (%v), want %s", e.typ, x.format, x.json, got, err, x.want)
			}
			if appended := c.Rows() - rows; appended != b2i(err == nil) {
				t.Errorf("%s %s: %d rows appended", e.typ, x.json, appended)
			}
			if kind := kindOf([]byte(x.json)); kind != 0 && x.want != wrongKind && typ.Takes()&kind == 0 {
				t.Errorf("%s takes %s and does not say so", e.typ, kind)
			}
		}
	}
}

// Every example that is taken is, in the table, what the document says.
func TestServer_ShowsTheExamples(t *testing.T) {
	srv := testenv.SharedClickHouse(t)
	db := testenv.Database(t, srv)
	for i, e := range catalogue {
		t.Run(e.typ, func(t *testing.T) {
			b, want := e.block(t)
			ways(t, srv, func(way string, send func(string, *Block) error) {
				table := fmt.Sprintf("%s.%s_%d", db, way, i)
				createTable(t, srv, table, e.typ)
				if err := send(table, b); err != nil {
					t.Fatalf("%s: %v", way, err)
				}
				rows := testenv.QueryRows(t, srv.HTTPAddr(), "SELECT "+cmp.Or(e.show, "ifNull(toString(v), 'NULL')")+" FROM "+table+" ORDER BY id")
				if len(rows) != len(want) {
					t.Fatalf("%s: %d rows, want %d", way, len(rows), len(want))
				}
				for j, row := range rows {
					if got := unescape(row[0]); got != want[j].shown {
						t.Errorf("%s of %s: the server shows %s, want %s", way, want[j].json, got, want[j].shown)
					}
				}
				checkDescribed(t, srv, table, e.typ)
			})
		})
	}
}

// block holds the examples that are taken.
func (e entry) block(t *testing.T) (b *Block, taken []example) {
	t.Helper()
	b, err := NewBlock([]string{"id", "v"}, []string{"UInt32", e.typ})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range e.cases {
		if x.want != exact && x.want != rounded {
			continue
		}
		f, err := x.parse()
		if err == nil {
			_, err = AppendJSON(b.Columns[1], []byte(x.json), f)
		}
		if err != nil {
			t.Fatal(err)
		}
		b.Columns[0].(*UInt32).Append(uint32(len(taken)))
		taken = append(taken, x)
	}
	return b, taken
}

// unescape undoes what TabSeparated does.
func unescape(s string) string { return strings.NewReplacer(`\\`, `\`, `\'`, `'`).Replace(s) }

const (
	document    = "../../docs/reference/types.md"
	tablesBegin = "<!-- The tables below are written by `go generate ./internal/column`. -->\n"
)

// The document's tables are those of the catalogue; -update writes them anew.
func TestDocument_IsCurrent(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	head, _, found := strings.Cut(string(text), tablesBegin)
	if !found {
		t.Fatalf("%s has no line %s", document, tablesBegin)
	}
	want := head + tablesBegin + tables()
	if want == string(text) {
		return
	}
	if !*update {
		t.Fatalf("%s is stale: go generate ./internal/column", document)
	}
	if err := os.WriteFile(document, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func tables() string {
	var b strings.Builder
	b.WriteString("\n## The types\n\n| Type | Takes | Kept exactly | Rounded and counted | Refused | On the wire |\n|---|---|---|---|---|---|\n")
	for _, e := range catalogue {
		typ, err := ParseType(e.typ)
		if err != nil {
			panic(err)
		}
		row(&b, code(e.typ), typ.Takes().String(), e.keeps, e.rounds, e.refuses, e.wire)
	}
	b.WriteString("\n## Examples\n\nWhat becomes of a value, and what the server then shows of it.\n\n| Type | Format | Value | Outcome | In the table |\n|---|---|---|---|---|\n")
	for _, e := range catalogue {
		for _, x := range e.cases {
			shown := x.shown
			if shown == "" && (x.want == exact || x.want == rounded) {
				shown = "''"
			}
			row(&b, code(e.typ), code(x.format), code(x.json), x.want, code(shown))
		}
	}
	return b.String()
}

func row(b *strings.Builder, cells ...string) {
	for _, c := range cells {
		b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
	}
	b.WriteString("|\n")
}

// code is text as code, which may hold backticks.
func code(text string) string {
	switch {
	case text == "":
		return ""
	case strings.Contains(text, "`"):
		return "`` " + text + " ``"
	}
	return "`" + text + "`"
}
