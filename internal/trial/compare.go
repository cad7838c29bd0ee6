package trial

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
)

// Difference is one field in which an outcome is not what was wanted.
type Difference struct {
	Line  int    `json:"line"`           // of the golden file, from 1
	Event int    `json:"event"`          // line of the events; 0: there is none
	Field string `json:"field"`          // path within the outcome; empty: all of it
	Want  string `json:"want,omitempty"` // JSON text; empty: nothing
	Got   string `json:"got,omitempty"`
}

// String is for people.
func (d Difference) String() string {
	where := fmt.Sprintf("line %d", d.Line)
	if d.Event > 0 && d.Event != d.Line {
		where += fmt.Sprintf(" (event on line %d)", d.Event)
	}
	if d.Field != "" {
		where += ": " + d.Field
	}
	return fmt.Sprintf("%s: want %s, got %s", where, orNothing(d.Want), orNothing(d.Got))
}

func orNothing(text string) string {
	if text == "" {
		return "nothing"
	}
	return text
}

// Compare names the fields in which an outcome is not the one wanted, by path. Members' order and blanks make no difference; numbers must
// be written alike, as the rescue column keeps them to the letter.
func Compare(want, got []byte) ([]Difference, error) {
	w, err := parse(want)
	if err != nil {
		return nil, err
	}
	g, err := parse(got)
	if err != nil {
		return nil, err
	}
	return appendDifferences(nil, "", w, g), nil
}

func parse(text []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("more than one value: %.40s", text)
	}
	return v, nil
}

func appendDifferences(out []Difference, field string, want, got any) []Difference {
	switch w := want.(type) {
	case map[string]any:
		if g, ok := got.(map[string]any); ok {
			return appendMembers(out, field, w, g)
		}
	case []any:
		if g, ok := got.([]any); ok && len(w) == len(g) {
			for i := range w {
				out = appendDifferences(out, field+"["+strconv.Itoa(i)+"]", w[i], g[i])
			}
			return out
		}
	default:
		if _, ok := got.(map[string]any); ok {
			break
		}
		if _, ok := got.([]any); !ok && want == got {
			return out
		}
	}
	return append(out, Difference{Field: field, Want: text(want), Got: text(got)})
}

func appendMembers(out []Difference, field string, want, got map[string]any) []Difference {
	names := maps.Clone(want)
	maps.Copy(names, got)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		at := name
		if field != "" {
			at = field + "." + name
		}
		w, wanted := want[name]
		g, there := got[name]
		switch {
		case !wanted:
			out = append(out, Difference{Field: at, Got: text(g)})
		case !there:
			out = append(out, Difference{Field: at, Want: text(w)})
		default:
			out = appendDifferences(out, at, w, g)
		}
	}
	return out
}

func text(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err.Error() // v was parsed from JSON, so it can be written
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}
