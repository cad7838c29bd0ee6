package promote

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

const head = `name: p
source: {kafka: {brokers: ["localhost:9092"], topic: t}}
sink: {clickhouse: {url: "clickhouse://default@${HOST}:9000/ai", table: calls}}
`

func env(name string) (string, bool) { return "h", name == "HOST" }

var cost = contract.Column{Name: "cost", Type: "Nullable(Float64)", From: "usage.cost"}

func TestPatch_AddsOneLineAndLeavesTheRest(t *testing.T) {
	const line = "cost: {type: Nullable(Float64), from: usage.cost}"
	for name, tt := range map[string]struct{ before, after string }{
		"block": {"contract:\n  columns:\n    a: {type: String}\n", "contract:\n  columns:\n    a: {type: String}\n    " + line + "\n"},
		"comments and what follows": {
			"contract:\n  columns:  # mine\n\n    # first\n    a: {type: String}   # it\n    # last\n\n  new_fields: rescue\n# end\n",
			"contract:\n  columns:  # mine\n\n    # first\n    a: {type: String}   # it\n    " + line + "\n    # last\n\n  new_fields: rescue\n# end\n",
		},
		"nested block": {
			"contract:\n    columns:\n        a:\n            type: String\n\n            from: x.y\n        # old\n    tables: evolve\n",
			"contract:\n    columns:\n        a:\n            type: String\n\n            from: x.y\n        " + line + "\n        # old\n    tables: evolve\n",
		},
		"literal": {
			"contract:\n  columns:\n    a:\n      type: String\n      default: |\n        # no comment\n        x\n",
			"contract:\n  columns:\n    a:\n      type: String\n      default: |\n        # no comment\n        x\n    " + line + "\n",
		},
		"flow over lines in block": {
			"contract:\n  columns:\n    a: {\n      type: String,\n      from: x }\n",
			"contract:\n  columns:\n    a: {\n      type: String,\n      from: x }\n    " + line + "\n",
		},
		"no newline at the end": {"contract:\n  columns:\n    a: {type: String}", "contract:\n  columns:\n    a: {type: String}\n    " + line},
		"carriage returns":      {"contract:\r\n  columns:\r\n    a: {type: String}\r\n", "contract:\r\n  columns:\r\n    a: {type: String}\r\n    " + line + "\r\n"},
		"flow":                  {"contract: {columns: {\"ä😀\": {type: String}}} # all\n", "contract: {columns: {\"ä😀\": {type: String}, " + line + "}} # all\n"},
		"flow with a comma":     {"contract: {columns: {a: {type: String},}}\n", "contract: {columns: {a: {type: String},cost: {type: Nullable(Float64), from: usage.cost}}}\n"},
		"flow over lines": {
			"contract: {columns: {\n  a: {type: String}  # it\n  }}\n", "contract: {columns: {\n  a: {type: String}  # it\n  , " + line + "}}\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Patch("f", []byte(head+tt.before), "", cost, env)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != head+tt.after {
				t.Errorf("got:\n%s\nwant:\n%s", got, head+tt.after)
			}
		})
	}
}

func TestPatch_QuotesWhatNeedsIt(t *testing.T) {
	c := contract.Column{Name: "no", Type: "Nullable(DateTime64(3, 'UTC'))", From: "a.`b c`", As: "", Format: "unix_ms"}
	got, err := Patch("f", []byte(head+"contract:\n  columns:\n    a: {type: String}\n"), "", c, env)
	if err != nil {
		t.Fatal(err)
	}
	if want := "    \"no\": {type: \"Nullable(DateTime64(3, 'UTC'))\", from: \"a.`b c`\", format: unix_ms}\n"; !strings.HasSuffix(string(got), want) {
		t.Errorf("got:\n%s", got)
	}
}

func TestPatch_RefusesWithTheLineToAdd(t *testing.T) {
	for name, text := range map[string]string{
		"an anchor":        "contract:\n  columns: &c\n    a: {type: String}\n",
		"it is there":      "contract:\n  columns:\n    cost: {type: String}\n",
		"no contract":      "",
		"names in quotes":  "\"contract\":\n  columns:\n    a: {type: String}\n    ? b\n    : {type: String}\n",
		"not a good file":  "contract:\n  columns:\n    a: {typ: String}\n",
		"another document": "contract: {columns: {a: {type: String}}}\n---\nx: 1\n",
	} {
		_, err := Patch("f", []byte(head+text), "", cost, env)
		if waybill.ClassOf(err) != waybill.ClassConfig || !strings.Contains(err.Error(), Line(cost)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReplace_KeepsModeAndLink(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real.yaml"), filepath.Join(dir, "link.yaml")
	if err := os.WriteFile(real, []byte("a"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	if err := replace(link, []byte("b")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
	text, err := os.ReadFile(real)
	if info, serr := os.Stat(real); err != nil || serr != nil || string(text) != "b" || info.Mode().Perm() != 0o640 {
		t.Errorf("text %q, errors %v, %v", text, err, serr)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".waybill-*")); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestPatch_ColumnsOfARoute(t *testing.T) {
	text := `name: p
source: {kafka: {brokers: [b], topic: t}}
sink: {clickhouse: {url: "clickhouse://h"}}
contract: {columns: {id: {type: UInt64}}}
routes:
  - name: calls
    when: event.kind == "call"
    table: calls
    contract:
      columns:
        model: {type: String}   # whose
  - {name: tools, table: tools, when: "true", contract: {columns: {tool: {type: String}}}}
  - {name: rest, table: rest}
`
	c := contract.Column{Name: "cost", Type: "Float64", From: "usage.cost"}
	env := func(string) (string, bool) { return "", false }
	for route, want := range map[string]string{
		"calls": "        model: {type: String}   # whose\n        cost: {type: Float64, from: usage.cost}\n  - {name: tools",
		"tools": "{columns: {tool: {type: String}, cost: {type: Float64, from: usage.cost}}}}\n  - {name: rest",
	} {
		got, err := Patch("f", []byte(text), route, c, env)
		if err != nil || !strings.Contains(string(got), want) || len(got) <= len(text) {
			t.Errorf("route %s: %v\n%s", route, err, got)
		}
	}
	for route, want := range map[string]string{"rest": "there is no contract", "nope": "there is no route nope", "": "name a route, one of calls, tools, rest"} {
		if _, err := Patch("f", []byte(text), route, c, env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("route %q: %v, want %s", route, err, want)
		}
	}
}
