package cli

import (
	"encoding/json"
	"io"
	"regexp"
	"strings"

	"github.com/waybill-data/waybill/internal/config"
)

//go:generate sh -c "go run ../../cmd/waybill validate --json-schema > ../../docs/reference/pipeline-file.schema.json"

// printSchema writes the JSON Schema of pipeline files: the shape that their reader has, with the words of `waybill help pipeline-file`.
func printSchema(w io.Writer) error {
	s := config.Describe()
	says := comments(pipelineFile)
	explain(s, nil, says)
	s.Description = "Keys that a pipeline file may have, and what they may hold. `waybill validate` checks more: names, paths, types, expressions, and what fits together."
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(s)
}

// comment is what the example says of a key.
type comment struct {
	path []string // "[]" is an item of a list
	text string
}

// explain puts the comments into a shape.
func explain(s *config.Shape, path []string, says []comment) {
	if s == nil {
		return
	}
	for i := range says {
		if c := &says[i]; s.Description == "" && len(path) > 0 && same(path, c.path) {
			s.Description = c.text
		}
	}
	for key, one := range s.Properties {
		explain(one, append(path[:len(path):len(path)], key), says)
	}
	explain(s.Other(), append(path[:len(path):len(path)], "*"), says)
	explain(s.Items, append(path[:len(path):len(path)], "[]"), says)
	for _, way := range s.AnyOf {
		explain(way.Other(), append(path[:len(path):len(path)], "*"), says)
	}
}

// same: the two lead to one key; what has no name of its own is called whatever the example calls it.
func same(path, example []string) bool {
	if len(path) != len(example) || path[len(path)-1] == "*" {
		return false
	}
	for i := range path {
		if path[i] != example[i] && path[i] != "*" {
			return false
		}
	}
	return true
}

var (
	keyLine     = regexp.MustCompile(`^(\s*)((?:- )*)([A-Za-z_][A-Za-z0-9_]*):(\s|$)`)
	commentedIn = regexp.MustCompile(`^#\s*(- )?[a-z_]+:(\s|$)`)
)

// asideColumn is where comments stand that go on from the line above.
const asideColumn = 28

// comments are what the example says of its keys, beside them or above.
func comments(text string) []comment {
	var out []comment
	var above []string
	type level struct {
		indent int
		key    string
	}
	var levels []level
	last := -1 // of out: what a comment below goes on from
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		code, said := cutComment(line)
		indent := len(line) - len(strings.TrimLeft(line, " "))
		m := keyLine.FindStringSubmatch(code)
		switch {
		case strings.TrimSpace(line) == "":
			above, last = nil, -1
		case strings.TrimSpace(code) == "" && indent >= asideColumn:
			if last >= 0 {
				out[last].text += " " + said
			}
		case strings.TrimSpace(code) == "":
			if last = -1; commentedIn.MatchString(strings.TrimSpace(line)) {
				above = nil
				continue
			}
			above = append(above, said)
		case m != nil:
			at := len(m[1])
			for len(levels) > 0 && levels[len(levels)-1].indent >= at {
				levels = levels[:len(levels)-1]
			}
			if m[2] != "" {
				levels = append(levels, level{at, "[]"})
				at += len(m[2])
			}
			levels = append(levels, level{at, m[3]})
			c := comment{text: strings.Join(append(above, said), " ")}
			for _, l := range levels {
				c.path = append(c.path, l.key)
			}
			out, above, last = append(out, c), nil, len(out)
		}
	}
	for i := range out {
		out[i].text = strings.Join(strings.Fields(strings.ReplaceAll(out[i].text, "(required)", "")), " ")
	}
	return out
}

// cutComment parts a line of YAML at its comment.
func cutComment(line string) (code, said string) {
	quote := rune(0)
	for i, r := range line {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '"' || r == '\'' || r == '`':
			quote = r
		case r == '#' && (i == 0 || line[i-1] == ' '):
			return line[:i], strings.TrimSpace(line[i+1:])
		}
	}
	return line, ""
}
