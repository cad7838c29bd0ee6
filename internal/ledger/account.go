package ledger

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
)

// Account is a ledger row as it is read back: of one batch, or of those that the roll-up has joined.
type Account struct {
	waybill.TopicPartition
	waybill.Span
	Batches int64
	Counts
	Routed   map[string]int64 // of the written, by database.table
	Plans    []PlanFirst      // in the order of their first offsets
	Checksum uint64           // order-free sum over the records read
}

// PlanFirst is a plan, and the first offset that it wrote.
type PlanFirst struct {
	Plan  waybill.PlanID
	First int64
}

// PlanAt is the plan that an offset of the span was written under.
func (a *Account) PlanAt(offset int64) waybill.PlanID {
	plan := waybill.PlanID(0)
	for _, p := range a.Plans {
		if p.First <= offset || plan == 0 {
			plan = p.Plan
		}
	}
	return plan
}

// Between is the offsets of the batches that were closed in a time, by partition: from the first to the last of them.
func (s *Store) Between(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string, from, to time.Time) (map[int32]waybill.Span, error) {
	out := map[int32]waybill.Span{}
	err := s.spans(ctx, "ledger.between", fmt.Sprintf(
		"SELECT topic AS t, partition AS p, min(first) AS f, max(next) AS n FROM %s WHERE %s AND topic = %s AND batch_time >= fromUnixTimestamp64Milli(%d) AND batch_time < fromUnixTimestamp64Milli(%d) GROUP BY t, p ORDER BY p",
		s.table(TableLedger), scope(pipeline, epoch), clickhouse.Literal(topic), from.UnixMilli(), to.UnixMilli()),
		func(tp waybill.TopicPartition, sp waybill.Span) { out[tp.Partition] = sp })
	return out, err
}

// ReadByMinute gives how many records a pipeline read in each minute since then, under any epoch, in the order of time. Minutes without any are left out.
// What a backfill read says nothing of how records come: each epoch of backfills counts from when it was live on; the zero time: it does not count.
func (s *Store) ReadByMinute(ctx context.Context, pipeline, topic string, since time.Time, backfills map[waybill.Epoch]time.Time, fn func(minute time.Time, records int64)) error {
	var minute, read proto.ColInt64
	live := ""
	for _, epoch := range slices.Sorted(maps.Keys(backfills)) {
		live += fmt.Sprintf(" AND (epoch != %d", epoch)
		if from := backfills[epoch]; !from.IsZero() {
			live += fmt.Sprintf(" OR batch_time >= fromUnixTimestamp64Milli(%d)", from.UnixMilli())
		}
		live += ")"
	}
	err := s.ch.Query(ctx, fmt.Sprintf(
		"SELECT intDiv(toUnixTimestamp64Milli(batch_time), 60000) AS m, sum(read) AS r FROM %s WHERE pipeline = %s AND topic = %s AND batch_time >= fromUnixTimestamp64Milli(%d) AND batches = 1%s GROUP BY m HAVING r > 0 ORDER BY m",
		s.table(TableLedger), clickhouse.Literal(pipeline), clickhouse.Literal(topic), since.UnixMilli(), live),
		proto.Results{{Name: "m", Data: &minute}, {Name: "r", Data: &read}}, func(rows int) error {
			for i := range rows {
				fn(time.Unix(minute.Row(i)*60, 0), read.Row(i))
			}
			return nil
		})
	return renamed("ledger.minutes", err)
}

// SettledSince is how many records the batches since a time have read, and how many of them are dead letters.
func (s *Store) SettledSince(ctx context.Context, pipeline string, epoch waybill.Epoch, since time.Time) (read, dead int64, err error) {
	var r, d proto.ColInt64
	err = s.ch.Query(ctx, fmt.Sprintf("SELECT sum(read) AS r, sum(dead_lettered) AS d FROM %s WHERE %s AND batch_time >= fromUnixTimestamp64Milli(%d)",
		s.table(TableLedger), scope(pipeline, epoch), since.UnixMilli()),
		proto.Results{{Name: "r", Data: &r}, {Name: "d", Data: &d}}, func(int) error {
			read, dead = r.Row(0), d.Row(0)
			return nil
		})
	return read, dead, renamed("ledger.settled", err)
}

