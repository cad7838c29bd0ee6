package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/ledger"
)

// Cause is what was done to a table, by its server's word, that explains missing rows or other values. It makes them no less so.
type Cause struct {
	Kind    string  `json:"kind"`
	At      string  `json:"at,omitempty"` // by the server's clock
	Offsets []Range `json:"offsets"`      // those that it explains
	Message string  `json:"message"`
}

// Kinds of Cause.
const (
	CauseMutation  = "mutation"  // a DELETE or an UPDATE whose condition the rows meet
	CausePartition = "partition" // the rows' partition of the table was dropped, detached, replaced or moved
	CauseDetached  = "detached"  // there are detached parts of the rows' partition
	CauseEpoch     = "epoch"     // there are rows of these offsets under another epoch
)

// wreck is the missing rows of a partition of the topic, and why they may be missing.
type wreck struct {
	a      *auditor
	h      *holdings
	copies *contents
	made   waybill.OffsetSet // rows that could be made again
	tables map[*contentTable]*wreckOf
}

// wreckOf is that of one table.
type wreckOf struct {
	*table
	*contentTable
	rows    waybill.OffsetSet // that could be made again
	byRight waybill.OffsetSet // of these, those that are gone by right
	why     map[string]waybill.OffsetSet
	causes
	inParts map[string]waybill.OffsetSet // by partition id of the table, as far as they are known
	untold  error                        // why the server could not be asked about them
}

type cause struct {
	Cause
	offsets waybill.OffsetSet
}

// explained is how many missing rows are made again at a time.
const explained = 50_000

// explain reports the missing rows whose offsets are known. They are made again from their records, as far as these are left, and put into an empty
// copy of their table: so the server can be asked which of them a TTL has taken, or a DELETE, and in which of the table's partitions they were.
func (a *auditor) explain(ctx context.Context, h *holdings) error {
	if h.gone.Empty() {
		return nil
	}
	if a.cfg.Sink.Objects != nil { // there is no server that could be asked why
		a.broken("L3", KindMissing, h.tp, a.tables[0].name, h.gone, "have no record in any object")
		return nil
	}
	copies, err := a.newCopies(ctx)
	if err != nil {
		return err
	}
	w := &wreck{a: a, h: h, copies: copies, tables: map[*contentTable]*wreckOf{}}
	for i, t := range copies.tables {
		t.parted = a.tables[i].partitionKey
		w.tables[t] = &wreckOf{table: &a.tables[i], contentTable: t, why: map[string]waybill.OffsetSet{}, causes: causes{}, inParts: map[string]waybill.OffsetSet{}}
	}
	for _, m := range a.makers {
		m.blocks.Reset()
	}
	copies.begin(h.tp, h.gone.Bounds(), h.tables)
	untold := errUntold
	for i := range h.rows {
		r := &h.rows[i]
		for _, sp := range h.gone.Within(r.Span).Spans() {
			if w.enough() {
				break
			}
			if err := w.remake(ctx, r, sp); err != nil {
				if ctx.Err() != nil {
					return errors.Join(err, copies.drop(ctx))
				}
				untold = err
			}
		}
	}
	if err := w.look(ctx); err != nil {
		return err
	}
	return w.report(ctx, untold)
}

// enough: where no row can be gone by right, some of them are enough to look for causes.
func (w *wreck) enough() bool {
	return w.made.Len() >= explained && !slices.ContainsFunc(w.a.tables, func(t table) bool { return t.may() != "" })
}

// remake makes missing rows of a span again.
func (w *wreck) remake(ctx context.Context, r *ledger.Account, span waybill.Span) error {
	if w.a.Source == nil || w.a.info == nil {
		return errUntold
	}
	_, err := w.a.Source.ReadSpan(ctx, w.h.tp, span, func(rec *waybill.Record) error {
		if rec.Control {
			return nil
		}
		w.a.report.Reread++
		m, err := w.a.maker(ctx, w.a.planOf(r, rec.Offset))
		if err != nil {
			return err
		}
		p := m.proc.Process(rec, w.a.cfg.Epoch, m.blocks)
		if !isRow(p) {
			return nil
		}
		if err := w.copies.add(ctx, m, p, rec.Offset); err != nil {
			return err
		}
		if w.copies.gathered() < explained {
			return nil
		}
		return w.look(ctx)
	})
	return err
}

