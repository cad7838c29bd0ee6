// Package diff compares two tables on the server: how many rows only one of them has, which have other values, column by column, and what either holds in
// each of its partitions. Neither the server's memory nor ours grows with the tables.
//
// Rows are matched by their lineage (topic, partition, offset), or by columns that the caller names. First the server makes, for each partition of the tables
// and each column, a sum over hashes of key and value, beside its other figures: one pass over each. Partitions whose sums and counts agree hold the same
// rows. Of the others it makes such sums for each bucket of 65,536 offsets. The rows of buckets that do not agree are put side by side, in slices that fit the memory
// limit, in those columns only whose sums differ.
//
// So what is equal is decided by the server's own hashes of its own values. Values of different types are first turned into the type that takes both, if there is
// one, and else into text. NULL is not the type's zero value; NaN is equal to NaN.
package diff

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
)

// TableRef is one of the tables.
type TableRef struct {
	Database, Table string
	Lineage         contract.Lineage // the columns' names; without any, the usual ones
}

func (t TableRef) String() string { return t.Database + "." + t.Table }

// Options say what to compare.
type Options struct {
	Topic string // only rows of this topic; empty: all
	// Scope is the offsets to compare, by partition of Topic; nil: all.
	Scope map[int32]waybill.OffsetSet
	// LiveEnds and ShadowEnds are up to which offset of each partition of Topic the tables are complete: what is behind the lesser of both is not compared. nil: up
	// to the last row that is in the table.
	LiveEnds, ShadowEnds map[int32]int64
	// Whole: both tables are complete as they are. There is nothing that has not been reached.
	Whole bool
	// Key are columns that say which row of one table is which of the other, in place of the lineage.
	Key []string
	// Without are columns that are not compared.
	Without []string
	// Plan is the one that the shadow was written under; it says which columns the server was left to fill. Of these, those whose DEFAULT gives another value each
	// time are not compared. nil: it is not known, and all are.
	Plan *contract.Plan
	// Rescue is the name of the rescue column: what it says of the plan that wrote the row is not compared. Empty: the usual name.
	Rescue string
	// Samples is how many rows are shown of each sort of difference.
	Samples int
	// Memory is how many bytes the server may use for a query; 0: DefaultMemory. Threads is how many threads; 0: as many as it likes.
	Memory  int64
	Threads int
	// Progress is told how far it is; it may be nil.
	Progress func(Progress)
	Now      func() time.Time // nil: time.Now
}

// DefaultMemory is the limit of a query's memory, if nothing else is said.
const DefaultMemory = 1 << 30

// Progress says what has been done.
type Progress struct {
	Step     string // what is being done, in words
	Done, Of int64
}

// side is one of the tables, as far as it is compared.
type side struct {
	TableRef
	name    string // live or shadow
	schema  contract.TableSchema
	info    clickhouse.TableInfo
	by      lineageOf
	ends    map[int32]int64 // that were given; nil: none were
	extents map[waybill.TopicPartition]extent
}

func (s *side) from() string { return clickhouse.Table(s.Database, s.Table) }

// comparison is one comparison.
type comparison struct {
	client       *clickhouse.Client
	opts         Options
	live, shadow *side
	columns      []*pair
	report       *Report
}

func (c *comparison) sides() []*side { return []*side{c.live, c.shadow} }

