package operator

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
)

// Resolver finds out which records a scope is. It reads only.
type Resolver struct {
	Cfg     *config.Pipeline
	Client  *clickhouse.Client
	Ledger  *ledger.Store
	Kafka   *kafka.Reader
	Archive Archive       // nil: there is none
	Epoch   waybill.Epoch // of live
	Table   contract.TableSchema
	Plan    *contract.Plan // that live's table and the file make now
}

func (r *Resolver) refused(hint, format string, args ...any) error {
	return &waybill.Error{Op: "backfill", Pipeline: r.Cfg.Name, Class: waybill.ClassConfig, Hint: hint, Err: fmt.Errorf(format, args...)}
}

// Resolve is the offsets of the scope. Those of an open one go on for ever.
func (r *Resolver) Resolve(ctx context.Context, s backfill.Scope) (offsets map[int32]waybill.OffsetSet, open bool, err error) {
	topic, err := r.Kafka.Describe(ctx)
	if err != nil {
		return nil, false, err
	}
	switch s.Kind {
	case backfill.ScopeAll:
		offsets = map[int32]waybill.OffsetSet{}
		for _, p := range topic.Partitions {
			offsets[p.Partition] = waybill.OffsetsIn(waybill.Span{First: 0, Next: ledger.AllThatComes})
		}
		return offsets, true, nil
	case backfill.ScopeTime:
		offsets, err = r.byEventTime(ctx, s)
	case backfill.ScopeKafkaTime:
		offsets, err = r.byKafkaTime(ctx, s)
	case backfill.ScopeOffsets:
		offsets, err = r.byOffset(s, topic)
	case backfill.ScopePlan:
		offsets, err = r.byPlan(ctx, s)
	case backfill.ScopeFinding:
		offsets, err = r.byFinding(ctx, s, topic)
	case backfill.ScopeDeadLetters:
		offsets, err = r.deadLetters(ctx)
	case backfill.ScopeRescued:
		offsets, err = r.rescued(ctx)
	}
	if err != nil {
		return nil, false, err
	}
	// What is not in the topic yet will be written by live.
	for _, p := range topic.Partitions {
		offsets[p.Partition] = offsets[p.Partition].Within(waybill.Span{First: 0, Next: p.End})
	}
	maps.DeleteFunc(offsets, func(_ int32, set waybill.OffsetSet) bool { return set.Empty() })
	if len(offsets) == 0 {
		return nil, false, r.refused("`waybill backfill plan` says what a scope is; widen it", "scope %s holds no record", s.Text)
	}
	return offsets, false, nil
}

func (r *Resolver) topic() string { return r.Cfg.Source.Kafka.Topic }

// rows are the offsets with a row that a condition is true of; empty: with a row.
func (r *Resolver) rows(ctx context.Context, where string) (map[int32]waybill.OffsetSet, error) {
	c := r.Cfg.Sink.ClickHouse
	l := c.Lineage.In(r.Table)
	l.Epoch = "" // of any
	topic, err := r.Kafka.Describe(ctx)
	if err != nil {
		return nil, err
	}
	from := map[waybill.TopicPartition]int64{}
	for _, p := range topic.Partitions {
		from[waybill.TopicPartition{Topic: r.topic(), Partition: p.Partition}] = 0
	}
	found, err := r.Client.PresentPast(ctx, clickhouse.Presence{Database: c.Database, Table: c.Table, Lineage: l, Where: where}, from)
	if err != nil {
		return nil, err
	}
	out := map[int32]waybill.OffsetSet{}
	for tp, set := range found {
		out[tp.Partition] = set
	}
	return out, nil
}

// byEventTime is exact for records with a row: the row's time counts. Of one without a row no time is known but the minutes of its ledger
// row, which is that of a whole batch: all of those whose minutes overlap are in the scope, so that none that should have had a row is left out.
func (r *Resolver) byEventTime(ctx context.Context, s backfill.Scope) (map[int32]waybill.OffsetSet, error) {
	column := r.Cfg.Contract.EventTime
	if column == "" {
		return nil, r.refused("name it in the contract (event_time), or use kafka-time:", "the pipeline does not say which column is the event's time")
	}
	at := func(millis int64) string { return fmt.Sprintf("fromUnixTimestamp64Milli(%d, 'UTC')", millis) }
	in, err := r.rows(ctx, fmt.Sprintf("toDateTime64(%[1]s, 9, 'UTC') >= %[2]s AND toDateTime64(%[1]s, 9, 'UTC') < %[3]s", clickhouse.Ident(column), at(s.From.UnixMilli()), at(s.To.UnixMilli())))
	if err != nil {
		return nil, err
	}
	spans, err := r.Ledger.TimedSpans(ctx, r.Cfg.Name, r.Epoch, r.topic(), s.From, s.To)
	if err != nil || len(spans) == 0 {
		return in, err
	}
	all, err := r.rows(ctx, "")
	if err != nil {
		return nil, err
	}
	overlap := map[int32]waybill.OffsetSet{}
	for i := range spans {
		set := overlap[spans[i].Partition]
		set.AddSpan(spans[i].Span)
		overlap[spans[i].Partition] = set
	}
	for p, set := range overlap {
		in[p] = in[p].Union(set.Minus(all[p]))
	}
	return in, nil
}

