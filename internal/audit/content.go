package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/engine"
)

// contents is law L5 on the table's side: are the values in the rows those that the records give?
//
// What the records give is made by the code that made the rows, under the plan that made them, and inserted into a copy of the table, which is
// empty, has nothing but the table's columns and their DEFAULTs, and is dropped at once. So the server itself turns both into values of the
// table's types (it casts, orders, shortens and fills in as it did then), and the server compares them: there is one notion of what is equal, for
// every type, and none of it is ours.
//
// It goes bucket by bucket (clickhouse.BucketOffsets offsets). For each bucket and column the server makes an order-free sum over hashes of
// offset and value, of the table and of the copy. Where two sums differ, it is asked for the offsets of which the values do. So what is
// held here and there does not grow with the span.
type contents struct {
	a      *auditor
	tables []*contentTable
	tp     waybill.TopicPartition
	whole  waybill.Span                 // of the partition, that is audited
	bucket int64                        // that is being gathered
	parts  []*part                      // what the bucket's records gave
	lost   map[string]waybill.OffsetSet // rows of the partition that were not compared, by what is to be said of them
}

// contentTable is one of the pipeline's tables, as far as its rows are compared.
type contentTable struct {
	name    string
	cfg     config.Table
	schema  contract.TableSchema
	lineage contract.Lineage
	now     *contract.Plan // compiled against the table as it is; nil: the contract no longer fits it
	columns []contentColumn
	except  string // why none of its rows are compared; empty: they are
	copied  string // the copy, while there is one
	// parted is the partition key that copies have; empty: none.
	parted string

	present  waybill.OffsetSet  // of the partition
	sums     map[int64][]string // of the table: the columns' sums in a bucket
	sumsFrom int64              // the first bucket of which sums are known
	sumsNext int64              // the bucket after the last
	compared int64              // rows
	told     map[claim]*difference
	// mutations of the table, once they have been asked for.
	mutations []mutation
}

// contentColumn is a column that holds values of its own.
type contentColumn struct {
	contract.TableColumn
	except string // why its values are not compared; empty: they are
}

// part is what one plan made of records of a bucket, for one table.
type part struct {
	maker    *maker
	route    int
	plan     *contract.Plan // of the route
	table    *contentTable
	names    []string // see engine.FitBlock
	rows     waybill.OffsetSet
	redacted waybill.OffsetSet
	asked    map[string]waybill.OffsetSet // by the table's column: rows for which the server was asked for its DEFAULT
	unfit    error                        // the table no longer takes what the plan made
}

// claim is what differences of a column mean.
type claim struct {
	column string
	sort   sortOf
	detail string
}

// sortOf is why a value may differ from what the records give.
type sortOf uint8

const (
	wrong  sortOf = iota // it may not
	filled               // the plan did not fill the column: the server did, or somebody has since
	asked                // the plan asked the server for its DEFAULT
)

// difference is rows of one partition that differ in a column.
type difference struct {
	offsets  waybill.OffsetSet
	examples []Example
	causes   causes
}

// shownExamples is how many differing values of a column are shown.
const shownExamples = 3

