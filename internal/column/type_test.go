package column

import (
	"strings"
	"testing"
)

func TestParseType_Canonical(t *testing.T) {
	for text, want := range map[string]string{
		" Array( LowCardinality (String) ) ": "Array(LowCardinality(String))",
		"Map(String,UInt64)":                 "Map(String, UInt64)",
		"DateTime64":                         "DateTime64(3)",
		"DateTime64( 6,'UTC' )":              "DateTime64(6, 'UTC')",
		"Enum8('b'=2,'a'=-1)":                "Enum8('a' = -1, 'b' = 2)",
		`Enum16('it\'s' = 1, '\\' = 2)`:      `Enum16('it\'s' = 1, '\\' = 2)`,
		"Nullable(DateTime64(3))":            "Nullable(DateTime64(3))",
	} {
		typ, err := ParseType(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if typ.String() != want {
			t.Errorf("%s: got %s, want %s", text, typ, want)
		}
		if again, err := ParseType(typ.String()); err != nil || again.String() != want {
			t.Errorf("%s does not parse to itself: %v", typ, err)
		}
	}
}

func TestParseType_Refusals(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "missing",
		"uint8":                            "uint8 is not supported",
		"Nullable(Array(String))":          "Array cannot be inside Nullable",
		"Nullable(LowCardinality(String))": "LowCardinality cannot be inside Nullable",
		"Map(Nullable(String), Int8)":      "keys of Nullable(String)",
		"Map(String)":                      "Map takes 2",
		"Array(String":                     "no closing parenthesis",
		"Array":                            "Array takes 1",
		"String)":                          "unexpected",
		"DateTime64(10)":                   "0 to 9",
		"DateTime64(3, UTC)":               "single quotes",
		"Enum8('a' = 128)":                 "8 bits",
		"Enum8('a' = 1, 'b' = 1)":          "twice",
		"Enum8('a' = 1, 'a' = 2)":          "twice",
		"Enum8()":                          "wants",
		"Enum8":                            "wants",
		"Enum8('a)":                        "wants",
	} {
		if _, err := New(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", text, err, want)
		}
	}
}

func TestType_Accepts(t *testing.T) {
	for _, tc := range []struct {
		table, contract string
		ok              bool
	}{
		{"UInt32", "UInt32", true},
		{"UInt32", "UInt64", false},
		{"DateTime64(3, 'UTC')", "DateTime64(3)", true},
		{"DateTime64(3, 'UTC')", "DateTime64(3, 'UTC')", true},
		{"DateTime64(3, 'UTC')", "DateTime64(3, 'Europe/Berlin')", false},
		{"DateTime64(3)", "DateTime64(3, 'UTC')", false},
		{"DateTime64(3)", "DateTime64(6)", false},
		{"Nullable(DateTime('UTC'))", "Nullable(DateTime)", true},
		{"Nullable(String)", "String", false},
		{"LowCardinality(String)", "String", false},
		{"Enum8('a' = 1, 'b' = 2)", "Enum8('b' = 2, 'a' = 1)", true},
		{"Enum8('a' = 1, 'b' = 2)", "Enum8('a' = 1)", false},
		{"Map(String, String)", "Map(LowCardinality(String), String)", false},
	} {
		table, err := ParseType(tc.table)
		if err != nil {
			t.Fatal(err)
		}
		contract, err := ParseType(tc.contract)
		if err != nil {
			t.Fatal(err)
		}
		if table.Accepts(contract) != tc.ok {
			t.Errorf("table %s, contract %s: got %v", tc.table, tc.contract, !tc.ok)
		}
	}
}

func FuzzParseType(f *testing.F) {
	for _, text := range everyType {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		typ, err := ParseType(text)
		if err != nil {
			return
		}
		again, err := ParseType(typ.String())
		if err != nil || again.String() != typ.String() {
			t.Fatalf("%q became %q, which becomes %q (%v)", text, typ, again, err)
		}
		typ.New().AppendZero()
	})
}
