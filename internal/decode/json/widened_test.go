package json

import (
	"testing"

	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

// A column that evolve has widened has what its narrower form had: the zero of the contract's type for a missing field and in the place of a
// rescued value, so that a count of zeros means the same in all rows. NULL is what the event says is null.
func TestWidened_ZeroStaysWhatItWas(t *testing.T) {
	for _, typ := range []string{
		"UInt8", "Int64", "Float32", "Bool", "String", "FixedString(3)", "LowCardinality(String)", "UUID", "DateTime64(3)", "Date", "Decimal(9, 2)", "IPv4",
		"Enum8('high' = 3, 'low' = -1)", "Enum16('a' = 1)",
	} {
		narrow, err := column.ParseType(typ)
		if err != nil {
			t.Fatal(err)
		}
		wide := narrow.Widest().String()
		c := contract.Contract{NewFields: contract.Modes{Default: contract.ModeRescue}, TypeConflicts: contract.Modes{Default: contract.ModeEvolve},
			Columns: []contract.Column{{Name: "c", Type: typ}}}
		rows := func(table string) (out []string) {
			p, err := contract.Compile(c, contract.TableSchema{Database: "d", Table: "t", Columns: []contract.TableColumn{
				{Name: "_topic", Type: "String"}, {Name: "_partition", Type: "UInt16"}, {Name: "_offset", Type: "UInt64"}, {Name: "_epoch", Type: "UInt32"},
				{Name: "_rescued", Type: "String"}, {Name: "c", Type: table},
			}}, contract.DefaultLineage(), Version)
			if err != nil {
				t.Fatal(err)
			}
			d, err := New(p)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{`{}`, `{"c":[]}`, `{"c":null}`} {
				_, b := decode(d, text)
				out = append(out, string(b.Columns[0].AppendValue(nil, 0)))
			}
			return out
		}
		before, after := rows(typ), rows(wide)
		if narrow.Name == "FixedString" {
			before[0], before[1] = `""`, `""` // the server takes the padding off
		}
		if after[0] == "null" || sameZero(before[0]) != sameZero(after[0]) || sameZero(before[1]) != sameZero(after[1]) {
			t.Errorf("%s has %s, %s once it is %s", typ, before[:2], after[:2], wide)
		}
		if after[2] != "null" {
			t.Errorf("%s: null gives %s", wide, after[2])
		}
	}
}

// sameZero is a value, but for how many zeros 0 has.
func sameZero(text string) string {
	if text == "0.00" {
		return "0"
	}
	return text
}

// What the contract says can be NULL is NULL if it is missing, as ever.
func TestWidened_NullableInTheContract(t *testing.T) {
	d := columnsDecoder(t, contract.Column{Name: "c", Type: "Nullable(Int64)"}, contract.Column{Name: "e", Type: "Nullable(Int64)", OnMissing: contract.Default})
	_, b := decode(d, `{}`)
	for _, c := range b.Columns[:2] {
		if got := string(c.AppendValue(nil, 0)); got != "null" {
			t.Errorf("a missing field gives %s", got)
		}
	}
}
