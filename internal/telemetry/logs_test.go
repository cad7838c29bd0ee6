package telemetry_test

import (
	"cmp"
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
)

var update = flag.Bool("update", false, "write docs/reference/logs.md anew")

// keys are all that log lines have, and what each means wherever it stands.
var keys = map[string]string{
	"action":          "what to do about a finding",
	"alerts":          "how many alerts",
	"answer":          "what became of an insert, as `outcome` of `waybill_inserts_total`",
	"backfill":        "the job, in lines of a backfill",
	"batch":           "a batch, by the beginning of its id; it is in the ledger, too",
	"batches":         "how many batches",
	"column":          "a column of a pipeline file's text",
	"host":            "a host of ClickHouse",
	"is":              "what it is now",
	"hint":            "what to do",
	"line":            "a line of a pipeline file",
	"running":         "pipelines that run",
	"state":           "a state of the pipeline, as `/status` has it",
	"stood_still_for": "how long a pipeline was held or paused",
	"to_be":           "the state that the pipeline goes to",
	"was":             "what it was before",
	"class":           "class of the error: `retryable`, `throttled`, `poison`, `schema`, `fenced`, `config` or `bug`",
	"client":          "details of the Kafka client, as it names them",
	"committed":       "the group's committed offset",
	"dropped":         "how many were dropped",
	"error":           "an error, in words",
	"event":           "what an alert tells: opened, worse, closed",
	"events":          "how many events",
	"evidence":        "how it is known",
	"failures":        "how often in a row",
	"file":            "what the pipeline file says",
	"finding":         "the id of a finding",
	"findings":        "how many findings",
	"first":           "one of several, in words",
	"for":             "how long",
	"from":            "the plan before",
	"group":           "the consumer group",
	"how":             "why a finding was closed",
	"inside":          "the deduplication window provably remembers the batch",
	"k":               "how many tokens of the chain have been used for the batch",
	"kind":            "kind of a finding: a page of the runbook",
	"last":            "the last of several, in words",
	"ledger":          "up to where the ledger accounts",
	"message":         "a finding, in words",
	"mutations":       "how many mutations of a table",
	"next":            "when it will be tried again",
	"offset":          "an offset",
	"partition":       "a partition; -1 in findings: of none, or of the whole topic",
	"partitions":      "partitions, with what they are at",
	"pipeline":        "the pipeline, in every line of one",
	"present":         "how many offsets are in the store",
	"problem":         "what a fetch met",
	"reason":          "why",
	"receiver":        "a receiver of alerts, by its name in the pipeline file",
	"refused":         "how many rows the server refuses",
	"rows":            "how many rows",
	"said":            "words of the Kafka client",
	"severity":        "of a finding: `info`, `warning` or `error`",
	"so_far":          "how many since the start",
	"span":            "offsets, from and before",
	"spans":           "how many spans of offsets",
	"sql":             "a statement",
	"stalled_for":     "how long the pipeline was stalled",
	"start":           "what the pipeline file says of where to start",
	"store":           "`target`, `dead_letters` or `ledger`",
	"subject":         "what a finding is about, beside a partition",
	"table":           "a table",
	"tables":          "tables, by their UUIDs",
	"timeout":         "a timeout",
	"times":           "how often",
	"to":              "the plan after",
	"took":            "how long it took",
	"topic":           "a topic",
	"unable":          "why it could not be told which rows are refused",
	"url":             "where the server listens",
	"views":           "names of materialized views",
	"waiting":         "how many wait",
	"what":            "what has happened, in words",
	"why":             "why",
	"epoch":           "the epoch that rows are written under",
}

// line is what the code may log.
type line struct{ pkg, level, message, keys string }

// logged reads every call of a logger in the sources. Problems are what keeps a line from being known: a message or a key that is no constant.
func logged(t *testing.T, root string) (lines []line, problems []string) {
	t.Helper()
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			return err
		}
		pkg, _ := filepath.Rel(root, filepath.Dir(path))
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			l, bad, is := read(call)
			if !is {
				return true
			}
			if bad != "" {
				problems = append(problems, fmt.Sprintf("%s: %s", fset.Position(call.Pos()), bad))
			}
			l.pkg = filepath.ToSlash(pkg)
			lines = append(lines, l)
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.message, b.message), cmp.Compare(a.level, b.level))
	})
	return slices.Compact(lines), problems
}

