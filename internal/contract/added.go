package contract

import (
	"cmp"
	"slices"
)

// added is the column of the contract that a column of the table stands for which Waybill has added: one that the contract
// neither lists nor maps, that can be filled, and whose comment says where its values come from.
func (c Contract) added(in TableColumn, l Lineage) (Column, bool) {
	out, ok := ParseColumnComment(in.Comment)
	if !ok || !in.insertable() || in.Name == c.rescueColumn() || l.names(in.Name) {
		return Column{}, false
	}
	if slices.ContainsFunc(c.Columns, func(own Column) bool { return own.Name == in.Name || own.takes(out.From) }) {
		return Column{}, false
	}
	out.Name, out.Type, out.Added = in.Name, in.Type, true
	k := compiler{table: TableSchema{Columns: []TableColumn{in}}, lineage: l}
	if k.column(out); len(k.problems) > 0 {
		return Column{}, false // of a type that nothing is known of, or that its comment does not fit
	}
	return out, true
}

// takes reports whether the column takes what is at the path.
func (c Column) takes(path string) bool {
	if c.Kafka != "" || c.Value != nil || c.Expr != "" {
		return false
	}
	own, err := Names(c.Name), error(nil)
	if c.From != "" {
		own, err = ParsePath(c.From)
	}
	return err == nil && own.String() == path
}

// addedColumns are columns that the contract does not list, and whose comments in the table say what they take, in the table's order.
// One that cannot be read or filled is left to the server: its field is then a new one, of which nothing is lost.
func (k *compiler) addedColumns() {
	for _, in := range k.table.Columns {
		if c, ok := k.contract.added(in, k.lineage); ok {
			k.column(c)
		}
	}
}

// rescueColumn is the name of the rescue column, whether there is one or not.
func (c Contract) rescueColumn() string { return cmp.Or(c.RescueColumn, DefaultRescueColumn) }

// names reports whether a lineage column has the name.
func (l Lineage) names(name string) bool {
	return slices.Contains([]string{l.Topic, l.Partition, l.Offset, l.Epoch}, name)
}
