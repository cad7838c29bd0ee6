package clickhouse

import (
	"fmt"
	"testing"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/testenv"
)

func TestDescribe(t *testing.T) { overBoth(t, testDescribe) }

func testDescribe(t *testing.T, over wire) {
	w := newWorld(t, over)
	w.table("t", ", d UInt32 DEFAULT 7, m UInt64 MATERIALIZED v + 1, "+ProjectionDDL(testLineage), "PARTITION BY _partition "+window100)
	w.table("fed", "", "SETTINGS non_replicated_deduplication_window = 5, index_granularity = 1024")
	w.table("`a.b\\`c`", "", "")
	w.exec("CREATE MATERIALIZED VIEW "+w.db+".v1 TO "+w.db+".fed AS SELECT _topic, _partition, _offset, v FROM "+w.db+".t",
		"CREATE MATERIALIZED VIEW "+w.db+".v2 TO "+w.db+".`a.b\\`c` AS SELECT _topic, _partition, _offset, v FROM "+w.db+".fed",
		"CREATE MATERIALIZED VIEW "+w.db+".v3 ENGINE = SummingMergeTree ORDER BY v SETTINGS non_replicated_deduplication_window = 9 AS SELECT v, count() AS n FROM "+w.db+".t GROUP BY v",
		"CREATE VIEW "+w.db+".plain AS SELECT * FROM "+w.db+".t")
	schema, info, err := w.c.Describe(t.Context(), w.db, "t", testLineage)
	if err != nil {
		t.Fatal(err)
	}
	wantColumns := []contract.TableColumn{
		{Name: "_topic", Type: "LowCardinality(String)"}, {Name: "_partition", Type: "Int32", InKey: true}, {Name: "_offset", Type: "Int64"},
		{Name: "v", Type: "UInt64", InKey: true}, {Name: "d", Type: "UInt32", DefaultKind: "DEFAULT", DefaultExpr: "7"},
		{Name: "m", Type: "UInt64", DefaultKind: "MATERIALIZED", DefaultExpr: "v + 1"},
	}
	if fmt.Sprint(schema.Columns) != fmt.Sprint(wantColumns) {
		t.Errorf("columns %+v", schema.Columns)
	}
	if len(schema.UUID) != 36 || schema.Engine != "MergeTree" || schema.UUID != info.UUID {
		t.Errorf("schema %+v", schema)
	}
	if info.Window != 100 || !info.OffsetProjection || info.PartitionKey != "_partition" || info.SortingKey != "v" || info.Replicated || !info.MergeTree {
		t.Errorf("info %+v", info)
	}
	targets := map[string]int64{}
	for _, v := range info.Views {
		targets[v.View+">"+v.Target.Table+" "+v.Target.Engine] = v.Target.Window
	}
	inner := w.value("SELECT '.inner_id.' || toString(uuid) FROM system.tables WHERE database = '" + w.db + "' AND name = 'v3'")
	want := map[string]int64{"v1>fed MergeTree": 5, "v2>a.b`c MergeTree": 0, "v3>" + inner + " SummingMergeTree": 9}
	if fmt.Sprint(targets) != fmt.Sprint(want) {
		t.Errorf("views %v, want %v", targets, want)
	}
}

func TestDescribe_MissingTableIsASchemaError(t *testing.T) {
	overBoth(t, testDescribe_MissingTableIsASchemaError)
}

func testDescribe_MissingTableIsASchemaError(t *testing.T, over wire) {
	w := newWorld(t, over)
	_, _, err := w.c.Describe(t.Context(), w.db, "nope", testLineage)
	wantCode(t, err, waybill.ClassSchema, 60)
	if !NoTable(err) || NoDatabase(err) {
		t.Errorf("no table: %v, no database: %v", NoTable(err), NoDatabase(err))
	}
}

func TestInspect_MissingDatabase(t *testing.T) { overBoth(t, testInspect_MissingDatabase) }

func testInspect_MissingDatabase(t *testing.T, over wire) {
	_, _, err := Inspect(t.Context(), over.on(testenv.SharedClickHouse(t), Config{Database: "nowhere"}), Deps{})
	if !NoDatabase(err) || NoTable(err) {
		t.Errorf("no database: %v, no table: %v, of %v", NoDatabase(err), NoTable(err), err)
	}
}

func TestIsOffsetProjection(t *testing.T) {
	for query, want := range map[string]bool{
		"SELECT _topic, _partition, intDiv(_offset, 65536) AS bkt, count(), groupBitmapState(_offset) GROUP BY _topic, _partition, bkt":     true,
		"SELECT `_topic`, `_partition`, intDiv(`_offset`, 65536), groupBitmapState(`_offset`) GROUP BY `_topic`, `_partition`, `_epoch`, 3": true,
		"SELECT _topic, intDiv(_offset, 65536) AS bkt, groupBitmapState(_offset) GROUP BY _topic, bkt":                                      false,
		"SELECT _topic, _partition, intDiv(_offset, 1000) AS b, groupBitmapState(_offset) GROUP BY _topic, _partition, b":                   false,
		"SELECT _topic, _partition, _offset ORDER BY _topic, _partition, _offset":                                                           false,
	} {
		if got := isOffsetProjection(query, testLineage); got != want {
			t.Errorf("%v: %s", got, query)
		}
	}
}

func TestEngineSettings(t *testing.T) {
	got := engineSettings("MergeTree PARTITION BY p ORDER BY v SETTINGS index_granularity = 8192, storage_policy = 'a, b', non_replicated_deduplication_window = 100")
	want := map[string]string{"index_granularity": "8192", "storage_policy": "a, b", "non_replicated_deduplication_window": "100"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v", got)
	}
}
