package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/watchdog"
)

// What the auditor asks of ClickHouse and of Kafka, in each round.

// stores are the tables, as they are asked about some offsets.
func (a *auditor) stores(spans []clickhouse.PartitionSpan) []clickhouse.Presence {
	var out []clickhouse.Presence
	shape := a.p.target.now()
	for i, one := range a.p.target.tables {
		out = append(out, one.presence(shape.tables[i], a.p.target.epoch, spans))
	}
	return out
}

// count compares the number of rows of each bucket.
func (a *auditor) count(ctx context.Context, now time.Time) error {
	expected := a.presence.Expect()
	if len(expected) == 0 {
		return nil
	}
	var spans []clickhouse.PartitionSpan
	for tp, sp := range a.presence.Extents() {
		spans = append(spans, clickhouse.PartitionSpan{TopicPartition: tp, Span: sp})
	}
	counts := map[watchdog.Bucket]int64{}
	for _, store := range a.stores(spans) {
		found, err := a.p.target.client.CountBuckets(ctx, store)
		if err != nil {
			return err
		}
		for tp, by := range found {
			for number, n := range by {
				counts[watchdog.Bucket{TopicPartition: tp, Number: number}] += n
			}
		}
	}
	if err := a.sameTables(ctx); err != nil {
		return err
	}
	a.presence.Counted(now, expected, counts)
	return nil
}

// compare compares offset by offset what is due.
func (a *auditor) compare(ctx context.Context, now time.Time) error {
	checks := a.presence.Due(now, auditBuckets)
	if len(checks) == 0 {
		return nil
	}
	var spans []clickhouse.PartitionSpan
	for _, c := range checks {
		spans = append(spans, clickhouse.PartitionSpan{TopicPartition: c.TopicPartition, Span: c.Bucket.Span()})
	}
	there, err := a.seen(ctx, spans)
	if err != nil {
		return err
	}
	for _, c := range checks {
		in := c.Bucket.Span()
		dead := there.dead[c.TopicPartition].Within(in)
		if a.p.cfg.DeadLetters.TTL > 0 {
			dead = dead.Union(c.Dead) // those that are not there may have expired; `waybill audit` says how many
		}
		a.presence.Judge(now, c, watchdog.Seen{Present: there.present[c.TopicPartition].Within(in), Repeated: there.repeated[c.TopicPartition].Within(in), Dead: dead})
	}
	return nil
}

// holdings are what the tables hold of some offsets.
type holdings struct{ present, repeated, dead delivery.RowSet }

func (a *auditor) seen(ctx context.Context, spans []clickhouse.PartitionSpan) (holdings, error) {
	out := holdings{present: delivery.RowSet{}, repeated: delivery.RowSet{}}
	t := a.p.target
	before := &ledger.Amended{} // too little is known of what was done since it was read, never too much
	var err error
	if a.touched {
		if before, err = t.ledger.Amended(ctx, a.p.cfg.Name, t.epoch, a.p.cfg.Source.Kafka.Topic); err != nil {
			return out, err
		}
	}
	for _, store := range a.stores(spans) {
		present, err := t.client.Present(ctx, store)
		if err != nil {
			return out, err
		}
		repeated, err := t.client.Repeated(ctx, store, a.p.cfg.Source.Kafka.Topic)
		if err != nil {
			return out, err
		}
		// A row in two tables is there twice as well.
		out.repeated = out.repeated.Union(repeated).Union(out.present.Intersect(present))
		out.present = out.present.Union(present)
	}
	if err := a.sameTables(ctx); err != nil {
		return out, err
	}
	if out.dead, err = t.client.Present(ctx, t.ledger.DeadLetterPresence(a.p.cfg.Name, a.p.target.epoch, spans)); err != nil {
		return out, err
	}
	if !a.touched {
		untouched, err := t.ledger.Untouched(ctx, a.p.cfg.Name)
		if err != nil || untouched {
			return out, err
		}
		a.touched = true
	}
	// Dead letters that were replayed, or are being, have rows by right. (That they go on having them is for `waybill audit`.)
	done, underWay, err := t.ledger.Replayed(ctx, a.p.cfg.Name, a.p.target.epoch, a.p.cfg.Source.Kafka.Topic)
	out.present = out.present.Minus(delivery.RowSet(done).Union(underWay))
	if err != nil {
		return out, err
	}
	// Offsets that were repaired or erased are taken for what the ledger counts them as, but for rows that were made again.
	amended, err := t.ledger.Amended(ctx, a.p.cfg.Name, a.p.target.epoch, a.p.cfg.Source.Kafka.Topic)
	if err != nil || amended.Empty() {
		return out, err
	}
	for _, p := range amended.Partitions() {
		tp := waybill.TopicPartition{Topic: a.p.cfg.Source.Kafka.Topic, Partition: p}
		out.present[tp], out.dead[tp] = amended.Frame(p, before, out.present[tp], out.dead[tp])
		out.repeated[tp] = out.repeated[tp].Minus(amended.Moved(p, before))
	}
	return out, nil
}

