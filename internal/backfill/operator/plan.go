package operator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
)

// Refusal is why a backfill cannot be, and what mends that.
type Refusal struct {
	Message   string `json:"message"`
	Hint      string `json:"hint,omitempty"`
	Statement string `json:"statement,omitempty"`
}

// Fate is what becomes of something that depends on the table.
type Fate string

// Fates.
const (
	FateLeft    Fate = "left alone"
	FateFollows Fate = "follows the name"
	FateRefused Fate = "refused"
	FateRebuilt Fate = "made anew"
)

// Dependent is something that depends on the table.
type Dependent struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	Fate Fate   `json:"fate"`
	Why  string `json:"why"`
}

// PlanPartition is a partition of the topic.
type PlanPartition struct {
	Partition int32 `json:"partition"`
	Begin     int64 `json:"begin"`   // the first offset that the topic retains, or the archive before it
	End       int64 `json:"end"`     // where it ends
	Records   int64 `json:"records"` // offsets of the scope, up to there
	Spans     int   `json:"spans"`
	// Unreachable are rows of the table that are of the scope, and whose records the topic no longer has.
	Unreachable int64 `json:"unreachable_rows,omitempty"`
}

// Report is what a backfill would be.
type Report struct {
	Pipeline   string          `json:"pipeline"`
	Job        string          `json:"job,omitempty"` // it is on record; empty: refused
	Target     string          `json:"target"`
	Topic      string          `json:"topic"`
	Scope      string          `json:"scope"`
	Plan       string          `json:"plan"`
	Epoch      waybill.Epoch   `json:"epoch"`
	Records    int64           `json:"records"`      // offsets to be read, holes included
	Bytes      int64           `json:"bytes"`        // of them, estimated
	Archived   int64           `json:"from_archive"` // of the records: those that the topic no longer has
	Rows       int64           `json:"rows"`         // of the table, to be replaced
	AllRows    int64           `json:"all_rows"`
	Partitions []PlanPartition `json:"partitions"`
	Touched    []string        `json:"table_partitions"` // ids of those with rows to be replaced
	Untouched  int             `json:"table_partitions_untouched"`
	Statements []string        `json:"statements"`
	Dependents []Dependent     `json:"dependents"`
	Disk       int64           `json:"disk_bytes"` // needed while both tables are there
	Free       int64           `json:"disk_free_bytes"`
	Rate       int64           `json:"records_per_second"`
	Seconds    int64           `json:"seconds"`
	Refusals   []Refusal       `json:"refusals"`
	Notes      []string        `json:"notes"`

	rebuilt []backfill.View
}

// Planner finds out what a backfill would be. It changes nothing of the user's.
type Planner struct {
	Resolver
	Server *Server
	Views  backfill.Views
	// KeepUnreachable: rows whose records the topic no longer has stay as they are.
	KeepUnreachable bool
	Rate            int64 // records a second
}

// Survey says what a backfill of the scope would be. offsets is what it is about.
func (p *Planner) Survey(ctx context.Context, s backfill.Scope) (r *Report, offsets map[int32]waybill.OffsetSet, open bool, err error) {
	c := p.Cfg.Sink.ClickHouse
	r = &Report{Pipeline: p.Cfg.Name, Target: c.Database + "." + c.Table, Topic: p.topic(), Scope: s.Text, Epoch: p.Epoch, Rate: p.Rate,
		Refusals: []Refusal{}, Notes: []string{}, Dependents: []Dependent{}, Touched: []string{}, Statements: []string{}, Partitions: []PlanPartition{}}
	if p.Plan != nil {
		r.Plan = p.Plan.ID().String()
	}
	if err := p.possible(ctx, r); err != nil || len(r.Refusals) > 0 {
		return r, nil, false, err
	}
	topic, err := p.Kafka.Describe(ctx)
	if err != nil {
		return r, nil, false, err
	}
	retained := slices.Clone(topic.Partitions)
	if err := withArchive(ctx, &topic, p.topic(), p.Archive); err != nil {
		return r, nil, false, err
	}
	if offsets, open, err = p.Resolve(ctx, s); err != nil {
		if !waybill.ClassOf(err).NeedsPerson() {
			return r, nil, false, err
		}
		r.refuse(err)
		return r, nil, false, nil
	}
	begins := backfill.Positions{}
	for _, part := range topic.Partitions {
		begins[part.Partition] = part.LogStart
	}
	left, gone, err := p.Cut(ctx, offsets, begins)
	if err != nil {
		return r, nil, false, err
	}
	p.partitions(r, topic, left, gone)
	r.fromArchive(retained, left)
	if len(left) == 0 {
		r.Refusals = append(r.Refusals, Refusal{Message: "the topic holds nothing of the scope any more"})
		return r, nil, false, nil
	}
	if err := p.read(ctx, r, left); err != nil {
		return r, nil, false, err
	}
	if err := p.dependents(ctx, r); err != nil {
		return r, nil, false, err
	}
	if r.Disk > r.Free && r.Free > 0 {
		r.Refusals = append(r.Refusals, Refusal{Message: fmt.Sprintf("about %d bytes of disk are needed while both tables are there, and %d are free", r.Disk, r.Free)})
	}
	return r, left, open, nil
}

