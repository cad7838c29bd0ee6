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
		"Decimal":                            "Decimal(10, 0)",
		"Decimal(18)":                        "Decimal(18, 0)",
		"Decimal32( 2 )":                     "Decimal(9, 2)",
		"Decimal64(18)":                      "Decimal(18, 18)",
		"Decimal128(0)":                      "Decimal(38, 0)",
		"Decimal256(70)":                     "Decimal(76, 70)",
		"Time64":                             "Time64(3)",
		"Tuple(\n    a Int8,\n    `b c` Nested(d String, e Tuple(Int8)))": "Tuple(a Int8, `b c` Nested(d String, e Tuple(Int8)))",
		"Tuple(`a` Int8, `1` Int8, `\\`\\\\` Int8)":                       "Tuple(a Int8, `1` Int8, `\\`\\\\` Int8)",
		"Variant(UInt64,String,Array(String))":                            "Variant(Array(String), String, UInt64)",
		"JSON( SKIP `a)`, b.c UInt32, SKIP REGEXP 'x\\')' )":              "JSON(SKIP `a)`, b.c UInt32, SKIP REGEXP 'x\\')')",
		"Dynamic(max_types=5)":                                            "Dynamic(max_types=5)",
		"SimpleAggregateFunction(groupArrayArray( 3 ),Array(String))":     "SimpleAggregateFunction(groupArrayArray(3), Array(String))",
		"Point": "Point",
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
		"":                               "missing",
		"uint8":                          "uint8 is not supported",
		"AggregateFunction(sum, UInt64)": "AggregateFunction is not supported: its states",
		"Array(QBit(Float32, 4))":        "QBit is not supported: use Array(Float32)",
		"IntervalDay":                    "IntervalDay is not supported",
		"Object('json')":                 "Object is not supported: it was replaced by JSON",
		"Enum('a' = 1)":                  "Enum is not supported: write Enum8",
		"Geometry":                       "Geometry is not supported: use one of",
		"Nothing":                        "Nothing is not supported",
		"Tuple()":                        "Tuple wants types",
		"Tuple(a Int8, Int8)":            "with and without names",
		"Tuple(a Int8, a Int8)":          "twice",
		"Tuple(`` Int8)":                 "empty",
		"Tuple(Int8":                     "no closing parenthesis",
		"Nested(Int8)":                   "Nested wants names",
		"Variant(a Int8)":                "Variant wants types only",
		"Variant(Nullable(Int8))":        "Nullable(Int8) cannot be inside Variant",
		"Variant(Int8, Int8)":            "Int8 twice",
		"Nullable(Tuple(Int8))":          "Tuple cannot be inside Nullable",
		"Nullable(Dynamic)":              "Dynamic cannot be inside Nullable",
		"Nullable(Point)":                "Point cannot be inside Nullable",
		"Decimal(0)":                     "1 to 76",
		"Decimal(77, 1)":                 "1 to 76",
		"Decimal(9, 10)":                 "0 to 9",
		"Decimal32":                      "wants a scale",
		"Decimal32(10)":                  "0 to 9",
		"FixedString":                    "number of bytes",
		"FixedString(0)":                 "1 to",
		"Time64(10)":                     "0 to 9",
		"JSON(a":                         "no closing parenthesis",
		"SimpleAggregateFunction(sum)":   "a function and a type",
		"LowCardinality(Array(String))":  "is not supported",
		"LowCardinality(DateTime64(3))":  "is not supported",
		"Map(Array(String), Int8)":       "keys of Array(String)",
		"Map(LowCardinality(Nullable(String)), Int8)": "keys of LowCardinality(Nullable(String))",
		"Map(JSON, Int8)":                  "keys of JSON",
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
		{"Decimal(9, 2)", "Decimal32(2)", true},
		{"Decimal(9, 2)", "Decimal(9, 3)", false},
		{"Decimal(18, 2)", "Decimal(9, 2)", false},
		{"FixedString(3)", "FixedString(4)", false},
		{"Tuple(a Int8, b String)", "Tuple(Int8, String)", true},
		{"Tuple(a Int8, b String)", "Tuple(a Int8, c String)", false},
		{"Tuple(Int8, String)", "Tuple(a Int8, b String)", false},
		{"Tuple(Int8, String)", "Tuple(Int8)", false},
		{"Nested(a Int8)", "Array(Tuple(a Int8))", true},
		{"Array(Tuple(a Int8))", "Nested(a Int8)", true},
		{"Nested(a Int8)", "Nested(b Int8)", false},
		{"Ring", "Array(Tuple(Float64, Float64))", true},
		{"Array(Point)", "Ring", true},
		{"Array(Point)", "Polygon", false},
		{"SimpleAggregateFunction(sum, UInt64)", "UInt64", true},
		{"SimpleAggregateFunction(sum, UInt64)", "UInt32", false},
		{"JSON(max_dynamic_paths=8)", "JSON", true},
		{"JSON", "JSON(max_dynamic_paths=8)", false},
		{"Dynamic(max_types=3)", "Dynamic", true},
		{"Variant(String, UInt64)", "Variant(UInt64, String)", true},
		{"Variant(String, UInt64)", "Variant(String)", false},
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

func TestType_Nullable(t *testing.T) {
	for text, want := range map[string]string{
		"Int8": "Nullable(Int8)", "Nullable(Int8)": "Nullable(Int8)", "JSON": "Nullable(JSON)", "FixedString(3)": "Nullable(FixedString(3))",
		"LowCardinality(String)": "LowCardinality(Nullable(String))", "LowCardinality(Nullable(String))": "LowCardinality(Nullable(String))",
		"Variant(String)": "Variant(String)", "Dynamic": "Dynamic", "SimpleAggregateFunction(sum, UInt64)": "Nullable(UInt64)",
		"Array(Int8)": "", "Map(String, Int8)": "", "Tuple(Int8)": "", "Nested(a Int8)": "", "Point": "", "Ring": "",
	} {
		typ, err := ParseType(text)
		if err != nil {
			t.Fatal(err)
		}
		n, ok := typ.Nullable()
		if ok != (want != "") || ok && n.String() != want {
			t.Errorf("%s with NULL: %s, %v; want %s", text, n, ok, want)
		}
		if ok {
			if c, err := New(n.String()); err != nil || appendNull(c) != nil {
				t.Errorf("%s has no column with NULL: %v", n, err)
			}
		}
	}
}

func TestType_Wire(t *testing.T) {
	for text, want := range map[string]string{
		"Map(LowCardinality(UInt8), Dynamic(max_types=3))":                                                          "Map(UInt8, Dynamic)",
		"Tuple(a Nested(b LowCardinality(String)), c SimpleAggregateFunction(any, LowCardinality(Nullable(Date))))": "Tuple(a Array(Tuple(b LowCardinality(String))), c Nullable(Date))",
		"Array(Point)": "Array(Point)",
	} {
		typ, err := ParseType(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := typ.Wire().String(); got != want || string(typ.New().Type()) != want || typ.String() != text {
			t.Errorf("%s is sent as %s by a column of %s, want %s", text, got, typ.New().Type(), want)
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
