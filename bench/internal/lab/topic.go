package lab

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill/bench/internal/workload"
)

// preload is what is put into topics before a run.
type preload struct {
	workload   *workload.Workload
	topics     []string
	partitions int // of each topic
	rows       int64
	seed       uint64
}

// runLength is how many consecutive events go to the same partition: enough to fill producer batches, little enough that
// all partitions end within one batch of the worker.
const runLength = 200

// load makes the topics and fills them, lz4-compressed, events dealt out to the topics and partitions in turn.
func (b *broker) load(ctx context.Context, p preload) error {
	answers, err := b.admin.CreateTopics(ctx, int32(p.partitions), 1, nil, p.topics...)
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	client, err := producer(b.addr)
	if err != nil {
		return err
	}
	defer client.Close()
	var failure atomic.Pointer[error]
	gen := p.workload.New(p.seed)
	for i := range p.rows {
		lane := int(i / runLength % int64(len(p.topics)*p.partitions))
		r := &kgo.Record{Topic: p.topics[lane%len(p.topics)], Partition: int32(lane / len(p.topics)), Value: gen.Append(make([]byte, 0, 1200))}
		client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				failure.CompareAndSwap(nil, &err)
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	if err := failure.Load(); err != nil {
		return fmt.Errorf("produce: %w", *err)
	}
	return nil
}

// producer sends lz4-compressed batches of at most 128 KB to the partitions that records name.
func producer(addr string) (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.ProducerBatchMaxBytes(128<<10), kgo.MaxBufferedRecords(100_000))
}
