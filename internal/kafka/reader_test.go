package kafka

import (
	"fmt"
	"slices"
	"testing"

	"github.com/waybill-data/waybill"
)

func TestSample_IsAsEvenAsThePartitionsAllow(t *testing.T) {
	parts := func(extents ...int64) (info TopicInfo) {
		for i := 0; i < len(extents); i += 2 {
			info.Partitions = append(info.Partitions, PartitionInfo{Partition: int32(i / 2), LogStart: extents[i], End: extents[i+1], StableEnd: extents[i+1]})
		}
		return info
	}
	for _, tt := range []struct {
		info  TopicInfo
		n     int64
		start bool
		want  string
	}{
		{parts(0, 100, 50, 150), 10, false, "map[0:[95,100) 1:[145,150)]"},
		{parts(0, 100, 50, 150), 10, true, "map[0:[0,5) 1:[50,55)]"},
		{parts(0, 100, 50, 150), 11, false, "map[0:[94,100) 1:[145,150)]"},
		{parts(0, 3, 7, 7, 0, 100, 0, 100), 13, false, "map[0:[0,3) 2:[95,100) 3:[95,100)]"},
		{parts(0, 3, 0, 4), 100, false, "map[0:[0,3) 1:[0,4)]"},
		{parts(0, 3, 0, 4, 0, 5), 1, false, "map[0:[2,3) 1:[4,4) 2:[5,5)]"},
		{parts(5, 5), 10, false, "map[]"},
		{parts(), 10, false, "map[]"},
	} {
		if got := fmt.Sprint(Sample(tt.info, ReadCommitted, tt.n, tt.start)); got != tt.want {
			t.Errorf("%v, %d: %s, want %s", tt.info.Partitions, tt.n, got, tt.want)
		}
	}
	open := TopicInfo{Partitions: []PartitionInfo{{End: 10, StableEnd: 4}}}
	if got := Sample(open, ReadCommitted, 2, false)[0]; got != (waybill.Span{First: 2, Next: 4}) {
		t.Errorf("records of an open transaction: %s", got)
	}
	if got := Sample(open, ReadUncommitted, 2, false)[0]; got != (waybill.Span{First: 8, Next: 10}) {
		t.Errorf("uncommitted: %s", got)
	}
}

// A Reader reads, and leaves no group behind.
func factReaderJoinsNoGroup(t *testing.T, base env) {
	e := base.with(t, 2, nil)
	e.produce(0, "0", "2", "4")
	e.produce(1, "1", "3", "5")
	before, err := e.adm.ListGroups(t.Context())
	must(t, err)
	r, err := OpenReader(t.Context(), Config{Brokers: e.brokers, Topic: e.topic})
	must(t, err)
	defer r.Close()
	info, err := r.Describe(t.Context())
	must(t, err)
	var got []string
	for p, span := range Sample(info, ReadCommitted, 4, false) {
		_, err := r.ReadSpan(t.Context(), e.tp(p), span, func(rec *waybill.Record) error {
			got = append(got, string(rec.Value))
			return nil
		})
		must(t, err)
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"2", "3", "4", "5"}) {
		t.Errorf("read %s", got)
	}
	after, err := e.adm.ListGroups(t.Context())
	must(t, err)
	for name := range after {
		if _, there := before[name]; !there {
			t.Errorf("there is a new group %s", name)
		}
	}
	if _, err := OpenReader(t.Context(), Config{Brokers: e.brokers, Topic: "none-such"}); waybill.ClassOf(err) != waybill.ClassConfig {
		t.Errorf("no such topic: %v", err)
	}
}
