package guide

import (
	"strings"
	"testing"
	"time"
)

// Code that a reader sees and nobody runs must not slip through.
func TestPage_CodeThatWouldNotRunIsAFault(t *testing.T) {
	for text, want := range map[string]string{
		"```sql\nSELECT 1\n":              "never ends",
		"```\nSELECT 1\n```\n":            "with its language",
		"- a list\n  ```sql\n  x\n  ```":  "at the margin",
		"text\n\n    waybill run x\n":     "indented",
		"text\n\n\twaybill run x\n\nmore": "indented",
	} {
		if _, err := parsePage("p.md", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	p, err := parsePage("p.md", "a\n```sql\nSELECT 1\n```\n\n- list\n    more of it\n\n```json x.json illustration\n{}\n\n    {}\n```\n")
	if err != nil || len(p.blocks) != 2 || !p.blocks[1].is("json", "illustration") || len(p.blocks[1].lines) != 3 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestCompare(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	const a, b = "0123456789abcdef", "fedcba9876543210"
	for name, c := range map[string]struct {
		page, run string
		same      bool
	}{
		"the same":                        {"a\nb", "a\nb", true},
		"another word":                    {"a", "b", false},
		"a line more":                     {"a\nb", "a", false},
		"a line less":                     {"a", "a\nb", false},
		"blanks at the end":               {"a  \n", "a", true},
		"blanks at the beginning":         {"  a", "a", false},
		"a time of now":                   {"at 2026-03-01 10:00:00.123, a", "at 2026-11-28 11:59:59.999, a", true},
		"a day of now":                    {"2026-03-01", "2026-11-27", true},
		"another time that is not of now": {"2026-03-01T10:00:00Z", "2026-03-02T10:00:00Z", false},
		"the same time":                   {"2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z", true},
		"a time of another form":          {"2026-03-01 10:00:00", "2026-11-28 11:59:59.999", false},
		"no time":                         {"2026-03-01 10:00:00", a, false},
		"other ids":                       {a + " " + a + " " + b, b + " " + b + " " + a, true},
		"one id for two":                  {a + " " + b, a + " " + a, false},
		"two ids for one":                 {a + "\n" + a, a + "\n" + b, false},
		"an id for a number":              {"plan 17", "plan " + a, false},
		"ids of other lengths":            {a, a + b, false},
	} {
		got := newNames(now).compare(strings.Split(c.page, "\n"), strings.Split(c.run, "\n"))
		if (got == "") != c.same {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// What a page asks for by an id is asked for by the run's.
func TestCompare_IDsInCommands(t *testing.T) {
	n := newNames(time.Now())
	if d := n.compare([]string{"plan 0123456789abcdef"}, []string{"plan fedcba9876543210"}); d != "" {
		t.Error(d)
	}
	if got := n.inRun("show p.yaml 0123456789abcdef 0000456789abcdef"); got != "show p.yaml fedcba9876543210 0000456789abcdef" {
		t.Error(got)
	}
}

// A page that does not read as it runs fails, whatever is wrong with it.
func TestRun_NoticesWhatIsNotAsItReads(t *testing.T) {
	const file = "```yaml p.yaml\nname: p\nsource: {kafka: {brokers: [localhost:9092], topic: llm.calls}}\ncontract:\n  tables: evolve\n  columns:\n" +
		"    id: {type: UInt64, required: true}\nsink: {clickhouse: {url: \"clickhouse://localhost:9000/ai\", table: t}}\n```\n" +
		"```json events\n{\"id\":1}\n{\"id\":\"x\"}\n```\n"
	const run = "```console\n$ waybill run p.yaml\n^C\n```\n"
	for name, c := range map[string]struct{ text, want string }{
		"a good page":             {file + run + "```sql\nSELECT id FROM ai.t;\n```\n```text\n┌─id─┐\n│  1 │\n└────┘\n```\n", ""},
		"a wrong answer":          {file + run + "```sql\nSELECT id FROM ai.t\n```\n```text\n┌─id─┐\n│  2 │\n└────┘\n```\n", "page: │  2 │"},
		"a wrong output":          {file + "```console\n$ waybill validate p.yaml\np.yaml: fine\n```\n", "run:  p.yaml: ok"},
		"output left out":         {file + "```console\n$ waybill validate p.yaml\n```\n", "a line more than on the page: p.yaml: ok"},
		"a wrong exit code":       {"```console\n$ waybill validate none.yaml\n```\n", "exit code 2"},
		"a worker that says less": {file + "```console\n$ waybill run p.yaml &\n$ fg\n^C\nwaybill: stopped\n```\n", "waybill: stopped"},
		"a wrong statement":       {"```sql\nSELECT none FROM ai.t;\nSELECT 1\n```\n", "UNKNOWN_TABLE"},
		"a block of no kind":      {"```go\nfmt.Println()\n```\n", "nobody knows how to run"},
		"a file without a name":   {"```yaml\na: b\n```\n", "nobody knows how to run"},
		"an answer to nothing":    {"```text\n1\n```\n", "nobody knows how to run"},
		"an unknown command":      {"```console\n$ rm p.yaml\n```\n", "not known"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := parsePage("p.md", c.text)
			if err != nil {
				t.Fatal(err)
			}
			switch err := newRunner(t, p).run(); {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
