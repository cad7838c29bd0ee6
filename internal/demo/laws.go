package demo

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Law is one thing that must hold at the end, and whether it does.
type Law struct {
	Name  string `json:"name"`
	Holds bool   `json:"holds"`
	// Seen is what was found, with figures.
	Seen string `json:"seen"`
}

// Finding is a kind of row in waybill.findings.
type Finding struct {
	Kind     string `json:"kind"`
	Severity string `json:"severity"`
	Count    int64  `json:"count"`
}

// Balance is the final one, once everything is settled.
type Balance struct {
	Pass bool `json:"pass"`
	Sums
	DeadLettersByCode map[string]uint64 `json:"dead_letters_by_code"`
	Laws              []Law             `json:"laws"`
	Findings          []Finding         `json:"findings"` // what Waybill itself found worth knowing
	WorkerKills       int               `json:"worker_kills"`
	KillsInFlight     int               `json:"kills_in_flight"` // of them, how many with an insert running
	ServerKills       int               `json:"server_kills"`
	Seconds           float64           `json:"seconds"`
	Seed              uint64            `json:"seed"`
}

// balance asks for everything that must hold once all is settled.
func (d *demo) balance(ctx context.Context) (Balance, error) {
	b := Balance{Pass: true, Seed: d.Seed, DeadLettersByCode: map[string]uint64{}}
	var err error
	if b.Sums, err = d.sums(ctx); err != nil {
		return b, err
	}
	b.law("conservation", b.Unaccounted == 0 && b.ToCome == 0 && b.Produced == d.Events,
		"%s produced = %s rows + %s dead letters + %s tombstones", count(b.Produced), count(b.Rows), count(b.DeadLetters), count(b.Tombstones))
	b.law("all the while", d.sumsWrong == 0, "of %d sums taken on the way, %d did not balance", d.sumsTaken, d.sumsWrong)
	b.law("no duplicates", b.Duplicates == 0, "count() - uniqExact(_partition, _offset) = %s", count(b.Duplicates))
	for _, check := range []func(context.Context, *Balance) error{
		d.contentLaw, d.deadLetterLaw, d.continuityLaw, d.ledgerLaw, d.presenceLaw, d.tipLaw, d.findings,
	} {
		if err := check(ctx, &b); err != nil {
			return b, err
		}
	}
	return b, nil
}

func (b *Balance) law(name string, holds bool, format string, args ...any) {
	b.Laws = append(b.Laws, Law{name, holds, fmt.Sprintf(format, args...)})
	b.Pass = b.Pass && holds
}

// contentLaw compares what is in the table with what was sent: which event is at which offset, and what it counts.
func (d *demo) contentLaw(ctx context.Context, b *Balance) error {
	found, err := rows[struct {
		Partition int
		content
	}](ctx, d.server, `
SELECT _partition AS Partition, count() AS n, sum(_offset) AS offsets, sum(seq) AS seqs, sum(_offset * seq) AS pairs,
       sum(input_tokens) AS input, sum(output_tokens) AS output
FROM demo.llm_calls GROUP BY _partition`)
	if err != nil {
		return err
	}
	wrong := map[int]bool{}
	var seqs uint64
	for i, t := range d.producer.accounts() {
		wrong[i] = t.rows.Count > 0
		seqs += t.rows.Seqs
	}
	for _, f := range found {
		accounts := d.producer.accounts()
		wrong[f.Partition] = f.Partition >= len(accounts) || f.content != accounts[f.Partition].rows
	}
	maps.DeleteFunc(wrong, func(_ int, is bool) bool { return !is })
	b.law("content", len(wrong) == 0, "event ids add up to %d and lie at their offsets, with their tokens; %s", seqs,
		differ("partitions", slices.Sorted(maps.Keys(wrong))))
	return nil
}

func differ[T any](what string, wrong []T) string {
	if len(wrong) == 0 {
		return "all " + what + " agree"
	}
	return fmt.Sprintf("%s that differ: %v", what, wrong)
}

// deadLetterLaw compares the dead letters with the broken events that were sent, by reason.
func (d *demo) deadLetterLaw(ctx context.Context, b *Balance) error {
	type key struct {
		partition int
		code      string
	}
	found, err := rows[struct {
		Partition int
		Code      string
		refused
	}](ctx, d.server, `
SELECT partition AS Partition, code AS Code, count() AS n, sum(toUInt64(offset)) AS offsets, sum(length(value)) AS bytes
FROM waybill.dead_letters WHERE `+ofPipeline+` AND attempt = 0 GROUP BY partition, code`)
	if err != nil {
		return err
	}
	wrong := map[key]refused{}
	for i, t := range d.producer.accounts() {
		for code, sum := range t.dead {
			wrong[key{i, code}] = sum
		}
	}
	for _, f := range found {
		b.DeadLettersByCode[f.Code] += f.Count
		k := key{f.Partition, f.Code}
		if expected, ok := wrong[k]; ok && expected == f.refused {
			delete(wrong, k)
		} else {
			wrong[k] = f.refused
		}
	}
	var reasons []string
	for k := range wrong {
		reasons = append(reasons, fmt.Sprintf("%s/%d", k.code, k.partition))
	}
	slices.Sort(reasons)
	b.law("dead letters", len(wrong) == 0, "each whole, and for the reason that it was broken in; %s", differ("reasons", reasons))
	return nil
}

