package redact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/waybill-data/waybill/internal/contract"
)

// planted are values that must not be in any output, and what finds them.
var planted = []struct{ value, detector string }{
	{"jane.doe@example.com", "email"}, {"4111111111111111", "card"}, {"5555 5555 5555 4444", "card"}, {"+14155550123", "phone"},
	{"(415) 555-0199", "phone"}, {"sk-proj-aB3dE5fG7hJ9kL1mN3pQ5rS7tU9v", "api_key"}, {"AKIAIOSFODNN7EXAMPLE", "api_key"},
}

// around are texts that may stand beside a planted value without a blank.
var around = []string{"", " ", ", ", "\"", "<", ">", "\n", "é", "请", "😀", "; ", ")", " x ", "[email]", "\\", "/ ", " 12 ", "hmac_"}

// drawn JSON, with planted values in some strings, names and numbers. All strings may have escapes that need not be.
type drawing struct {
	*rapid.T
	plant bool
}

func (d drawing) str(t string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range t {
		switch {
		case r == '"' || r == '\\' || r < ' ' || rapid.IntRange(0, 9).Draw(d.T, "escape") == 0:
			if r >= 0x10000 {
				fmt.Fprintf(&b, `\u%04x\u%04X`, 0xD800+(r-0x10000)>>10, 0xDC00+(r-0x10000)&0x3FF)
			} else {
				fmt.Fprintf(&b, `\u%04x`, r)
			}
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func (d drawing) text() string {
	part := rapid.SampledFrom(around)
	t := part.Draw(d.T, "before")
	if d.plant {
		for range rapid.IntRange(0, 3).Draw(d.T, "planted") {
			t += rapid.SampledFrom(planted).Draw(d.T, "value").value + rapid.SampledFrom(around[1:13]).Draw(d.T, "after")
		}
	}
	return t + part.Draw(d.T, "end")
}

func (d drawing) blank() string {
	return rapid.SampledFrom([]string{"", "", "", " ", "\n\t"}).Draw(d.T, "blank")
}

func (d drawing) value(depth int) string {
	switch k := rapid.IntRange(0, 9).Draw(d.T, "kind"); {
	case k < 2 && depth > 0:
		return d.object(depth - 1)
	case k < 4 && depth > 0:
		var items []string
		for range rapid.IntRange(0, 3).Draw(d.T, "elements") {
			items = append(items, d.blank()+d.value(depth-1)+d.blank())
		}
		return "[" + strings.Join(items, ",") + "]"
	case k == 4 && d.plant:
		return rapid.SampledFrom([]string{"4111111111111111", "4.111111111111111E15", "-4111111111111111", "41111111111111110e-1"}).Draw(d.T, "number")
	case k == 5:
		return rapid.SampledFrom([]string{"null", "true", "1.50", "-0", "1e400", "12345678901234567890"}).Draw(d.T, "other")
	}
	return d.str(d.text())
}

func (d drawing) object(depth int) string {
	names := []string{"a", "b", "c"}
	for range rapid.IntRange(0, 2).Draw(d.T, "names") {
		names = append(names, d.text())
	}
	var members []string
	for _, n := range names {
		if rapid.IntRange(0, 3).Draw(d.T, "member") > 0 {
			members = append(members, d.blank()+d.str(n)+d.blank()+":"+d.blank()+d.value(depth)+d.blank())
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

// index tells the step to an element from a name that looks like one.
const index = "\x01"

// leaf is a scalar, or an empty container, under its path.
type leaf struct {
	path []string // names, and indexes in brackets behind index
	raw  string
}

// leaves reads a text with encoding/json, which knows nothing of how it was redacted.
func leaves(t *rapid.T, path []string, raw json.RawMessage) (out []leaf) {
	t.Helper()
	raw = bytes.TrimSpace(raw)
	if raw[0] != '{' && raw[0] != '[' {
		return []leaf{{path, string(raw)}}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	for i := 0; dec.More(); i++ {
		step := fmt.Sprintf(index+"[%d]", i)
		if raw[0] == '{' {
			name, err := dec.Token()
			if err != nil {
				t.Fatalf("%s: %v", raw, err)
			}
			step = name.(string)
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		out = append(out, leaves(t, append(slices.Clone(path), step), v)...)
	}
	if out == nil {
		return []leaf{{path, string(raw[0])}}
	}
	return out
}

// plain is what a leaf says, without its escapes, and of a number its digits.
func plain(l leaf) string {
	var s string
	if json.Unmarshal([]byte(l.raw), &s) == nil {
		return s
	}
	var f float64
	if json.Unmarshal([]byte(l.raw), &f) == nil {
		return fmt.Sprintf("%s %.0f", l.raw, f)
	}
	return l.raw
}

func TestProperty_NoPlantedValueIsLeft(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		action := rapid.SampledFrom([]contract.RedactAction{contract.RedactDrop, contract.RedactHash, contract.RedactMask})
		var rules []contract.RedactRule
		for _, d := range rapid.Permutation(all).Draw(t, "detectors") {
			rules = append(rules, about("", action.Draw(t, "do"), d))
		}
		r := compileT(t, rules)
		text := drawing{t, true}.object(3)
		out, _ := r.Event([]byte(text))
		for _, l := range leaves(t, nil, out) {
			for _, p := range planted {
				if s := strings.Join(l.path, "\x00") + "\x00" + plain(l); strings.Contains(s, p.value) {
					t.Fatalf("%s is left in\n%s\nof\n%s", p.value, out, text)
				}
			}
		}
		out = bytes.Clone(out)
		if again, changed := r.Event(out); changed != 0 || !bytes.Equal(again, out) {
			t.Fatalf("%s\nbecomes\n%s\nof\n%s", out, again, text)
		}
	})
}

func compileT(t *rapid.T, rules []contract.RedactRule) *Redactor {
	r, err := New(&contract.Redact{Rules: rules}, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Without a planted value detectors change nothing, not a byte.
func TestProperty_NothingToFindNothingChanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := drawing{t, false}.object(3)
		out, changed := compileT(t, rs(about("", contract.RedactMask, all...))).Event([]byte(text))
		if changed != 0 || string(out) != text {
			t.Fatalf("%s\nbecomes\n%s", text, out)
		}
	})
}

// covers reports whether a rule's path leads to a leaf or to what it lies in. It is written apart from the redactor's own way.
func covers(rule string, path []string) bool {
	rule = strings.ReplaceAll(rule, "[", ".[")
	steps := strings.Split(rule, ".")
	if rule == "" {
		steps = nil
	}
	if len(steps) > len(path) {
		return false
	}
	for i, s := range steps {
		step, isElement := strings.CutPrefix(path[i], index)
		if isElement != strings.HasPrefix(s, "[") || s != step && s != "[*]" {
			return false
		}
	}
	return true
}

// What is covered is replaced as its rule says, what is not is as it was: byte for byte, in the same order.
func TestProperty_RulesCoverWhatTheyName(t *testing.T) {
	paths := []string{"a", "a.b", "a.b.c", "b", "b[*]", "b[*].a", "b[1]", "c.a[0]", "c[0][*]", "a.c"}
	rapid.Check(t, func(t *rapid.T) {
		var rules []contract.RedactRule
		for _, p := range rapid.SliceOfNDistinct(rapid.SampledFrom(paths), 1, 3, rapid.ID[string]).Draw(t, "paths") {
			rules = append(rules, about(p, contract.RedactHash))
		}
		text := drawing{t, true}.object(3)
		out, changed := compileT(t, rules).Event([]byte(text))
		before, after := leaves(t, nil, []byte(text)), leaves(t, nil, out)
		if len(before) != len(after) {
			t.Fatalf("%d leaves become %d", len(before), len(after))
		}
		hashed := 0
		for i, l := range before {
			want := l.raw
			if slices.ContainsFunc(rules, func(r contract.RedactRule) bool { return covers(r.Path, l.path) }) && l.raw != "null" && l.raw != "{" && l.raw != "[" {
				want = `"` + mark(scalarText(l.raw)) + `"`
				hashed++
			}
			if after[i].raw != want || !slices.Equal(after[i].path, l.path) {
				t.Fatalf("%q: %s becomes %s, want %s", l.path, l.raw, after[i].raw, want)
			}
		}
		if hashed != changed || hashed == 0 && string(out) != text {
			t.Fatalf("%d changed, want %d", changed, hashed)
		}
	})
}

func scalarText(raw string) string {
	var s string
	if json.Unmarshal([]byte(raw), &s) == nil {
		return s
	}
	return raw
}

// Drop and mask, of whole values: what a rule covers is gone, the rest is there, and every text between is the same.
func TestProperty_DropAndMaskTakeWholeValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		do := rapid.SampledFrom([]contract.RedactAction{contract.RedactDrop, contract.RedactMask}).Draw(t, "do")
		path := rapid.SampledFrom([]string{"a", "a.b", "b[*]", "b[1]", "b[*].a", "c"}).Draw(t, "path")
		text := drawing{t, true}.object(3)
		out, _ := compileT(t, rs(about(path, do))).Event([]byte(text))
		rest := func(text []byte) (out []leaf) {
			for _, l := range leaves(t, nil, text) {
				if covers(path, l.path) {
					continue
				}
				if l.raw != "{" { // of an object that lost all its members this is what is left
					out = append(out, l)
				}
			}
			return out
		}
		for _, l := range leaves(t, nil, out) {
			if covers(path, l.path) && l.raw != "null" && (do == contract.RedactDrop || l.raw != `"[redacted]"`) {
				t.Fatalf("%q is still %s", l.path, l.raw)
			}
		}
		if a, b := rest([]byte(text)), rest(out); fmt.Sprint(a) != fmt.Sprint(b) {
			t.Fatalf("%v\nbecomes\n%v", a, b)
		}
	})
}

// FuzzEvent: whatever the text, there is no panic; of valid objects something valid is left, of others nothing that a rule
// covers; and a second time changes nothing.
func FuzzEvent(f *testing.F) {
	for _, s := range []string{`{"a":"x","m":"a@b.de 4111111111111111"}`, `{"a\u0040b.de":1,"c@d.de":2}`, `{"m":["\ud83d\ude00 +14155550123",4.111111111111111e15]}`, `{"":-}`, `{"a":{"b":[]},"m":"key=\"aB3dE5fG7hJ9kL1mN3pQ\""}`} {
		f.Add([]byte(s))
	}
	r := compile(f, about("a", contract.RedactDrop), about("b", contract.RedactHash), about("m", contract.RedactHash, "email", "card"), about("", contract.RedactMask, all...))
	f.Fuzz(func(t *testing.T, text []byte) {
		in := bytes.Clone(text)
		out, changed := r.Event(text)
		if !bytes.Equal(in, text) {
			t.Fatal("the text was changed")
		}
		if changed == 0 && out != nil && !bytes.Equal(out, text) {
			t.Fatalf("no value was changed, but %q became %q", text, out)
		}
		if !json.Valid(text) || !utf8.Valid(text) || !strings.HasPrefix(strings.TrimSpace(string(text)), "{") || strings.Contains(string(text), `\ud`) {
			return
		}
		if out == nil || !json.Valid(out) {
			t.Fatalf("%q becomes %q", text, out)
		}
	})
}

// FuzzFind: matches are in order, apart, and within the text.
func FuzzFind(f *testing.F) {
	for _, s := range []string{"a@b.de", "+1 (415) 555-0123", "4111 1111 1111 1111", "key=aB3dE5fG7hJ9kL1mN3pQ", "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x", "-----BEGIN PRIVATE KEY-----", "a%40b.de", "\xe2\x80\x91"} {
		f.Add(s, "phone")
	}
	var find finder
	f.Fuzz(func(t *testing.T, text, name string) {
		from := 0
		for _, m := range find.find([]byte(text), 1<<numDetectors-1, []byte(name)) {
			if m.start < from || m.end <= m.start || m.end > len(text) {
				t.Fatalf("%+v after %d of %d", m, from, len(text))
			}
			from = m.end
		}
	})
}
