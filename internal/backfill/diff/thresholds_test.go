package diff

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/contract"
)

// sample is a report in which there is something of everything.
func sample() *Report {
	return &Report{
		Live: Side{Table: "ai.calls", Rows: 1000}, Shadow: Side{Table: "ai.calls_backfill_1", Rows: 995}, Topic: "calls", Scope: []Scope{{0, "[0,500)"}}, By: []string{"_topic", "_partition", "_offset"}, Ends: "the accounts of both tables",
		Rows: Rows{Both: 990, Same: 890, Changed: 100, OnlyLive: 10, OnlyShadow: 4, DoubledShadow: 1},
		Columns: []Column{
			{Name: "model", State: Compared, Live: "String", Shadow: "LowCardinality(String)", Changed: 90, Values: Values{Checksum: "aa"}, Shadows: Values{Checksum: "bb"},
				Samples: []ValueSample{{Key{"calls", "0", "7"}, `"<script>alert(1)</script>"`, `"b"`}}},
			{Name: "cost", State: Compared, Live: "Float64", Shadow: "Nullable(Float64)", As: "Nullable(Float64)", Changed: 20, Shadows: Values{Nulls: 20, NullRate: share(20, 995)}},
			{Name: "extra", State: New, Shadow: "Nullable(String)", Shadows: Values{Nulls: 995, NullRate: 1}}, {Name: "old", State: Gone, Live: "String"}, {Name: "_offset", State: NotCompared, Why: ByKey, Live: "UInt64", Shadow: "UInt64"},
			{Name: "seen", State: NotCompared, Why: madeUp + "DEFAULT now()", Varies: "DEFAULT now()", Live: "DateTime", Shadow: "DateTime"},
		},
		Partitions: []Partition{{Partition: "2026-11-28", Live: &Stats{Rows: 1000, Columns: []ColumnStats{{Name: "model", Values: Values{Checksum: "aa"}, Min: "a", Max: "z", Distinct: 7}}},
			Shadow: &Stats{Rows: 995, Columns: []ColumnStats{{Name: "model", Values: Values{Checksum: "bb"}, Min: "a", Max: "z", Distinct: 6}}}}, {Partition: "2026-11-29", Live: &Stats{Rows: 1}}},
		NotReached: []Pending{{"calls", 0, 500, 12}}, Samples: Samples{OnlyLive: []Key{{"calls", "0", "3"}}, OnlyShadow: []Key{{"calls", "0", "4"}}, DoubledShadow: []Key{{"calls", "0", "5"}}},
		Notes: []string{"a note"}, Cost: Cost{Seconds: 1.5, Queries: 20, Memory: DefaultMemory},
	}
}

func limit(t *testing.T, text string) *Limit {
	t.Helper()
	l, err := ParseLimit(text)
	if err != nil {
		t.Fatal(err)
	}
	return &l
}

func TestRefusals(t *testing.T) {
	of := func(flag string) []string { return []string{flag} }
	for name, c := range map[string]struct {
		t    Thresholds
		want []string // the flags that refuse
	}{
		"by default missing, extra and doubled rows refuse, changed ones do not": {DefaultThresholds(), []string{"--max-missing", "--max-extra", "--max-doubled"}},
		"nothing is asked":                   {Thresholds{}, nil},
		"as many as there are":               {Thresholds{Missing: limit(t, "10"), Extra: limit(t, "4"), Doubled: limit(t, "1"), Changed: limit(t, "100"), Rows: limit(t, "5")}, nil},
		"one fewer":                          {Thresholds{Missing: limit(t, "9")}, of("--max-missing")},
		"a share that holds":                 {Thresholds{Missing: limit(t, "1%"), Rows: limit(t, "0.5%")}, nil},
		"a share that does not":              {Thresholds{Missing: limit(t, "0.99%")}, of("--max-missing")},
		"changed rows":                       {Thresholds{Changed: limit(t, "10%")}, of("--max-changed")},
		"numbers of rows":                    {Thresholds{Rows: limit(t, "4")}, of("--rows")},
		"changed in a column":                {Thresholds{ColumnChanged: map[string]Limit{"cost": *limit(t, "19"), "model": *limit(t, "90")}}, of("cost=19")},
		"of a column that was not compared":  {Thresholds{ColumnChanged: map[string]Limit{"seen": *limit(t, "0")}}, of("--max-changed seen=0")},
		"NULLs have grown":                   {Thresholds{NullRate: limit(t, "1%")}, of("column cost")},
		"within what they may":               {Thresholds{NullRate: limit(t, "2.1%")}, nil},
		"NULLs of a new column, when named":  {Thresholds{ColumnNullRate: map[string]Limit{"extra": *limit(t, "5%")}}, of("column extra")},
		"one column may, and the others not": {Thresholds{NullRate: limit(t, "0"), ColumnNullRate: map[string]Limit{"cost": *limit(t, "3%")}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := sample().Refusals(c.t)
			if len(got) != len(c.want) {
				t.Fatalf("%q", got)
			}
			for i, flag := range c.want {
				if !strings.Contains(got[i], flag) {
					t.Errorf("%q, want %s", got[i], flag)
				}
			}
		})
	}
}

