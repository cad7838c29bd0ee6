package backfill

import (
	"fmt"
	"testing"
	"time"

	"github.com/waybill-data/waybill"
)

// A backfill of some offsets leaves the rest to the epoch before; a rollback takes the old table's rows up to where it was left; and so on, there and back.
func TestOrigins(t *testing.T) {
	at := time.Unix(1, 0)
	legs := Legs{
		// Job 1: offsets 10 to 19 of partition 0, promoted at 100 and 50.
		2: {ID: "1", BaseEpoch: 1, Leg: Leg{Number: 0, Epoch: 2, In: "b", Out: "a", V: Positions{0: 100, 1: 50}, Exchanged: at}},
		// Rolled back at 130 and 60.
		4: {ID: "1", BaseEpoch: 1, Leg: Leg{Number: 1, Epoch: 4, In: "a", Out: "b", From: Positions{0: 100, 1: 50}, V: Positions{0: 130, 1: 60}, Exchanged: at}},
		// A promotion that was given up, and one that was not.
		5: {ID: "1", BaseEpoch: 1, Leg: Leg{Number: 2, Epoch: 5, In: "b", Out: "a", From: Positions{0: 130, 1: 60}}},
		6: {ID: "1", BaseEpoch: 1, Leg: Leg{Number: 2, Epoch: 6, In: "b", Out: "a", From: Positions{0: 130, 1: 60}, V: Positions{0: 140, 1: 70}, Exchanged: at}},
		// Job 2 goes on from there: offsets 15 to 119 of partition 0. Partition 2 has come since.
		7: {ID: "2", BaseEpoch: 6, Leg: Leg{Number: 0, Epoch: 7, In: "c", Out: "b", V: Positions{0: 200, 1: 80, 2: 5}, Exchanged: at}},
	}
	scopes := map[string]map[int32]waybill.OffsetSet{
		"1": {0: waybill.OffsetsIn(waybill.Span{First: 10, Next: 20})},
		"2": {0: waybill.OffsetsIn(waybill.Span{First: 15, Next: 120}), 2: waybill.OffsetsIn(waybill.Span{First: 0, Next: 5})},
	}
	const end = "9223372036854775807"
	for epoch, want := range map[waybill.Epoch]string{
		1: "1 map[]",
		2: "2 map[0:[10,20) [100," + end + ") 1:[50," + end + ")]; 1 map[0:[0,10) [20,100) 1:[0,50)]",
		4: "4 map[0:[100," + end + ") 1:[50," + end + ")]; 1 map[0:[0,100) 1:[0,50)]",
		6: "6 map[0:[130," + end + ") 1:[60," + end + ")]; 2 map[0:[10,20) [100,130) 1:[50,60)]; 1 map[0:[0,10) [20,100) 1:[0,50)]",
		7: "7 map[0:[15,120) [200," + end + ") 1:[80," + end + ") 2:[0," + end + ")]; 6 map[0:[130,200) 1:[60,80) 2:{}]; 2 map[0:[10,15) [120,130) 1:[50,60) 2:{}]; 1 map[0:[0,10) 1:[0,50) 2:{}]",
	} {
		origins, err := legs.Origins(epoch, func(job string) (map[int32]waybill.OffsetSet, error) { return scopes[job], nil }, nothing)
		got := ""
		for i, o := range origins {
			if i > 0 {
				got += "; "
			}
			got += fmt.Sprintf("%d %v", o.Epoch, o.Rows)
		}
		if err != nil || got != want {
			t.Errorf("epoch %d: %v\n got %s\nwant %s", epoch, err, got, want)
		}
	}
}

func nothing(waybill.Epoch) (map[int32]waybill.OffsetSet, error) { return nil, nil } //nolint:nilnil // no offsets

// An offset of an older account that was repaired is the row of the epoch under which it was, in all tables that have come of its table, and in no other.
func TestOrigins_OfRowsThatWereRepaired(t *testing.T) {
	at := time.Unix(1, 0)
	legs := Legs{
		2: {ID: "1", BaseEpoch: 1, Leg: Leg{Epoch: 2, In: "b", Out: "a", V: Positions{0: 100}, Exchanged: at}},
		3: {ID: "1", BaseEpoch: 1, Leg: Leg{Number: 1, Epoch: 3, In: "a", Out: "b", From: Positions{0: 100}, V: Positions{0: 130}, Exchanged: at}},
		4: {ID: "2", BaseEpoch: 2, Leg: Leg{Epoch: 4, In: "c", Out: "b", V: Positions{0: 200}, Exchanged: at}},
	}
	scopes := map[string]map[int32]waybill.OffsetSet{"1": {0: waybill.OffsetsIn(waybill.Span{First: 10, Next: 20})}, "2": {0: waybill.OffsetsIn(waybill.Span{First: 50, Next: 60})}}
	repaired := map[waybill.Epoch]map[int32]waybill.OffsetSet{2: {0: waybill.OffsetsOf(5, 15, 55)}, 4: {0: waybill.OffsetsOf(6, 12, 55)}}
	const end = "9223372036854775807"
	for epoch, want := range map[waybill.Epoch]string{
		2: "2 map[0:[5,6) [10,20) [55,56) [100," + end + ")] took map[0:[5,6) [55,56)]; 1 map[0:[0,5) [6,10) [20,55) [56,100)] took map[]",
		3: "3 map[0:[100," + end + ")] took map[]; 1 map[0:[0,100)] took map[]",
		4: "4 map[0:[6,7) [12,13) [50,60) [200," + end + ")] took map[0:[6,7) [12,13)]; 2 map[0:[5,6) [10,12) [13,20) [100,200)] took map[0:[5,6)]; 1 map[0:[0,5) [7,10) [20,50) [60,100)] took map[]",
	} {
		origins, err := legs.Origins(epoch, func(job string) (map[int32]waybill.OffsetSet, error) { return scopes[job], nil },
			func(e waybill.Epoch) (map[int32]waybill.OffsetSet, error) { return repaired[e], nil })
		got := ""
		for i, o := range origins {
			if i > 0 {
				got += "; "
			}
			got += fmt.Sprintf("%d %v took %v", o.Epoch, o.Rows, o.Taken)
		}
		if err != nil || got != want {
			t.Errorf("epoch %d: %v\n got %s\nwant %s", epoch, err, got, want)
		}
	}
}