// LastBatch is when the newest batch was read that is on record of a pipeline, under whatever epoch; zero: there is none.
func (s *Store) LastBatch(ctx context.Context, pipeline string) (at time.Time, err error) {
	var millis proto.ColInt64
	err = s.ch.Query(ctx, fmt.Sprintf("SELECT toUnixTimestamp64Milli(max(batch_time)) AS m FROM %s WHERE pipeline = %s", s.table(TableLedger), clickhouse.Literal(pipeline)),
		proto.Results{{Name: "m", Data: &millis}}, func(rows int) error {
			if rows > 0 && millis.Row(0) > 0 {
				at = time.UnixMilli(millis.Row(0)).UTC()
			}
			return nil
		})
	return at, renamed("ledger.last_batch", err)
}

// Accounts gives each row of the ledger that lies at least in part in a range of offsets, in the order of partitions and offsets; one
// for each key. An empty range is everything.
func (s *Store) Accounts(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string, within map[int32]waybill.Span, fn func(*Account) error) error {
	where := scope(pipeline, epoch) + " AND topic = " + clickhouse.Literal(topic)
	if len(within) > 0 {
		some := "0"
		for p, sp := range within {
			some += fmt.Sprintf(" OR partition = %d AND first < %d AND next > %d", p, sp.Next, sp.First)
		}
		where += " AND (" + some + ")"
	}
	var partition proto.ColInt32
	var batches proto.ColUInt32
	var first, next, read, written, filtered, dead, tombstones, lost, deduplicated, rescued, redacted proto.ColInt64
	var checksum proto.ColUInt64
	tables, rows := new(proto.ColStr).Array(), new(proto.ColInt64).Array()
	plans, firsts := new(proto.ColUInt64).Array(), new(proto.ColInt64).Array()
	err := s.ch.Query(ctx, fmt.Sprintf(`
SELECT partition AS p, first AS f, next AS n, batches AS b, read AS r, written AS w, filtered AS fi, dead_lettered AS d, tombstones AS t, lost AS l, deduplicated AS dd,
       rescued AS re, redacted AS rd, checksum AS c, CAST(mapKeys(routed), 'Array(String)') AS ro, mapValues(routed) AS rn, mapKeys(plan_firsts) AS pl, mapValues(plan_firsts) AS pf
FROM %s WHERE %s ORDER BY partition, first LIMIT 1 BY partition, first`, s.table(TableLedger), where),
		proto.Results{
			{Name: "p", Data: &partition}, {Name: "f", Data: &first}, {Name: "n", Data: &next}, {Name: "b", Data: &batches}, {Name: "r", Data: &read}, {Name: "w", Data: &written},
			{Name: "fi", Data: &filtered}, {Name: "d", Data: &dead}, {Name: "t", Data: &tombstones}, {Name: "l", Data: &lost}, {Name: "dd", Data: &deduplicated},
			{Name: "re", Data: &rescued}, {Name: "rd", Data: &redacted}, {Name: "c", Data: &checksum}, {Name: "ro", Data: tables}, {Name: "rn", Data: rows},
			{Name: "pl", Data: plans}, {Name: "pf", Data: firsts},
		}, func(n int) error {
			for i := range n {
				a := &Account{
					TopicPartition: waybill.TopicPartition{Topic: topic, Partition: partition.Row(i)}, Span: waybill.Span{First: first.Row(i), Next: next.Row(i)}, Batches: int64(batches.Row(i)),
					Counts: Counts{Read: read.Row(i), Written: written.Row(i), Filtered: filtered.Row(i), DeadLettered: dead.Row(i), Tombstones: tombstones.Row(i), Lost: lost.Row(i),
						Deduplicated: deduplicated.Row(i), Rescued: rescued.Row(i), Redacted: redacted.Row(i)},
					Checksum: checksum.Row(i), Routed: map[string]int64{},
				}
				for j, name := range tables.Row(i) {
					a.Routed[name] = rows.Row(i)[j]
				}
				for j, id := range plans.Row(i) {
					a.Plans = append(a.Plans, PlanFirst{waybill.PlanID(id), firsts.Row(i)[j]})
				}
				slices.SortFunc(a.Plans, func(x, y PlanFirst) int { return cmp.Compare(x.First, y.First) })
				if err := fn(a); err != nil {
					return err
				}
			}
			return nil
		})
	return renamed("ledger.accounts", err)
}