// look asks the server about the rows that have been made.
func (w *wreck) look(ctx context.Context) (err error) {
	c := w.copies
	parts := c.parts
	c.parts = nil
	defer func() { err = errors.Join(err, c.drop(ctx)) }()
	for _, p := range parts {
		if err := c.send(ctx, p); err != nil {
			return err
		}
	}
	for t, of := range w.tables {
		if t.copied == "" || t.except != "" {
			continue
		}
		rows, err := w.copies.meeting(ctx, of.contentTable, "1")
		if err != nil {
			return err
		}
		of.rows, w.made = of.rows.Union(rows), w.made.Union(rows)
		for _, ask := range []func(context.Context, *wreckOf) error{w.askTTL, w.askReplaced, w.askMutations, w.askParts} {
			if err := ask(ctx, of); err != nil && (waybill.ClassOf(err).Heals() || ctx.Err() != nil) {
				return err
			} else if err != nil {
				of.untold = err
			}
		}
	}
	return nil
}

// meeting are the rows of a copy that meet a condition.
func (c *contents) meeting(ctx context.Context, t *contentTable, condition string) (out waybill.OffsetSet, err error) {
	offset := clickhouse.Ident(t.lineage.Offset)
	err = c.a.Client.Texts(ctx, fmt.Sprintf("SELECT toString(%s) AS waybill_offset FROM %s WHERE %s ORDER BY %[1]s", offset, c.copyOf(t), condition), []string{"waybill_offset"}, func(row []string) error {
		o, err := strconv.ParseInt(row[0], 10, 64)
		out.Add(o)
		return err
	})
	return out, err
}

// askTTL: rows whose time has come are gone by right.
func (w *wreck) askTTL(ctx context.Context, of *wreckOf) error {
	for _, rule := range of.ttl {
		rows, err := w.copies.meeting(ctx, of.contentTable, rule.condition())
		if err != nil {
			return err
		}
		of.right("its TTL ("+rule.text+") has passed", rows)
	}
	return nil
}

// right notes rows that are gone by right.
func (of *wreckOf) right(why string, rows waybill.OffsetSet) {
	if rows = rows.Minus(of.byRight); !rows.Empty() {
		of.byRight = of.byRight.Union(rows)
		of.why[why] = of.why[why].Union(rows)
	}
}

// askReplaced: a ReplacingMergeTree keeps one row of each key. If it has one, the others are gone by right.
func (w *wreck) askReplaced(ctx context.Context, of *wreckOf) error {
	if !of.replacing || of.key == "" {
		return nil
	}
	rows, err := w.copies.meeting(ctx, of.contentTable, fmt.Sprintf("(%[1]s) IN (SELECT %[1]s FROM %[2]s WHERE (%[1]s) IN (SELECT %[1]s FROM %[3]s))", of.key, w.copies.table(of.contentTable), w.copies.copyOf(of.contentTable)))
	if err == nil {
		of.right("there is another row of its key ("+of.key+")", rows)
	}
	return err
}

// mutation is a change of rows that are there, by the server's record of it.
type mutation struct {
	id, at    string
	deletes   bool
	assigns   []string // columns, if it changes values
	condition string
}

