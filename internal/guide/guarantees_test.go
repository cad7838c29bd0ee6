package guide

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// parts are what schema change consists of: each has a page that runs, and a guarantee.
var parts = []struct{ what, page, guarantee string }{
	{"contract modes", "modes.md", "G12"},
	{"the rescue column", "rescue.md", "G12"},
	{"evolution", "evolve.md", "G13"},
	{"changes of the table by others", "table-changes.md", "G11"},
	{"expressions", "expressions.md", "G14"},
	{"versions", "versions.md", "G14"},
	{"redaction", "redaction.md", "G14"},
	{"stored plans", "plans.md", "G17"},
	{"drift", "drift.md", "G18"},
	{"promote", "promote.md", "G19"},
	{"plan and test", "plan-and-test.md", "G20"},
}

// Each part runs a pipeline against the broker and the server, asks the server what came of it, and is guaranteed to stay so.
func TestParts_EachHasAPageThatRunsAndAGuarantee(t *testing.T) {
	guarantees := sections(read(t, "docs/guarantees.md"))
	index := read(t, "docs/guide/README.md")
	for _, part := range parts {
		p, err := readPage(filepath.Join(root, "docs", "guide", part.page))
		if err != nil {
			t.Error(err)
			continue
		}
		var runs, asks bool
		for i, b := range p.blocks {
			runs = runs || b.lang == "console" && strings.Contains(strings.Join(b.lines, "\n"), "$ waybill run ")
			asks = asks || b.lang == "sql" && i+1 < len(p.blocks) && p.blocks[i+1].lang == "text" || b.lang == "console" && strings.Contains(strings.Join(b.lines, "\n"), "$ waybill plan ")
		}
		if !runs || !asks {
			t.Errorf("%s: the page %s does not run a pipeline and ask what came of it", part.what, part.page)
		}
		section, there := guarantees[part.guarantee]
		if !there || len(testNames(section)) == 0 {
			t.Errorf("%s: there is no guarantee %s that names its tests", part.what, part.guarantee)
		}
		if !strings.Contains(section, "guide/"+part.page) {
			t.Errorf("%s: %s does not lead to the page %s", part.what, part.guarantee, part.page)
		}
		if !strings.Contains(index, "("+part.page+")") {
			t.Errorf("%s: the guide's index does not lead to %s", part.what, part.page)
		}
	}
}

// sections are the guarantees' texts by their ids.
func sections(text string) map[string]string {
	out := map[string]string{}
	for _, part := range regexp.MustCompile(`(?m)^###? `).Split(text, -1) {
		if id, _, ok := strings.Cut(part, ". "); ok && regexp.MustCompile(`^G\d+$`).MatchString(id) {
			out[id] = part
		}
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	quoted = regexp.MustCompile("`([^`\n]+)`")
	named  = regexp.MustCompile(`^(?:Test|Fuzz|Benchmark)[A-Z]\w*\*?$`)
	rest   = regexp.MustCompile(`^_[A-Z]\w*\*?$`)
)

// testNames are the tests that a text names in backticks. `_More` behind `TestThis_One` is TestThis_More.
func testNames(text string) []string {
	var out []string
	family := ""
	for _, m := range quoted.FindAllStringSubmatch(text, -1) {
		name := m[1]
		if rest.MatchString(name) && family != "" {
			name = family + name
		}
		if named.MatchString(name) {
			family, _, _ = strings.Cut(name, "_")
			out = append(out, name)
		}
	}
	return out
}

// Documents name the tests that hold what they say. A test that is renamed or removed takes its sentence with it.
func TestDocuments_NameTestsThatExist(t *testing.T) {
	there := functions(t)
	total := 0
	for _, path := range markdown(t) {
		for _, name := range testNames(read(t, path)) {
			total++
			if !exists(there, name) {
				t.Errorf("%s names %s, which is no test", path, name)
			}
		}
	}
	if total < 100 {
		t.Errorf("%d names: they are no longer found", total)
	}
}

func exists(there []string, name string) bool {
	prefix, family := strings.CutSuffix(name, "*")
	return slices.ContainsFunc(there, func(f string) bool { return f == name || family && strings.HasPrefix(f, prefix) })
}

func TestTestNames(t *testing.T) {
	text := "`TestA_One`, `_Two`, `x`, `_Three*`; `FuzzB`, `_epoch`, `TestC_*`, `Testing`, `go test`"
	if got := testNames(text); !slices.Equal(got, []string{"TestA_One", "TestA_Two", "TestA_Three*", "FuzzB", "TestC_*"}) {
		t.Errorf("%q", got)
	}
	there := []string{"TestA_One", "TestC_X"}
	for name, want := range map[string]bool{"TestA_One": true, "TestA_On": false, "TestC_*": true, "TestD_*": false, "TestA": false} {
		if exists(there, name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

// The mutants are in a table of their own, under the names that the code has for them.
func TestGuarantees_NameEveryMutant(t *testing.T) {
	declared := regexp.MustCompile(`(?m)^\s*Mutant\w+\s+(?:delivery\.)?Mutant = "([a-z-]+)"`)
	var there, table []string
	for _, path := range []string{"internal/delivery/mutant.go", "internal/sim/mutants.go", "internal/sim/operator.go"} {
		for _, m := range declared.FindAllStringSubmatch(read(t, path), -1) {
			there = append(there, m[1])
		}
	}
	_, text, _ := strings.Cut(read(t, "docs/guarantees.md"), "## The mutants")
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(text, -1) {
		table = append(table, m[1])
	}
	slices.Sort(there)
	slices.Sort(table)
	if len(there) == 0 || !slices.Equal(there, table) {
		t.Errorf("the table has\n%q, the code\n%q", table, there)
	}
}

// functions are the names of all tests of the tree.
func functions(t *testing.T) []string {
	t.Helper()
	var out []string
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	for _, path := range files(t, "_test.go") {
		for _, m := range declared.FindAllStringSubmatch(read(t, path), -1) {
			out = append(out, m[1])
		}
	}
	return out
}

func markdown(t *testing.T) []string { t.Helper(); return files(t, ".md") }

// files of the tree, by the end of their names.
func files(t *testing.T, end string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(path, end) {
			rel, err := filepath.Rel(root, path)
			out = append(out, rel)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