// continuityLaw is the ledger's L1.
func (d *demo) continuityLaw(ctx context.Context, b *Balance) error {
	t, err := row[struct{ Missing, Doubled int64 }](ctx, d.server, tilingSQL)
	if err != nil {
		return err
	}
	b.law("L1 continuity", t.Missing == 0 && t.Doubled == 0, "the ledger skips %s offsets and covers %s twice", count(t.Missing), count(t.Doubled))
	return nil
}

// ledgerLaw is the ledger's L2, and that it says what is seen from outside.
func (d *demo) ledgerLaw(ctx context.Context, b *Balance) error {
	l, err := row[struct{ Spans, Unbalanced, Read, Written, Dead, Tombstones, Lost int64 }](ctx, d.server, `
SELECT count() AS Spans, countIf(read != written + filtered + dead_lettered + tombstones + lost + deduplicated) AS Unbalanced,
       sum(read) AS Read, sum(written) AS Written, sum(dead_lettered) AS Dead, sum(tombstones) AS Tombstones, sum(lost) AS Lost
FROM (SELECT DISTINCT partition, first, next, batch, read, written, filtered, dead_lettered, tombstones, lost, deduplicated
      FROM waybill.ledger WHERE `+ofPipeline+`)`)
	if err != nil {
		return err
	}
	agrees := l.Read == b.Produced && l.Written == b.Rows && l.Dead == b.DeadLetters && l.Tombstones == b.Tombstones && l.Lost == 0
	b.law("L2 conservation", l.Unbalanced == 0 && agrees, "%s spans, %s out of balance; in all %s read, %s written, %s lost",
		count(l.Spans), count(l.Unbalanced), count(l.Read), count(l.Written), count(l.Lost))
	return nil
}

// presenceLaw is the ledger's L3, span by span: what it says is written is in the table, and nothing else is.
func (d *demo) presenceLaw(ctx context.Context, b *Balance) error {
	p, err := row[struct{ Wrong, Outside int64 }](ctx, d.server, `
WITH spans AS (SELECT DISTINCT partition, first, next, written FROM waybill.ledger WHERE `+ofPipeline+`),
     found AS (SELECT s.partition AS partition, s.first AS first, countIf(r.offset < s.next) AS n, uniqExactIf(r.offset, r.offset < s.next) AS offsets
               FROM (SELECT toInt32(_partition) AS partition, toInt64(_offset) AS offset FROM demo.llm_calls) AS r
               ASOF INNER JOIN spans AS s ON r.partition = s.partition AND r.offset >= s.first
               GROUP BY s.partition, s.first)
SELECT countIf(spans.written != found.n OR spans.written != found.offsets) AS Wrong,
       (SELECT toInt64(count()) FROM demo.llm_calls) - toInt64(sum(found.n)) AS Outside
FROM spans LEFT JOIN found ON spans.partition = found.partition AND spans.first = found.first`)
	if err != nil {
		return err
	}
	b.law("L3 presence", p.Wrong == 0 && p.Outside == 0, "%s spans with more or fewer rows than the ledger says; %s rows outside", count(p.Wrong), count(p.Outside))
	return nil
}

// tipLaw is the ledger's L4 with nothing left to do: end offsets, committed offsets and the ledger's tips are the same.
func (d *demo) tipLaw(ctx context.Context, b *Balance) error {
	ends, err := d.broker.ends(ctx, d.Partitions)
	if err != nil {
		return err
	}
	settled, err := d.broker.committed(ctx, d.Partitions)
	if err != nil {
		return err
	}
	found, err := rows[struct{ Partition, Tip int64 }](ctx, d.server,
		`SELECT partition AS Partition, max(next) AS Tip FROM waybill.ledger WHERE `+ofPipeline+` GROUP BY partition`)
	if err != nil {
		return err
	}
	tips := make([]int64, d.Partitions)
	for _, f := range found {
		if f.Partition < int64(len(tips)) {
			tips[f.Partition] = f.Tip
		}
	}
	b.law("L4 tip", slices.Equal(ends, settled) && slices.Equal(ends, tips), "Kafka ends at %s, the group stands at %s, the ledger's tips at %s",
		count(total(ends)), count(total(settled)), count(total(tips)))
	return nil
}

func (d *demo) findings(ctx context.Context, b *Balance) (err error) {
	b.Findings, err = rows[Finding](ctx, d.server,
		`SELECT kind, severity, count() AS count FROM waybill.findings_now WHERE `+ofPipeline+` GROUP BY kind, severity ORDER BY kind, severity`)
	if b.Findings == nil {
		b.Findings = []Finding{}
	}
	return err
}