// mutationsOf are those that the server still knows of, in their order.
func (a *auditor) mutationsOf(ctx context.Context, t contract.TableSchema) (all []mutation, err error) {
	err = a.Client.Texts(ctx, fmt.Sprintf("SELECT mutation_id, command, toString(create_time) AS at FROM system.mutations WHERE database = %s AND table = %s AND NOT is_killed ORDER BY create_time, mutation_id",
		clickhouse.Literal(t.Database), clickhouse.Literal(t.Table)), []string{"mutation_id", "command", "at"}, func(row []string) error {
		if m, ok := parseMutation(row[1]); ok {
			m.id, m.at = row[0], row[2]
			all = append(all, m)
		}
		return nil
	})
	return all, err
}

// parseMutation reads a command as the server shows it; ok is false if it is neither a DELETE nor an UPDATE.
func parseMutation(command string) (m mutation, ok bool) {
	if strings.HasPrefix(command, "(") && strings.HasSuffix(command, ")") {
		command = command[1 : len(command)-1]
	}
	what, condition, ok := cutOutside(command, " WHERE ")
	if !ok {
		return m, false
	}
	m.condition = condition
	if strings.HasPrefix(what, "DELETE") || strings.HasPrefix(what, "UPDATE _row_exists = 0") {
		m.deletes = true
		return m, true
	}
	list, ok := strings.CutPrefix(what, "UPDATE ")
	for ok && list != "" {
		var one string
		one, list, _ = cutOutside(list, ", ")
		name, _, _ := cutOutside(one, " = ")
		m.assigns = append(m.assigns, strings.Trim(name, "`"))
	}
	return m, ok
}

// askMutations: which DELETEs do the rows meet the condition of?
func (w *wreck) askMutations(ctx context.Context, of *wreckOf) error {
	all, err := w.a.mutationsOf(ctx, of.schema)
	if err != nil {
		return err
	}
	for _, m := range all {
		if !m.deletes {
			continue
		}
		rows, err := w.copies.meeting(ctx, of.contentTable, "("+m.condition+")")
		if err != nil {
			if waybill.ClassOf(err).Heals() {
				return err
			}
			continue // it speaks of what the copy does not have
		}
		of.because(Cause{Kind: CauseMutation, At: m.at, Message: fmt.Sprintf("a DELETE removed rows like these from %s: WHERE %s (%s)", of.contentTable.name, m.condition, m.id)}, rows.Minus(of.byRight))
	}
	return nil
}

// causes collects them, by what they say.
type causes map[string]*cause

// because notes that something explains rows.
func (all causes) because(c Cause, rows waybill.OffsetSet) {
	if rows.Empty() {
		return
	}
	known := all[c.Message]
	if known == nil {
		known = &cause{Cause: c}
		all[c.Message] = known
	}
	known.offsets = known.offsets.Union(rows)
}

// sorted are the causes in the order of their times.
func (all causes) sorted() (out []Cause) {
	for _, c := range slices.SortedFunc(maps.Values(all), func(a, b *cause) int {
		return strings.Compare(a.At+a.Kind+a.Message, b.At+b.Kind+b.Message)
	}) {
		c.Cause.Offsets = rangesOf(c.offsets)
		out = append(out, c.Cause)
	}
	return out
}

// askParts files the rows by the partition of the table that they were in.
func (w *wreck) askParts(ctx context.Context, of *wreckOf) error {
	if of.parted == "" && of.partitionKey != "" {
		return nil // not known
	}
	id := "'all'"
	if of.parted != "" {
		id = "_partition_id"
	}
	return w.a.Client.Texts(ctx, fmt.Sprintf("SELECT toString(%s) AS waybill_offset, toString(%s) AS waybill_part FROM %s ORDER BY %[1]s", clickhouse.Ident(of.lineage.Offset), id, w.copies.copyOf(of.contentTable)),
		[]string{"waybill_offset", "waybill_part"}, func(row []string) error {
			o, err := strconv.ParseInt(row[0], 10, 64)
			set := of.inParts[row[1]]
			set.Add(o)
			of.inParts[row[1]] = set
			return err
		})
}