// byKafkaTime goes by Kafka's index: from the first record that is not older than From to before the first that is not older than To.
func (r *Resolver) byKafkaTime(ctx context.Context, s backfill.Scope) (map[int32]waybill.OffsetSet, error) {
	from, err := r.Kafka.OffsetsAt(ctx, s.From.UnixMilli())
	if err != nil {
		return nil, err
	}
	to, err := r.Kafka.OffsetsAt(ctx, s.To.UnixMilli())
	if err != nil {
		return nil, err
	}
	if err := r.archivedAt(ctx, s.From.UnixMilli(), from); err != nil {
		return nil, err
	}
	if err := r.archivedAt(ctx, s.To.UnixMilli(), to); err != nil {
		return nil, err
	}
	out := map[int32]waybill.OffsetSet{}
	for p := range from {
		out[p] = waybill.OffsetsIn(waybill.Span{First: from[p], Next: to[p]})
	}
	return out, nil
}

func (r *Resolver) byOffset(s backfill.Scope, topic kafka.TopicInfo) (map[int32]waybill.OffsetSet, error) {
	out := map[int32]waybill.OffsetSet{}
	for p, set := range s.Offsets {
		if !slices.ContainsFunc(topic.Partitions, func(i kafka.PartitionInfo) bool { return i.Partition == p }) {
			return nil, r.refused("name one that it has", "topic %s has no partition %d", r.topic(), p)
		}
		out[p] = set
	}
	return out, nil
}

// byPlan is the spans that a plan wrote, by the ledger of the epoch.
func (r *Resolver) byPlan(ctx context.Context, s backfill.Scope) (map[int32]waybill.OffsetSet, error) {
	out := map[int32]waybill.OffsetSet{}
	found := map[waybill.PlanID]bool{}
	err := r.Ledger.Accounts(ctx, r.Cfg.Name, r.Epoch, r.topic(), nil, func(a *ledger.Account) error {
		for i, pf := range a.Plans {
			if !strings.HasPrefix(pf.Plan.String(), s.ID) {
				continue
			}
			found[pf.Plan] = true
			next := a.Next
			if i+1 < len(a.Plans) {
				next = a.Plans[i+1].First
			}
			set := out[a.Partition]
			set.AddSpan(waybill.Span{First: max(pf.First, a.First), Next: next})
			out[a.Partition] = set
		}
		return nil
	})
	if err == nil && len(found) != 1 {
		err = r.refused("`waybill schema history` lists them", "%d plans whose ids begin with %q have written something under epoch %d", len(found), s.ID, r.Epoch)
	}
	return out, err
}

// byFinding is the offsets that a finding is about.
func (r *Resolver) byFinding(ctx context.Context, s backfill.Scope, topic kafka.TopicInfo) (map[int32]waybill.OffsetSet, error) {
	all, err := r.Ledger.FindingsNow(ctx, ledger.FindingsOf{Pipeline: r.Cfg.Name, All: true, IDs: []string{s.ID}})
	switch {
	case err != nil:
		return nil, err
	case len(all) != 1:
		return nil, r.refused("`waybill findings --all` lists them", "%d findings of the pipeline begin with %q", len(all), s.ID)
	}
	f := &all[0]
	if f.Topic != r.topic() || f.Span.Len() <= 0 || !slices.ContainsFunc(topic.Partitions, func(i kafka.PartitionInfo) bool { return i.Partition == f.Partition }) {
		return nil, r.refused("choose another scope", "finding %s is not about offsets of topic %s", f.ID, r.topic())
	}
	return map[int32]waybill.OffsetSet{f.Partition: waybill.OffsetsIn(f.Span)}, nil
}

func (r *Resolver) deadLetters(ctx context.Context) (map[int32]waybill.OffsetSet, error) {
	out := map[int32]waybill.OffsetSet{}
	older, err := r.Ledger.OlderLetters(ctx, r.Cfg.Name, r.Epoch, r.topic(), nil)
	if err != nil {
		return nil, err
	}
	f := ledger.LetterFilter{Pipeline: r.Cfg.Name, Epoch: r.Epoch, Older: older, Topic: r.topic(), States: []ledger.LetterState{ledger.LetterWaiting, ledger.LetterFailed}}
	err = r.Ledger.Letters(ctx, &f, ledger.ByOffset, 0, func(l *ledger.Letter) error {
		set := out[l.Partition]
		set.Add(l.Offset)
		out[l.Partition] = set
		return nil
	})
	return out, err
}

func (r *Resolver) rescued(ctx context.Context) (map[int32]waybill.OffsetSet, error) {
	c, ok := r.Plan.RescueColumn()
	if !ok {
		return nil, r.refused("choose another scope", "the pipeline has no rescue column")
	}
	where := "notEmpty(" + clickhouse.Ident(c.Name) + ")"
	if strings.HasPrefix(c.Type, "JSON") {
		where = "notEmpty(JSONAllPaths(" + clickhouse.Ident(c.Name) + "))"
	}
	return r.rows(ctx, where)
}

// Cut takes out of a scope what the topic no longer has. gone is how many rows of the table are of that: they stay as they are.
func (r *Resolver) Cut(ctx context.Context, offsets map[int32]waybill.OffsetSet, begins backfill.Positions) (left map[int32]waybill.OffsetSet, gone map[int32]int64, err error) {
	out, lost := map[int32]waybill.OffsetSet{}, map[int32]waybill.OffsetSet{}
	for p, set := range offsets {
		out[p] = set.Within(waybill.Span{First: begins[p], Next: math.MaxInt64})
		if cut := set.Within(waybill.Span{First: 0, Next: begins[p]}); !cut.Empty() {
			lost[p] = cut
		}
	}
	if len(lost) == 0 {
		return out, nil, nil
	}
	all, err := r.rows(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	gone = map[int32]int64{}
	for p, set := range lost {
		if n := all[p].Intersect(set).Len(); n > 0 {
			gone[p] = n
		}
	}
	return out, gone, nil
}
