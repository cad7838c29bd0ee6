package clickhouse

import (
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/waybill-data/waybill/internal/column"
)

// defaultColumns are columns that are not Nullable and have a DEFAULT, beside the wire type that can say NULL for them.
var defaultColumns = []struct{ name, ddl, wire, null string }{
	{"constant", "UInt8 DEFAULT 7", "Nullable(UInt8)", "7"},
	{"expression", "UInt64 DEFAULT v * 10", "Nullable(UInt64)", "10,20"},
	{"chained", "UInt64 DEFAULT expression + 1", "Nullable(UInt64)", "11,21"},
	{"low", "LowCardinality(String) DEFAULT concat('k', toString(v))", "LowCardinality(Nullable(String))", "k1,k2"},
	{"low_plain", "LowCardinality(String) DEFAULT 'lc'", "Nullable(String)", "lc"},
	{"ts", "DateTime64(3, 'UTC') DEFAULT toDateTime64('2020-01-02 03:04:05.678', 3, 'UTC')", "Nullable(DateTime64(3, 'UTC'))", "2020-01-02 03:04:05.678"},
	{"dec", "Decimal(18, 4) DEFAULT 1.25", "Nullable(Decimal(18, 4))", "1.25"},
	{"choice", "Enum8('a' = 1, 'b' = 2) DEFAULT 'b'", "Nullable(Enum8('a' = 1, 'b' = 2))", "b"},
	{"text", "String DEFAULT 'none'", "Nullable(String)", "none"},
	{"zero", "UInt8", "Nullable(UInt8)", "0"}, // without a DEFAULT it is the type's zero
}

// NULL for a column that is not Nullable means its DEFAULT, evaluated by the server, on both transports, with a deadline and
// without one; and the tables are equal.
func TestDefault_NullMeansTheColumnsDefault(t *testing.T) {
	sums := map[string]string{}
	for _, over := range allWires {
		for _, late := range []time.Duration{0, time.Minute} {
			w := newWorld(t, over)
			ddl := ""
			for _, c := range defaultColumns {
				ddl += ", " + c.name + " " + c.ddl
			}
			w.table("t", ddl, window100)
			in := Insert{Database: w.db, Table: "t", Token: "T", Input: nullBlock(t)}
			if late > 0 {
				in.Deadline = w.soon()
			}
			w.wantLanded(w.c.Insert(t.Context(), in))
			for _, c := range defaultColumns {
				got := w.value("SELECT arrayStringConcat(arrayDistinct(groupArray(toString(" + c.name + "))), ',') FROM (SELECT * FROM " + w.db + ".t WHERE v < 3 ORDER BY v)")
				if got != c.null {
					t.Errorf("%s: NULL in %s became %s, want %s", over.name, c.name, got, c.null)
				}
			}
			// A value stays what it is.
			if got := w.value("SELECT toString((constant, expression, chained, low, text)) FROM " + w.db + ".t WHERE v = 3"); got != "(0,0,0,\\'\\',\\'\\')" {
				t.Errorf("%s: values became %s", over.name, got)
			}
			sums[w.value("SELECT toString(groupBitXor(cityHash64(*))) FROM "+w.db+".t")] = over.name
		}
	}
	if len(sums) != 1 {
		t.Errorf("the tables differ: %v", sums)
	}
}

// nullBlock is three rows: two of NULL and one of values.
func nullBlock(t *testing.T) proto.Input {
	t.Helper()
	in := rows(0, 1, 2, 3)
	v := proto.ColUInt64{1, 2, 3}
	in[3].Data = &v
	for _, c := range defaultColumns {
		in = append(in, proto.InputColumn{Name: c.name, Data: nullable(t, c.wire)})
	}
	return in
}

// nullable is NULL, NULL and the type's zero. Types that package column does not build are built by hand.
func nullable(t *testing.T, wire string) proto.ColInput {
	t.Helper()
	if wire == "Nullable(Decimal(18, 4))" {
		return typed{wire, &proto.ColNullable[proto.Decimal64]{Nulls: proto.ColUInt8{1, 1, 0}, Values: &proto.ColDecimal64{0, 0, 0}}}
	}
	c, err := column.New(wire)
	if err != nil {
		t.Fatal(err)
	}
	c.(column.Nuller).AppendNull()
	c.(column.Nuller).AppendNull()
	appendZero(c)
	return c
}

// appendZero adds the zero of what a nullable column holds.
func appendZero(c column.Column) {
	if n, ok := c.(*column.Nullable); ok {
		n.Inner().AppendZero()
		n.EndRow()
		return
	}
	c.(*column.LowCardinality).AppendString("")
}

// typed is a column under another type's name.
type typed struct {
	name string
	proto.ColInput
}

func (c typed) Type() proto.ColumnType { return proto.ColumnType(c.name) }

// A Nullable column keeps NULL, whatever its DEFAULT is: so says the server.
func TestDefault_NullableColumnsKeepNull(t *testing.T) {
	overBoth(t, func(t *testing.T, over wire) {
		w := newWorld(t, over)
		w.table("t", ", n Nullable(UInt8) DEFAULT 9", window100)
		in := append(rows(0, 1), proto.InputColumn{Name: "n", Data: &proto.ColNullable[uint8]{Nulls: proto.ColUInt8{1}, Values: &proto.ColUInt8{0}}})
		w.wantLanded(w.insert("t", "T", in))
		if got := w.value("SELECT n IS NULL FROM " + w.db + ".t"); got != "1" {
			t.Errorf("NULL is kept: %s", got)
		}
	})
}

// What a table was made with under suspicious types is not refused in the structure of input().
func TestDefault_SuspiciousTypesAreTaken(t *testing.T) {
	overBoth(t, func(t *testing.T, over wire) {
		w := newWorld(t, over)
		w.exec("CREATE TABLE " + w.db + ".t (l LowCardinality(UInt64), f FixedString(300)) ENGINE = MergeTree ORDER BY l " +
			"SETTINGS non_replicated_deduplication_window = 100, allow_suspicious_low_cardinality_types = 1, allow_suspicious_fixed_string_types = 1")
		l := new(proto.ColUInt64)
		low := l.LowCardinality()
		low.Append(7)
		fixed := &proto.ColFixedStr{Size: 300}
		fixed.Append(make([]byte, 300))
		w.wantLanded(w.insert("t", "T", proto.Input{{Name: "l", Data: low}, {Name: "f", Data: fixed}}))
	})
}