// report puts what was found into the report.
func (w *wreck) report(ctx context.Context, untold error) error {
	tp := w.h.tp
	for _, t := range w.copies.tables {
		of := w.tables[t]
		for _, why := range slices.Sorted(maps.Keys(of.why)) {
			set := of.why[why]
			w.a.report.ByRight = append(w.a.report.ByRight, ByRight{Partition: tp.Partition, Table: t.name, Count: set.Len(), Offsets: rangesOf(set), Why: why})
		}
		left := of.rows.Minus(of.byRight)
		if left.Empty() {
			continue
		}
		if why := of.unjudged(); why != "" {
			w.a.unknown("L3", "", "%d rows of %s (offsets %s) are not in table %s, which may be right: %s", left.Len(), tp, shortly(left), t.name, why)
			continue
		}
		if err := w.afterwards(ctx, of, left); err != nil {
			return err
		}
		w.broken(of, left)
	}
	rest := w.h.gone.Minus(w.made)
	if rest.Empty() {
		return nil
	}
	for i := range w.a.tables {
		if why := w.a.tables[i].may(); why != "" {
			w.a.unknown("L3", "audit spans that are younger than that", "%d rows of %s (offsets %s) are not in table %s, which may be right: %s; %v", rest.Len(), tp, shortly(rest), w.a.tables[i].name, why, untold)
			return nil
		}
	}
	w.broken(nil, rest)
	return nil
}

// unjudged is why nobody can tell whether rows are gone by right; empty: what is not known to be is not.
func (of *wreckOf) unjudged() string {
	if of.forgets == "" && of.may() != "" && of.untold != nil {
		return fmt.Sprintf("%s, and the server could not be asked about it: %v", of.may(), of.untold)
	}
	return of.forgets
}

// broken notes rows that should be there; of is their table, if it is known.
func (w *wreck) broken(of *wreckOf, rows waybill.OffsetSet) {
	v := Violation{Law: "L3", Kind: KindMissing, Topic: w.h.tp.Topic, Partition: w.h.tp.Partition, Count: rows.Len(), Offsets: rangesOf(rows), Exact: true,
		Message: fmt.Sprintf("%d rows of %s, which the ledger says were written, are not in the table", rows.Len(), w.h.tp)}
	if of != nil {
		v.Causes = of.causes.sorted()
		if len(w.a.tables) > 1 {
			v.Table = of.contentTable.name
			v.Message = fmt.Sprintf("%d rows of %s, which the ledger says were written, are not in table %s", rows.Len(), w.h.tp, v.Table)
		}
	}
	w.a.report.Violations = append(w.a.report.Violations, v)
}

// afterwards asks what else was done that explains rows that are gone: to partitions of the table, or by writing them under another epoch.
func (w *wreck) afterwards(ctx context.Context, of *wreckOf, left waybill.OffsetSet) error {
	if err := w.askDetached(ctx, of, left); err != nil {
		return err
	}
	if err := w.askPartLog(ctx, of, left); err != nil {
		return err
	}
	return w.askEpochs(ctx, of, left)
}

// askDetached: rows may be in detached parts of their partition.
func (w *wreck) askDetached(ctx context.Context, of *wreckOf, left waybill.OffsetSet) error {
	err := w.a.Client.Texts(ctx, fmt.Sprintf("SELECT ifNull(partition_id, '') AS p, toString(count()) AS n, arrayStringConcat(arraySlice(arraySort(groupArray(name)), 1, 3), ', ') AS names, toString(max(modification_time)) AS at FROM system.detached_parts WHERE database = %s AND table = %s GROUP BY p",
		clickhouse.Literal(of.schema.Database), clickhouse.Literal(of.schema.Table)), []string{"p", "n", "names", "at"}, func(row []string) error {
		of.because(Cause{Kind: CauseDetached, At: row[3], Message: fmt.Sprintf("partition %s of %s, which they were in, has %s detached parts (%s, ...); they may be in these: ALTER TABLE ... ATTACH PARTITION ID '%[1]s' brings them back",
			row[0], of.contentTable.name, row[1], row[2])}, of.inParts[row[0]].Intersect(left))
		return nil
	})
	return w.withheld(err)
}

