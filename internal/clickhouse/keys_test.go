package clickhouse

import (
	"fmt"
	"slices"
	"testing"
)

func TestCountKeys(t *testing.T) { overBoth(t, testCountKeys) }

// Each type of column that tells rows apart is asked by the text that columns have for it; far more keys than fit one question are asked.
func testCountKeys(t *testing.T, over wire) {
	w := newWorld(t, over)
	w.exec("CREATE TABLE "+w.db+".k (id UInt64, s LowCardinality(Nullable(String)), u UUID, d Date, at DateTime('Europe/Berlin'), ms Nullable(DateTime64(3, 'UTC')), ok Bool, n Decimal(10, 2)) ENGINE = MergeTree ORDER BY id",
		"INSERT INTO "+w.db+".k SELECT number, concat('a\\'b\\\\c\\n', toString(number % 10)), toUUID('00000000-0000-0000-0000-0000000000ff'), toDate('2026-11-29'), toDateTime('2026-11-29 12:00:00', 'UTC'), toDateTime64('2026-11-29 12:00:00.125', 3, 'UTC'), number % 2 = 0, number / 4 FROM numbers(50000)",
		"INSERT INTO "+w.db+".k SELECT number, NULL, toUUID('00000000-0000-0000-0000-0000000000fe'), toDate('2026-11-28'), 0, NULL, true, 0 FROM numbers(7, 2)")
	for name, test := range map[string]struct {
		columns []KeyColumn
		keys    [][]string
		want    []int64
	}{
		"a number":     {[]KeyColumn{{"id", "UInt64"}}, [][]string{{"3"}, {"50000"}, {"8"}, {"18446744073709551615"}}, []int64{1, 0, 2, 0}},
		"a text":       {[]KeyColumn{{"s", "LowCardinality(Nullable(String))"}}, [][]string{{"a'b\\c\n3"}, {"a'b\\c3"}}, []int64{5000, 0}},
		"two":          {[]KeyColumn{{"s", "LowCardinality(Nullable(String))"}, {"id", "UInt64"}}, [][]string{{"a'b\\c\n3", "13"}, {"a'b\\c\n3", "14"}}, []int64{1, 0}},
		"a UUID":       {[]KeyColumn{{"u", "UUID"}}, [][]string{{"00000000-0000-0000-0000-0000000000fe"}}, []int64{2}},
		"a date":       {[]KeyColumn{{"d", "Date"}}, [][]string{{"2026-11-28"}}, []int64{2}},
		"a time":       {[]KeyColumn{{"at", "DateTime('Europe/Berlin')"}}, [][]string{{"2026-11-29T12:00:00Z"}, {"2026-11-29T11:00:00Z"}}, []int64{50000, 0}},
		"milliseconds": {[]KeyColumn{{"ms", "Nullable(DateTime64(3, 'UTC'))"}}, [][]string{{"2026-11-29T12:00:00.125Z"}, {"2026-11-29T12:00:00.12Z"}}, []int64{50000, 0}},
		"a bool":       {[]KeyColumn{{"ok", "Bool"}}, [][]string{{"true"}, {"false"}}, []int64{25002, 25000}},
		"a decimal":    {[]KeyColumn{{"n", "Decimal(10, 2)"}, {"id", "UInt64"}}, [][]string{{"0.25", "1"}, {"0.5", "1"}}, []int64{1, 0}},
	} {
		got, err := w.c.CountKeys(t.Context(), w.db, "k", test.columns, test.keys)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, test.want)
		}
	}
	var many [][]string
	for i := range 60_000 {
		many = append(many, []string{fmt.Sprint(i)})
	}
	got, err := w.c.CountKeys(t.Context(), w.db, "k", []KeyColumn{{"id", "UInt64"}}, many)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range got {
		want := int64(1)
		if i >= 50_000 {
			want = 0
		} else if i == 7 || i == 8 {
			want = 2
		}
		if n != want {
			t.Fatalf("key %d: %d rows, want %d", i, n, want)
		}
	}
}
