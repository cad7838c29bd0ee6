package operator

import (
	"context"

	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/kafka"
)

// Archive is where records are that the topic no longer has.
type Archive interface {
	engine.ArchiveReader
	// OffsetsAt are, for each partition that has one, the first offset of a record that is not older than a time.
	OffsetsAt(ctx context.Context, topic string, millis int64) (map[int32]int64, error)
}

// archiveOf is nil where there is none: an interface that holds another one's nil would not be.
func archiveOf(a Archive) engine.ArchiveReader {
	if a == nil {
		return nil
	}
	return a
}

// withArchive moves the log's starts to where the archive begins to hold every record that the topic no longer has. a may be nil.
func withArchive(ctx context.Context, info *kafka.TopicInfo, topic string, a Archive) error {
	if a == nil {
		return nil
	}
	holds, err := a.Holds(ctx, topic)
	if err != nil {
		return err
	}
	for i := range info.Partitions {
		p := &info.Partitions[i]
		for _, run := range holds[p.Partition].Spans() {
			if run.First < p.LogStart && run.Next >= p.LogStart {
				p.LogStart = run.First
			}
		}
	}
	return nil
}

// archivedAt moves offsets that Kafka's index gives for a time to those that the archive gives, where they are earlier: Kafka knows nothing before the log's
// start. Where the archive's are later, it has not got there.
func (r *Resolver) archivedAt(ctx context.Context, millis int64, at map[int32]int64) error {
	if r.Archive == nil {
		return nil
	}
	archived, err := r.Archive.OffsetsAt(ctx, r.topic(), millis)
	if err != nil {
		return err
	}
	for p, offset := range archived {
		if was, ok := at[p]; ok && offset < was {
			at[p] = offset
		}
	}
	return nil
}
