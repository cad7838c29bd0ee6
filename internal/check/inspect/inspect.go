// Package inspect looks at what a pipeline would meet, for package check to judge: it connects to brokers and server and reads. Nothing that it
// sends changes anything.
package inspect

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/waybill-data/waybill/internal/check"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
)

// Look finds the facts. It goes on after each fault, as far as that is possible.
func Look(ctx context.Context, cfg *config.Pipeline, now time.Time) *check.Facts {
	f := &check.Facts{Pipeline: cfg, Demands: engine.Demands(), Now: now}
	var wg sync.WaitGroup
	wg.Go(func() { f.Kafka = lookKafka(ctx, cfg) })
	wg.Go(func() { lookServer(ctx, f) })
	wg.Go(func() { f.Objects = lookObjects(ctx, cfg) })
	wg.Wait()
	return f
}

func lookKafka(ctx context.Context, cfg *config.Pipeline) kafka.Inspection {
	k := cfg.Source.Kafka
	want := kafka.Want{Topics: []string{k.Topic}, Group: k.Group, Margin: check.Margin}
	if mirror := cfg.DeadLetters.Mirror; mirror != "" {
		want.Topics = append(want.Topics, mirror)
	}
	return kafka.Inspect(ctx, engine.KafkaConfig(cfg, slog.New(slog.DiscardHandler)), want)
}

func lookObjects(ctx context.Context, cfg *config.Pipeline) error {
	store, err := engine.OpenObjects(cfg)
	if err != nil || store == nil {
		return err
	}
	return store.Check(ctx)
}

func lookServer(ctx context.Context, f *check.Facts) {
	s := &f.Server
	to := engine.Server(f.Pipeline.Sink.ClickHouse)
	deps := clickhouse.Deps{Logger: slog.New(slog.DiscardHandler)} // every fault is in the facts
	client, vetoes, err := clickhouse.Inspect(ctx, to, deps)
	if clickhouse.NoDatabase(err) {
		s.NoDatabase = true
		to.Database = "default"
		client, vetoes, err = clickhouse.Inspect(ctx, to, deps)
	}
	if err != nil {
		s.Err = err
		return
	}
	defer client.Close()
	s.Vetoes, s.Said = vetoes, client.Server()
	now := time.Now()
	s.Skew, s.Margin = client.ServerNow(now).Sub(now), client.ClockMargin()
	l := looker{f: f, ch: client, store: ledger.New(client, "")}
	if s.Err = l.server(ctx); s.Err != nil {
		return
	}
	for _, of := range f.Pipeline.Tables() {
		if of.Sink.Objects != nil {
			continue // there is no table
		}
		f.Tables = append(f.Tables, l.table(ctx, of))
	}
	l.content(ctx)
	l.record(ctx)
}

// looker looks at a server.
type looker struct {
	f     *check.Facts
	ch    *clickhouse.Client
	store *ledger.Store
}

func (l *looker) server(ctx context.Context) error {
	s := &l.f.Server
	var err error
	if s.User, err = l.ch.CurrentUser(ctx); err != nil {
		return err
	}
	if there, err := l.ch.DatabaseExists(ctx, l.f.Pipeline.Sink.ClickHouse.Database); err == nil {
		s.NoDatabase = !there
	}
	s.Disks, s.DisksErr = l.ch.Disks(ctx)
	s.Own, s.OwnErr = l.store.Version(ctx)
	if text, err := l.ch.SettingValue(ctx, "max_partitions_per_insert_block"); err == nil {
		s.MaxPartitions = number(text)
	}
	if s.ReadOnly, err = l.ch.SettingValue(ctx, "readonly"); err != nil {
		return err
	}
	s.Grants = l.granted(ctx, check.OwnRights(l.store.Database()))
	return nil
}

