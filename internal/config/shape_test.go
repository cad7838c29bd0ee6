package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := json.Marshal(Describe())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("pipeline.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("pipeline.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON is a pipeline file as an editor sees it.
func asJSON(t *testing.T, text []byte) any {
	t.Helper()
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{src: newSource("p.yaml", text), getenv: func(name string) (string, bool) { return "${" + name + "}", true }, unresolved: map[ast.Node]bool{}}
	out := value{r: r, node: file.Docs[0].Body}.jsonText()
	if len(r.problems) > 0 {
		t.Fatal(r.problems)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// examples are the pipeline files of the repository: those that are files, and those that its documents show.
func examples(t *testing.T) map[string]string {
	t.Helper()
	root, out := filepath.Join("..", ".."), map[string]string{}
	fenced := regexp.MustCompile("(?s)\n```yaml[^\n]*\n(.*?)\n```")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && (name == "node_modules" || strings.HasPrefix(name, ".") && name != "..") {
			return filepath.SkipDir
		}
		ext := filepath.Ext(path)
		if d.IsDir() || ext != ".yaml" && ext != ".yml" && ext != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		blocks := []string{string(text)}
		if ext == ".md" {
			blocks = nil
			for _, m := range fenced.FindAllStringSubmatch(string(text), -1) {
				blocks = append(blocks, m[1])
			}
		}
		for i, b := range blocks {
			if strings.Contains(b, "source:") && strings.Contains(b, "sink:") && !strings.Contains(b, "{{") {
				out[fmt.Sprintf("%s#%d", path, i)] = b
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func anyVariable(string) (string, bool) { return "0123456789abcdef", true }

// What the reader takes the schema takes: each pipeline file that the repository shows.
func TestShape_TakesEachExampleOfTheRepository(t *testing.T) {
	s, taken := schema(t), 0
	for name, text := range examples(t) {
		if _, err := Parse(name, []byte(text), anyVariable); err != nil {
			continue // an example of what is wrong
		}
		taken++
		if err := s.Validate(asJSON(t, []byte(text))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if taken < 30 {
		t.Errorf("%d examples were found", taken)
	}
}

// ofShape is what the reader says of a file that is of the wrong shape.
var ofShape = regexp.MustCompile(`^(unknown key|[^ ]+ is missing$|.* must be |.* is not a choice|.* is outside of|.*is not a size|.*is not a length of time: |.*is not a number of days|.*is not a share|.* a step is one operation)`)

// The file with every key, with one thing wrong with it, at each place: a key that is unknown, one that is missing, a value of another kind. Where the reader
// says that the shape is wrong the schema refuses the file, and it refuses nothing that the reader takes.
func TestShape_RefusesWhatTheReaderRefusesForItsShape(t *testing.T) {
	s := schema(t)
	full, err := os.ReadFile(filepath.Join("..", "cli", "pipeline-file.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []any{asJSON(t, full), asJSON(t, []byte(routed))} {
		refused := 0
		mutate(file, func(what string) {
			text, err := json.MarshalIndent(file, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse("p.yaml", text, anyVariable)
			verdict := s.Validate(file)
			shape := false
			problems, _ := err.(Problems) //nolint:errorlint // Parse gives nothing else
			for _, p := range problems {
				shape = shape || ofShape.MatchString(p.Message)
			}
			if verdict != nil {
				refused++
			}
			switch {
			case verdict != nil && err == nil:
				t.Errorf("%s: the schema refuses what the reader takes: %v", what, verdict)
			case verdict == nil && shape:
				t.Errorf("%s: the schema takes it, and the reader says: %v", what, err)
			}
		})
		if refused < 40 {
			t.Errorf("%d were refused", refused)
		}
	}
}

const routed = `
name: m
source: {kafka: {brokers: ["k:9092"], topic: t}}
sink: {clickhouse: {url: "clickhouse://h"}}
routes:
  - {name: a, when: event.x == 1, table: a, contract: {columns: {id: {type: UInt64}}}}
  - {name: b, table: b, contract: {new_fields: rescue, columns: {id: {type: UInt64, on_null: "null"}}}}
`

// mutate changes one thing after the other in a document, has each looked at, and takes it back.
func mutate(doc any, look func(what string)) {
	var walk func(node any, path string, set func(any))
	walk = func(node any, path string, set func(any)) {
		for _, other := range []any{map[string]any{"x": json.Number("1")}, []any{"x"}, "x y", json.Number("-1"), true, nil} {
			if set != nil {
				set(other)
				look(fmt.Sprintf("%s: %v", path, other))
				set(node)
			}
		}
		switch n := node.(type) {
		case map[string]any:
			keys := make([]string, 0, len(n))
			for key := range n {
				keys = append(keys, key)
			}
			slices.Sort(keys)
			for _, key := range keys {
				was := n[key]
				delete(n, key)
				look(path + "." + key + " is gone")
				n[key+"_"] = was
				look(path + "." + key + "_")
				delete(n, key+"_")
				n[key] = was
				walk(was, path+"."+key, func(x any) { n[key] = x })
			}
		case []any:
			for i, item := range n {
				walk(item, fmt.Sprintf("%s[%d]", path, i), func(x any) { n[i] = x })
			}
		}
	}
	walk(doc, "", nil)
}

// Every value says what it may be. A reader of its own that does not is not in the schema.
func TestShape_EveryKeySaysWhatItMayHold(t *testing.T) {
	var walk func(s *Shape, path string)
	walk = func(s *Shape, path string) {
		if s == nil {
			return
		}
		if !s.Said() {
			t.Errorf("%s says nothing of itself", path)
		}
		for key, one := range s.Properties {
			walk(one, path+"."+key)
		}
		walk(s.Other(), path+".*")
		walk(s.Items, path+"[]")
	}
	walk(Describe(), "")
}
