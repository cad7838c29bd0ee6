package cli

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/adopt"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	decode "github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/infer"
)

// adoption is what is known of a group that is taken over, and of its table.
type adoption struct {
	Group      string   `json:"group"`
	Members    []string `json:"members"`
	Partitions int      `json:"partitions"` // on which it has a position
	Lag        int64    `json:"lag"`        // on those
	// Keys are the columns that the comparison went by; without any there was none.
	Keys      []string         `json:"keys"`
	Agreement *adopt.Agreement `json:"agreement,omitempty"`
	Starts    []adopt.Start    `json:"starts"`
	// Unsure is what is left to the user.
	Unsure []string `json:"-"`
}

// takeOver looks at the group, and compares its table with the topic if there are keys for it.
func (o *initOptions) takeOver(ctx context.Context, s Streams, cfg *config.Pipeline, proposal *infer.Proposal, schema *contract.TableSchema) (*adoption, error) {
	g, err := engine.ReadOtherGroup(ctx, cfg, o.adopt)
	if err != nil {
		return nil, err
	}
	if len(g.Positions) == 0 {
		return nil, &exitError{code: ExitFindings, err: &waybill.Error{Op: "init", Class: waybill.ClassConfig, Err: fmt.Errorf("group %s has no position on topic %s", o.adopt, o.topic),
			Hint: "look whether the consumer commits to Kafka at all, and under which group.id; without --adopt-group the pipeline begins at the topic's beginning, or where source.kafka.start says"}}
	}
	a := &adoption{Group: o.adopt, Partitions: len(g.Positions), Members: g.Members, Lag: g.Lag(), Keys: o.keys}
	if a.Members == nil {
		a.Members = []string{}
	}
	unsure := func(format string, args ...any) { a.Unsure = append(a.Unsure, fmt.Sprintf(format, args...)) }
	if len(g.Members) > 0 {
		unsure("group %s is in use by %s: stop the consumer before `waybill run`, and run init again then, as its position moves on", o.adopt, strings.Join(g.Members, ", "))
	}
	for _, p := range slices.Sorted(maps.Keys(g.Log)) {
		log := g.Log[p]
		at, has := g.Positions[p]
		switch {
		case !has && log.Next > log.First:
			unsure("the group has no position on partition %d, which has %d offsets: it is read from its beginning, or from behind what the table has of it", p, log.Next-log.First)
		case has && at < log.First:
			unsure("the group stands at %d on partition %d, but the topic begins at %d there: %d offsets are gone before anybody read them", at, p, log.First, log.First-at)
		}
	}
	for p, log := range g.Log {
		if _, has := g.Positions[p]; !has {
			g.Positions[p] = log.First
		}
	}
	switch {
	case len(o.keys) == 0:
		for _, p := range slices.Sorted(maps.Keys(g.Positions)) {
			a.Starts = append(a.Starts, adopt.Start{Partition: p, Position: g.Positions[p], Offset: g.Positions[p]})
		}
		unsure("without --key it cannot be told whether the table agrees with the topic. The pipeline begins at the group's position: rows that the consumer wrote without committing would be written again")
		return a, nil
	case schema == nil:
		return nil, usage(fmt.Errorf("--key compares the topic with a table, and there is no %s: name it with --table", cfg.Sink.ClickHouse.Place()))
	}
	if err := a.compare(ctx, s, cfg, g, proposal, *schema, o.records); err != nil {
		return nil, err
	}
	for _, start := range a.Starts {
		if start.Repeated > 0 {
			unsure("partition %d: %d events after offset %d have rows already, behind one that has none: their rows would be there twice. Delete them, or begin later and `waybill repair` what is missing", start.Partition, start.Repeated, start.Offset)
		}
		if start.Unread {
			unsure("partition %d: all events that were read after the group's position have rows; there may be more of them: read more with --records", start.Partition)
		}
	}
	return a, nil
}

