// Package audit reconciles what Kafka held with what ClickHouse holds: it asks the ledger what became of each record, and the tables
// whether that is so. It reads alone, and joins no group. What it cannot tell it says.
//
// The laws: L1, the ledger's spans tile the offsets; L2, what was read is accounted for, and by table; L3, what the ledger says was
// written is in the tables, once each; L4, nothing was removed from Kafka before it was read; L5, the records that are read again are those that
// were read then, and the values in the rows are those that they give (see contents).
package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/objects"
)

// Source is the topic. Errors that can heal mean that it could not be asked.
type Source interface {
	Describe(ctx context.Context) (kafka.TopicInfo, error)
	ReadSpan(ctx context.Context, tp waybill.TopicPartition, span waybill.Span, fn func(*waybill.Record) error) (kafka.ReadResult, error)
}

// Deps are whom an audit asks.
type Deps struct {
	Client *clickhouse.Client
	Ledger *ledger.Store
	Source Source // nil: there is no way to Kafka
	// Unreached is why, if the brokers were to be asked.
	Unreached error
	// Progress is told how far it is; it may be nil.
	Progress func(Progress)
}

// Progress says what has been done.
type Progress struct {
	Partition int32
	Done, Of  int64 // offsets
}

// Options say what to audit.
type Options struct {
	// Within are the offsets, by partition; empty: all that the ledger accounts for.
	Within map[int32]waybill.Span
	// Reread reads the records of every span again, also where the counts agree.
	Reread bool
	// Content compares the values in the rows with those that the records give. It implies Reread.
	Content bool
	// Scope are the offsets that the account is about, by partition, of an account that a backfill has made: all others are holes to it. nil: all.
	Scope map[int32]waybill.OffsetSet
}

// auditor is one audit.
type auditor struct {
	Deps
	cfg    *config.Pipeline
	opts   Options
	report *Report
	tables []table
	info   *kafka.TopicInfo // nil: Kafka could not be asked
	makers map[waybill.PlanID]*maker
	// amended is what repairs and erasures have made of offsets: as it was read after the tables, of the partition at hand.
	amended *ledger.Amended
	// contents is nil unless they are compared.
	contents *contents
	// origins are the epochs that the table's rows are of, this one's first; nil: it was said what the account is about.
	origins []backfill.Origin
	// only are the offsets of which the rows are looked at, of the account of an older epoch; nil: all.
	only map[int32]waybill.OffsetSet
	// newest is the epoch of the table, if only is not nil. mending are offsets that a repair is at, or has been at since it was known whose rows they are.
	newest  waybill.Epoch
	mending map[int32]waybill.OffsetSet
}

// table is one of the pipeline's tables, and what it was found to hold.
type table struct {
	name     string
	presence clickhouse.Presence
	// objects is where the rows are, if they are in no table; else nil.
	objects  *objects.Store
	repeated map[waybill.TopicPartition]waybill.OffsetSet
	// forgets says why rows may be gone by right, and nobody can tell which; empty: there is no reason.
	forgets string
	ttl     []ttlRule // rows of these are gone by right
	// replacing: there is one row of each key (an expression list) in the end.
	replacing bool
	key       string
	// partitionKey of the table; empty: it has one partition.
	partitionKey string
}

// Run audits a pipeline. The error says that it could not be done.
func Run(ctx context.Context, deps Deps, cfg *config.Pipeline, opts Options) (*Report, error) {
	a := newAuditor(deps, cfg, opts)
	for _, step := range []func(context.Context) error{a.askKafka, a.askOrigins, a.askTables, a.askLaws, a.askContents, a.askPartitions, a.askReferences} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	if a.contents != nil {
		a.contents.summary()
	}
	if err := a.askInherited(ctx); err != nil {
		return nil, err
	}
	a.report.judge()
	return a.report, nil
}

func newAuditor(deps Deps, cfg *config.Pipeline, opts Options) *auditor {
	a := &auditor{Deps: deps, cfg: cfg, opts: opts, makers: map[waybill.PlanID]*maker{}, amended: &ledger.Amended{},
		report: &Report{Pipeline: cfg.Name, Epoch: uint32(cfg.Epoch), Topic: cfg.Source.Kafka.Topic, Partitions: []Partition{}, Violations: []Violation{}, Unknown: []Unknown{}}}
	a.opts.Reread = opts.Reread || opts.Content
	if a.Progress == nil {
		a.Progress = func(Progress) {}
	}
	return a
}

// askContents looks what can be compared of the rows' values, if they are to be.
func (a *auditor) askContents(ctx context.Context) (err error) {
	if a.opts.Content {
		a.contents, err = a.newContents(ctx)
	}
	return err
}

