package adopt

import (
	"context"
	"fmt"
	"reflect"
	"testing"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	decode "github.com/waybill-data/waybill/internal/decode/json"
)

func comparer(t *testing.T, positions map[int32]int64, columns ...string) *Comparer {
	t.Helper()
	c := contract.Contract{NewFields: contract.Modes{Default: contract.ModeRescue}, TypeConflicts: contract.Modes{Default: contract.ModeRescue}, Tables: contract.ModeFreeze,
		MaxColumns: 50, RescueColumn: contract.DefaultRescueColumn,
		Columns: []contract.Column{{Name: "id", Type: "UInt64", Required: true}, {Name: "who", Type: "Nullable(String)"}}}
	l := contract.DefaultLineage()
	plan, err := contract.Compile(c, contract.Promised(c, l, "d", "t"), l, decode.Version)
	if err != nil {
		t.Fatal(err)
	}
	out, err := New(plan, columns, positions)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// table answers for keys of one column, by number of rows.
func table(rows map[string]int64) Count {
	return func(_ context.Context, keys [][]string) ([]int64, error) {
		var out []int64
		for _, k := range keys {
			out = append(out, rows[k[0]])
		}
		return out, nil
	}
}

func take(c *Comparer, partition int32, from int64, values ...string) {
	for i, v := range values {
		c.Take(&waybill.Record{Topic: "t", Partition: partition, Offset: from + int64(i), Value: []byte(v)})
	}
}

func ids(from, next int64) (values []string) {
	for i := from; i < next; i++ {
		values = append(values, fmt.Sprintf(`{"id":%d}`, i))
	}
	return values
}

func TestCompare_SaysWhereTopicAndTableDisagree(t *testing.T) {
	c := comparer(t, map[int32]int64{0: 10, 1: 3}, "id")
	take(c, 0, 0, ids(0, 10)...)   // 0 to 9, before
	take(c, 0, 10, ids(10, 14)...) // after
	take(c, 1, 0, `{"id":20}`, `not json`, `{"id":20}`)
	take(c, 2, 0, ids(900, 910)...) // the group has no position there
	agreement, starts, err := c.Compare(t.Context(), table(map[string]int64{
		"0": 1, "1": 1, "2": 3, "3": 0, "4": 1, "5": 1, "6": 1, "7": 1, "8": 1, "9": 1, // 2 thrice, 3 not at all
		"10": 1, "11": 1, "12": 0, "13": 1, // two ahead, a hole, one more
		"20": 1, // of two events
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := Agreement{Events: 12, Keys: 11, Missing: 1, Fewer: 1, More: 2, NoRow: 1, Examples: []Example{
		{Key: `"2"`, Partition: 0, Offset: 2, Events: 1, Rows: 3}, {Key: `"3"`, Partition: 0, Offset: 3, Events: 1, Rows: 0}, {Key: `"20"`, Partition: 1, Offset: 0, Events: 2, Rows: 1}}}
	if !reflect.DeepEqual(*agreement, want) {
		t.Errorf("%+v\nwant %+v", *agreement, want)
	}
	if want := []Start{{Partition: 0, Position: 10, Offset: 12, Repeated: 1}, {Partition: 1, Position: 3, Offset: 3}}; !reflect.DeepEqual(starts, want) {
		t.Errorf("%+v\nwant %+v", starts, want)
	}
}

func TestCompare_AKeyThatCameBeforeSaysNothingOfLaterEvents(t *testing.T) {
	c := comparer(t, map[int32]int64{0: 2}, "id")
	take(c, 0, 0, `{"id":1}`, `{"id":2}`, `{"id":1}`, `{"id":3}`)
	agreement, starts, err := c.Compare(t.Context(), table(map[string]int64{"1": 1, "2": 1}))
	if err != nil || !agreement.Exact() || starts[0].Offset != 2 || starts[0].Repeated != 0 {
		t.Errorf("%+v %+v %v", agreement, starts, err)
	}
	agreement, starts, err = c.Compare(t.Context(), table(map[string]int64{"1": 2, "2": 1, "3": 1}))
	if err != nil || !agreement.Exact() || starts[0].Offset != 4 || !starts[0].Unread {
		t.Errorf("%+v %+v %v", agreement, starts, err)
	}
}

// Records that are no rows, and events without a key, neither hold the start back nor let it pass what has no row.
func TestCompare_WithoutAKey(t *testing.T) {
	c := comparer(t, map[int32]int64{0: 1}, "id", "who")
	take(c, 0, 0, `{"id":1}`, `{"id":2,"who":"a"}`, `{"id":3}`, `nothing`, `{"id":4,"who":"b"}`, `{"id":5,"who":"c"}`)
	agreement, starts, err := c.Compare(t.Context(), table(map[string]int64{"2": 1, "4": 1}))
	if err != nil || agreement.NoKey != 1 || agreement.Events != 0 {
		t.Errorf("%+v %v", agreement, err)
	}
	if want := (Start{Partition: 0, Position: 1, Offset: 5}); starts[0] != want {
		t.Errorf("%+v, want %+v", starts[0], want)
	}
}

func TestNew_RefusesAColumnThatNoFieldGoesInto(t *testing.T) {
	c := contract.Contract{NewFields: contract.Modes{Default: contract.ModeRescue}, TypeConflicts: contract.Modes{Default: contract.ModeRescue}, Tables: contract.ModeFreeze,
		MaxColumns: 50, RescueColumn: contract.DefaultRescueColumn, Columns: []contract.Column{{Name: "id", Type: "UInt64"}}}
	l := contract.DefaultLineage()
	plan, err := contract.Compile(c, contract.Promised(c, l, "d", "t"), l, decode.Version)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nope", l.Offset} {
		if _, err := New(plan, []string{name}, nil); err == nil {
			t.Errorf("%s", name)
		}
	}
}