// read is the line that a call logs, if it is a logger's.
func read(call *ast.CallExpr) (l line, bad string, is bool) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Debug", "Info", "Warn", "Error", "Log"}, sel.Sel.Name) || !logger(sel.X) {
		return line{}, "", false
	}
	l.level = strings.ToLower(sel.Sel.Name)
	args := call.Args
	if l.level == "log" {
		l.level, args = "varies", args[2:]
	}
	if l.message, ok = constant(args[0]); !ok {
		return l, "its message is no constant", true
	}
	l.keys, bad = keysOf(args[1:])
	if call.Ellipsis.IsValid() {
		bad = "its keys cannot be read"
	}
	return l, bad, true
}

func keysOf(args []ast.Expr) (names, bad string) {
	var out []string
	for i := 0; i < len(args); {
		if group, ok := args[i].(*ast.CallExpr); ok && len(group.Args) > 0 { // slog.Group("name", ...)
			name, _ := constant(group.Args[0])
			out = append(out, name)
			i++
			continue
		}
		name, ok := constant(args[i])
		if !ok || !regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`).MatchString(name) {
			return "", fmt.Sprintf("key %d is no word in lower case", i/2+1)
		}
		out = append(out, name)
		i += 2
	}
	return strings.Join(out, ", "), ""
}

func logger(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "log"
	case *ast.SelectorExpr:
		return e.Sel.Name == "log" || e.Sel.Name == "Log"
	}
	return false
}

func constant(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

// docs/reference/logs.md is made of the calls in the code: each message is a constant, and each key one of those above.
func TestLogs_AreDocumented(t *testing.T) {
	lines, problems := logged(t, "..")
	for _, p := range problems {
		t.Error(p)
	}
	if len(lines) < 50 {
		t.Fatalf("only %d lines: the code is read wrong", len(lines))
	}
	used := map[string]bool{"pipeline": true, "backfill": true} // by With
	for _, l := range lines {
		for _, k := range strings.Split(l.keys, ", ") {
			used[k] = true
			if keys[k] == "" && k != "" {
				t.Errorf("%s: %q has the key %q, which the list of keys does not explain", l.pkg, l.message, k)
			}
		}
	}
	for k := range keys {
		if !used[k] {
			t.Errorf("no line has the key %q", k)
		}
	}
	const file = "../../docs/reference/logs.md"
	want := logsPage(lines)
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(file); err != nil || string(have) != want {
		t.Errorf("%s is stale (go test ./internal/telemetry -run TestLogs -update): %v", file, err)
	}
}

// What the list cannot explain is a problem, and not left out.
func TestLogs_UnreadableCallsAreSeen(t *testing.T) {
	dir := t.TempDir()
	text := "package x\nfunc f() {\n\tlog.Info(what)\n\tp.log.Warn(\"a\", \"so far\", 1)\n\tp.log.Warn(\"b\", all...)\n\tt.Log(\"no logger\")\n\ts.o.Log.Debug(\"c\", \"error\", 1)\n}\n"
	if err := os.WriteFile(filepath.Join(dir, "x.go"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	lines, problems := logged(t, dir)
	if len(lines) != 4 || len(problems) != 3 {
		t.Errorf("%q %q", lines, problems)
	}
}

func logsPage(lines []line) string {
	var b strings.Builder
	b.WriteString(`# Log lines

` + "`waybill run`" + ` logs to standard error: one JSON object a line, or for people, in colour, where that is a terminal. ` + "`--log-format json|text`" + ` chooses, ` + "`--log-level`" + ` is
` + "`debug`, `info` (the default), `warn` or `error`" + `. Beside what is listed here each JSON line has ` + "`time`, `level` and `msg`" + `. Filter by ` + "`msg`" + ` and keys: messages are constants, words that
differ are in keys, and a key means the same wherever it stands. Values of events are in no line; words of servers are, as ` + "`error`" + `.

- ` + "`error`" + `: a person has to know. The pipeline has stopped or waits for an outside system, or something could not be put on record.
- ` + "`warn`" + `: findings, and what heals by itself but should not become a habit.
- ` + "`info`" + `: what happens now and then to a healthy pipeline. ` + "`debug`" + `: what happens with each batch.

This page is made of the calls in the code by a test.

## Keys

| key | |
|---|---|
`)
	var names []string
	for k := range keys {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		fmt.Fprintf(&b, "| `%s` | %s |\n", k, keys[k])
	}
	pkg := ""
	for _, l := range lines {
		if l.pkg != pkg {
			pkg = l.pkg
			fmt.Fprintf(&b, "\n## %s\n\n| msg | level | keys |\n|---|---|---|\n", pkg)
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", l.message, l.level, l.keys)
	}
	return b.String()
}
