// Package completeness says, by the minute of events' time, what became of the records and how much of it is in the tables, and up to
// when everything is in. It reads alone.
package completeness

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/minutes"
)

// Method is how rows in the tables are told by the minute.
type Method string

// The methods.
const (
	// ByColumn counts the rows of each minute by the tables' column of event times.
	ByColumn Method = "column"
	// ByOffsets asks which offsets are there. Where some are missing, it is not known of which of their batch's minutes they are: each of these is
	// said to have so many less.
	ByOffsets Method = "offsets"
)

// Minute is what became of the records of a minute.
type Minute struct {
	Begin time.Time `json:"minute"`
	// Width is how long it is: a minute, or longer where a batch had records of more than a day.
	Width        string `json:"width"`
	Read         int64  `json:"read"`
	Written      int64  `json:"written"`
	Filtered     int64  `json:"filtered"`
	DeadLettered int64  `json:"dead_lettered"`
	Tombstones   int64  `json:"tombstones"`
	Rescued      int64  `json:"rescued"`
	Redacted     int64  `json:"redacted"`
	Visible      int64  `json:"visible"` // rows in the tables
	// Completeness is how much of what was read is in the tables or accounted for without a row, in percent.
	Completeness float64 `json:"completeness"`
	// Complete: it ends before all is complete, so that no more is to come.
	Complete bool `json:"complete"`
}

