package contract

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestParsePath(t *testing.T) {
	for text, want := range map[string]Path{
		"a":                     Names("a"),
		"usage.input_tokens":    Names("usage", "input_tokens"),
		"attrs.`gen_ai.system`": Names("attrs", "gen_ai.system"),
		"`a``b`.c":              Names("a`b", "c"),
		"``":                    Names(""),
		"a b.ü":                 Names("a b", "ü"),
		"`a[0]`":                Names("a[0]"),
		"a[0]":                  {{Name: "a"}, {Kind: Element}},
		"a[2][1].b":             {{Name: "a"}, {Kind: Element, Index: 2}, {Kind: Element, Index: 1}, {Name: "b"}},
		"`a.b`[*].c":            {{Name: "a.b"}, {Kind: Each}, {Name: "c"}},
	} {
		got, err := ParsePath(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", ".", "a.", ".a", "a..b", "`a", "`a`b", "a`b", "`a`.", "a[", "a[x]", "a[-1]", "a[]", "a[0]b",
		"a]", "[0]", "[*]", "a[*].b[*]", "a[9999999]", "a[0].", "a.[0]"} {
		if got, err := ParsePath(text); err == nil {
			t.Errorf("%q was taken as %v", text, got)
		}
	}
}

func TestPath_ReadsBack(t *testing.T) {
	step := rapid.Custom(func(rt *rapid.T) Step {
		if rapid.IntRange(0, 3).Draw(rt, "kind") == 0 {
			return Step{Kind: Element, Index: rapid.IntRange(0, 12).Draw(rt, "index")}
		}
		return Step{Name: rapid.StringMatching("[]a.`[é*0]{0,3}").Draw(rt, "name")}
	})
	rapid.Check(t, func(rt *rapid.T) {
		path := append(Names("r"), rapid.SliceOfN(step, 0, 4).Draw(rt, "path")...)
		if rapid.Bool().Draw(rt, "each") {
			path = append(path, Step{Kind: Each})
		}
		got, err := ParsePath(path.String())
		if err != nil || !slices.Equal(got, path) {
			rt.Fatalf("%v became %s, which is %v, %v", []Step(path), path, got, err)
		}
	})
}
