package contract

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestParsePath(t *testing.T) {
	for text, want := range map[string][]string{
		"a":                     {"a"},
		"usage.input_tokens":    {"usage", "input_tokens"},
		"attrs.`gen_ai.system`": {"attrs", "gen_ai.system"},
		"`a``b`.c":              {"a`b", "c"},
		"``":                    {""},
		"a b.ü":                 {"a b", "ü"},
	} {
		got, err := ParsePath(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", ".", "a.", ".a", "a..b", "`a", "`a`b", "a`b", "`a`."} {
		if got, err := ParsePath(text); err == nil {
			t.Errorf("%q was taken as %q", text, got)
		}
	}
}

func TestFormatPath_ReadsBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		path := rapid.SliceOfN(rapid.StringMatching("[a.`é]{0,3}"), 1, 4).Draw(rt, "path")
		got, err := ParsePath(FormatPath(path))
		if err != nil || !slices.Equal(got, path) {
			rt.Fatalf("%q became %s, which is %q, %v", path, FormatPath(path), got, err)
		}
	})
}
