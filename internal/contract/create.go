package contract

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-data/waybill/internal/column"
)

// Promised is a table exactly as the contract says, with lineage columns and a rescue column of String.
func Promised(c Contract, l Lineage, database, table string) TableSchema {
	t := TableSchema{Database: database, Table: table, Engine: "MergeTree"}
	add := func(name, typ string) {
		if _, there := t.column(name); name != "" && !there {
			t.Columns = append(t.Columns, TableColumn{Name: name, Type: typ})
		}
	}
	for _, col := range c.Columns {
		add(col.Name, col.Type)
	}
	for _, col := range c.Columns {
		if col.Large != nil {
			add(col.Large.Ref, refType)
			add(col.Large.Bytes, bytesType)
		}
	}
	if c.Raw != nil {
		for _, col := range rawColumns {
			add(col.name, col.typ)
		}
	} else {
		add(cmp.Or(c.RescueColumn, DefaultRescueColumn), "String")
	}
	add(l.Topic, "LowCardinality(String)")
	add(l.Partition, "UInt32")
	add(l.Offset, "UInt64")
	add(l.Epoch, "UInt32")
	return t
}

// createdWindow is the deduplication window of a table that Waybill creates, in blocks.
const createdWindow = 10_000

// CreateTable is the statement that creates a table for the contract, unless there is one: its columns, the rescue column if something
// can be rescued, lineage, the offset projection and the deduplication window. cluster is empty, or the name of the cluster
// that it is run on: the table is a replicated one then. The error is that of Compile.
func CreateTable(c Contract, l Lineage, database, table, cluster string) (string, error) {
	return CreateTableAs(c, l, database, table, cluster, Layout{})
}

// Layout is how the rows of a table that is made are kept. The zero value of a field means what CreateTable does.
type Layout struct {
	OrderBy     []string          // columns; see SortingKey
	PartitionBy string            // an expression; empty: the table has one partition
	Codecs      map[string]string // by column, what stands within CODEC()
}

// CreateTableAs is CreateTable with a layout.
func CreateTableAs(c Contract, l Lineage, database, table, cluster string, layout Layout) (string, error) {
	p, err := Compile(c, Promised(c, l, database, table), l, 0)
	if err != nil {
		return "", err
	}
	if c.Raw != nil {
		return createRaw(c, l, database, table, cluster), nil
	}
	on, engine, window := engineOf(cluster)
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS %s.%s%s\n(\n", identifier(database), identifier(table), on)
	for _, col := range p.Columns() {
		codec := codecOf(col)
		if given := layout.Codecs[col.Name]; given != "" {
			codec = " CODEC(" + given + ")"
		}
		fmt.Fprintf(&b, "    %s %s%s,\n", identifier(col.Name), col.Type, codec)
	}
	fmt.Fprintf(&b, "    %s\n)\n", offsetProjection(l))
	key := layout.OrderBy
	if key == nil {
		key, _ = SortingKey(c, l)
	}
	fmt.Fprintf(&b, "ENGINE = %s", engine)
	if layout.PartitionBy != "" {
		fmt.Fprintf(&b, " PARTITION BY %s", layout.PartitionBy)
	}
	fmt.Fprintf(&b, " ORDER BY (%s)\n", identifiers(key))
	fmt.Fprintf(&b, "SETTINGS %s = %d, lightweight_mutation_projection_mode = 'rebuild'%s", window, createdWindow, typeSettings(p))
	return b.String(), nil
}

// engineOf is how a table that Waybill creates is kept, on a cluster or on this server alone.
func engineOf(cluster string) (on, engine, window string) {
	if cluster != "" {
		return " ON CLUSTER " + identifier(cluster), "ReplicatedMergeTree", "replicated_deduplication_window"
	}
	return "", "MergeTree", "non_replicated_deduplication_window"
}

// codecOf is the codec of a column of a created table. Offsets ascend.
func codecOf(c PlanColumn) string {
	if c.Source == SourceOffset && c.Lineage {
		return " CODEC(DoubleDelta, ZSTD)"
	}
	return ""
}

// offsetProjection is what package clickhouse looks up offsets in; that it is the same projection is tested there.
func offsetProjection(l Lineage) string {
	keys := []string{l.Topic, l.Partition}
	if l.Epoch != "" {
		keys = append(keys, l.Epoch)
	}
	group := identifiers(keys) + ", intDiv(" + identifier(l.Offset) + ", 65536)"
	return fmt.Sprintf("PROJECTION waybill_offsets (SELECT %s, count(), groupBitmapState(%s) GROUP BY %s)", group, identifier(l.Offset), group)
}

func identifiers(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = identifier(n)
	}
	return strings.Join(quoted, ", ")
}

// typeSettings are settings that the server wants for some types.
func typeSettings(p *Plan) (settings string) {
	var nested, suspicious bool
	for _, c := range p.Columns() {
		t, err := column.ParseType(c.Type)
		if err != nil {
			continue // Compile has parsed it
		}
		nested = nested || anyType(t, func(t column.Type) bool { return t.Name == "Nested" })
		suspicious = suspicious || anyType(t, func(t column.Type) bool {
			return t.Name == "LowCardinality" && t.Leaf().Name != "String" && t.Leaf().Name != "FixedString"
		})
	}
	if nested {
		settings += ", flatten_nested = 0"
	}
	if suspicious {
		settings += ", allow_suspicious_low_cardinality_types = 1"
	}
	return settings
}

func anyType(t column.Type, is func(column.Type) bool) bool {
	return is(t) || slices.ContainsFunc(t.Elems, func(e column.Type) bool { return anyType(e, is) })
}

// SortingKey is what CreateTable sorts rows by, and why. A key can never be changed, its columns neither widened nor made Nullable, so
// only columns take part that every row has a value of its own in.
func SortingKey(c Contract, l Lineage) (columns []string, why string) {
	moment, word := "", ""
	for _, col := range c.Columns {
		if !col.Required && col.Kafka != string(SourceTimestamp) {
			continue
		}
		switch t, err := column.ParseType(col.Type); {
		case err != nil:
		case t.Name == "LowCardinality" && !t.CanNull() && t.Leaf().Name == "String":
			word = cmp.Or(word, col.Name)
		case slices.Contains([]string{"Date", "Date32", "DateTime", "DateTime64"}, t.Name):
			moment = cmp.Or(moment, col.Name)
		}
	}
	switch {
	case moment == "":
		return []string{l.Topic, l.Partition, l.Offset}, "the order of the topic, as no required column is a time"
	case word == "":
		return []string{moment}, "the first required column of time"
	}
	return []string{word, moment}, "the first required LowCardinality column and the first required column of time"
}