func (a *auditor) unknown(law, action, format string, args ...any) {
	a.report.Unknown = append(a.report.Unknown, Unknown{Law: law, Topic: a.report.Topic, Message: fmt.Sprintf(format, args...), Action: action})
}

// askKafka looks where the topic's partitions begin and end.
func (a *auditor) askKafka(ctx context.Context) error {
	if a.Unreached != nil {
		a.unknown("L4", "run it again where the brokers can be reached", "the brokers could not be asked: %v", a.Unreached)
		return nil
	}
	if a.Source == nil {
		a.unknown("L4", "give a way to the brokers", "the brokers were not asked: whether records were removed before they were read is not known")
		return nil
	}
	info, err := a.Source.Describe(ctx)
	switch {
	case err == nil:
		a.info = &info
		return nil
	case waybill.ClassOf(err).Heals() && ctx.Err() == nil:
		a.unknown("L4", "run it again where the brokers can be reached", "the brokers could not be asked: %v", err)
		return nil
	}
	return err
}

// askTables looks what the tables are, and so what can be claimed of them.
func (a *auditor) askTables(ctx context.Context) error {
	if a.cfg.Sink.Objects != nil {
		s, err := engine.OpenObjects(a.cfg)
		a.report.Tables = append(a.report.Tables, a.cfg.Sink.ClickHouse.Place())
		a.tables = append(a.tables, table{name: a.cfg.Sink.ClickHouse.Place(), objects: s})
		return err
	}
	for _, of := range a.cfg.Tables() {
		c := of.Sink.ClickHouse
		schema, info, err := a.Client.Describe(ctx, c.Database, c.Table, c.Lineage)
		if err != nil {
			return err
		}
		t := table{name: c.Name()}
		t.presence = clickhouse.Presence{Database: c.Database, Table: c.Table, Lineage: c.Lineage.In(schema), Epoch: a.cfg.Epoch, HasProjection: info.OffsetProjection, Replicated: info.Replicated}
		a.report.Tables = append(a.report.Tables, t.name)
		t.forgetful(info)
		t.partitionKey = info.PartitionKey
		a.tables = append(a.tables, t)
	}
	return nil
}

// twice: the pipeline may write a record twice, and so account for it twice.
func (a *auditor) twice() bool { return a.cfg.Delivery == config.AtLeastOnce }

// askLaws checks the ledger against itself.
func (a *auditor) askLaws(ctx context.Context) error {
	found, err := a.Ledger.Laws(ctx, a.cfg.Name, a.cfg.Epoch)
	if err != nil {
		return err
	}
	for _, v := range found {
		within, asked := a.opts.Within[v.Partition]
		if a.twice() && v.Kind == ledger.KindOverlap {
			continue
		}
		if v.Topic != a.report.Topic || len(a.opts.Within) > 0 && (!asked || v.First >= within.Next || v.Next <= within.First) {
			continue
		}
		if !a.concerns(v.Partition, v.Span) {
			continue
		}
		law := "L1"
		if v.Kind == ledger.KindUnbalanced {
			law = "L2"
		}
		a.report.Violations = append(a.report.Violations, Violation{Law: law, Kind: v.Kind, Topic: v.Topic, Partition: v.Partition, Count: v.Span.Len(),
			Offsets: []Range{{v.First, v.Next}}, Exact: law == "L1", Message: v.Message})
	}
	return nil
}

// askPartitions audits one partition after the other.
func (a *auditor) askPartitions(ctx context.Context) error {
	tips, err := a.Ledger.Tips(ctx, a.cfg.Name, a.cfg.Epoch, a.report.Topic)
	if err != nil {
		return err
	}
	if a.only == nil {
		a.uncovered(tips)
	}
	// What is on record as replayed before the tables are looked at must be there.
	replayed, _, err := a.Ledger.Replayed(ctx, a.cfg.Name, a.cfg.Epoch, a.report.Topic)
	if err != nil {
		return err
	}
	amended, err := a.Ledger.Amended(ctx, a.cfg.Name, a.cfg.Epoch, a.report.Topic)
	if err != nil {
		return err
	}
	for i := range a.tables {
		t := &a.tables[i]
		if t.objects != nil {
			continue // a record that two objects hold is read once
		}
		if t.repeated, err = a.Client.Repeated(ctx, t.presence, a.report.Topic); err != nil {
			return err
		}
	}
	for _, p := range a.partitions(tips) {
		within, asked := a.opts.Within[p]
		if len(a.opts.Within) > 0 && !asked {
			continue
		}
		before := before{replayed[waybill.TopicPartition{Topic: a.report.Topic, Partition: p}], amended}
		whole := waybill.Span{First: tips[p].First, Next: tips[p].Next}
		for _, sp := range tips[p].Beyond {
			whole.Next = max(whole.Next, sp.Next)
		}
		if beyond := a.beyond(p); beyond.Len() > 0 && whole.Len() > 0 {
			whole = waybill.Span{First: min(whole.First, beyond.First), Next: max(whole.Next, beyond.Next)}
		} else if beyond.Len() > 0 {
			whole = beyond
		}
		if asked {
			whole = waybill.Span{First: max(whole.First, within.First), Next: min(whole.Next, within.Next)}
		}
		if whole.First >= whole.Next {
			continue
		}
		tip := int64(-1)
		if at, some := tips[p]; some {
			tip = at.Next
		}
		if err := a.partition(ctx, p, whole, tip, before); err != nil {
			return err
		}
	}
	return nil
}

