package infer

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-data/waybill/internal/contract"
)

// Match has the proposal fit a table that is there: a field whose column the table has gets that column's type; one that it has not is left to the
// rescue column. What was done is in the fields' and the proposal's words. That the values fit the table's types is for a trial to show.
func (o *Proposal) Match(t contract.TableSchema, l contract.Lineage) {
	types := map[string]string{}
	for _, c := range t.Columns {
		types[c.Name] = c.Type
	}
	taken := map[string]bool{l.Topic: true, l.Partition: true, l.Offset: true, l.Epoch: true, contract.DefaultRescueColumn: true}
	var fields []Field
	for _, f := range o.Fields {
		name, typ := f.Name, types[f.Name]
		if typ == "" { // the table may call it by its last name
			if path, err := contract.ParsePath(pathOf(&f)); err == nil {
				name = lastName(path)
				typ = types[name]
			}
		}
		if typ == "" || taken[name] {
			o.Skipped = append(o.Skipped, Skipped{Path: pathOf(&f), Count: f.Records - f.Nulls, Why: "the table has none", Column: f.Name, Type: f.Type})
			continue
		}
		taken[name] = true
		if name != f.Name {
			f.From, f.Name = pathOf(&f), name
		}
		if typ != f.Type {
			f.Instead = f.Type
			f.Type = typ
			f.fitFormat()
		}
		fields = append(fields, f)
	}
	o.Fields = fields
	if !slices.ContainsFunc(fields, func(f Field) bool { return f.Name == o.EventTime }) {
		o.EventTime, o.EventTimeWhy = "", "the table has no column for a time that every event has"
	}
	for _, c := range t.Columns {
		if !taken[c.Name] {
			o.Notes = append(o.Notes, fmt.Sprintf("column %s %s of the table: no field of the sample is called so; rows get its default", c.Name, c.Type))
		}
	}
}

func pathOf(f *Field) string {
	if f.From != "" {
		return f.From
	}
	return contract.Names(f.Name).String()
}

// fitFormat drops or keeps what goes with the type that was proposed.
func (f *Field) fitFormat() {
	if !strings.Contains(f.Type, "Date") {
		f.Format, f.Zone = "", ""
	}
	if !strings.Contains(f.Type, "String") {
		f.As = ""
	}
	f.Text = f.As == "json"
}
