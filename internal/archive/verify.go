package archive

import (
	"context"
	"fmt"
	"slices"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/kafka"
)

// Topic is where the records came from.
type Topic interface {
	ReadSpan(ctx context.Context, tp waybill.TopicPartition, span waybill.Span, fn func(*waybill.Record) error) (kafka.ReadResult, error)
}

// Verification is what came of comparing archived records with those of the topic.
type Verification struct {
	Compared int64 `json:"compared"`
	// Missing are records of the topic that the archive says it holds, and does not.
	Missing int64 `json:"missing"`
	Differ  int64 `json:"differ"`
	// OnlyHere are archived records that the topic no longer has: compaction removes some.
	OnlyHere int64 `json:"only_in_archive"`
	// Examples are the first of what is missing or differs.
	Examples []Example `json:"examples"`
}

// Example is a record that is not in the archive as it is in the topic.
type Example struct {
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Differs   []string `json:"differs"` // empty: it is missing
}

// mostExamples is how many are named.
const mostExamples = 20

// Verify compares the records of a span, of which the topic has all that it had at first, and the archive holds all. keep is what was to be kept of
// a record of the topic.
func (r *Reader) Verify(ctx context.Context, topic Topic, tp waybill.TopicPartition, span waybill.Span, keep func(*waybill.Record) (waybill.Record, error), v *Verification) error {
	for at := span.First; at < span.Next; at += verifyAtOnce {
		if err := r.verify(ctx, topic, tp, waybill.Span{First: at, Next: min(span.Next, at+verifyAtOnce)}, keep, v); err != nil {
			return err
		}
	}
	return nil
}

// verifyAtOnce is how many offsets are compared at once: of each a few numbers are held.
const verifyAtOnce = 20_000

func (r *Reader) verify(ctx context.Context, topic Topic, tp waybill.TopicPartition, span waybill.Span, keep func(*waybill.Record) (waybill.Record, error), v *Verification) error {
	want := map[int64]print{}
	got, err := topic.ReadSpan(ctx, tp, span, func(rec *waybill.Record) error {
		if rec.Control {
			return nil
		}
		left, err := keep(rec)
		want[rec.Offset] = printOf(&left)
		return err
	})
	if err != nil {
		return err
	}
	span.First, span.Next = max(span.First, got.LogStart), min(span.Next, got.Next)
	h, err := r.holding(ctx, tp.Topic, 0)
	if err != nil {
		return err
	}
	for o := range want {
		if p := h.parts[tp.Partition]; p != nil && p.erased.Contains(o) {
			delete(want, o)
		}
	}
	if span.First >= span.Next {
		return nil
	}
	_, err = r.Read(ctx, tp, span, func(rec *waybill.Record) error {
		in, there := want[rec.Offset]
		if !there {
			v.OnlyHere++
			return nil
		}
		delete(want, rec.Offset)
		v.Compared++
		if names := in.differs(printOf(rec)); len(names) > 0 {
			v.Differ++
			v.example(Example{tp.Partition, rec.Offset, names})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, o := range sorted(want) {
		v.Compared++
		v.Missing++
		v.example(Example{tp.Partition, o, []string{}})
	}
	return nil
}

func sorted(m map[int64]print) []int64 {
	out := make([]int64, 0, len(m))
	for o := range m {
		out = append(out, o)
	}
	slices.Sort(out)
	return out
}

func (v *Verification) example(e Example) {
	if len(v.Examples) < mostExamples {
		v.Examples = append(v.Examples, e)
	}
}

func (e Example) String() string {
	if len(e.Differs) == 0 {
		return fmt.Sprintf("partition %d, offset %d: missing", e.Partition, e.Offset)
	}
	return fmt.Sprintf("partition %d, offset %d: another %s", e.Partition, e.Offset, e.Differs)
}

// print is a record in a few numbers.
type print struct {
	key, value, headers uint64
	time                int64
	appended            bool
}

func printOf(r *waybill.Record) print {
	part := func(of waybill.Record) uint64 { return waybill.RecordChecksum(&of) }
	return print{part(waybill.Record{Key: r.Key}), part(waybill.Record{Value: r.Value}), part(waybill.Record{Headers: r.Headers}), r.Time, r.Appended}
}

// differs names what is not the same.
func (p print) differs(o print) (names []string) {
	for _, f := range []struct {
		name string
		same bool
	}{{"key", p.key == o.key}, {"value", p.value == o.value}, {"headers", p.headers == o.headers}, {"timestamp", p.time == o.time && p.appended == o.appended}} {
		if !f.same {
			names = append(names, f.name)
		}
	}
	return names
}