// adoptPast takes in, from the newest to the oldest, what the ledger says of the time before the partitions were held.
func (a *auditor) adoptPast(ctx context.Context, now time.Time) error {
	if len(a.adopt) == 0 || a.presence.Full() {
		a.presence.Adopted()
		return nil
	}
	tips, err := a.p.target.tips(ctx, a.p.target.epoch, a.p.cfg.Source.Kafka.Topic)
	if err != nil {
		return err
	}
	for began := time.Now(); len(a.adopt) > 0 && !a.presence.Full() && time.Since(began) < adoptTime; {
		if err := a.adoptWithin(ctx, now, a.past(tips)); err != nil {
			return err
		}
	}
	return nil
}

// past is what is to be adopted next of each partition, from the beginning of a bucket, so that each is adopted as a whole.
func (a *auditor) past(tips map[waybill.TopicPartition]int64) map[waybill.TopicPartition]waybill.Span {
	within := map[waybill.TopicPartition]waybill.Span{}
	each := max(1, int64(adoptBuckets/len(a.adopt)))
	for _, tp := range slices.SortedFunc(maps.Keys(a.adopt), waybill.TopicPartition.Compare) {
		next := a.adopt[tp]
		if next < 0 {
			next = tips[tp]
		}
		if next <= 0 {
			delete(a.adopt, tp)
			continue
		}
		within[tp] = waybill.Span{First: max(0, ((next-1)/watchdog.BucketOffsets+1-each)*watchdog.BucketOffsets), Next: next}
	}
	return within
}

func (a *auditor) adoptWithin(ctx context.Context, now time.Time, within map[waybill.TopicPartition]waybill.Span) error {
	if len(within) == 0 {
		return nil
	}
	ask := map[int32]waybill.Span{}
	for tp, sp := range within {
		ask[tp.Partition] = sp
	}
	rows := map[waybill.TopicPartition][]watchdog.Adopted{}
	err := a.p.target.ledger.Accounts(ctx, a.p.cfg.Name, a.p.target.epoch, a.p.cfg.Source.Kafka.Topic, ask, func(r *ledger.Account) error {
		rows[r.TopicPartition] = append(rows[r.TopicPartition], watchdog.Adopted{Span: r.Span, Written: r.Written, Dead: r.DeadLettered})
		return nil
	})
	if err != nil {
		return err
	}
	var spans []clickhouse.PartitionSpan
	for tp, list := range rows {
		spans = append(spans, clickhouse.PartitionSpan{TopicPartition: tp, Span: waybill.Span{First: list[0].First, Next: list[len(list)-1].Next}})
	}
	there, err := a.seen(ctx, spans)
	if err != nil {
		return err
	}
	for tp, sp := range within {
		list := rows[tp]
		if len(list) == 0 {
			delete(a.adopt, tp) // the account begins here
			continue
		}
		for _, v := range a.presence.Adopt(now, tp, list, there.present[tp], there.dead[tp]) {
			a.vague(tp, v)
		}
		if a.adopt[tp] = min(sp.First, list[0].First); a.adopt[tp] <= 0 {
			delete(a.adopt, tp)
		}
	}
	return nil
}

// lookAgain asks again about spans of which it could not be told what is wrong with them.
func (a *auditor) lookAgain(ctx context.Context, now time.Time) error {
	for _, tp := range a.presence.Partitions() {
		var spans []clickhouse.PartitionSpan
		for _, v := range a.presence.Vague(tp) {
			spans = append(spans, clickhouse.PartitionSpan{TopicPartition: tp, Span: v.Span})
		}
		if len(spans) == 0 {
			continue
		}
		there, err := a.seen(ctx, spans)
		if err != nil {
			return err
		}
		for _, v := range a.presence.Readopt(now, tp, there.present[tp], there.dead[tp]) {
			a.vague(tp, v)
		}
	}
	return nil
}

// vague: rows are missing, or too many, of a span of which it is not known any more which offsets should have any.
func (a *auditor) vague(tp waybill.TopicPartition, v watchdog.Vague) {
	what := "are not in the table"
	if v.Kind() == watchdog.KindRowsUnexpected {
		what = "are in the table beside them"
	}
	n := max(v.Written-v.Have, v.Have-v.Written)
	a.p.found(waybill.Finding{Kind: v.Kind(), Severity: waybill.SeverityError, TopicPartition: tp, Span: v.Span,
		Message: fmt.Sprintf("the ledger says that %d rows of %s %s were written, and %d %s; which ones is not known to this worker, which began after it", v.Written, tp, v.Span, n, what),
		Action:  "`waybill audit` reads the records again and names the offsets"})
}

