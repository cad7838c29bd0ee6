package demo

import (
	"context"
	"fmt"
	"strings"
)

// Sums is the balance at one moment. It is exact also while everything moves: only what lies before the group's settled
// offsets is compared, and that never changes again. Produced = Rows + DeadLetters + Tombstones + ToCome + Unaccounted, and
// Unaccounted = 0 if every event is accounted for.
type Sums struct {
	Produced    int64 `json:"produced"`     // acknowledged by the broker
	Rows        int64 `json:"rows"`         // in the table
	DeadLetters int64 `json:"dead_letters"` // in waybill.dead_letters
	Tombstones  int64 `json:"tombstones"`   // as the producer knows them
	ToCome      int64 `json:"to_come"`      // past the settled offsets
	Unaccounted int64 `json:"unaccounted"`
	Duplicates  int64 `json:"duplicates"` // rows and dead letters that are there more than once, settled or not
	Gaps        int64 `json:"gaps"`       // offsets that the ledger skips or covers twice
}

// OK reports whether what is settled balances.
func (s Sums) OK() bool { return s.Unaccounted == 0 && s.Duplicates == 0 && s.Gaps == 0 }

// sums takes the balance now. The order matters: offsets first, since what is settled by then is in the tables for ever.
func (d *demo) sums(ctx context.Context) (Sums, error) {
	settled, err := d.broker.committed(ctx, d.Partitions)
	if err != nil {
		return Sums{}, err
	}
	var s Sums
	s.Produced, s.Tombstones = d.producer.produced(settled)
	table, err := row[counted](ctx, d.server, d.countSQL("demo.llm_calls", "_partition", "_offset", "1", settled))
	if err != nil {
		return Sums{}, err
	}
	dead, err := row[counted](ctx, d.server, d.countSQL("waybill.dead_letters", "partition", "offset", ofPipeline+" AND attempt = 0", settled))
	if err != nil {
		return Sums{}, err
	}
	tiling, err := row[struct{ Missing, Doubled int64 }](ctx, d.server, tilingSQL)
	if err != nil {
		return Sums{}, err
	}
	s.Rows, s.DeadLetters = table.Settled, dead.Settled
	s.ToCome = s.Produced - total(settled)
	s.Unaccounted = total(settled) - s.Rows - s.DeadLetters - s.Tombstones
	s.Duplicates = table.Doubled + dead.Doubled
	s.Gaps = tiling.Missing + tiling.Doubled
	return s, nil
}

// ofPipeline selects the demo's rows in Waybill's own tables.
const ofPipeline = "pipeline = '" + pipelineName + "'"

type counted struct{ Settled, Doubled int64 }

func (d *demo) countSQL(table, partition, offset, where string, settled []int64) string {
	return fmt.Sprintf(`SELECT countIf(%[3]s < %[5]s[%[2]s + 1]) AS Settled, count() - uniqExact(%[2]s, %[3]s) AS Doubled FROM %[1]s WHERE %[4]s`,
		table, partition, offset, where, sqlArray(settled))
}

// tilingSQL lays the ledger's spans of each partition end to end and counts the offsets that are missing or covered twice.
// A span that was written twice, word for word, is one.
const tilingSQL = `
SELECT sum(greatest(first - end, 0)) AS Missing, sum(greatest(least(end, next) - first, 0)) AS Doubled
FROM (
    SELECT first, next, max(next) OVER (PARTITION BY partition ORDER BY first, next
           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS end
    FROM (SELECT DISTINCT partition, first, next, batch FROM waybill.ledger WHERE ` + ofPipeline + `)
)`

func sqlArray(numbers []int64) string {
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = fmt.Sprintf("toUInt64(%d)", n)
	}
	return "[" + strings.Join(words, ",") + "]"
}

func total(numbers []int64) (sum int64) {
	for _, n := range numbers {
		sum += n
	}
	return sum
}
