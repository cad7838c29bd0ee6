package column

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/waybill-data/waybill/internal/testenv"
)

// values are the rows of a column as AppendValue writes them, one a line.
func values(c Column) []byte {
	var out []byte
	for row := range c.Rows() {
		out = append(c.AppendValue(out, row), '\n')
	}
	return out
}

// What AppendValue writes of every example of the catalogue. A server has shown the same (TestServer_ShowsTheSameValues).
func TestGoldenValues(t *testing.T) {
	var all bytes.Buffer
	for _, e := range catalogue {
		b, _ := e.block(t)
		fmt.Fprintf(&all, "%s\n%s\n", e.typ, values(b.Columns[1]))
	}
	golden(t, filepath.Join("testdata", "values.txt"), all.Bytes())
}

// jsonEachRow are the settings under which the server writes what AppendValue does.
const jsonEachRow = " FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers = 0, output_format_json_quote_decimals = 0," +
	" output_format_json_named_tuples_as_objects = 1, output_format_json_quote_denormals = 0, date_time_output_format = 'iso'," +
	" output_format_json_validate_utf8 = 1, max_threads = 1"

// The server shows of every example what AppendValue writes of it.
func TestServer_ShowsTheSameValues(t *testing.T) {
	srv := testenv.SharedClickHouse(t)
	db := testenv.Database(t, srv)
	send := overTCP(t, srv)
	for i, e := range catalogue {
		t.Run(e.typ, func(t *testing.T) {
			b, taken := e.block(t)
			table := fmt.Sprintf("%s.values_%d", db, i)
			createTable(t, srv, table, e.typ)
			if err := send(t.Context(), insertForms["plain"](table, b), b.Input()); err != nil {
				t.Fatal(err)
			}
			answer, err := testenv.Query(srv.HTTPAddr(), "SELECT v FROM "+table+" ORDER BY id"+jsonEachRow)
			if err != nil {
				t.Fatal(err)
			}
			theirs := strings.Split(strings.TrimSuffix(answer, "\n"), "\n")
			if len(theirs) != len(taken) {
				t.Fatalf("%d rows, want %d: %s", len(theirs), len(taken), answer)
			}
			drops := strings.Contains(e.typ, "JSON") || e.typ == "Dynamic"
			for row, line := range theirs {
				ours := `{"v":` + string(b.Columns[1].AppendValue(nil, row)) + `}`
				if got, want := normal(t, ours, drops), normal(t, line, drops); !reflect.DeepEqual(got, want) {
					t.Errorf("%s: ours %s, the server's %s", taken[row].json, ours, line)
				}
			}
		})
	}
}

// normal is a JSON value in which equal values are equal: numbers are exact fractions with the sign of zero. drops:
// members that are null are left out, as the server does within a JSON column.
func normal(t *testing.T, text string, drops bool) any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return normalValue(v, drops)
}

func normalValue(v any, drops bool) any {
	switch v := v.(type) {
	case json.Number:
		r, _ := new(big.Rat).SetString(v.String())
		if r.Sign() == 0 && strings.HasPrefix(v.String(), "-") {
			return "number -0"
		}
		return "number " + r.RatString()
	case []any:
		for i := range v {
			v[i] = normalValue(v[i], drops)
		}
	case map[string]any:
		for k := range v {
			if v[k] = normalValue(v[k], drops); v[k] == nil && drops && k != "v" {
				delete(v, k)
			}
		}
	}
	return v
}

// What AppendValue writes is JSON, and AppendJSON reads the same row from it, whatever the row is.
func TestAppendValue_ReadsBack(t *testing.T) {
	for _, text := range everyType {
		typ, err := ParseType(text)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(text, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				c := typ.New()
				for range rapid.IntRange(1, 4).Draw(rt, "rows") {
					draw(rt, typ)(c)
				}
				for row := range c.Rows() {
					readsBack(rt, c, row)
				}
			})
		})
	}
}

// drawnBeyond are types of which draw makes rows that no text stands for (bits outside the type's range, a Map's name twice) or
// whose text stands for a value of another type as well.
var drawnBeyond = regexp.MustCompile(`Map|Variant|Dynamic|Date32|Time\b|Time64|Decimal|BFloat16`)

// readsBack appends a value as it was written and compares the rows.
func readsBack(rt *rapid.T, c Column, row int) {
	v := c.AppendValue([]byte("x"), row)[1:]
	if !json.Valid(v) || bytes.IndexByte(v, '\n') >= 0 {
		rt.Fatalf("row %d is %s", row, v)
	}
	if drawnBeyond.MatchString(string(c.Type())) || bytes.Contains(v, []byte("\ufffd")) {
		return
	}
	again, want := c.Fresh(), c.Fresh()
	if _, err := AppendJSON(again, v, RFC3339); err != nil {
		rt.Fatalf("%s is not read: %v", v, err)
	}
	if want.AppendFrom(c, row); !bytes.Equal(encoded(again), encoded(want)) {
		rt.Fatalf("%s reads back as %s", v, again.AppendValue(nil, 0))
	}
}

func TestAppendValue_NotFinite(t *testing.T) {
	c := &Float64{fixed{typ: "Float64"}.wide(8)}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 5e-324, 1e21, -1e-7} {
		c.Append(v)
	}
	if got, want := string(values(c)), "null\nnull\nnull\n5e-324\n1e+21\n-1e-07\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