// newContents looks what can be compared.
func (a *auditor) newContents(ctx context.Context) (*contents, error) {
	c, err := a.newCopies(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range c.tables {
		if err := a.contentColumns(ctx, t); err != nil {
			return nil, err
		}
		if !keepsValues(t.schema.Engine) {
			t.except = fmt.Sprintf("its engine, %s, changes rows when it merges them, or keeps none", t.schema.Engine)
		}
	}
	return c, nil
}

// newCopies looks what the tables are, so that rows can be put into copies of them.
func (a *auditor) newCopies(ctx context.Context) (*contents, error) {
	c := &contents{a: a, bucket: -1, lost: map[string]waybill.OffsetSet{}}
	for i, cfg := range a.cfg.Tables() {
		ch := cfg.Sink.ClickHouse
		schema, _, err := a.Client.Describe(ctx, ch.Database, ch.Table, ch.Lineage)
		if err != nil {
			return nil, err
		}
		t := &contentTable{name: a.tables[i].name, cfg: cfg, schema: schema, lineage: ch.Lineage.In(schema), told: map[claim]*difference{}}
		if t.now, err = cfg.Compile(schema, t.lineage, json.Version); err != nil {
			t.now = nil
		}
		c.tables = append(c.tables, t)
	}
	return c, nil
}

// keepsValues: rows of such a table have the values that they were inserted with, as long as they are there.
func keepsValues(engine string) bool {
	plain := strings.TrimPrefix(strings.TrimPrefix(engine, "Replicated"), "Shared")
	return slices.Contains([]string{"MergeTree", "ReplacingMergeTree", "CollapsingMergeTree", "VersionedCollapsingMergeTree"}, plain)
}

// contentColumns are the columns to compare. The server is asked for each whether it can.
func (a *auditor) contentColumns(ctx context.Context, t *contentTable) error {
	ttl, err := a.columnTTLs(ctx, t)
	if err != nil {
		return err
	}
	for _, in := range t.schema.Columns {
		if in.DefaultKind == "ALIAS" || in.DefaultKind == "EPHEMERAL" {
			continue // holds nothing
		}
		c := contentColumn{TableColumn: in}
		switch in.Name {
		case t.lineage.Topic, t.lineage.Partition, t.lineage.Offset, t.lineage.Epoch:
			continue // they are what rows are looked up by
		}
		if expr := ttl[in.Name]; expr != "" {
			c.except = fmt.Sprintf("it has a TTL (%s), which takes values away by right", expr)
		} else if err := a.Client.Exec(ctx, fmt.Sprintf("SELECT %s FROM %s LIMIT 0", t.hash(in.Name), clickhouse.Table(t.schema.Database, t.schema.Table))); err != nil {
			if waybill.ClassOf(err).Heals() {
				return err
			}
			c.except = fmt.Sprintf("the server does not compare values of %s: %v", in.Type, errors.Unwrap(err))
		}
		t.columns = append(t.columns, c)
	}
	return nil
}

// columnTTLs are the TTLs of a table's columns.
func (a *auditor) columnTTLs(ctx context.Context, t *contentTable) (map[string]string, error) {
	out := map[string]string{}
	err := a.Client.Texts(ctx, "DESCRIBE TABLE "+clickhouse.Table(t.schema.Database, t.schema.Table),
		[]string{"name", "type", "default_type", "default_expression", "comment", "codec_expression", "ttl_expression"}, func(row []string) error {
			if row[6] != "" {
				out[row[0]] = row[6]
			}
			return nil
		})
	return out, err
}

// begin begins a partition; present is the offsets that each table has.
func (c *contents) begin(tp waybill.TopicPartition, whole waybill.Span, present []waybill.OffsetSet) {
	c.tp, c.whole = tp, whole
	for i, t := range c.tables {
		t.present, t.sums, t.sumsFrom, t.sumsNext = present[i], nil, 0, 0
	}
}

// reach is to be called before a record is processed: what was made of the bucket before is compared.
func (c *contents) reach(ctx context.Context, offset int64) error {
	if b := offset / clickhouse.BucketOffsets; b != c.bucket {
		if err := c.compare(ctx); err != nil {
			return err
		}
		c.bucket = b
		c.a.Progress(Progress{c.tp.Partition, offset - c.whole.First, c.whole.Len()})
	}
	return nil
}

// gathered is how many rows there are of the records since compare.
func (c *contents) gathered() (n int64) {
	for _, p := range c.parts {
		n += p.rows.Len()
	}
	return n
}

// sendBytes is how large a block of rows becomes before it goes to the copy.
const sendBytes = 16 << 20

// add takes the row that m has just made.
func (c *contents) add(ctx context.Context, m *maker, p engine.Processed, offset int64) error {
	part := c.part(m, p.Route)
	part.rows.Add(offset)
	if p.Redacted > 0 {
		part.redacted.Add(offset)
	}
	block := m.blocks[p.Route]
	for i, col := range part.plan.Columns() {
		if col.Wire == "" || part.names == nil || part.names[i] == "" {
			continue
		}
		if values := block.Columns[i]; string(values.AppendValue(nil, values.Rows()-1)) == "null" {
			set := part.asked[part.names[i]]
			set.Add(offset)
			part.asked[part.names[i]] = set
		}
	}
	if block.Size() > sendBytes {
		return c.send(ctx, part)
	}
	return nil
}

// part is where rows of a route go.
func (c *contents) part(m *maker, route int) *part {
	i := slices.IndexFunc(c.parts, func(p *part) bool { return p.maker == m && p.route == route })
	if i >= 0 {
		return c.parts[i]
	}
	plan := m.proc.Plan().Routes()[route].Plan
	p := &part{maker: m, route: route, plan: plan, asked: map[string]waybill.OffsetSet{}}
	for _, t := range c.tables {
		if t.name == plan.Database()+"."+plan.Table() {
			p.table = t
		}
	}
	if p.table != nil {
		_, p.names, p.unfit = p.fit(m.blocks[route])
	}
	c.parts = append(c.parts, p)
	return p
}

// fit is the block as the table takes it.
func (p *part) fit(block *column.Block) (*column.Block, []string, error) {
	return engine.FitBlock(p.table.cfg, p.table.schema, cmp.Or(p.table.now, p.plan), p.plan, block)
}

// send puts the rows that have been made into the copy.
func (c *contents) send(ctx context.Context, p *part) error {
	block := p.maker.blocks[p.route]
	defer block.Reset()
	if block.Rows() == 0 || p.table == nil || p.table.except != "" || p.unfit != nil {
		return nil
	}
	if err := c.copy(ctx, p.table); err != nil {
		return p.table.unable("no copy of it can be made", err)
	}
	fitted, _, err := p.fit(block)
	if err != nil {
		return err
	}
	answer := c.insert(ctx, p.table, fitted)
	if !answer.Outcome.Answered() && p.table.parted != "" && !answer.Err.Class.Heals() {
		// More of the table's partitions than the server takes in one block: then without them.
		p.table.parted = ""
		if err := errors.Join(c.drop(ctx), c.copy(ctx, p.table)); err != nil {
			return err
		}
		answer = c.insert(ctx, p.table, fitted)
	}
	if !answer.Outcome.Answered() {
		return p.table.unable("its copy does not take the rows", answer.Err)
	}
	return nil
}

func (c *contents) insert(ctx context.Context, t *contentTable, block *column.Block) clickhouse.Answer {
	return c.a.Client.Insert(ctx, clickhouse.Insert{Database: c.a.Ledger.Database(), Table: t.copied, Token: waybill.Token("audit-" + uuid.NewString()), Input: block.Input()})
}

// unable notes that no rows of a table can be compared, unless the error is one that heals.
func (t *contentTable) unable(what string, err error) error {
	if waybill.ClassOf(err).Heals() {
		return err
	}
	t.except = fmt.Sprintf("%s: %v", what, err)
	return nil
}

// copyPrefix begins the names of copies. A worker drops what begins with "probe_" and is an hour old: a crash leaves nothing behind.
const copyPrefix = "probe_audit_"

// copy makes the table's copy, unless there is one.
func (c *contents) copy(ctx context.Context, t *contentTable) error {
	if t.copied != "" {
		return nil
	}
	name := copyPrefix + uuid.NewString()
	var columns []string
	for _, in := range t.schema.Columns {
		text := clickhouse.Ident(in.Name) + " " + in.Type
		if in.DefaultKind != "" {
			text += " " + in.DefaultKind + " " + in.DefaultExpr
		}
		columns = append(columns, text)
	}
	parted := ""
	if t.parted != "" {
		parted = " PARTITION BY " + t.parted
	}
	err := c.a.Client.Exec(ctx, fmt.Sprintf("CREATE TABLE %s (%s) ENGINE = MergeTree%s ORDER BY tuple() SETTINGS flatten_nested = 0, allow_suspicious_low_cardinality_types = 1 COMMENT 'what records give, for waybill audit; may be dropped'",
		clickhouse.Table(c.a.Ledger.Database(), name), strings.Join(columns, ", "), parted))
	if err == nil {
		t.copied = name
	}
	return err
}

// drop drops the copies.
func (c *contents) drop(ctx context.Context) error {
	var errs []error
	for _, t := range c.tables {
		if t.copied != "" {
			// Also when the audit is being stopped.
			errs = append(errs, c.a.Client.Exec(context.WithoutCancel(ctx), "DROP TABLE IF EXISTS "+clickhouse.Table(c.a.Ledger.Database(), t.copied)))
			t.copied = ""
		}
	}
	return errors.Join(errs...)
}

// compare compares what the records of a bucket gave with what the tables hold.
func (c *contents) compare(ctx context.Context) (err error) {
	parts := c.parts
	c.parts = nil
	defer func() { err = errors.Join(err, c.drop(ctx)) }()
	for _, p := range parts {
		if err := c.send(ctx, p); err != nil {
			return err
		}
		if why := p.uncompared(); why != "" {
			c.skip(p.rows, "were not compared: "+why)
			continue
		}
		for i, name := range p.names {
			if name == "" {
				c.skip(p.rows, fmt.Sprintf("were not compared in column %s, which is gone from %s", p.plan.Columns()[i].Name, p.table.name))
			}
		}
	}
	for _, t := range c.tables {
		if t.copied == "" || t.except != "" {
			continue
		}
		own := slices.DeleteFunc(slices.Clone(parts), func(p *part) bool { return p.table != t || p.unfit != nil })
		if err := c.compareTable(ctx, t, own); err != nil {
			return err
		}
	}
	return nil
}

// uncompared is why a part's rows are not compared; empty: they are.
func (p *part) uncompared() string {
	switch {
	case p.table == nil:
		return fmt.Sprintf("table %s.%s, into which plan %s has put them, is none of the pipeline's any more", p.plan.Database(), p.plan.Table(), p.plan.ID())
	case p.table.except != "":
		return fmt.Sprintf("table %s: %s", p.table.name, p.table.except)
	case p.unfit != nil:
		return fmt.Sprintf("table %s no longer takes what plan %s made: %v", p.table.name, p.plan.ID(), errors.Unwrap(p.unfit))
	}
	return ""
}

// skip notes rows that are not compared, or not in all columns.
func (c *contents) skip(rows waybill.OffsetSet, why string) {
	c.lost[why] = c.lost[why].Union(rows)
}

// compareTable compares the bucket's rows of one table.
func (c *contents) compareTable(ctx context.Context, t *contentTable, parts []*part) error {
	want, err := c.sumsOf(ctx, t, clickhouse.Table(c.a.Ledger.Database(), t.copied), c.bucket, c.bucket+1)
	if err != nil {
		return err
	}
	if c.bucket < t.sumsFrom || c.bucket >= t.sumsNext {
		// Many buckets of the table at once: it may not be sorted by offsets.
		t.sumsFrom, t.sumsNext = c.bucket, c.bucket+bucketsAtOnce
		if t.sums, err = c.sumsOf(ctx, t, clickhouse.Table(t.schema.Database, t.schema.Table), t.sumsFrom, t.sumsNext); err != nil {
			return err
		}
	}
	for _, p := range parts {
		t.compared += p.rows.Intersect(t.present).Len()
	}
	expected, found := want[c.bucket], t.sums[c.bucket]
	if found == nil {
		return nil // no rows; law L3 has said so
	}
	var differ []string
	for i, col := range t.comparable() {
		if expected[i] != found[i] {
			differ = append(differ, col.Name)
		}
	}
	if len(differ) == 0 {
		return nil
	}
	return c.narrow(ctx, t, parts, differ)
}

// comparable are the columns of which sums are made.
func (t *contentTable) comparable() []contentColumn {
	return slices.DeleteFunc(slices.Clone(t.columns), func(c contentColumn) bool { return c.except != "" })
}

// note files differences of a column under what they mean.
func (c *contents) note(ctx context.Context, t *contentTable, name string, parts []*part, offsets waybill.OffsetSet) error {
	for _, p := range parts {
		rows := offsets.Intersect(p.rows)
		if rows.Empty() {
			continue
		}
		k, byDefault := claim{column: name}, p.asked[name].Intersect(rows)
		if !slices.Contains(p.names, name) {
			k.sort, k.detail = filled, p.plan.ID().String()
			byDefault = waybill.OffsetSet{}
		}
		if err := c.noteAs(ctx, t, k, rows.Minus(byDefault), p); err != nil {
			return err
		}
		k.sort = asked
		if err := c.noteAs(ctx, t, k, byDefault, p); err != nil {
			return err
		}
	}
	return nil
}

func (c *contents) noteAs(ctx context.Context, t *contentTable, k claim, rows waybill.OffsetSet, p *part) error {
	if rows.Empty() {
		return nil
	}
	d := t.told[k]
	if d == nil {
		d = &difference{causes: causes{}}
		t.told[k] = d
	}
	d.offsets = d.offsets.Union(rows)
	if err := c.updates(ctx, t, k.column, rows, d.causes); err != nil || len(d.examples) >= shownExamples {
		return err
	}
	examples, err := c.values(ctx, t, k.column, rows, shownExamples-len(d.examples))
	for i := range examples {
		if e := &examples[i]; p.redacted.Contains(e.Offset) {
			e.Found, e.Withheld = "", true
		}
	}
	d.examples = append(d.examples, examples...)
	return err
}

// updates are the UPDATEs of a column whose condition rows meet, as their records give them.
func (c *contents) updates(ctx context.Context, t *contentTable, name string, rows waybill.OffsetSet, into causes) error {
	if t.mutations == nil {
		all, err := c.a.mutationsOf(ctx, t.schema)
		if err != nil {
			return err
		}
		t.mutations = append([]mutation{}, all...)
	}
	for _, m := range t.mutations {
		if !slices.Contains(m.assigns, name) {
			continue
		}
		met, err := c.meeting(ctx, t, "("+m.condition+")")
		if err != nil && (waybill.ClassOf(err).Heals() || ctx.Err() != nil) {
			return err
		}
		into.because(Cause{Kind: CauseMutation, At: m.at, Message: fmt.Sprintf("an UPDATE changed %s in rows like these of %s: WHERE %s (%s)", name, t.name, m.condition, m.id)}, met.Intersect(rows))
	}
	return nil
}

// end ends a partition: what has been found is put into the report.
func (c *contents) end(ctx context.Context) error {
	if err := c.compare(ctx); err != nil {
		return err
	}
	c.bucket = -1
	for _, t := range c.tables {
		for _, k := range slices.SortedFunc(maps.Keys(t.told), func(x, y claim) int {
			return cmp.Or(cmp.Compare(x.column, y.column), cmp.Compare(x.sort, y.sort), cmp.Compare(x.detail, y.detail))
		}) {
			c.tell(t, k, t.told[k])
		}
		clear(t.told)
	}
	for _, why := range slices.Sorted(maps.Keys(c.lost)) {
		c.a.unknown("L5", "", "%d rows of %s (offsets %s) %s", c.lost[why].Len(), c.tp, shortly(c.lost[why]), why)
	}
	clear(c.lost)
	return nil
}

// tell puts a difference into the report: as a violation, if it cannot be right.
func (c *contents) tell(t *contentTable, k claim, d *difference) {
	n := d.offsets.Len()
	if k.sort == wrong {
		c.a.report.Violations = append(c.a.report.Violations, Violation{Law: "L5", Kind: KindContent, Topic: c.tp.Topic, Partition: c.tp.Partition, Table: t.name, Column: k.column, Count: n,
			Offsets: rangesOf(d.offsets), Exact: true, Examples: d.examples, Causes: d.causes.sorted(),
			Message: fmt.Sprintf("column %s of %s has other values in %d rows of %s than their records give", k.column, t.name, n, c.tp)})
		return
	}
	u := Unknown{Law: "L5", Topic: c.tp.Topic, Table: t.name, Column: k.column, Offsets: rangesOf(d.offsets), Examples: d.examples, Causes: d.causes.sorted()}
	in := t.column(k.column)
	by := strings.TrimSpace(in.DefaultKind + " " + in.DefaultExpr)
	if by == "" {
		by = "the type's zero value"
	}
	switch k.sort {
	case filled:
		u.Message = fmt.Sprintf("column %s of %s, which plan %s did not fill, has other values in %d rows of %s (offsets %s) than the server gives it now (%s)", k.column, t.name, k.detail, n, c.tp, shortly(d.offsets), by)
		u.Action = "that is right if the expression has changed or is no function of the row, or if the values were filled in since (`waybill schema promote`, an UPDATE)"
	default:
		u.Message = fmt.Sprintf("column %s of %s has other values in %d rows of %s (offsets %s), whose records leave it to the server, than the server gives it now (%s)", k.column, t.name, n, c.tp, shortly(d.offsets), by)
		u.Action = "that is right if the expression has changed, or is no function of the row"
	}
	c.a.report.Unknown = append(c.a.report.Unknown, u)
}

func (t *contentTable) column(name string) contract.TableColumn {
	for _, c := range t.columns {
		if c.Name == name {
			return c.TableColumn
		}
	}
	return contract.TableColumn{}
}

// summary says what was compared, and which columns were not.
func (c *contents) summary() {
	for _, t := range c.tables {
		sum := Content{Table: t.name, Rows: t.compared, Columns: []string{}}
		for _, col := range t.columns {
			if col.except == "" {
				sum.Columns = append(sum.Columns, col.Name)
			} else if t.except == "" {
				c.a.report.Unknown = append(c.a.report.Unknown, Unknown{Law: "L5", Topic: c.a.report.Topic, Table: t.name, Column: col.Name,
					Message: fmt.Sprintf("column %s of %s was not compared: %s", col.Name, t.name, col.except)})
			}
		}
		c.a.report.Contents = append(c.a.report.Contents, sum)
	}
}

// shortly is a set for a message.
func shortly(set waybill.OffsetSet) string {
	const most = 5
	spans := set.Spans()
	var out []string
	for _, sp := range spans[:min(len(spans), most)] {
		out = append(out, Range{sp.First, sp.Next}.String())
	}
	if n := len(spans) - most; n > 0 {
		out = append(out, fmt.Sprintf("and %d more ranges", n))
	}
	return strings.Join(out, ", ")
}