// compare reads the events around the group's position.
func (a *adoption) compare(ctx context.Context, s Streams, cfg *config.Pipeline, g engine.OtherGroup, proposal *infer.Proposal, schema contract.TableSchema, records int64) error {
	c := proposal.Contract()
	var columns []clickhouse.KeyColumn
	for _, name := range a.Keys {
		i := slices.IndexFunc(c.Columns, func(col contract.Column) bool { return col.Name == name })
		if i < 0 {
			return usage(fmt.Errorf("--key %s: no field of the events goes into such a column; there are %s", name, strings.Join(columnNames(c), ", ")))
		}
		if strings.Contains(c.Columns[i].Type, "Float") || strings.Contains(c.Columns[i].Type, "(") && !plainKey(c.Columns[i].Type) {
			return usage(fmt.Errorf("--key %s: rows cannot be told apart by a column of type %s; name one of numbers, texts, UUIDs or times", name, c.Columns[i].Type))
		}
		c.Columns[i].OnInvalid = contract.DeadLetter // a value that the column does not take is no key
		columns = append(columns, clickhouse.KeyColumn{Name: name, Type: c.Columns[i].Type})
	}
	plan, err := compileFor(c, &schema, cfg)
	if err != nil {
		return err
	}
	comparer, err := adopt.New(plan, a.Keys, g.Positions)
	if err != nil {
		return err
	}
	before, after := map[int32]waybill.Span{}, map[int32]waybill.Span{}
	for p, at := range g.Positions {
		log := g.Log[p]
		before[p] = waybill.Span{First: log.First, Next: max(log.First, min(at, log.Next))}
		if len(g.Members) == 0 { // of what a consumer is at, nothing can be said
			after[p] = waybill.Span{First: max(at, log.First), Next: max(at, log.Next)}
		}
	}
	p := progress{to: s, of: 2 * records, next: time.Now().Add(progressEvery)}
	for _, size := range []engine.SampleSize{{Records: records, Within: before}, {Records: records, FromStart: true, Within: after}} {
		if _, err := engine.ReadSample(ctx, cfg, size, func(r *waybill.Record) error {
			comparer.Take(r)
			p.step(time.Now())
			return nil
		}); err != nil {
			return err
		}
	}
	client, err := serverOf(ctx, cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	a.Agreement, a.Starts, err = comparer.Compare(ctx, func(ctx context.Context, keys [][]string) ([]int64, error) {
		return client.CountKeys(ctx, cfg.Sink.ClickHouse.Database, cfg.Sink.ClickHouse.Table, columns, keys)
	})
	return err
}

// plainKey: types with arguments that tell rows apart.
func plainKey(typ string) bool {
	for _, not := range []string{"Array", "Map", "Tuple", "JSON", "Variant", "Nested"} {
		if strings.Contains(typ, not) {
			return false
		}
	}
	return true
}

func columnNames(c contract.Contract) (names []string) {
	for i := range c.Columns {
		names = append(names, c.Columns[i].Name)
	}
	return names
}

// begin is the group for the pipeline and where it starts. A pipeline that has to pass rows which are there already needs a group of its own, as a position of
// the other's is not moved.
func (a *adoption) begin(group, own string) (name, start string) {
	var offsets []string
	ahead := false
	for _, s := range a.Starts {
		offsets = append(offsets, fmt.Sprintf("%d: %d", s.Partition, s.Offset))
		ahead = ahead || s.Offset > s.Position
	}
	if !ahead {
		return group, ""
	}
	if own == group {
		own += "-waybill"
	}
	return own, "{offsets: {" + strings.Join(offsets, ", ") + "}}  # behind what " + group + " has written without committing"
}

func (a *adoption) print(b *strings.Builder) {
	fmt.Fprintf(b, "\ngroup %s has positions on partitions: %d; it lags %s offsets behind\n", a.Group, a.Partitions, count(a.Lag))
	g := a.Agreement
	if g == nil {
		return
	}
	fmt.Fprintf(b, "of the last %s events before it, by %s:\n", count(g.Events), strings.Join(a.Keys, ", "))
	if g.Exact() {
		b.WriteString("  the table has each of them, as often as the topic\n")
	}
	for _, line := range []struct {
		n    int64
		what string
	}{{g.Missing, "are missing in the table"}, {g.Fewer, "more are missing, of keys that came several times"}, {g.More, "rows are there beside those: doubled, or of events before these"},
		{g.NoKey, "have no key (NULL) and were not compared"}, {g.NoRow, "records would be no rows here and were not compared"}} {
		if line.n > 0 {
			fmt.Fprintf(b, "  %s %s\n", count(line.n), line.what)
		}
	}
	for _, e := range g.Examples {
		fmt.Fprintf(b, "    %s: %d in the topic, %d in the table; first at partition %d, offset %d\n", e.Key, e.Events, e.Rows, e.Partition, e.Offset)
	}
	for _, s := range a.Starts {
		if s.Offset > s.Position {
			fmt.Fprintf(b, "partition %d: offsets %d to %d are written already but not committed; the pipeline begins at %d\n", s.Partition, s.Position, s.Offset-1, s.Offset)
		}
	}
}

// tableFor is the table that a proposal is for: the one that is there, with the columns that check adds to it, or the one that would be made.
func tableFor(c contract.Contract, schema *contract.TableSchema, cfg *config.Pipeline) contract.TableSchema {
	sink := cfg.Sink.ClickHouse
	promised := contract.Promised(c, sink.Lineage, sink.Database, sink.Table)
	if schema == nil {
		return promised
	}
	table, l := *schema, sink.Lineage
	table.Columns = slices.Clone(table.Columns)
	for _, col := range promised.Columns {
		ours := slices.Contains([]string{l.Topic, l.Partition, l.Offset, l.Epoch, c.RescueColumn}, col.Name)
		if ours && !slices.ContainsFunc(table.Columns, func(has contract.TableColumn) bool { return has.Name == col.Name }) {
			table.Columns = append(table.Columns, col)
		}
	}
	return table
}

func compileFor(c contract.Contract, schema *contract.TableSchema, cfg *config.Pipeline) (*contract.Plan, error) {
	table := tableFor(c, schema, cfg)
	return contract.Compile(c, table, cfg.Sink.ClickHouse.Lineage.In(table), decode.Version)
}

// serverOf is a connection that needs no database.
func serverOf(ctx context.Context, cfg *config.Pipeline) (*clickhouse.Client, error) {
	to := engine.Server(cfg.Sink.ClickHouse)
	to.Database = ""
	return clickhouse.Open(ctx, to, clickhouse.Deps{Logger: slog.New(slog.DiscardHandler)})
}
