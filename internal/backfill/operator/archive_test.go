package operator

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/kafka"
)

// shelf is an archive that holds some offsets.
type shelf struct {
	engine.ArchiveReader
	holds, at map[int32]waybill.OffsetSet
}

func (s shelf) Holds(context.Context, string) (map[int32]waybill.OffsetSet, error) {
	return s.holds, nil
}

func (s shelf) OffsetsAt(context.Context, string, int64) (map[int32]int64, error) {
	out := map[int32]int64{}
	for p, set := range s.at {
		out[p] = set.Bounds().First
	}
	return out, nil
}

// Only what the archive holds without a gap up to the log's start is as good as the log.
func TestWithArchive_MovesTheLogsStart(t *testing.T) {
	in := waybill.OffsetsIn
	a := shelf{holds: map[int32]waybill.OffsetSet{0: in(waybill.Span{First: 10, Next: 200}), 1: in(waybill.Span{First: 0, Next: 50}, waybill.Span{First: 60, Next: 100}),
		2: in(waybill.Span{First: 0, Next: 99}), 3: in(waybill.Span{First: 120, Next: 200}), 5: {}}}
	info := kafka.TopicInfo{}
	for p := range int32(6) {
		info.Partitions = append(info.Partitions, kafka.PartitionInfo{Partition: p, LogStart: 100, End: 300})
	}
	if err := withArchive(t.Context(), &info, "t", a); err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, p := range info.Partitions {
		got = append(got, p.LogStart)
	}
	if d := cmp.Diff([]int64{10, 60, 100, 100, 100, 100}, got); d != "" {
		t.Error(d)
	}
	if err := withArchive(t.Context(), &info, "t", nil); err != nil || info.Partitions[0].LogStart != 10 {
		t.Errorf("without an archive: %v, %v", info, err)
	}
	if archiveOf(nil) != nil {
		t.Error("no archive is one")
	}
}

// Kafka's index knows nothing before the log's start; where the archive has not got to a time, Kafka's word counts.
func TestArchivedAt(t *testing.T) {
	one := func(o int64) waybill.OffsetSet { return waybill.OffsetsOf(o) }
	r := Resolver{Cfg: &config.Pipeline{Source: config.Source{Kafka: config.Kafka{Topic: "t"}}}, Archive: shelf{at: map[int32]waybill.OffsetSet{0: one(40), 1: one(150), 9: one(1)}}}
	at := map[int32]int64{0: 100, 1: 100, 2: 100}
	if err := r.archivedAt(t.Context(), 1, at); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[int32]int64{0: 40, 1: 100, 2: 100}, at); d != "" {
		t.Error(d)
	}
}
