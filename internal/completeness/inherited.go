package completeness

import (
	"context"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/minutes"
)

// Inherited are the minutes of an older epoch's account.
type Inherited struct {
	Epoch   uint32   `json:"epoch"`
	Minutes []Minute `json:"minutes"`
	Total   Minute   `json:"-"`
	// Partly is how many batches (or what they were rolled up into) have records of that time, and offsets that a backfill has made anew: they are in no minute, as the
	// ledger counts whole batches. Offsets is how many offsets of theirs are still the epoch's.
	Partly  int64 `json:"partly"`
	Offsets int64 `json:"partly_offsets"`
}

// askInherited looks at the minutes of older epochs. Their rows are told by offset: a row that was repaired since is of a newer epoch.
func (r *Report) askInherited(ctx context.Context, d Deps, cfg *config.Pipeline) error {
	accounts, err := d.Ledger.AccountOrigins(ctx, cfg.Name, cfg.Epoch)
	if err != nil || len(accounts) == 1 {
		return err
	}
	rows, err := d.Ledger.Origins(ctx, cfg.Name, cfg.Epoch, r.Topic)
	if err != nil {
		return err
	}
	for i := 1; i < len(accounts); i++ {
		in := Inherited{Epoch: uint32(accounts[i].Epoch), Minutes: []Minute{}}
		if err := r.inherit(ctx, d, cfg, &in, &accounts[i], rows); err != nil {
			return err
		}
		if len(in.Minutes) > 0 || in.Partly > 0 {
			r.Inherited = append(r.Inherited, in)
		}
	}
	return nil
}

func (r *Report) inherit(ctx context.Context, d Deps, cfg *config.Pipeline, in *Inherited, of *backfill.Origin, rows []backfill.Origin) error {
	all, err := d.Ledger.TimedSpans(ctx, cfg.Name, of.Epoch, r.Topic, r.From, r.To)
	if err != nil {
		return err
	}
	var spans []ledger.TimedSpan
	whole := map[int32]waybill.OffsetSet{}
	for i := range all {
		s := &all[i]
		switch left := of.Rows[s.Partition].Within(s.Span).Len(); {
		case left == s.Len():
			set := whole[s.Partition]
			set.AddSpan(s.Span)
			whole[s.Partition] = set
			spans = append(spans, *s)
		case left > 0:
			in.Partly++
			in.Offsets += left
		}
	}
	buckets, err := d.Ledger.MinutesOf(ctx, cfg.Name, of.Epoch, r.Topic, r.From, r.To, whole)
	if err != nil || len(buckets) == 0 {
		return err
	}
	there, err := r.thereOf(ctx, d, cfg, of.Epoch, rows, spans)
	if err != nil {
		return err
	}
	at, visible := map[minutes.Key]int{}, make([]int64, len(buckets))
	for i := range buckets {
		at[buckets[i].Key], visible[i] = i, buckets[i].Counts[minutes.Written]
	}
	for i := range spans {
		lack := spans[i].Written - there[spans[i].TopicPartition].Within(spans[i].Span).Len()
		for key, n := range spans[i].ByMinute {
			if b, asked := at[key]; asked && lack > 0 {
				visible[b] = max(0, visible[b]-min(lack, n))
			}
		}
	}
	for i := range buckets {
		in.Minutes = append(in.Minutes, r.minute(&buckets[i], visible[i]))
		in.Total.add(&in.Minutes[i])
	}
	return nil
}

// thereOf is which offsets of an older epoch's account are what it counts as rows: its rows in the tables, and those that were repaired since, under whichever epoch,
// and are what they should be.
func (r *Report) thereOf(ctx context.Context, d Deps, cfg *config.Pipeline, epoch waybill.Epoch, rows []backfill.Origin, spans []ledger.TimedSpan) (map[waybill.TopicPartition]waybill.OffsetSet, error) {
	out := map[waybill.TopicPartition]waybill.OffsetSet{}
	for _, o := range rows {
		if o.Epoch < epoch {
			continue
		}
		before, err := d.Ledger.Amended(ctx, cfg.Name, o.Epoch, r.Topic)
		if err != nil {
			return nil, err
		}
		have, err := present(ctx, d, cfg.Under(o.Epoch), spans)
		if err != nil {
			return nil, err
		}
		if o.Epoch > epoch { // what was replayed is a dead letter to the older account
			for p, taken := range o.Taken {
				tp := waybill.TopicPartition{Topic: r.Topic, Partition: p}
				written := before.Is(p, ledger.FateWritten).Intersect(taken)
				out[tp] = out[tp].Union(written.Intersect(have[tp])).Union(before.Offsets(p).Intersect(taken).Minus(written))
			}
			continue
		}
		replayed, _, err := d.Ledger.Replayed(ctx, cfg.Name, o.Epoch, r.Topic)
		if err != nil {
			return nil, err
		}
		amended, err := d.Ledger.Amended(ctx, cfg.Name, o.Epoch, r.Topic)
		if err != nil {
			return nil, err
		}
		for tp, set := range have {
			have[tp] = set.Minus(replayed[tp])
		}
		for _, p := range amended.Partitions() {
			tp := waybill.TopicPartition{Topic: r.Topic, Partition: p}
			have[tp], _ = amended.Frame(p, before, have[tp], waybill.OffsetSet{})
		}
		for tp, set := range have {
			out[tp] = out[tp].Union(set)
		}
	}
	return out, nil
}

// present is which offsets of some spans have a row in a table.
func present(ctx context.Context, d Deps, cfg *config.Pipeline, spans []ledger.TimedSpan) (map[waybill.TopicPartition]waybill.OffsetSet, error) {
	have := map[waybill.TopicPartition]waybill.OffsetSet{}
	for _, t := range cfg.Tables() {
		c := t.Sink.ClickHouse
		schema, info, err := d.Client.Describe(ctx, c.Database, c.Table, c.Lineage)
		if err != nil {
			return nil, err
		}
		p := clickhouse.Presence{Database: c.Database, Table: c.Table, Lineage: c.Lineage.In(schema), Epoch: cfg.Epoch, HasProjection: info.OffsetProjection, Replicated: info.Replicated}
		for i := range spans {
			p.Spans = append(p.Spans, clickhouse.PartitionSpan{TopicPartition: spans[i].TopicPartition, Span: spans[i].Span})
		}
		found, err := d.Client.Present(ctx, p)
		if err != nil {
			return nil, err
		}
		for tp, set := range found {
			have[tp] = have[tp].Union(set)
		}
	}
	return have, nil
}