// Compare compares two tables. The error says that it could not be done.
func Compare(ctx context.Context, client *clickhouse.Client, live, shadow TableRef, opts Options) (*Report, error) {
	opts.defaults()
	if opts.Topic == "" && (opts.Scope != nil || opts.LiveEnds != nil || opts.ShadowEnds != nil) {
		return nil, refused(waybill.ClassBug, "", "offsets are those of a topic, and none is named")
	}
	began := opts.Now()
	c := &comparison{client: client, opts: opts, live: &side{TableRef: live, name: "live", ends: opts.LiveEnds}, shadow: &side{TableRef: shadow, name: "shadow", ends: opts.ShadowEnds},
		report: &Report{Topic: opts.Topic, Notes: []string{}, Partitions: []Partition{}, NotReached: []Pending{}, Ahead: []Pending{}, Cost: Cost{Memory: opts.Memory}}}
	for _, s := range c.sides() {
		if err := c.describe(ctx, s); err != nil {
			return nil, err
		}
	}
	c.report.Live, c.report.Shadow = Side{Table: live.String(), UUID: c.live.info.UUID}, Side{Table: shadow.String(), UUID: c.shadow.info.UUID}
	c.report.Scope = scopeOf(opts.Scope)
	if err := c.pairs(ctx); err != nil {
		return nil, err
	}
	spaces, err := c.spaces(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.statistics(ctx, spaces); err != nil {
		return nil, err
	}
	for _, sp := range spaces {
		if err := c.rows(ctx, sp); err != nil {
			return nil, err
		}
	}
	c.finish()
	c.report.Cost.took(began, opts.Now())
	return c.report, nil
}

// scopeOf is a scope as reports have it.
func scopeOf(scope map[int32]waybill.OffsetSet) (out []Scope) {
	for _, p := range slices.Sorted(maps.Keys(scope)) {
		text := scope[p].String()
		if spans := scope[p].Spans(); len(spans) > 0 && spans[len(spans)-1].Next == unbounded {
			text = fmt.Sprintf("from %d on", spans[len(spans)-1].First)
			if rest := waybill.OffsetsIn(spans[:len(spans)-1]...); !rest.Empty() {
				text = rest.String() + " and " + text
			}
		}
		out = append(out, Scope{p, text})
	}
	return out
}

// refused is an error about what was asked for.
func refused(class waybill.Class, hint, format string, args ...any) error {
	return &waybill.Error{Op: "backfill.diff", Class: class, Hint: hint, Err: fmt.Errorf(format, args...)}
}

// describe looks what a table is.
func (c *comparison) describe(ctx context.Context, s *side) (err error) {
	if s.Lineage == (contract.Lineage{}) {
		s.Lineage = contract.DefaultLineage()
	}
	if s.schema, s.info, err = c.client.Describe(ctx, s.Database, s.Table, s.Lineage); err != nil {
		return err
	}
	if s.info.Replicated {
		if err := c.client.Exec(ctx, "SYSTEM SYNC REPLICA "+s.from()+" LIGHTWEIGHT"); err != nil {
			return err
		}
	}
	s.by = lineageOf{s.Lineage.In(s.schema)}
	need := c.opts.Key
	if len(need) == 0 {
		need = []string{s.by.Topic, s.by.Partition, s.by.Offset}
	} else if c.opts.Topic != "" {
		need = append(slices.Clone(need), s.by.Topic, s.by.Partition, s.by.Offset)
	}
	for _, name := range need {
		if !slices.ContainsFunc(s.schema.Columns, func(in contract.TableColumn) bool { return in.Name == name }) {
			hint := "name the columns that say which row is which: --key"
			if len(c.opts.Key) > 0 {
				hint = ""
			}
			return refused(waybill.ClassConfig, hint, "table %s has no column %s", s.TableRef, name)
		}
	}
	return nil
}

// space is rows that can be put side by side by the same key: of one topic, or all rows.
type space struct {
	topic string
	ends  map[int32]int64
	// keys are expressions; seed is what they are hashed with; bucket is an expression over their aliases.
	keys   map[*side][]string
	seed   string
	bucket string
	where  map[*side]string
	// exact: keys are a partition and an offset, of which it can be counted how many there are. settled: all rows are known to be the same.
	exact, settled bool
}

// spaces looks what rows there are.
func (c *comparison) spaces(ctx context.Context) ([]*space, error) {
	if len(c.opts.Key) > 0 {
		return c.keyed(ctx)
	}
	c.report.By = []string{c.live.by.Topic, c.live.by.Partition, c.live.by.Offset}
	for _, s := range c.sides() {
		if err := c.extents(ctx, s); err != nil {
			return nil, err
		}
	}
	switch {
	case c.opts.Whole:
		c.report.Ends = "none: both tables are taken to be complete"
	case c.opts.LiveEnds != nil && c.opts.ShadowEnds != nil:
		c.report.Ends = "the accounts of both tables"
	case c.opts.LiveEnds != nil || c.opts.ShadowEnds != nil:
		c.report.Ends = "the account of one table, and the last rows of the other"
	default:
		c.report.Ends = "the last rows of each partition"
	}
	ends := c.ends()
	var err error
	if c.report.NotReached, err = c.pending(ctx, c.live, ends); err != nil {
		return nil, err
	}
	if c.report.Ahead, err = c.pending(ctx, c.shadow, ends); err != nil {
		return nil, err
	}
	var out []*space
	for _, topic := range slices.Sorted(maps.Keys(ends)) {
		sp := &space{topic: topic, ends: ends[topic], keys: map[*side][]string{}, where: map[*side]string{}, exact: true, seed: clickhouse.Literal(topic) + ", ",
			bucket: fmt.Sprintf("toInt64(waybill_k0) * %d + intDiv(waybill_k1, %d)", int64(1)<<bucketBits, clickhouse.BucketOffsets)}
		for _, s := range c.sides() {
			sp.keys[s] = []string{s.by.partition(), s.by.offset()}
			sp.where[s] = s.by.topic(topic) + " AND " + s.by.below(ends[topic])
			if c.opts.Scope != nil {
				sp.where[s] += " AND " + s.by.in(c.opts.Scope)
			}
		}
		out = append(out, sp)
	}
	return out, nil
}

// bucketBits is how many bits of a bucket's number are the bucket's; the rest is the partition's.
const bucketBits = 40

// keyed is one space of all rows, by the columns that were named.
func (c *comparison) keyed(ctx context.Context) ([]*space, error) {
	c.report.By, c.report.Ends = c.opts.Key, "none: rows are matched by columns"
	sp := &space{keys: map[*side][]string{}, where: map[*side]string{c.live: "1", c.shadow: "1"}}
	var aliases []string
	for i, name := range c.opts.Key {
		p := c.pair(name)
		sp.keys[c.live] = append(sp.keys[c.live], fmt.Sprintf("toJSONString(%s)", p.value(c.live)))
		sp.keys[c.shadow] = append(sp.keys[c.shadow], fmt.Sprintf("toJSONString(%s)", p.value(c.shadow)))
		aliases = append(aliases, fmt.Sprintf("waybill_k%d", i))
	}
	var most int64
	for _, s := range c.sides() {
		if c.opts.Topic != "" {
			sp.where[s] = s.by.topic(c.opts.Topic)
		}
		if c.opts.Scope != nil {
			sp.where[s] += " AND " + s.by.in(c.opts.Scope)
		}
		err := c.texts(ctx, fmt.Sprintf("SELECT toString(count()) AS waybill_n FROM %s WHERE %s", s.from(), sp.where[s]), []string{"waybill_n"}, func(row []string) error {
			n, err := numbers(row)
			most = max(most, n[0])
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	sp.bucket = fmt.Sprintf("toInt64(sipHash64(%s) %% %d)", strings.Join(aliases, ", "), 1+most/clickhouse.BucketOffsets)
	return []*space{sp}, nil
}

// selected is the SELECT of a side's rows of a space: its keys, their hash and bucket, and what else is asked for. extra is a further condition on the
// table's own columns.
func (sp *space) selected(s *side, extra string, more ...string) string {
	var out []string
	var aliases []string
	for i, k := range sp.keys[s] {
		alias := fmt.Sprintf("waybill_k%d", i)
		out, aliases = append(out, k+" AS "+alias), append(aliases, alias)
	}
	out = append(out, fmt.Sprintf("cityHash64(%s%s) AS waybill_key", sp.seed, strings.Join(aliases, ", ")), sp.bucket+" AS waybill_bucket")
	where := sp.where[s]
	if extra != "" {
		where = extra + " AND " + where
	}
	return fmt.Sprintf("SELECT %s FROM %s WHERE %s", strings.Join(append(out, more...), ", "), s.from(), where)
}

// texts runs a query of the comparison's, within its limits.
func (c *comparison) texts(ctx context.Context, sql string, columns []string, each func(row []string) error) error {
	c.report.Cost.Queries++
	return c.client.Texts(ctx, sql+c.settings(), columns, each)
}

// settings bound what a query takes. A supertype is one of the types that there were before Variant.
func (c *comparison) settings() string {
	out := fmt.Sprintf(" SETTINGS max_memory_usage = %d, use_variant_as_common_type = 0", c.opts.Memory)
	if c.opts.Threads > 0 {
		out += fmt.Sprintf(", max_threads = %d", c.opts.Threads)
	}
	return out
}

// finish sums up.
func (c *comparison) finish() {
	r := c.report
	for _, p := range c.columns {
		r.Columns = append(r.Columns, p.Column)
	}
	r.Rows.Same = r.Rows.Both - r.Rows.Changed
}

// serverCode is the server's code in an error; 0: there is none.
func serverCode(err error) int {
	if e := (*waybill.Error)(nil); errors.As(err, &e) {
		return e.Code
	}
	return 0
}
