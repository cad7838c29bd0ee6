package contract

import (
	"fmt"
	"slices"

	"github.com/waybill-data/waybill/internal/column"
)

// Large says what becomes of a column's long values: the row keeps the beginning of one and the name of the whole, which is stored once
// however often it comes. See docs/adr/0026.
type Large struct {
	Inline  int    `json:"inline"`  // bytes of a value that is kept in the row, at most
	Preview int    `json:"preview"` // bytes of a longer one that the row keeps, at most: its beginning, cut between two characters
	Ref     string `json:"ref"`     // the column that has the name of the whole value; empty there: the row has all of it
	Bytes   string `json:"bytes"`   // the column that has the value's length in bytes, wherever it is
}

// What Large means if the file does not say it.
const (
	DefaultInline  = 8 << 10
	DefaultPreview = 200
)

// Types of the columns that Large names, as Waybill makes them.
const (
	refType   = "String"
	bytesType = "UInt64"
)

// large compiles what is said of long values.
func (out *PlanColumn) large(c Column, want column.Type, bad func(bool, string, ...any)) {
	if c.Large == nil {
		return
	}
	if s := want.String(); s != "String" && s != "Nullable(String)" {
		bad(false, "large: only for a column of String or Nullable(String), this one is %s", c.Type)
	}
	if s := out.Sent(); s != "String" && s != "Nullable(String)" && out.Type != "" {
		bad(true, "large: only for a column of String or Nullable(String), in the table it is %s", out.Type)
	}
	if out.Source != SourceField && out.Source != SourceExpr {
		bad(false, "large: only for values from the event, or computed of it")
	}
	if c.Large.Preview > c.Large.Inline {
		bad(false, "large: the preview of %d bytes is longer than what stays in the row, %d", c.Large.Preview, c.Large.Inline)
	}
	out.Large = c.Large
}

// largeColumns adds the columns that say of long values where they are, and of all how long they are.
func (k *compiler) largeColumns() {
	for _, c := range k.contract.Columns {
		if c.Large == nil {
			continue
		}
		for _, add := range []struct {
			name, what string
			source     Source
			types      []string
		}{{c.Large.Ref, "large.ref", SourceContentRef, []string{refType}}, {c.Large.Bytes, "large.bytes", SourceContentBytes, []string{bytesType, "UInt32"}}} {
			k.largeColumn(c, add.name, add.what, add.source, add.types)
		}
	}
}

func (k *compiler) largeColumn(c Column, name, what string, source Source, types []string) {
	bad := func(table bool, format string, args ...any) {
		k.problems = append(k.problems, &Problem{Line: c.Line, Col: c.Col, Column: c.Name, Message: what + ": " + fmt.Sprintf(format, args...), Table: table})
	}
	if k.listed(name) || k.lineage.names(name) {
		bad(false, "there is another column %s already, Waybill fills this one itself", name)
		return
	}
	in, ok := k.table.column(name)
	if !ok {
		bad(true, "the table has no such column: ALTER TABLE %s.%s ADD COLUMN %s %s", k.table.Database, k.table.Table, name, types[0])
		return
	}
	have, err := column.ParseType(in.Type)
	if err != nil || !slices.Contains(types, have.String()) || !in.insertable() {
		bad(true, "the column %s is to be %s, the table has %s %s", name, types[0], in.Type, in.DefaultKind)
		return
	}
	k.columns = append(k.columns, PlanColumn{Name: name, Type: have.String(), Source: source, Of: c.Name, Large: c.Large})
}

// Larges are the columns whose long values are kept elsewhere.
func (p *Plan) Larges() (out []PlanColumn) {
	for _, c := range p.text.Columns {
		if c.Large != nil && c.Of == "" {
			out = append(out, c)
		}
	}
	return out
}