// askPartLog: a statement that drops, detaches, replaces or moves partitions leaves empty parts in their place, which no merge and no mutation does.
func (w *wreck) askPartLog(ctx context.Context, of *wreckOf, left waybill.OffsetSet) error {
	type event struct{ partition, query, at, text string }
	var events []event
	err := w.a.Client.Texts(ctx, fmt.Sprintf("SELECT partition_id AS p, query_id AS q, toString(min(event_time)) AS at FROM system.part_log WHERE database = %s AND table = %s AND event_type = 'NewPart' AND rows = 0 AND query_id != '' AND error = 0 GROUP BY p, q ORDER BY at",
		clickhouse.Literal(of.schema.Database), clickhouse.Literal(of.schema.Table)), []string{"p", "q", "at"}, func(row []string) error {
		events = append(events, event{partition: row[0], query: row[1], at: row[2]})
		return nil
	})
	for _, e := range events {
		if err != nil {
			break
		}
		rows := of.inParts[e.partition].Intersect(left)
		if rows.Empty() {
			continue
		}
		err = w.a.Client.Texts(ctx, fmt.Sprintf("SELECT query, user FROM system.query_log WHERE query_id = %s AND type = 'QueryFinish' LIMIT 1", clickhouse.Literal(e.query)), []string{"query", "user"}, func(row []string) error {
			e.text = fmt.Sprintf(", by user %s: %s", row[1], row[0])
			return nil
		})
		if err = w.withheld(err); err == nil {
			of.because(Cause{Kind: CausePartition, At: e.at, Message: fmt.Sprintf("partition %s of %s, which they were in, was taken away%s", e.partition, of.contentTable.name, e.text)}, rows)
		}
	}
	return w.withheld(err)
}

// withheld: a server that has no such log, or does not show it to this user, explains nothing. It takes nothing from what is known.
func (w *wreck) withheld(err error) error {
	if err != nil && !waybill.ClassOf(err).Heals() {
		return nil
	}
	return err
}

// askEpochs: rows may be there under another epoch.
func (w *wreck) askEpochs(ctx context.Context, of *wreckOf, left waybill.OffsetSet) error {
	if of.lineage.Epoch == "" {
		return nil
	}
	epoch := clickhouse.Ident(of.lineage.Epoch)
	var epochs []uint64
	err := w.a.Client.Texts(ctx, fmt.Sprintf("SELECT toString(%s) AS waybill_epoch FROM %s WHERE %s = %s AND %s = %d AND %[1]s != %[7]d GROUP BY %[3]s, %[5]s, %[1]s ORDER BY %[1]s", epoch, w.copies.table(of.contentTable),
		clickhouse.Ident(of.lineage.Topic), clickhouse.Literal(w.h.tp.Topic), clickhouse.Ident(of.lineage.Partition), w.h.tp.Partition, w.a.cfg.Epoch), []string{"waybill_epoch"}, func(row []string) error {
		e, err := strconv.ParseUint(row[0], 10, 32)
		epochs = append(epochs, e)
		return err
	})
	for _, e := range epochs {
		if err != nil {
			break
		}
		ask := of.presence
		ask.Epoch, ask.Spans = waybill.Epoch(e), nil
		for _, sp := range left.Spans() {
			ask.Spans = append(ask.Spans, clickhouse.PartitionSpan{TopicPartition: w.h.tp, Span: sp})
		}
		var found map[waybill.TopicPartition]waybill.OffsetSet
		if found, err = w.a.Client.Present(ctx, ask); err == nil {
			of.because(Cause{Kind: CauseEpoch, Message: fmt.Sprintf("%s has rows of these offsets under epoch %d", of.contentTable.name, e)}, found[w.h.tp].Intersect(left))
		}
	}
	return err
}
