package child

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// sink takes the records of one batch after the other.
type sink interface {
	// add takes a record into the batch.
	add(ctx context.Context, value []byte) error
	// flush inserts the batch and begins a new one.
	flush(ctx context.Context) error
}

// pollRecords bounds a poll, so that a batch closes on its row count exactly.
const pollRecords = 10_000

// consume is the loop that most teams write: poll, gather a batch, insert it, commit the group's offsets.
func consume(ctx context.Context, o Orders, s sink) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(o.Kafka), kgo.ConsumerGroup(o.Group), kgo.ConsumeTopics(o.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		if err := batch(ctx, o, client, s); err != nil {
			return err
		}
		if err := s.flush(ctx); err != nil {
			return fmt.Errorf("insert: %w", err)
		}
		if err := client.CommitUncommittedOffsets(ctx); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
	}
}

// batch gathers records until there are enough of them or the first has waited long enough.
func batch(ctx context.Context, o Orders, client *kgo.Client, s sink) error {
	var first time.Time
	for n := 0; n < o.BatchRows; {
		wait := o.BatchAge
		if n > 0 {
			wait -= time.Since(first)
		}
		if wait <= 0 {
			return nil
		}
		fetches, err := poll(ctx, client, wait, min(pollRecords, o.BatchRows-n))
		if err != nil {
			return err
		}
		if n == 0 {
			first = time.Now()
		}
		for records := fetches.RecordIter(); !records.Done(); n++ {
			if err := s.add(ctx, records.Next().Value); err != nil {
				return err
			}
		}
	}
	return nil
}

// poll returns no records if none arrive within wait.
func poll(ctx context.Context, client *kgo.Client, wait time.Duration, most int) (kgo.Fetches, error) {
	polling, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	fetches := client.PollRecords(polling, most)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	for _, e := range fetches.Errors() {
		if !errors.Is(e.Err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("poll: %w", e.Err)
		}
	}
	return fetches, nil
}