// partitions are those with something on the epoch's record, in order.
func (a *auditor) partitions(tips map[int32]ledger.Tip) []int32 {
	all := maps.Clone(tips)
	if len(a.origins) > 0 {
		for p := range a.origins[0].Taken {
			all[p] = tips[p]
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// uncovered notes what was asked for and is on no account.
func (a *auditor) uncovered(tips map[int32]ledger.Tip) {
	if len(a.opts.Within) == 0 && len(tips) == 0 {
		a.unknown("L1", "run the pipeline", "nothing of topic %s is on the account of pipeline %s under epoch %d", a.report.Topic, a.cfg.Name, a.cfg.Epoch)
	}
	for _, p := range slices.Sorted(maps.Keys(a.opts.Within)) {
		within, covered := waybill.OffsetsIn(a.opts.Within[p]), waybill.OffsetSet{}
		if tip, ok := tips[p]; ok {
			covered.AddSpan(waybill.Span{First: tip.First, Next: tip.Next})
			for _, sp := range tip.Beyond {
				covered.AddSpan(sp)
			}
		}
		if left := within.Minus(covered); !left.Empty() {
			a.unknown("L1", "", "offsets %s of partition %d are on nobody's account: they have not been read, or not under this epoch", left, p)
		}
	}
}

// before is what was on record before the tables were looked at.
type before struct {
	replayed waybill.OffsetSet
	amended  *ledger.Amended
}

// partition audits what the ledger accounts for of one partition.
func (a *auditor) partition(ctx context.Context, number int32, whole waybill.Span, tip int64, known before) error {
	tp := waybill.TopicPartition{Topic: a.report.Topic, Partition: number}
	h := holdings{Partition: Partition{Partition: number, First: whole.First, Next: whole.Next, LogStart: -1, End: -1}, tp: tp}
	// The account first: what it says was written before it said so.
	err := a.Ledger.Accounts(ctx, a.cfg.Name, a.cfg.Epoch, a.report.Topic, map[int32]waybill.Span{number: whole}, func(row *ledger.Account) error {
		if a.concerns(number, row.Span) {
			h.count(row)
			h.rows = append(h.rows, *row)
		}
		h.First, h.Next = min(h.First, row.First), max(h.Next, row.Next) // whole rows of the ledger
		return nil
	})
	if err != nil {
		return err
	}
	whole = waybill.Span{First: h.First, Next: h.Next}
	ask := []clickhouse.PartitionSpan{{TopicPartition: tp, Span: whole}}
	for i := range a.tables {
		t := &a.tables[i]
		found, err := a.present(ctx, t, tp, whole)
		if err != nil {
			return err
		}
		if err := a.release(ctx, number); err != nil {
			return err
		}
		h.add(a.ours(tp, t, found))
		twice := a.mine(number, t.repeated[tp].Within(whole))
		if h.Repeated += twice.Len(); !twice.Empty() && !a.twice() {
			a.broken("L3", KindRepeated, tp, t.name, twice, "have more than one row")
		}
	}
	if h.Repeated += h.several.Len(); !h.several.Empty() && !a.twice() {
		a.broken("L3", KindRepeated, tp, "", h.several, "have rows in several tables")
	}
	dead, err := a.Client.Present(ctx, a.Ledger.DeadLetterPresence(a.cfg.Name, a.cfg.Epoch, ask))
	if err != nil {
		return err
	}
	h.dead = dead[tp]
	h.Present, h.DeadPresent = h.all.Len(), h.dead.Len()
	if err := a.replays(ctx, &h, a.mine(number, known.replayed.Within(whole))); err != nil {
		return err
	}
	if err := a.amendments(ctx, &h, whole, known.amended); err != nil {
		return err
	}
	a.tip(&h, tip)
	if err := a.accounts(ctx, &h, whole); err != nil {
		return err
	}
	a.Progress(Progress{number, whole.Len(), whole.Len()})
	a.report.Partitions = append(a.report.Partitions, h.Partition)
	return nil
}

// present is which offsets of a span have a row in the table.
func (a *auditor) present(ctx context.Context, t *table, tp waybill.TopicPartition, whole waybill.Span) (waybill.OffsetSet, error) {
	if t.objects != nil {
		return t.objects.Present(ctx, tp, a.cfg.Epoch, whole)
	}
	t.presence.Spans = []clickhouse.PartitionSpan{{TopicPartition: tp, Span: whole}}
	found, err := a.Client.Present(ctx, t.presence)
	return found[tp], err
}

// replays takes dead letters into account that have a row by right: those that were replayed before the tables were looked at must have one, those of
// replays since, or under way, may.
func (a *auditor) replays(ctx context.Context, h *holdings, must waybill.OffsetSet) error {
	done, underWay, err := a.Ledger.Replayed(ctx, a.cfg.Name, a.cfg.Epoch, a.report.Topic)
	if err != nil {
		return err
	}
	h.byRight = done[h.tp].Union(underWay[h.tp])
	h.Replayed = must.Len()
	missing := must.Minus(h.all)
	if missing.Empty() {
		return nil
	}
	a.lack(h, missing, "are dead letters that were replayed, on record, and have no row")
	return nil
}

// lack notes rows that are on record beside the ledger's account, and are not there.
func (a *auditor) lack(h *holdings, missing waybill.OffsetSet, what string) {
	if missing.Empty() {
		return
	}
	for i := range a.tables {
		if why := a.tables[i].forgets; why != "" {
			a.unknown("L3", "", "%d offsets of %s %s, which may be right: table %s: %s", missing.Len(), h.tp, what, a.tables[i].name, why)
			return
		}
	}
	a.broken("L3", KindMissing, h.tp, "", missing, what)
}

// accounts compares each row of the ledger with what the tables hold.
func (a *auditor) accounts(ctx context.Context, h *holdings, whole waybill.Span) (err error) {
	if a.contents != nil {
		a.contents.begin(h.tp, whole, h.tables)
		defer func() { err = errors.Join(err, a.contents.drop(ctx)) }()
	}
	for i := range h.rows {
		a.Progress(Progress{h.tp.Partition, h.rows[i].First - whole.First, whole.Len()})
		if err := a.account(ctx, h, &h.rows[i]); err != nil {
			return err
		}
	}
	for _, why := range slices.Sorted(maps.Keys(h.unread)) {
		a.unknown("L3", "", "%s, offsets %s: the counts agree, and the records cannot be read again: %s", h.tp, shortly(h.unread[why]), why)
	}
	if a.contents != nil {
		if err := a.contents.end(ctx); err != nil {
			return err
		}
	}
	return a.explain(ctx, h)
}

// tip is law L4. It is negative of a partition that the account says nothing of yet.
func (a *auditor) tip(h *holdings, tip int64) {
	if tip < 0 || a.info == nil || a.only != nil {
		return
	}
	for _, p := range a.info.Partitions {
		if p.Partition != h.Partition.Partition {
			continue
		}
		h.LogStart, h.End, h.Lag = p.LogStart, p.StableEnd, max(0, p.StableEnd-tip)
		if p.LogStart > tip && len(a.opts.Within) == 0 && a.opts.Scope == nil {
			a.broken("L4", KindLoss, h.tp, "", waybill.OffsetsIn(waybill.Span{First: tip, Next: p.LogStart}), "were removed from the topic before they were read")
		}
	}
}

// broken notes a violation whose offsets are known.
func (a *auditor) broken(law, kind string, tp waybill.TopicPartition, table string, set waybill.OffsetSet, what string) {
	of := ""
	if table != "" {
		of = " in " + table
	}
	a.report.Violations = append(a.report.Violations, Violation{Law: law, Kind: kind, Topic: tp.Topic, Partition: tp.Partition, Table: table, Count: set.Len(),
		Offsets: rangesOf(set), Exact: true, Message: fmt.Sprintf("%d offsets of %s %s%s", set.Len(), tp, what, of)})
}

func compare(a, b string, x ...int64) int {
	c := cmp.Compare(a, b)
	for i := 0; i+1 < len(x); i += 2 {
		c = cmp.Or(c, cmp.Compare(x[i], x[i+1]))
	}
	return c
}