// Report is a pipeline's completeness.
type Report struct {
	Pipeline string    `json:"pipeline"`
	Epoch    uint32    `json:"epoch"`
	Topic    string    `json:"topic"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Method   Method    `json:"method"`
	// Why the rows were not told by the column of event times, if there is one.
	Why     string   `json:"why,omitempty"`
	Minutes []Minute `json:"minutes"`
	Total   Minute   `json:"-"`
	// CompleteThrough: everything whose time is before is accounted for; nil if nothing can be said yet.
	CompleteThrough *time.Time `json:"complete_through"`
	// HeldBackBy is the partition that is least complete; -1 if nobody has said anything.
	HeldBackBy int32 `json:"held_back_by"`
	// Undated are records, of all that the pipeline has read, that are in no minute: lost, gone before their batch was carried out, or read by a version that
	// did not count by time. ByRecordTime are those that are in the minute of their record's time for want of the event's.
	Undated      int64 `json:"undated"`
	ByRecordTime int64 `json:"by_record_time"`
	// Amended are rows that are taken for visible and are none any more: a repair or an erasure has made something else of them, on record. It is not
	// known of which minutes they were.
	Amended int64 `json:"amended"`
	// Inherited are the minutes of older epochs' accounts, as far as backfills have left their rows as they were; left out if there are none. The minutes above are
	// of the report's epoch alone.
	Inherited []Inherited `json:"inherited,omitempty"`
}

// Deps are whom it asks.
type Deps struct {
	Client *clickhouse.Client
	Ledger *ledger.Store
}

// Run looks at the minutes that begin in a time.
func Run(ctx context.Context, d Deps, cfg *config.Pipeline, from, to time.Time) (*Report, error) {
	topic := cfg.Source.Kafka.Topic
	r := &Report{Pipeline: cfg.Name, Epoch: uint32(cfg.Epoch), Topic: topic, From: from, To: to, Minutes: []Minute{}, HeldBackBy: -1}
	if err := r.askThrough(ctx, d, cfg); err != nil {
		return nil, err
	}
	// The account first: what it says was written before it said so.
	buckets, err := d.Ledger.Minutes(ctx, cfg.Name, cfg.Epoch, topic, from, to)
	if err != nil {
		return nil, err
	}
	dating, err := d.Ledger.Dating(ctx, cfg.Name, cfg.Epoch, topic)
	if err != nil {
		return nil, err
	}
	r.Undated, r.ByRecordTime = dating.Read-dating.Timed, dating.ByRecordTime
	visible, err := r.visible(ctx, d, cfg, buckets)
	if err != nil {
		return nil, err
	}
	for i := range buckets {
		r.Minutes = append(r.Minutes, r.minute(&buckets[i], visible[i]))
		r.Total.add(&r.Minutes[i])
	}
	return r, r.askInherited(ctx, d, cfg)
}

func (r *Report) askThrough(ctx context.Context, d Deps, cfg *config.Pipeline) error {
	c, err := d.Ledger.CompleteThrough(ctx, cfg.Name, cfg.Epoch, r.Topic)
	if err != nil || c.Partitions == 0 {
		return err
	}
	r.HeldBackBy = c.HeldBackBy
	if !c.Through.IsZero() {
		r.CompleteThrough = &c.Through
	}
	return nil
}

func (r *Report) minute(b *minutes.Bucket, visible int64) Minute {
	m := Minute{Begin: b.Begin(), Width: b.Width().String(), Read: b.Read(), Written: b.Counts[minutes.Written], Filtered: b.Counts[minutes.Filtered],
		DeadLettered: b.Counts[minutes.DeadLettered], Tombstones: b.Counts[minutes.Tombstones], Rescued: b.Counts[minutes.Rescued], Redacted: b.Counts[minutes.Redacted],
		Visible: visible, Complete: r.CompleteThrough != nil && !b.End().After(*r.CompleteThrough)}
	m.Completeness = percent(m.Visible+m.Filtered+m.DeadLettered+m.Tombstones, m.Read)
	return m
}

// add sums up.
func (m *Minute) add(o *Minute) {
	m.Read += o.Read
	m.Written += o.Written
	m.Filtered += o.Filtered
	m.DeadLettered += o.DeadLettered
	m.Tombstones += o.Tombstones
	m.Rescued += o.Rescued
	m.Redacted += o.Redacted
	m.Visible += o.Visible
	m.Completeness = percent(m.Visible+m.Filtered+m.DeadLettered+m.Tombstones, m.Read)
}

func percent(part, whole int64) float64 {
	if whole == 0 {
		return 100
	}
	return 100 * float64(part) / float64(whole)
}

// visible is how many rows of each bucket are in the tables.
func (r *Report) visible(ctx context.Context, d Deps, cfg *config.Pipeline, buckets []minutes.Bucket) ([]int64, error) {
	out := make([]int64, len(buckets))
	if len(buckets) == 0 {
		r.Method = ByOffsets
		return out, nil
	}
	amended, err := d.Ledger.Amended(ctx, cfg.Name, cfg.Epoch, r.Topic)
	if err != nil {
		return nil, err
	}
	why, err := unlike(ctx, d, cfg)
	if err != nil {
		return nil, err
	}
	if why == "" && !amended.Empty() {
		why = "rows were repaired or erased"
	}
	if why == "" {
		r.Method = ByColumn
		return out, byColumn(ctx, d, cfg, buckets, out)
	}
	r.Method = ByOffsets
	if cfg.Tables()[0].Contract.EventTime != "" {
		r.Why = why
	}
	return out, byOffsets(ctx, d, cfg, r, buckets, amended, out)
}

// unlike says why the tables' columns do not tell the minutes that the ledger has: there are none, or other plans counted by another one.
func unlike(ctx context.Context, d Deps, cfg *config.Pipeline) (string, error) {
	columns := map[string]string{} // by table
	for _, t := range cfg.Tables() {
		if t.Contract.EventTime == "" {
			return "a table has no column of event times", nil
		}
		columns[t.Sink.ClickHouse.Name()] = t.Contract.EventTime
	}
	plans, err := d.Ledger.Plans(ctx, cfg.Name)
	if err != nil {
		return "", err
	}
	for _, stored := range plans {
		p, err := contract.ParsePlan([]byte(stored.Text))
		if err != nil {
			return fmt.Sprintf("plan %s cannot be read any more", stored.ID), nil //nolint:nilerr // the other method does not need it
		}
		for _, route := range p.Routes() {
			if columns[route.Plan.Database()+"."+route.Plan.Table()] != route.Plan.EventTime() {
				return fmt.Sprintf("plan %s counted by another time", p.ID()), nil
			}
		}
	}
	return "", nil
}

// byColumn counts rows by the tables' own columns.
func byColumn(ctx context.Context, d Deps, cfg *config.Pipeline, buckets []minutes.Bucket, out []int64) error {
	for _, t := range cfg.Tables() {
		c := t.Sink.ClickHouse
		schema, _, err := d.Client.Describe(ctx, c.Database, c.Table, c.Lineage)
		if err != nil {
			return err
		}
		rows, err := d.Client.RowsByMinute(ctx, clickhouse.MinuteCount{Database: c.Database, Table: c.Table, Lineage: c.Lineage.In(schema), Topic: cfg.Source.Kafka.Topic, Epoch: cfg.Epoch,
			Column: t.Contract.EventTime, Where: d.Ledger.NotReplayed(cfg.Name, cfg.Epoch, cfg.Source.Kafka.Topic, c.Lineage), From: buckets[0].Begin(), To: buckets[len(buckets)-1].End()})
		if err != nil {
			return err
		}
		for minute, n := range rows {
			if i := holding(buckets, minute); i >= 0 {
				out[i] += n
			}
		}
	}
	return nil
}

// holding is the bucket that a minute is in, the narrowest if there are several; -1 if it is in none.
func holding(buckets []minutes.Bucket, minute time.Time) int {
	best := -1
	for w := minutes.Minute; w <= minutes.Year && best < 0; w++ {
		i, found := slices.BinarySearchFunc(buckets, minutes.Of(minute.UnixMilli()).Within(w), func(b minutes.Bucket, k minutes.Key) int { return int(int64(b.Key) - int64(k)) })
		if found {
			best = i
		}
	}
	return best
}

// byOffsets asks which offsets are there.
func byOffsets(ctx context.Context, d Deps, cfg *config.Pipeline, r *Report, buckets []minutes.Bucket, before *ledger.Amended, out []int64) error {
	at := map[minutes.Key]int{}
	for i := range buckets {
		at[buckets[i].Key] = i
		out[i] = buckets[i].Counts[minutes.Written]
	}
	spans, err := d.Ledger.TimedSpans(ctx, cfg.Name, cfg.Epoch, r.Topic, r.From, r.To)
	if err != nil {
		return err
	}
	replayed, _, err := d.Ledger.Replayed(ctx, cfg.Name, cfg.Epoch, r.Topic) // they are dead letters by the account
	if err != nil {
		return err
	}
	have, err := present(ctx, d, cfg, spans)
	if err != nil {
		return err
	}
	amended, err := d.Ledger.Amended(ctx, cfg.Name, cfg.Epoch, r.Topic)
	if err != nil {
		return err
	}
	framed := map[waybill.TopicPartition]waybill.OffsetSet{}
	for tp, set := range have {
		framed[tp] = set.Minus(replayed[tp])
	}
	for _, p := range amended.Partitions() {
		tp := waybill.TopicPartition{Topic: r.Topic, Partition: p}
		framed[tp], _ = amended.Frame(p, before, framed[tp], waybill.OffsetSet{})
	}
	for i := range spans {
		s := &spans[i]
		there := framed[s.TopicPartition].Within(s.Span)
		lack := s.Written - there.Len()
		r.Amended += there.Minus(have[s.TopicPartition]).Len()
		for key, n := range s.ByMinute {
			if i, asked := at[key]; asked && lack > 0 {
				out[i] = max(0, out[i]-min(lack, n))
			}
		}
	}
	return nil
}