// fromArchive says how much of the scope is read from the archive.
func (r *Report) fromArchive(retained []kafka.PartitionInfo, left map[int32]waybill.OffsetSet) {
	for _, part := range retained {
		r.Archived += left[part.Partition].Within(waybill.Span{First: 0, Next: part.LogStart}).Len()
	}
	if r.Archived > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%d offsets of the scope are no longer in the topic: they are read from the archive", r.Archived))
	}
}

func (r *Report) refuse(err error) {
	out := Refusal{Message: err.Error()}
	if e := (*waybill.Error)(nil); errors.As(err, &e) {
		out.Message, out.Hint = e.Err.Error(), e.Hint
	}
	r.Refusals = append(r.Refusals, out)
}

// possible says why there can be no backfill of the pipeline at all.
func (p *Planner) possible(ctx context.Context, r *Report) error {
	c := p.Cfg.Sink.ClickHouse
	table := clickhouse.Table(c.Database, c.Table)
	if len(p.Cfg.Routes) > 0 {
		r.Refusals = append(r.Refusals, Refusal{Message: fmt.Sprintf("the pipeline has %d routes: their tables would have to change places at once, which is not built yet", len(p.Cfg.Routes)),
			Hint: "for few rows `waybill repair run --offsets` makes them anew in place; for all of them run a pipeline of another name into new tables, and exchange them yourself"})
	}
	if p.Cfg.Delivery != config.ExactlyOnce {
		r.Refusals = append(r.Refusals, Refusal{Message: "the pipeline is at-least-once: nothing says which rows are whose", Hint: "set delivery: exactly-once; `waybill plan` says what the table lacks for that"})
	}
	if c.Cluster != "" {
		r.Refusals = append(r.Refusals, Refusal{Message: "the table is on a cluster: tables change places on one server at a time, which is not built yet"})
	}
	if p.Table.UUID == "00000000-0000-0000-0000-000000000000" || p.Table.UUID == "" {
		r.Refusals = append(r.Refusals, Refusal{Message: "database " + c.Database + " is not Atomic: its tables have no UUIDs and cannot change places", Hint: "move the table into a database with ENGINE = Atomic"})
	}
	if strings.HasPrefix(p.Table.Engine, "Replicated") || strings.HasPrefix(p.Table.Engine, "Shared") {
		r.Refusals = append(r.Refusals, Refusal{Message: "the table is replicated: its partitions would have to be attached on one replica and awaited on all, which is not built yet"})
	}
	if c.Lineage.In(p.Table).Epoch == "" {
		r.Refusals = append(r.Refusals, Refusal{Message: fmt.Sprintf("the table has no column %s, by which new rows are told from old ones", c.Lineage.Epoch),
			Statement: fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s UInt32", table, clickhouse.Ident(c.Lineage.Epoch))})
	}
	if len(r.Refusals) > 0 {
		return nil
	}
	others, err := p.Server.CountForeign(ctx, c.Table, p.topic())
	if err != nil {
		return err
	}
	if others > 0 {
		r.Refusals = append(r.Refusals, Refusal{Message: fmt.Sprintf("%d rows of the table are not of topic %s: what others write into it while the backfill runs would be lost", others, p.topic()),
			Hint: "give each pipeline a table of its own"})
	}
	return nil
}

func (p *Planner) partitions(r *Report, topic kafka.TopicInfo, left map[int32]waybill.OffsetSet, gone map[int32]int64) {
	unreachable := int64(0)
	for _, part := range topic.Partitions {
		set := left[part.Partition].Within(waybill.Span{First: part.LogStart, Next: part.End})
		r.Partitions = append(r.Partitions, PlanPartition{part.Partition, part.LogStart, part.End, set.Len(), len(set.Spans()), gone[part.Partition]})
		r.Records += set.Len()
		unreachable += gone[part.Partition]
	}
	if p.Rate > 0 {
		r.Seconds = (r.Records + p.Rate - 1) / p.Rate
	}
	switch {
	case unreachable > 0 && p.KeepUnreachable:
		r.Notes = append(r.Notes, fmt.Sprintf("%d rows of the scope are of records that the topic no longer has: they are out of the scope, and stay as they are", unreachable))
	case unreachable > 0:
		r.Refusals = append(r.Refusals, Refusal{Message: fmt.Sprintf("%d rows of the scope are of records that the topic no longer has", unreachable), Hint: "say --keep-unreachable to leave those rows as they are"})
	}
}

// read fills in what is known of the table.
func (p *Planner) read(ctx context.Context, r *Report, left map[int32]waybill.OffsetSet) error {
	c := p.Cfg.Sink.ClickHouse
	t := p.Cfg.Sink.ClickHouse.Table
	sizes := map[string][2]int64{}
	err := p.Client.Texts(ctx, fmt.Sprintf("SELECT partition_id AS p, toString(sum(rows)) AS r, toString(sum(bytes_on_disk)) AS b FROM system.parts WHERE active AND database = %s AND table = %s GROUP BY p",
		clickhouse.Literal(c.Database), clickhouse.Literal(t)), []string{"p", "r", "b"}, func(row []string) error {
		rows, _ := strconv.ParseInt(row[1], 10, 64)  // counts
		bytes, _ := strconv.ParseInt(row[2], 10, 64) // likewise
		sizes[strings.Clone(row[0])] = [2]int64{rows, bytes}
		return nil
	})
	if err != nil {
		return err
	}
	var bytes int64
	for _, s := range sizes {
		r.AllRows, bytes = r.AllRows+s[0], bytes+s[1]
	}
	touched, err := p.touched(ctx, r, left)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(sizes)) {
		if _, ok := touched[id]; !ok {
			r.Untouched++ // attached as it is: no bytes of its own
			continue
		}
		r.Touched = append(r.Touched, id)
		r.Rows += touched[id]
		r.Disk += sizes[id][1]
	}
	if len(touched) == 0 && r.AllRows > 0 {
		r.Disk = bytes / r.AllRows * r.Records // there are no rows yet of what is to be made
	}
	if r.Free, err = p.Server.number(ctx, "SELECT toString(max(free_space)) AS v FROM system.disks"); err != nil {
		return err
	}
	epoch := p.Epoch + 1
	j := backfill.Job{Table: t, Leg: backfill.Leg{Epoch: epoch}}
	work := clickhouse.Table(c.Database, j.WorkName())
	r.Statements = []string{
		fmt.Sprintf("CREATE TABLE %s AS %s", work, clickhouse.Table(c.Database, t)),
		fmt.Sprintf("ALTER TABLE %s ADD %s", work, clickhouse.FenceConstraintOn(c.Lineage.Epoch, epoch)),
		fmt.Sprintf("EXCHANGE TABLES %s AND %s", clickhouse.Table(c.Database, t), work),
	}
	return p.bytes(ctx, r, left)
}

// touched is how many rows of the scope each table partition has.
func (p *Planner) touched(ctx context.Context, r *Report, left map[int32]waybill.OffsetSet) (map[string]int64, error) {
	out := map[string]int64{}
	c := p.Cfg.Sink.ClickHouse
	l := c.Lineage
	spans := 0
	for _, set := range left {
		spans += len(set.Spans())
	}
	if spans == 0 {
		return out, nil
	}
	var firsts []string
	for _, part := range slices.Sorted(maps.Keys(left)) {
		for _, sp := range left[part].Spans() {
			firsts = append(firsts, fmt.Sprintf("(%d, %d, %d)", part, sp.First, sp.Next))
		}
	}
	if len(firsts) > maxNamedSpans {
		r.Notes = append(r.Notes, fmt.Sprintf("the scope has %d spans: which table partitions they touch is found out by run", len(firsts)))
		return out, nil
	}
	err := p.Client.Texts(ctx, fmt.Sprintf(`
SELECT toString(t._partition_id) AS p, toString(count()) AS n FROM %s AS t ASOF LEFT JOIN (
    SELECT toInt32(s.1) AS waybill_p, toInt64(s.2) AS waybill_first, toInt64(s.3) AS waybill_next FROM (SELECT arrayJoin([%s]) AS s)
) AS s ON toInt32(t.%s) = s.waybill_p AND toInt64(t.%s) >= s.waybill_first
WHERE t.%s = %s AND toInt64(t.%s) < s.waybill_next GROUP BY p%s`,
		clickhouse.Table(c.Database, c.Table), strings.Join(firsts, ", "), clickhouse.Ident(l.Partition), clickhouse.Ident(l.Offset),
		clickhouse.Ident(l.Topic), clickhouse.Literal(p.topic()), clickhouse.Ident(l.Offset), plainJoin), []string{"p", "n"}, func(row []string) error {
		n, err := strconv.ParseInt(row[1], 10, 64)
		out[strings.Clone(row[0])] = n
		return err
	})
	return out, err
}

// maxNamedSpans keeps the statement small enough to parse.
const maxNamedSpans = 5000

// sampleRecords is how many records are read to know how large one is.
const sampleRecords = 200

// bytes estimates how much is to be read, from a few records of each partition.
func (p *Planner) bytes(ctx context.Context, r *Report, left map[int32]waybill.OffsetSet) error {
	for _, part := range slices.Sorted(maps.Keys(left)) {
		i := slices.IndexFunc(r.Partitions, func(x PlanPartition) bool { return x.Partition == part })
		spans := left[part].Spans()
		if i < 0 || len(spans) == 0 || r.Partitions[i].Records == 0 {
			continue
		}
		var n, bytes int64
		sp := waybill.Span{First: spans[0].First, Next: min(spans[0].Next, spans[0].First+sampleRecords)}
		_, err := p.Kafka.ReadSpan(ctx, waybill.TopicPartition{Topic: p.topic(), Partition: part}, sp, func(rec *waybill.Record) error {
			n++
			bytes += int64(len(rec.Key) + len(rec.Value))
			return nil
		})
		if err != nil {
			return err
		}
		if n > 0 {
			r.Bytes += bytes * r.Partitions[i].Records / n
		}
	}
	return nil
}

// dependents says what becomes of what depends on the table.
func (p *Planner) dependents(ctx context.Context, r *Report) error {
	c := p.Cfg.Sink.ClickHouse
	if p.Views == backfill.ViewsRebuild {
		if err := p.rebuilds(ctx, r); err != nil {
			return err
		}
	}
	word := wholeName(c.Database, c.Table)
	return p.Client.Texts(ctx, fmt.Sprintf(`
SELECT concat(t.database, '.', t.name) AS name, t.engine AS engine, toString(position(t.create_table_query, ' REFRESH ') > 0) AS refreshed
FROM system.tables AS t
WHERE t.engine IN ('View', 'MaterializedView', 'Dictionary', 'LiveView', 'WindowView', 'Buffer', 'Distributed', 'Merge') AND match(t.create_table_query, %s)
  AND NOT (t.database = %s AND t.name = %s)
ORDER BY name`, clickhouse.Literal(word), clickhouse.Literal(c.Database), clickhouse.Literal(c.Table)), []string{"name", "engine", "refreshed"}, func(row []string) error {
		d := Dependent{Name: strings.Clone(row[0]), Kind: strings.Clone(row[1])}
		switch {
		case d.Kind == "MaterializedView" && row[2] == "1":
			d.Kind, d.Fate, d.Why = "refreshable view", FateFollows, "it reads the new content at its next refresh"
		case d.Kind == "MaterializedView" && slices.ContainsFunc(r.Dependents, func(x Dependent) bool { return x.Name == d.Name }):
			return nil // it is made anew, or it has been said why not
		case d.Kind == "MaterializedView" && p.Views == backfill.ViewsLeave:
			d.Kind, d.Fate, d.Why = "materialized view", FateLeft, "what it has made of the old rows stays, as --views leave says; new rows go on to it"
		case d.Kind == "MaterializedView":
			d.Kind, d.Fate, d.Why = "materialized view", FateRefused, "what it has made of the old rows would stay"
			r.Refusals = append(r.Refusals, Refusal{Message: fmt.Sprintf("materialized view %s holds what it has made of the old rows, and is not made anew", d.Name),
				Hint: "say --views rebuild to have it made anew, or --views leave to leave it as it is, and mend it yourself afterwards: waybill.promotions says what has changed"})
		case d.Kind == "Dictionary":
			d.Kind, d.Fate, d.Why = "dictionary", FateFollows, "it reads the new content when it is loaded next"
		default:
			d.Kind, d.Fate, d.Why = strings.ToLower(d.Kind), FateFollows, "it reads whatever the name stands for"
		}
		r.Dependents = append(r.Dependents, d)
		return nil
	})
}

// rebuilds says which views are made anew, and of each of the others why it can't be.
func (p *Planner) rebuilds(ctx context.Context, r *Report) error {
	c := p.Cfg.Sink.ClickHouse
	views, err := p.Server.Feeds(ctx, c.Table)
	if err != nil || len(views) == 0 {
		return err
	}
	_, info, err := p.Client.Describe(ctx, c.Database, c.Table, c.Lineage)
	if err != nil {
		return err
	}
	exact, err := p.Server.Exact(ctx, c.Table)
	if err != nil {
		return err
	}
	for _, v := range views {
		d := Dependent{Name: v.Database + "." + v.Name, Kind: "materialized view", Fate: FateRebuilt,
			Why: fmt.Sprintf("its query makes %s.%s anew of all rows of the new table; what that holds of rows that the table has lost since, or never had, is not in the new one", c.Database, v.Target)}
		why := "the table has a TTL: what the view has made of rows that are gone could not be made again"
		if exact {
			if why, err = p.Server.rebuildable(ctx, v, &info); err != nil {
				return err
			}
		}
		if why != "" {
			d.Fate, d.Why = FateRefused, why
			r.Refusals = append(r.Refusals, Refusal{Message: fmt.Sprintf("materialized view %s can't be made anew: %s", d.Name, why),
				Hint: "drop it, or say --views leave to leave all of them as they are, and mend them yourself afterwards: waybill.promotions says what has changed"})
		}
		r.Dependents = append(r.Dependents, d)
		if err := p.rebuildCost(ctx, r, v); err != nil {
			return err
		}
	}
	r.rebuilt = views
	return nil
}

// rebuildCost adds what a view's second table needs.
func (p *Planner) rebuildCost(ctx context.Context, r *Report, v backfill.View) error {
	c := p.Cfg.Sink.ClickHouse
	bytes, err := p.Server.number(ctx, fmt.Sprintf("SELECT toString(sum(bytes_on_disk)) AS v FROM system.parts WHERE active AND database = %s AND table = %s", clickhouse.Literal(c.Database), clickhouse.Literal(v.Target)))
	if err != nil {
		return err
	}
	r.Disk += bytes
	j := backfill.Job{Rebuilt: []backfill.View{v}, Leg: backfill.Leg{Epoch: p.Epoch + 1}}
	made := clickhouse.Table(c.Database, strings.TrimSuffix(j.RebuiltName(0, 0), "_0"))
	r.Statements = append(r.Statements, fmt.Sprintf("CREATE TABLE %s AS %s", made, clickhouse.Table(c.Database, v.Target)),
		fmt.Sprintf("EXCHANGE TABLES %s AND %s", clickhouse.Table(c.Database, v.Target), made))
	return nil
}

// wholeName is a pattern of the table's name as the server writes it into statements: with its database.
func wholeName(database, table string) string {
	return "(^|[^A-Za-z0-9_`])`?" + regexp.QuoteMeta(database) + "`?\\.`?" + regexp.QuoteMeta(table) + "`?($|[^A-Za-z0-9_`])"
}

// Record puts a plan on record, as the pipeline's next job. One that was planned before, and never run, is given up.
func Record(ctx context.Context, o *Operator, store *ledger.Store, j backfill.Job, offsets map[int32]waybill.OffsetSet) (string, error) {
	all, err := o.Journal.Jobs(ctx)
	if err != nil {
		return "", err
	}
	for i := range all {
		switch {
		case all[i].State == backfill.Planned:
			if err := o.Cancel(ctx, all[i].ID, "planned anew"); err != nil {
				return "", err
			}
		case !all[i].State.Over():
			return "", &waybill.Error{Op: "backfill", Pipeline: j.Pipeline, Class: waybill.ClassConfig, Hint: "finish it, or `waybill backfill cancel` it",
				Err: fmt.Errorf("backfill %s is %s: a pipeline has one at a time", all[i].ID, all[i].State)}
		}
	}
	if all, err = o.Journal.Jobs(ctx); err != nil {
		return "", err
	}
	j.Sequence = 1
	if len(all) > 0 {
		j.Sequence = all[0].Sequence + 1
	}
	j.ID, j.State, j.At = strconv.Itoa(len(all)+1), backfill.Planned, o.Now()
	j.Planned = j.At
	won, err := o.Journal.Add(ctx, &j)
	switch {
	case err != nil:
		return "", err
	case !won:
		return "", &waybill.Error{Op: "backfill", Pipeline: j.Pipeline, Class: waybill.ClassRetryable, Hint: "run it again", Err: ErrTaken}
	}
	o.Passed("planned")
	// Nobody else writes the scope of this job. A job whose scope is not there in full cannot be run.
	return j.ID, store.PutJobScope(ctx, j.Pipeline, j.ID, offsets)
}

// Took is how long something of so many records takes at the rate.
func (r *Report) Took() time.Duration { return time.Duration(r.Seconds) * time.Second }
