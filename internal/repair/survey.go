package repair

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/audit"
	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/ledger"
)

// Reason is why offsets are repaired.
type Reason string

// The reasons. The first three are what the audit finds.
const (
	Missing    Reason = "missing"    // the ledger counts them as written, and they have no row
	Repeated   Reason = "repeated"   // they have several rows
	Unexpected Reason = "unexpected" // they have a row, and should have none
	Asked      Reason = "asked"      // somebody has named them
)

// Options say what to repair.
type Options struct {
	Missing, Repeated, Unexpected bool
	// Offsets are deleted and made again under the plan of now.
	Offsets map[int32]waybill.OffsetSet
	// Now: those that the audit finds are made under the plan of now too, and not under the one that wrote them.
	Now bool
}

// want is offsets that are to be repaired in one way.
type want struct {
	why     Reason
	kind    ledger.ReplayKind
	plan    waybill.PlanID
	of      waybill.Epoch   // on whose account they are; of a removal: whose rows go
	offsets delivery.RowSet // of one topic
}

// Left counts offsets that were asked for and that nothing is done about.
type Left struct {
	Unaccounted int64 `json:"unaccounted"` // they are on nobody's account: not read, or not under this epoch
	Unsettled   int64 `json:"unsettled"`   // their batch may still be carried out again: the group has not committed them
	Letters     int64 `json:"letters"`     // they are dead letters: `waybill dlq replay`
	Erased      int64 `json:"erased"`      // they were erased, and stay so
	Gone        int64 `json:"gone"`        // the topic no longer has their records
	Holes       int64 `json:"holes"`       // there never was a record, or compaction has removed it
	Untold      int64 `json:"untold"`      // the audit cannot tell which offsets they are
}

// Survey is what is to be repaired, before anything is.
type Survey struct {
	wants   []*want
	Untold  int64         // rows that are missing, of which nobody can tell which they are
	Verdict audit.Verdict // of the audit that was asked; empty: none was
}

