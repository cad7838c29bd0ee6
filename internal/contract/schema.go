package contract

import "slices"

// TableSchema is a table as ClickHouse describes it now.
type TableSchema struct {
	Database, Table string
	UUID            string // of the table, which changes when it is dropped and made again or exchanged
	Engine          string // "MergeTree", "ReplicatedMergeTree", ...
	Columns         []TableColumn
}

// TableColumn is one row of DESCRIBE TABLE.
type TableColumn struct {
	Name        string
	Type        string // ClickHouse type text
	DefaultKind string // "", "DEFAULT", "MATERIALIZED", "ALIAS" or "EPHEMERAL"
	DefaultExpr string
	Comment     string
	// InKey: the column is part of the sorting, primary, partition or sampling key.
	InKey bool
}

// With is the table once the changes are made. What is there already stays, as the server would have it.
func (t TableSchema) With(changes []Change) TableSchema {
	t.Columns = slices.Clone(t.Columns)
	for _, c := range changes {
		at := slices.IndexFunc(t.Columns, func(in TableColumn) bool { return in.Name == c.Column })
		switch {
		case c.Kind == ModifyColumn && at >= 0:
			t.Columns[at].Type = c.Type
		case c.Kind == AddColumn && at < 0:
			t.Columns = append(t.Columns, TableColumn{Name: c.Column, Type: c.Type, Comment: c.comment()})
		}
	}
	return t
}

// insertable reports whether an INSERT may name the column.
func (c TableColumn) insertable() bool {
	return c.DefaultKind != "MATERIALIZED" && c.DefaultKind != "ALIAS"
}

// column finds a column by name.
func (t TableSchema) column(name string) (TableColumn, bool) {
	for _, c := range t.Columns {
		if c.Name == name {
			return c, true
		}
	}
	return TableColumn{}, false
}

// Lineage names the columns that say which Kafka record a row came from. They are what makes the
// table the proof of its own completeness.
type Lineage struct {
	Topic     string `json:"topic"`     // LowCardinality(String) or String
	Partition string `json:"partition"` // UInt16, UInt32 or Int32
	Offset    string `json:"offset"`    // UInt64 or Int64
	Epoch     string `json:"epoch"`     // UInt32; empty if the table has no such column
}

// In is the lineage columns that the table has: it may do without the epoch.
func (l Lineage) In(t TableSchema) Lineage {
	if !slices.ContainsFunc(t.Columns, func(c TableColumn) bool { return c.Name == l.Epoch }) {
		l.Epoch = ""
	}
	return l
}

// DefaultLineage is the lineage columns' usual names.
func DefaultLineage() Lineage {
	return Lineage{Topic: "_topic", Partition: "_partition", Offset: "_offset", Epoch: "_epoch"}
}
