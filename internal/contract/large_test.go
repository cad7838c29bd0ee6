package contract

import (
	"strings"
	"testing"
)

func TestCompile_SaysWhatIsWrongWithLongValues(t *testing.T) {
	large := func(name, typ string) Column {
		return Column{Name: name, Type: typ, Large: &Large{Inline: 100, Preview: 10, Ref: name + "_ref", Bytes: name + "_bytes"}, Line: 3, Col: 5}
	}
	columns := func(more ...TableColumn) TableSchema {
		return table(append(more, TableColumn{Name: "p", Type: "String"})...)
	}
	ref, bytes := TableColumn{Name: "p_ref", Type: "String"}, TableColumn{Name: "p_bytes", Type: "UInt64"}
	constant := large("p", "String")
	constant.Value = text("x")
	longer := large("p", "String")
	longer.Large.Preview = 101
	for name, c := range map[string]struct {
		column Column
		schema TableSchema
		want   string // empty: it compiles
	}{
		"right":           {large("p", "String"), columns(ref, bytes), ""},
		"a short length":  {large("p", "String"), columns(ref, TableColumn{Name: "p_bytes", Type: "UInt32"}), ""},
		"no ref":          {large("p", "String"), columns(bytes), "large.ref: the table has no such column: ALTER TABLE ai.llm_calls ADD COLUMN p_ref String"},
		"no length":       {large("p", "String"), columns(ref), "large.bytes: the table has no such column: ALTER TABLE ai.llm_calls ADD COLUMN p_bytes UInt64"},
		"another ref":     {large("p", "String"), columns(TableColumn{Name: "p_ref", Type: "UInt64"}, bytes), "large.ref: the column p_ref is to be String, the table has UInt64"},
		"a number":        {large("n", "UInt64"), table(TableColumn{Name: "n", Type: "UInt64"}, TableColumn{Name: "n_ref", Type: "String"}, TableColumn{Name: "n_bytes", Type: "UInt64"}), "large: only for a column of String"},
		"a constant":      {constant, columns(ref, bytes), "large: only for values from the event"},
		"a long preview":  {longer, columns(ref, bytes), "the preview of 101 bytes is longer than what stays in the row, 100"},
		"the same column": {Column{Name: "p", Type: "String", Large: &Large{Inline: 1, Ref: "p", Bytes: "p_bytes"}}, columns(bytes), "there is another column p already"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Compile(Contract{Columns: []Column{c.column}}, c.schema, DefaultLineage(), 1)
			if c.want == "" {
				if err != nil || len(p.Larges()) != 1 {
					t.Fatal(err)
				}
				return
			}
			if err == nil {
				t.Fatal("it compiles")
			}
			found := false
			for _, p := range problems(t, err) {
				found = found || strings.Contains(p.Message, c.want)
			}
			if !found {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
