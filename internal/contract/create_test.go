package contract

import (
	"reflect"
	"strings"
	"testing"

	"github.com/waybill-data/waybill/internal/testenv"
)

var createdColumns = []Column{
	{Name: "id", Type: "UUID", Required: true},
	{Name: "mo`del", Type: "LowCardinality(String)", Required: true},
	{Name: "maybe", Type: "DateTime"},
	{Name: "at", Type: "DateTime64(3)", Required: true},
	{Name: "n", Type: "Nested(a UInt8, b String)"},
	{Name: "small", Type: "LowCardinality(UInt8)"},
	{Name: "attributes", Type: "Map(LowCardinality(String), String)", From: "metadata"},
}

func TestCreateTable_Golden(t *testing.T) {
	sql, err := CreateTable(Contract{Columns: createdColumns}, DefaultLineage(), "a`i", "calls", "")
	if err != nil {
		t.Fatal(err)
	}
	want := "CREATE TABLE IF NOT EXISTS `a\\`i`.`calls`\n(\n" +
		"    `id` UUID,\n    `mo\\`del` LowCardinality(String),\n    `maybe` DateTime,\n    `at` DateTime64(3),\n" +
		"    `n` Nested(a UInt8, b String),\n    `small` LowCardinality(UInt8),\n    `attributes` Map(LowCardinality(String), String),\n" +
		"    `_rescued` String,\n    `_topic` LowCardinality(String),\n    `_partition` UInt32,\n    `_offset` UInt64 CODEC(DoubleDelta, ZSTD),\n    `_epoch` UInt32,\n" +
		"    PROJECTION waybill_offsets (SELECT `_topic`, `_partition`, `_epoch`, intDiv(`_offset`, 65536), count(), groupBitmapState(`_offset`) GROUP BY `_topic`, `_partition`, `_epoch`, intDiv(`_offset`, 65536))\n)\n" +
		"ENGINE = MergeTree ORDER BY (`mo\\`del`, `at`)\n" +
		"SETTINGS non_replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild', flatten_nested = 0, allow_suspicious_low_cardinality_types = 1"
	if sql != want {
		t.Errorf("got\n%s\nwant\n%s", sql, want)
	}
}

func TestCreateTable_OnClusterIsReplicated(t *testing.T) {
	sql, err := CreateTable(Contract{Columns: createdColumns[:1]}, DefaultLineage(), "ai", "calls", "c")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"`calls` ON CLUSTER `c`\n", "ENGINE = ReplicatedMergeTree ORDER BY (`_topic`, `_partition`, `_offset`)", "SETTINGS replicated_deduplication_window = "} {
		if !strings.Contains(sql, part) {
			t.Errorf("no %q in\n%s", part, sql)
		}
	}
}

func TestCreateTable_WithoutWhatIsNotNeeded(t *testing.T) {
	c := Contract{NewFields: Modes{Default: ModeDiscard}, TypeConflicts: Modes{Default: ModeFreeze}, Columns: createdColumns[:1]}
	l := DefaultLineage()
	l.Epoch = ""
	sql, err := CreateTable(c, l, "ai", "calls", "")
	if err != nil || strings.Contains(sql, "_rescued") || strings.Contains(sql, "``") || strings.Contains(sql, "_epoch") {
		t.Errorf("%v\n%s", err, sql)
	}
	if _, err := CreateTable(Contract{Columns: []Column{{Name: "a", Type: "Uint8"}}}, l, "ai", "calls", ""); err == nil {
		t.Error("a type that does not exist is taken")
	}
}

func TestSortingKey_OnlyOfWhatEveryRowHas(t *testing.T) {
	for _, tt := range []struct {
		columns []Column
		want    []string
	}{
		{nil, []string{"_topic", "_partition", "_offset"}},
		{[]Column{{Name: "at", Type: "DateTime"}}, []string{"_topic", "_partition", "_offset"}},
		{[]Column{{Name: "at", Type: "Nullable(DateTime)", Required: true}}, []string{"_topic", "_partition", "_offset"}},
		{[]Column{{Name: "m", Type: "LowCardinality(String)", Required: true}}, []string{"_topic", "_partition", "_offset"}},
		{[]Column{{Name: "m", Type: "LowCardinality(String)"}, {Name: "at", Type: "Date", Required: true}}, []string{"at"}},
		{[]Column{{Name: "at", Type: "DateTime64(3)", Kafka: "timestamp"}}, []string{"at"}},
		{[]Column{{Name: "at", Type: "Date", Required: true}, {Name: "m", Type: "LowCardinality(String)", Required: true}}, []string{"m", "at"}},
	} {
		if got, _ := SortingKey(Contract{Columns: tt.columns}, DefaultLineage()); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%v: %v, want %v", tt.columns, got, tt.want)
		}
	}
}

// The server makes the table that was promised, and nothing the second time.
func TestServer_CreatesThePromisedTable(t *testing.T) {
	srv := testenv.SharedClickHouse(t)
	db := testenv.Database(t, srv)
	c := Contract{Columns: createdColumns}
	sql, err := CreateTable(c, DefaultLineage(), db, "ca`lls", "")
	if err != nil {
		t.Fatal(err)
	}
	testenv.Exec(t, srv.HTTPAddr(), sql, sql)
	got, want := describe(t, srv.HTTPAddr(), db, "ca`lls"), Promised(c, DefaultLineage(), db, "ca`lls")
	for i := range got.Columns {
		got.Columns[i].DefaultExpr = "" // the codec, here
	}
	if !reflect.DeepEqual(got.Columns, want.Columns) {
		t.Errorf("got\n%v\nwant\n%v", got.Columns, want.Columns)
	}
	if _, err := Compile(c, got, DefaultLineage(), 0); err != nil {
		t.Error(err)
	}
}