// Survey looks what there is to repair. It changes nothing.
func (j *Job) Survey(ctx context.Context, o Options) (*Survey, error) {
	if err := j.Engine.Mends(); err != nil {
		return nil, err
	}
	if o.Repeated || o.Unexpected || len(o.Offsets) > 0 {
		if err := j.Engine.Rewrites(); err != nil {
			return nil, err
		}
	}
	s := &Survey{}
	taken := delivery.RowSet{}
	for p, set := range o.Offsets {
		taken[j.in(p)] = set
	}
	if !taken.Empty() {
		all, err := j.accounts(ctx)
		if err != nil {
			return nil, err
		}
		by := byAccount(all, taken)
		for _, of := range sortedEpochs(by) {
			if !by[of].Empty() {
				s.wants = append(s.wants, &want{Asked, ledger.KindRewrite, j.Engine.Plan().ID(), of, by[of]})
			}
		}
	}
	if o.Missing || o.Repeated || o.Unexpected {
		if err := j.audit(ctx, o, s, taken); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (j *Job) in(p int32) waybill.TopicPartition {
	return waybill.TopicPartition{Topic: j.cfg.Source.Kafka.Topic, Partition: p}
}

// audit asks the audit what is wrong. taken is repaired already.
func (j *Job) audit(ctx context.Context, o Options, s *Survey, taken delivery.RowSet) error {
	r, err := audit.Run(ctx, audit.Deps{Client: j.client, Ledger: j.store, Source: j.Source}, j.cfg, audit.Options{})
	if err != nil {
		return err
	}
	s.Verdict = r.Verdict
	kinds := map[string]Reason{}
	for kind, x := range map[string]struct {
		on  bool
		why Reason
	}{audit.KindMissing: {o.Missing, Missing}, audit.KindRepeated: {o.Repeated, Repeated}, audit.KindUnexpected: {o.Unexpected, Unexpected}} {
		if x.on {
			kinds[kind] = x.why
		}
	}
	found := map[Reason]delivery.RowSet{}
	for i := range r.Violations {
		v := &r.Violations[i]
		why, wanted := kinds[v.Kind]
		switch {
		case !wanted:
			continue
		case !v.Exact:
			s.Untold += v.Count
			continue
		case v.Inherited != nil && v.Kind == audit.KindUnexpected:
			s.wants = append(s.wants, j.strays(v))
			continue
		}
		if found[why] == nil {
			found[why] = delivery.RowSet{}
		}
		set := found[why][j.in(v.Partition)]
		for _, x := range v.Offsets {
			set.AddSpan(waybill.Span{First: x.First, Next: x.Next})
		}
		found[why][j.in(v.Partition)] = set
	}
	all, err := j.accounts(ctx)
	if err != nil {
		return err
	}
	for _, why := range []Reason{Repeated, Unexpected, Missing} {
		rows := found[why].Minus(taken)
		taken = taken.Union(rows)
		by := byAccount(all, rows)
		for _, of := range sortedEpochs(by) {
			if err := j.byPlan(ctx, o, s, why, of, by[of]); err != nil {
				return err
			}
		}
	}
	return nil
}

// byPlan parts offsets by the plan that wrote them.
func (j *Job) byPlan(ctx context.Context, o Options, s *Survey, why Reason, of waybill.Epoch, rows delivery.RowSet) error {
	kind := ledger.KindRewrite
	if why == Missing {
		kind = ledger.KindFill
	}
	if rows.Empty() {
		return nil
	}
	if o.Now {
		s.wants = append(s.wants, &want{why, kind, j.Engine.Plan().ID(), of, rows})
		return nil
	}
	view, err := j.view(ctx, of, rows)
	if err != nil {
		return err
	}
	by := map[waybill.PlanID]delivery.RowSet{}
	for tp, set := range rows {
		for _, sp := range set.Spans() {
			for at := sp.First; at < sp.Next; at++ {
				id := view.planAt(tp.Partition, at)
				if by[id] == nil {
					by[id] = delivery.RowSet{}
				}
				one := by[id][tp]
				one.Add(at)
				by[id][tp] = one
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(by)) {
		s.wants = append(s.wants, &want{why, kind, id, of, by[id]})
	}
	return nil
}

// ledgerView is what is on record of some offsets.
type ledgerView struct {
	accounts map[int32][]ledger.Account // in the order of their offsets
	amended  *ledger.Amended
	dead     delivery.RowSet // dead letters as the ledger counts them
	waiting  delivery.RowSet // dead letters that are still that
	covered  delivery.RowSet // on the ledger's account
	settled  delivery.RowSet // and before the group's committed offset
	erased   map[int32]waybill.OffsetSet
	replayed map[waybill.Position]waybill.PlanID // dead letters that have a row, and the plan that made it
	topic    string
	mine     delivery.RowSet // those that are still on the account: others may have repaired some of an older epoch meanwhile
	older    bool            // the account is that of an older epoch
}

// view reads what is on record of some offsets, of which an epoch accounts.
func (j *Job) view(ctx context.Context, of waybill.Epoch, rows delivery.RowSet) (*ledgerView, error) {
	v := &ledgerView{accounts: map[int32][]ledger.Account{}, covered: delivery.RowSet{}, settled: delivery.RowSet{}, dead: delivery.RowSet{}, waiting: delivery.RowSet{}, topic: j.cfg.Source.Kafka.Topic, older: of != j.cfg.Epoch}
	topic := j.cfg.Source.Kafka.Topic
	within := map[int32]waybill.Span{}
	for tp, set := range rows {
		within[tp.Partition] = set.Bounds()
	}
	committed, err := j.Source.Committed(ctx)
	if err != nil {
		return nil, err
	}
	all, err := j.accounts(ctx)
	if err != nil {
		return nil, err
	}
	err = j.store.Accounts(ctx, j.cfg.Name, of, topic, within, func(a *ledger.Account) error {
		v.accounts[a.Partition] = append(v.accounts[a.Partition], *a)
		tp := j.in(a.Partition)
		set := v.covered[tp]
		set.AddSpan(a.Span)
		v.covered[tp] = set
		return nil
	})
	if err != nil {
		return nil, err
	}
	v.mine = rows
	v.covered = v.covered.Union(ofOrigin(backfill.Origin{Rows: all[0].Taken}, rows))
	if v.older {
		for _, o := range all[1:] {
			if o.Epoch == of {
				v.mine = ofOrigin(o, rows)
				v.covered = v.covered.Union(ofOrigin(backfill.Origin{Rows: o.Taken}, rows))
			}
		}
	}
	for tp, set := range v.covered {
		// Where the group has committed nothing, a worker begins where the ledger ends.
		if at, known := committed[tp.Partition]; known && at >= 0 {
			set = set.Within(waybill.Span{First: 0, Next: at})
		}
		v.settled[tp] = set
	}
	if v.amended, err = j.store.Amended(ctx, j.cfg.Name, of, topic); err != nil {
		return nil, err
	}
	if v.erased, err = j.store.Erased(ctx, j.cfg.Name, topic, uuid.UUID(j.Source.TopicID())); err != nil {
		return nil, err
	}
	return v, j.letters(ctx, v, of, since(all, of), rows)
}

// letters reads which of the offsets are dead letters of an epoch, and which of these have been replayed, under it or any since.
func (j *Job) letters(ctx context.Context, v *ledgerView, of waybill.Epoch, since []waybill.Epoch, rows delivery.RowSet) error {
	var ask []clickhouse.PartitionSpan
	for tp, set := range rows {
		ask = append(ask, clickhouse.PartitionSpan{TopicPartition: tp, Span: set.Bounds()})
	}
	dead, err := j.client.Present(ctx, j.store.DeadLetterPresence(j.cfg.Name, of, ask))
	if err != nil {
		return err
	}
	spans := map[int32]waybill.OffsetSet{}
	for tp, set := range dead {
		spans[tp.Partition] = set.Intersect(rows[tp])
	}
	if v.replayed, err = j.store.ReplayPlans(ctx, j.cfg.Name, since, j.cfg.Source.Kafka.Topic, spans); err != nil {
		return err
	}
	replayed := delivery.RowSet{}
	for at := range v.replayed {
		replayed = add(replayed, waybill.TopicPartition{Topic: at.Topic, Partition: at.Partition}, at.Offset)
	}
	for tp, set := range dead {
		changed := v.amended.Offsets(tp.Partition)
		v.dead[tp] = set.Minus(changed)
		v.waiting[tp] = v.dead[tp].Minus(replayed[tp]).Union(v.amended.Is(tp.Partition, ledger.FateDead))
	}
	return nil
}

// planAt is the plan that an offset was written under last.
func (v *ledgerView) planAt(p int32, offset int64) waybill.PlanID {
	if _, _, plan, ok := v.amended.At(p, offset); ok && plan != 0 {
		return plan
	}
	if plan := v.replayed[waybill.Position{Topic: v.topic, Partition: p, Offset: offset}]; plan != 0 {
		return plan
	}
	return v.ledgerPlan(p, offset)
}

// ledgerPlan is the plan that the ledger names.
func (v *ledgerView) ledgerPlan(p int32, offset int64) waybill.PlanID {
	list := v.accounts[p]
	i, found := slices.BinarySearchFunc(list, offset, func(a ledger.Account, o int64) int {
		switch {
		case a.Next <= o:
			return -1
		case a.First > o:
			return 1
		}
		return 0
	})
	if !found {
		return 0
	}
	return list[i].PlanAt(offset)
}

// chunk is a batch to be.
type chunk struct {
	offsets delivery.RowSet
	was     map[int32]ledger.Fates
	records []waybill.Record
	left    Left
}

// Add sums up.
func (l *Left) Add(o Left) {
	l.Unaccounted += o.Unaccounted
	l.Unsettled += o.Unsettled
	l.Letters += o.Letters
	l.Erased += o.Erased
	l.Gone += o.Gone
	l.Holes += o.Holes
	l.Untold += o.Untold
}

// Sum is how many there are.
func (l *Left) Sum() int64 {
	return l.Unaccounted + l.Unsettled + l.Letters + l.Erased + l.Gone + l.Holes + l.Untold
}

// choose takes the first of the offsets that something can be done about, as many as go into a batch; rest is what comes after.
func (j *Job) choose(ctx context.Context, w *want, from delivery.RowSet) (c *chunk, rest delivery.RowSet, err error) {
	some := First(from, int64(j.Records))
	rest = from.Minus(some)
	if w.kind == ledger.KindRemove {
		c, err = j.chooseStrays(ctx, w, some)
		return c, rest, err
	}
	c = &chunk{was: map[int32]ledger.Fates{}, offsets: delivery.RowSet{}}
	v, err := j.view(ctx, w.of, some)
	if err != nil {
		return nil, nil, err
	}
	some = c.narrow(w, v, some.Intersect(v.mine))
	records, gone, err := j.read(ctx, some)
	if err != nil {
		return nil, nil, err
	}
	c.left.Gone = gone.Len()
	c.records = records
	have := delivery.RowSet{}
	for i := range records {
		have = add(have, records[i].TopicPartition(), records[i].Offset)
	}
	c.left.Holes = some.Minus(gone).Minus(have).Len()
	c.offsets = some.Intersect(have)
	return c, rest, j.was(ctx, w, v, c)
}

// narrow takes out what nothing can be done about, and counts it.
func (c *chunk) narrow(w *want, v *ledgerView, some delivery.RowSet) delivery.RowSet {
	step := func(n *int64, kept delivery.RowSet) {
		*n += some.Len() - kept.Len()
		some = kept
	}
	erased := delivery.RowSet{}
	for tp := range some {
		erased[tp] = v.erased[tp.Partition]
	}
	step(&c.left.Unaccounted, some.Intersect(v.covered))
	step(&c.left.Unsettled, some.Intersect(v.settled))
	step(&c.left.Erased, some.Minus(erased))
	if w.why != Unexpected {
		step(&c.left.Letters, some.Minus(v.waiting))
	}
	return some
}

// was notes what the ledger counts each offset as.
func (j *Job) was(ctx context.Context, w *want, v *ledgerView, c *chunk) error {
	under := map[waybill.PlanID]func(*waybill.Record) ledger.Fate{}
	for i := range c.records {
		rec := &c.records[i]
		p := rec.Partition
		if c.was[p] == nil {
			c.was[p] = ledger.Fates{}
		}
		if v.older { // it is nothing to the table's account
			c.was[p].Add(ledger.FateNone, rec.Offset)
			continue
		}
		if was, _, _, ok := v.amended.At(p, rec.Offset); ok {
			c.was[p].Add(was, rec.Offset)
			continue
		}
		fate := ledger.FateWritten
		switch id := v.ledgerPlan(p, rec.Offset); {
		case v.dead[rec.TopicPartition()].Contains(rec.Offset): // of one that was replayed the row is missing
			fate = ledger.FateDead
		case w.kind == ledger.KindFill: // it is missing: the ledger says so
		default:
			if under[id] == nil {
				fn, err := j.Engine.FateUnder(ctx, id)
				if err != nil {
					return fmt.Errorf("what offset %d of partition %d was written as cannot be told: %w", rec.Offset, p, err)
				}
				under[id] = fn
			}
			fate = under[id](rec)
		}
		c.was[p].Add(fate, rec.Offset)
	}
	return nil
}

func add(to delivery.RowSet, tp waybill.TopicPartition, offset int64) delivery.RowSet {
	set := to[tp]
	set.Add(offset)
	to[tp] = set
	return to
}

// First is up to n of the offsets, in their order.
func First(from delivery.RowSet, n int64) delivery.RowSet {
	out := delivery.RowSet{}
	for _, tp := range from.Partitions() {
		var set waybill.OffsetSet
		for _, sp := range from[tp].Spans() {
			some := min(n, sp.Len())
			set.AddSpan(waybill.Span{First: sp.First, Next: sp.First + some})
			n -= some
		}
		if !set.Empty() {
			out[tp] = set
		}
	}
	return out
}