func TestParseLimit(t *testing.T) {
	for text, ok := range map[string]bool{"0": true, "12": true, "0.5%": true, "100%": true, "-1": false, "101%": false, "NaN%": false, "a few": false, "": false, "1.5": false} {
		l, err := ParseLimit(text)
		if (err == nil) != ok || ok && l.String() != text {
			t.Errorf("%s: %v, %v", text, l, err)
		}
	}
	// Thresholds are put on record.
	was := Thresholds{Missing: limit(t, "0.5%"), ColumnChanged: map[string]Limit{"a": *limit(t, "3")}}
	text, err := json.Marshal(was)
	if err != nil {
		t.Fatal(err)
	}
	var is Thresholds
	if err := json.Unmarshal(text, &is); err != nil || *is.Missing != *was.Missing || is.ColumnChanged["a"] != was.ColumnChanged["a"] || is.Extra != nil {
		t.Errorf("%s, %v", text, err)
	}
}

// The page says all of it, needs nothing else, and runs nothing.
func TestHTML(t *testing.T) {
	r := sample()
	var b bytes.Buffer
	err := HTML(&b, Page{Title: "Backfill 7", At: time.Date(2026, 11, 28, 20, 0, 0, 0, time.UTC), Verdict: &Verdict{Refusals: []string{"10 rows are missing"}},
		Tables: []PageTable{{Report: r, Checksums: &Checksums{Rows: 995, Plan: "c0ffee", All: "sha256:ab", Without: []LeftOut{{"seen", "it is made up"}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{"Backfill 7", "must not be promoted", "10 rows are missing", "ai.calls_backfill_1", "2026-11-28", "calls 0 7", "c0ffee", "a note", "compared as Nullable(Float64)", "gone", "Not reached yet", "varies: DEFAULT now()", "&lt;script&gt;"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, never := range []string{"<script", "http://", "https://", "<link", "@import", "url("} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %q", never)
		}
	}
}

func TestVaries(t *testing.T) {
	columns := []contract.TableColumn{
		{Name: "id"}, {Name: "seen", DefaultKind: "DEFAULT", DefaultExpr: "now64(6)"}, {Name: "day", DefaultKind: "MATERIALIZED", DefaultExpr: "toDate(`seen`)"}, {Name: "half", DefaultKind: "DEFAULT", DefaultExpr: "id / 2"},
		{Name: "text", DefaultKind: "DEFAULT", DefaultExpr: "'now()'"}, {Name: "key", DefaultKind: "DEFAULT", DefaultExpr: "generateUUIDv4()"}, {Name: "price", DefaultKind: "DEFAULT", DefaultExpr: "dictGet('prices', 'usd', id)"},
		{Name: "version"}, {Name: "of", DefaultKind: "DEFAULT", DefaultExpr: "version + 1"}, {Name: "a", DefaultKind: "DEFAULT", DefaultExpr: "b"}, {Name: "b", DefaultKind: "DEFAULT", DefaultExpr: "a"},
	}
	var got []string
	for _, c := range columns {
		if varies(c.Name, columns) != "" {
			got = append(got, c.Name)
		}
	}
	if want := []string{"seen", "day", "key", "price"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