// checkLaws checks the ledger against itself.
func (a *auditor) checkLaws(ctx context.Context, now time.Time) error {
	if now.Sub(a.lawsAt) < auditLaws {
		return nil
	}
	p, t := a.p, a.p.target
	if err := a.lookAgain(ctx, now); err != nil {
		return err
	}
	if !a.learnt {
		// Once: what came at this hour of the days before.
		backfills, err := t.backfills(ctx)
		if err != nil {
			return err
		}
		if err := t.ledger.ReadByMinute(ctx, p.cfg.Name, p.cfg.Source.Kafka.Topic, t.client.ServerNow(now).Add(-8*24*time.Hour), backfills, a.source.Came); err != nil {
			return err
		}
		a.learnt = true
	}
	tips, err := t.ledger.Tips(ctx, p.cfg.Name, p.target.epoch, p.cfg.Source.Kafka.Topic)
	if err != nil {
		return err
	}
	whole := !now.Before(a.wholeAt)
	from := map[waybill.TopicPartition]int64{}
	settled := map[waybill.TopicPartition]int64{}
	for _, tp := range a.presence.Partitions() {
		if from[tp] = a.balanced[tp]; whole {
			from[tp] = 0
		}
		settled[tp] = a.presence.Settled(tp)
	}
	untiled, err := t.ledger.Continuity(ctx, p.cfg.Name, p.target.epoch)
	if err != nil {
		return err
	}
	began := time.Now()
	unbalanced, err := t.ledger.Conservation(ctx, p.cfg.Name, p.target.epoch, from)
	if err != nil {
		return err
	}
	if whole {
		a.wholeAt = now.Add(max(auditWhole, 100*time.Since(began)))
	}
	a.lawsAt = now
	broken := map[waybill.TopicPartition]bool{}
	var all []waybill.Finding
	for _, v := range append(untiled, unbalanced...) {
		_, ours := from[v.TopicPartition]
		if !ours || p.cfg.Delivery == config.AtLeastOnce && v.Kind == ledger.KindOverlap {
			continue
		}
		broken[v.TopicPartition] = broken[v.TopicPartition] || v.Kind == ledger.KindUnbalanced
		all = append(all, v.Finding())
	}
	for tp, next := range settled {
		end := tips[tp.Partition].Next
		for _, sp := range tips[tp.Partition].Beyond {
			end = max(end, sp.Next)
		}
		if end < next { // the last row is gone: there is no other after it that would show the gap
			all = append(all, ledger.Violation{Kind: ledger.KindGap, TopicPartition: tp, Span: waybill.Span{First: end, Next: next},
				Message: fmt.Sprintf("no ledger row covers offsets %s of %s any more", waybill.Span{First: end, Next: next}, tp)}.Finding())
		}
		if !broken[tp] {
			a.balanced[tp] = max(0, end-1) // rows from here on are new, or are looked at again
		}
	}
	a.say(a.laws.Look(a.presence.Partitions(), all))
	return nil
}

// checkGroup compares the group's position with what this worker knows that it has committed.
func (a *auditor) checkGroup(ctx context.Context, l *life) error {
	before := map[waybill.TopicPartition]watchdog.Standing{}
	for _, s := range l.standing() {
		if s.Running {
			before[s.TopicPartition] = s
		}
	}
	if len(before) == 0 || !l.sess.LeaseValid() {
		return nil
	}
	at, err := l.sess.FetchOffsets(ctx, slices.SortedFunc(maps.Keys(before), waybill.TopicPartition.Compare))
	if err != nil {
		return err
	}
	var all []watchdog.Commit
	for _, s := range l.standing() {
		was, asked := before[s.TopicPartition]
		if !asked || !s.Running {
			continue
		}
		all = append(all, watchdog.Commit{TopicPartition: s.TopicPartition, Offset: at[s.TopicPartition].Offset, Before: was.Committed, After: s.Committed, Next: s.Next})
	}
	a.say(a.group.Look(time.Now(), all))
	return nil
}

// windowSpan is over how long it is counted how tokens use a window up.
const windowSpan = 10 * time.Minute

// checkServer looks at deduplication windows and replicas.
func (a *auditor) checkServer(ctx context.Context, now time.Time) error {
	if now.Sub(a.serverAt) < auditServer {
		return nil
	}
	p, t := a.p, a.p.target
	deadline := p.cfg.Sink.ClickHouse.InsertDeadline
	a.server.Config.Needed = p.cfg.Source.Kafka.SessionTimeout + deadline + insertTimeout(deadline)
	var windows []watchdog.Window
	var replicas []watchdog.Replica
	for i, s := range t.now().tables {
		c := t.tables[i].cfg.Sink.ClickHouse
		if s.info.Replicated {
			delay, readOnly, ok, err := t.client.ReplicaDelay(ctx, c.Database, c.Table)
			if err != nil {
				return err
			}
			if ok {
				replicas = append(replicas, watchdog.Replica{Table: t.tables[i].name(), Delay: delay, ReadOnly: readOnly})
			}
			continue
		}
		used, size, err := t.client.WindowUse(ctx, c.Database, c.Table, windowSpan)
		if err != nil {
			return err
		}
		if used >= 0 && p.cfg.Delivery != config.AtLeastOnce {
			windows = append(windows, watchdog.Window{Table: t.tables[i].name(), Size: size, Used: used, Over: windowSpan})
		}
	}
	a.serverAt = now
	a.say(a.server.Windows(windows))
	a.say(a.server.Replicas(replicas))
	return nil
}
