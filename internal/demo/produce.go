package demo

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill/internal/demo/events"
)

// tally is what the broker has acknowledged of one partition. The sums wrap around.
type tally struct {
	next       int64   // the offset after the last acknowledged one
	acked      int64   // = next when no acknowledgement is outstanding
	tombstones []int64 // their offsets
	rows       content
	dead       map[string]refused // by the code that a dead letter should have
}

// content is a sum over records by which two sets of them are compared.
type content struct {
	Count   uint64 `json:"n"`
	Offsets uint64 `json:"offsets"` // sum of offsets
	Seqs    uint64 `json:"seqs"`    // sum of sequence numbers
	Pairs   uint64 `json:"pairs"`   // sum of offset * sequence number: which event is at which offset
	Input   uint64 `json:"input"`   // sum of input tokens
	Output  uint64 `json:"output"`  // sum of output tokens
}

func (c *content) add(offset int64, f events.Facts) {
	o := uint64(offset)
	c.Count++
	c.Offsets += o
	c.Seqs += f.Seq
	c.Pairs += o * f.Seq
	c.Input += uint64(f.InputTokens)
	c.Output += uint64(f.OutputTokens)
}

// refused is likewise a sum over records that are no rows.
type refused struct {
	Count   uint64 `json:"n"`
	Offsets uint64 `json:"offsets"`
	Bytes   uint64 `json:"bytes"` // of their values
}

// codes is how a dead letter of each kind is to be filed.
var codes = map[events.Kind]string{
	events.Truncated: "truncated", events.MissingField: "missing_required", events.NegativeTokens: "out_of_range",
	events.NoZone: "bad_format", events.InvalidUTF8: "invalid_utf8",
}

// producer puts events into the topic, at a steady rate, and keeps account of what the broker has acknowledged.
type producer struct {
	client *kgo.Client
	gen    *events.Generator

	mu      sync.Mutex
	tallies []tally // by partition
	failure error   // the first record that was not acknowledged
}

func newProducer(broker string, o *Options) (*producer, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(10*time.Millisecond),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.MaxBufferedRecords(20_000))
	if err != nil {
		return nil, err
	}
	p := &producer{client: client, gen: events.New(o.Seed), tallies: make([]tally, o.Partitions)}
	for i := range p.tallies {
		p.tallies[i].dead = map[string]refused{}
	}
	return p, nil
}

// paceInterval is how often a slice of the rate is sent.
const paceInterval = 20 * time.Millisecond

// run produces n events and waits until all are acknowledged.
func (p *producer) run(ctx context.Context, n int64, rate int) error {
	tick := time.NewTicker(paceInterval)
	defer tick.Stop()
	started := time.Now()
	for sent := int64(0); sent < n; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		for due := min(n, int64(time.Since(started).Seconds()*float64(rate))); sent < due; sent++ {
			p.send(ctx)
		}
	}
	if err := p.client.Flush(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failure
}

func (p *producer) send(ctx context.Context) {
	key, value, _ := p.gen.Next()
	facts := p.gen.Last()
	p.client.Produce(ctx, &kgo.Record{Key: key, Value: value}, func(r *kgo.Record, err error) { p.acked(r, facts, err) })
}

func (p *producer) acked(r *kgo.Record, f events.Facts, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if p.failure == nil {
			p.failure = fmt.Errorf("the broker did not acknowledge event %d: %w", f.Seq, err)
		}
		return
	}
	t := &p.tallies[r.Partition]
	t.next = max(t.next, r.Offset+1)
	t.acked++
	switch {
	case f.Kind == events.Tombstone:
		t.tombstones = append(t.tombstones, r.Offset)
	case f.Kind.Row():
		t.rows.add(r.Offset, f)
	default:
		d := t.dead[codes[f.Kind]]
		t.dead[codes[f.Kind]] = refused{d.Count + 1, d.Offsets + uint64(r.Offset), d.Bytes + uint64(len(r.Value))}
	}
}

// produced is how many events the broker has acknowledged, and how many of them are tombstones below the given offsets.
func (p *producer) produced(below []int64) (events, tombstones int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.tallies {
		events += p.tallies[i].acked
		for _, o := range p.tallies[i].tombstones {
			if o < below[i] {
				tombstones++
			}
		}
	}
	return events, tombstones
}

// nexts are the offsets at which each partition would go on.
func (p *producer) nexts() []int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]int64, len(p.tallies))
	for i := range p.tallies {
		out[i] = p.tallies[i].next
	}
	return out
}

// accounts are the tallies once run has returned.
func (p *producer) accounts() []tally {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.tallies)
}

func (p *producer) close() { p.client.Close() }
