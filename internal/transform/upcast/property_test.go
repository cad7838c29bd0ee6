package upcast_test

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/transform/expr"
	"github.com/waybill-data/waybill/internal/transform/upcast"
)

var names = []string{"a", "b", "c", "d.e"}

// drawJSON draws a value of a few names, so that steps hit it.
func drawJSON(t *rapid.T, depth int) string {
	kinds := []string{"object", "object", "string", "string", "number", "word", "array"}
	if depth == 0 {
		kinds = kinds[2:6]
	}
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case "string":
		return `"` + rapid.StringMatching(`[xyz-]{0,6}`).Draw(t, "string") + `"`
	case "number":
		return rapid.SampledFrom([]string{"1", "1.50", "-0", "12345678901234567890123", "1E5"}).Draw(t, "number")
	case "word":
		return rapid.SampledFrom([]string{"true", "false", "null"}).Draw(t, "word")
	case "array":
		return "[" + drawJSON(t, depth-1) + ", " + drawJSON(t, depth-1) + "]"
	}
	return "{" + drawMembers(t, depth) + "}"
}

func drawMembers(t *rapid.T, depth int) string {
	var out []string
	for _, name := range rapid.Permutation(names).Draw(t, "names")[:rapid.IntRange(0, 3).Draw(t, "members")] {
		out = append(out, `"`+name+`": `+drawJSON(t, depth-1))
	}
	return strings.Join(out, " ,")
}

func drawPath(t *rapid.T) string {
	var p contract.Path
	for range rapid.IntRange(1, 3).Draw(t, "length") {
		if len(p) > 0 && rapid.IntRange(0, 5).Draw(t, "element") == 0 {
			p = append(p, contract.Step{Kind: contract.Element, Index: rapid.IntRange(0, 1).Draw(t, "index")})
		}
		p = append(p, contract.Step{Name: rapid.SampledFrom(names).Draw(t, "name")})
	}
	return p.String()
}

func drawStep(t *rapid.T) contract.UpcastStep {
	from, to := drawPath(t), drawPath(t)
	other := rapid.Custom(drawPath).Filter(func(p string) bool { return p != from && p != to }).Draw(t, "other") // a file names no path twice
	switch rapid.SampledFrom([]contract.UpcastOp{contract.OpMove, contract.OpRename, contract.OpSplit, contract.OpMerge, contract.OpDefault}).Draw(t, "op") {
	case contract.OpRename:
		return rename(from, to)
	case contract.OpSplit:
		return split(from, "-", to, other)
	case contract.OpMerge:
		return merge("-", to, from, other)
	case contract.OpDefault:
		return literal(contract.OpDefault, to, "99")
	}
	return move(from, to)
}

// leaves are the values of a text as encoding/json reads them: numbers and words, and the letters of all strings but
// for the dash, which steps cut and join at.
func leaves(t *rapid.T, text string) (values []string, letters string) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var objects []bool // around; and whether a name comes next
	name := false
	var all []rune
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			slices.Sort(values)
			slices.Sort(all)
			return values, string(all)
		}
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		switch tok := tok.(type) {
		case json.Delim:
			if tok == '{' || tok == '[' {
				objects = append(objects, tok == '{')
				name = tok == '{'
				continue
			}
			objects = objects[:len(objects)-1]
		case string:
			if name {
				name = false
				continue
			}
			all = append(all, []rune(strings.ReplaceAll(tok, "-", ""))...)
		case json.Number:
			values = append(values, tok.String())
		default:
			values = append(values, map[any]string{true: "true", false: "false", nil: "null"}[tok])
		}
		name = len(objects) > 0 && objects[len(objects)-1]
	}
}

// No step loses a value: what an upcast event holds is what it held, and the defaults.
func TestApply_KeepsEveryLeaf(t *testing.T) {
	upcasts := 0
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 4).Draw(t, "steps")
		u, err := upcast.New(chain(steps...))
		if err != nil {
			t.Skip(err)
		}
		members := drawMembers(t, 3)
		if members != "" {
			members += ","
		}
		text := "{" + members + `"v":"1"}`
		r := &waybill.Record{Value: []byte(text)}
		var seen expr.Record
		if !seen.Set(r, r.Value) {
			t.Fatalf("no object: %s", text)
		}
		o, out, _ := u.Apply(&seen, r)
		if o != upcast.Upcast {
			return
		}
		upcasts++
		before, letters := leaves(t, text)
		after, lettersAfter := leaves(t, string(out))
		after = slices.DeleteFunc(after, func(s string) bool { return s == "99" })
		// The version's own text went from 1 to 2.
		if !slices.Equal(before, after) || strings.Replace(letters, "1", "2", 1) != lettersAfter {
			t.Fatalf("%+v\n%s became\n%s", steps, text, out)
		}
	})
	if upcasts < 20 {
		t.Errorf("only %d events were upcast", upcasts)
	}
}