// content looks at the place of long values.
func (l *looker) content(ctx context.Context) {
	p, f := l.f.Pipeline, &l.f.Content
	if p.Content == nil {
		return
	}
	store, err := engine.OpenContent(p, l.ch)
	if err != nil {
		f.Err = err
		return
	}
	f.Place, f.Err = store.String(), store.Look(ctx)
	if table := p.Content.Table; table != "" {
		f.Grants = l.granted(ctx, check.ContentRights(p.Sink.ClickHouse.Database, table))
	}
}

// granted asks for each right whether the user has it.
func (l *looker) granted(ctx context.Context, rights []check.Grant) []check.Grant {
	for i := range rights {
		rights[i].Have, rights[i].Err = l.ch.Granted(ctx, rights[i].Right)
	}
	return rights
}

func (l *looker) table(ctx context.Context, of config.Table) check.Table {
	c := of.Sink.ClickHouse
	t := check.Table{Table: of, Lineage: c.Lineage}
	t.Schema, t.Info, t.Err = l.ch.Describe(ctx, c.Database, c.Table, c.Lineage)
	if clickhouse.NoTable(t.Err) {
		t.Missing, t.Err = true, nil
		t.Create, t.PlanErr = contract.CreateTable(of.Contract, c.Lineage, c.Database, c.Table, c.Cluster)
		if names, err := l.ch.TablesOf(ctx, c.Database); err == nil {
			t.Similar = names
		}
	}
	t.Grants = l.granted(ctx, check.TableRights(&t))
	if t.Missing || t.Err != nil {
		return t
	}
	t.Lineage = c.Lineage.In(t.Schema)
	if t.Info.OffsetProjection, t.Err = l.projection(ctx, &t); t.Err != nil {
		return t
	}
	_, t.PlanErr = of.Compile(t.Schema, t.Lineage, json.Version)
	t.State, t.StateErr = l.ch.TableState(ctx, c.Database, c.Table, t.Info)
	if of.Delivery == config.ExactlyOnce {
		t.Policies, t.PolicyErr = l.ch.RowPolicies(ctx, c.Database, c.Table)
	}
	return t
}

// projection looks for the projection of a table that does without the epoch column.
func (l *looker) projection(ctx context.Context, t *check.Table) (bool, error) {
	if t.Lineage == t.Sink.ClickHouse.Lineage {
		return t.Info.OffsetProjection, nil
	}
	_, info, err := l.ch.Describe(ctx, t.Sink.ClickHouse.Database, t.Sink.ClickHouse.Table, t.Lineage)
	return info.OffsetProjection, err
}

// record looks up where the ledger ends.
func (l *looker) record(ctx context.Context) {
	f := l.f
	if f.Server.OwnErr != nil || f.Server.Own == 0 || f.Server.Own > f.Demands.SchemaVersion {
		return
	}
	epoch, err := engine.EffectiveEpoch(ctx, l.ch, l.store, f.Pipeline)
	if err != nil {
		f.TipsErr = err
		return
	}
	tips, err := l.store.Tips(ctx, f.Pipeline.Name, epoch, f.Pipeline.Source.Kafka.Topic)
	if f.TipsErr = err; err != nil {
		return
	}
	f.Tips = map[int32]int64{}
	for p, tip := range tips {
		f.Tips[p] = tip.Next
	}
}

// number is 0 for what is none.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Fix runs statements at a pipeline's server, one after the other; each is told of before, with what became of it after. What fails does not
// keep the others from being run.
func Fix(ctx context.Context, cfg *config.Pipeline, statements []string, before func(string), after func(error)) error {
	to := engine.Server(cfg.Sink.ClickHouse)
	deps := clickhouse.Deps{Logger: slog.New(slog.DiscardHandler)}
	client, _, err := clickhouse.Inspect(ctx, to, deps)
	if clickhouse.NoDatabase(err) {
		to.Database = "default"
		client, _, err = clickhouse.Inspect(ctx, to, deps)
	}
	if err != nil {
		return err
	}
	defer client.Close()
	for _, s := range statements {
		before(s)
		after(client.Exec(ctx, s))
	}
	return nil
}
