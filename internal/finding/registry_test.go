package finding_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/waybill-data/waybill/docs/runbook"
	"github.com/waybill-data/waybill/internal/finding"
)

var update = flag.Bool("update", false, "write docs/runbook/README.md anew")

// sections are what each page has, in this order.
var sections = []string{"## What it means", "## What it shows", "## How to look", "## What to do", "## How it closes"}

func TestRegistry_EachKindHasAPageAndEachPageAKind(t *testing.T) {
	for _, name := range runbook.Kinds() {
		if _, ok := finding.Of(name); !ok {
			t.Errorf("docs/runbook/%s.md is about no kind of finding", name)
		}
	}
	for _, k := range finding.Kinds() {
		text, ok := runbook.Page(k.Name)
		if !ok {
			t.Errorf("docs/runbook/%s.md is missing", k.Name)
			continue
		}
		if first, _, _ := strings.Cut(text, "\n"); first != "# "+k.Name+": "+k.Title {
			t.Errorf("docs/runbook/%s.md begins with %q, want the kind and its title", k.Name, first)
		}
		checkSections(t, k.Name, text)
	}
}

func checkSections(t *testing.T, name, text string) {
	t.Helper()
	var have []string
	for _, part := range regexp.MustCompile(`(?m)^## .*$`).FindAllStringIndex(text, -1) {
		have = append(have, text[part[0]:part[1]])
		if body, _, _ := strings.Cut(text[part[1]:], "\n## "); strings.TrimSpace(body) == "" {
			t.Errorf("docs/runbook/%s.md: nothing under %q", name, text[part[0]:part[1]])
		}
	}
	if !slices.Equal(have, sections) {
		t.Errorf("docs/runbook/%s.md has the sections %q, want %q", name, have, sections)
	}
	for _, link := range regexp.MustCompile(`\]\(([a-z_]+)\.md\)`).FindAllStringSubmatch(text, -1) {
		if _, ok := runbook.Page(link[1]); !ok {
			t.Errorf("docs/runbook/%s.md leads to %s.md, which there is not", name, link[1])
		}
	}
}

func TestRegistry_Entries(t *testing.T) {
	for _, k := range finding.Kinds() {
		if k.Severity == "" || k.Title == "" {
			t.Errorf("%s has no severity or title", k.Name)
		}
		if (k.Severity == "info") != (k.Closes == finding.Told) {
			t.Errorf("%s is %s and closes %s: what is only worth knowing is told, and nothing else is", k.Name, k.Severity, k.Closes)
		}
	}
}

// The index is made of the registry.
func TestRegistry_Index(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Runbook

A page for each kind of finding: what it means, what it shows, how to look, what to do, how it closes. ` + "`waybill findings FILE`" + ` shows what is open, ` +
		"`waybill findings explain KIND`" + `
prints a page. How findings live: [findings](../guide/findings.md).

| kind | severity | | closes |
|---|---|---|---|
`)
	for _, k := range finding.Kinds() {
		fmt.Fprintf(&b, "| [%s](%s.md) | %s | %s | %s |\n", k.Name, k.Name, k.Severity, k.Title, k.Closes)
	}
	const file = "../../docs/runbook/README.md"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil || string(have) != b.String() {
		t.Errorf("%s is not what the registry says (go test ./internal/finding -update): %v", file, err)
	}
}

// others are words that look like kinds where kinds are looked for, and are none.
var others = map[string]string{
	"would_create_database": "a note of `waybill plan`", "would_migrate": "likewise", "plan_unknown": "likewise",
}

// Every kind that the code makes findings of is in the registry: in literals of waybill.Finding and FindingKey, in constants and
// variables called kind, and handed to functions that make findings of their argument.
func TestRegistry_KnowsEveryKindInTheCode(t *testing.T) {
	found := map[string]string{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "bench" || d.Name() == "tools" || d.Name() == "e2e" || d.Name() == "sim" || d.Name() == ".git" || d.Name() == "finding") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		for _, word := range kindsIn(file) {
			found[word] = path
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 30 {
		t.Fatalf("only %d kinds in the code: it is read wrong", len(found))
	}
	for word, path := range found {
		// What only `waybill audit` says is in its report and no finding.
		if _, ok := finding.Of(word); !ok && others[word] == "" && !strings.Contains(path, "internal/audit/") {
			t.Errorf("%s: kind %q is not in the registry (internal/finding/kinds.go)", path, word)
		}
	}
	for _, k := range finding.Kinds() {
		if found[k.Name] == "" {
			t.Errorf("%s is in the registry, and nothing in the code makes such findings", k.Name)
		}
	}
}

// makers are functions that make findings of a kind that they are handed.
var makers = map[string]bool{"moved": true, "finding": true, "freeze": true, "note": true, "mendedBut": true}

var word = regexp.MustCompile(`^[a-z]+(_[a-z]+)+$`)

func kindsIn(file *ast.File) (out []string) {
	take := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil && word.MatchString(s) {
				out = append(out, s)
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			if id, ok := n.Type.(*ast.Ident); ok && file.Name.Name == "check" && id.Name == "Finding" {
				takeKind(n, take) // of a check, which `waybill run` tells as one of its own
			}
			takeLiteral(n, take)
		case *ast.ValueSpec:
			for i, name := range n.Names {
				if i < len(n.Values) && isKind(name.Name) {
					take(n.Values[i])
				}
			}
		case *ast.AssignStmt:
			for i, to := range n.Lhs {
				if id, ok := to.(*ast.Ident); ok && isKind(id.Name) && i < len(n.Rhs) {
					take(n.Rhs[i])
				}
			}
		case *ast.CallExpr:
			takeCall(n, take)
		}
		return true
	})
	return out
}

// takeKind takes the field kind of a literal.
func takeKind(n *ast.CompositeLit, take func(ast.Expr)) {
	for _, e := range n.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if id, ok := kv.Key.(*ast.Ident); ok && id.Name == "kind" {
				take(kv.Value)
			}
		}
	}
}

// isKind: a constant or variable of kinds of findings.
func isKind(name string) bool {
	return name == "kind" || regexp.MustCompile(`^(kind|Kind|Finding|Drift)[A-Z]`).MatchString(name)
}

func takeLiteral(n *ast.CompositeLit, take func(ast.Expr)) {
	sel, ok := n.Type.(*ast.SelectorExpr)
	if n.Type != nil && (!ok || sel.Sel.Name != "Finding" && sel.Sel.Name != "FindingKey") {
		return
	}
	for _, e := range n.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "Kind" {
				take(kv.Value)
			}
		}
	}
}

func takeCall(n *ast.CallExpr, take func(ast.Expr)) {
	name := ""
	switch f := n.Fun.(type) {
	case *ast.SelectorExpr:
		name = f.Sel.Name
	case *ast.Ident:
		name = f.Name
	}
	if makers[name] {
		for _, arg := range n.Args {
			take(arg)
		}
	}
}
