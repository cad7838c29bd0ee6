package operator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/status"
)

// Setup is what an operator of a pipeline file is made of.
type Setup struct {
	Cfg    *config.Pipeline
	Client *clickhouse.Client
	Ledger *ledger.Store
	Engine engine.Deps // of the engine that fills tables
	Log    *slog.Logger
	Who    string
	// RecordsPerSecond and BytesPerSecond bound what this process reads; 0: any.
	RecordsPerSecond, BytesPerSecond int64
	// Archive is where records are kept that the topic no longer has; nil: that of the file, if it has one.
	Archive Archive
	// Progress is told once a second how far this process is; nil: nobody.
	Progress func(status.Pipeline)
	Notify   func(context.Context, *ledger.Promotion) error
	Passed   func(point string)
	Lease    time.Duration // see Deps
	Waiting  func(who string, until time.Time, longer bool)
}

// Bench is an operator with all that it works with.
type Bench struct {
	Setup
	Pipeline *Pipeline
	Server   *Server
	Table    contract.TableSchema // the live one
	Lineage  contract.Lineage     // columns that it has

	kafka *kafka.Reader
}

// Open connects to the brokers and looks at the table. Close must be called.
func Open(ctx context.Context, s Setup) (*Bench, error) {
	c, k := s.Cfg.Sink.ClickHouse, s.Cfg.Source.Kafka
	table, _, err := s.Client.Describe(ctx, c.Database, c.Table, c.Lineage)
	if err != nil {
		return nil, err
	}
	reader, err := kafka.OpenReader(ctx, engine.KafkaConfig(s.Cfg, slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, err
	}
	of, err := engine.OpenArchive(s.Client, s.Ledger, s.Cfg)
	if err != nil {
		reader.Close()
		return nil, err
	}
	if of != nil && s.Archive == nil {
		s.Archive = of
	}
	b := &Bench{Setup: s, Table: table, Lineage: c.Lineage.In(table), kafka: reader}
	b.Server = &Server{Client: s.Client, Database: c.Database, Live: c.Table, Ledger: s.Ledger.Database(), Lineage: c.Lineage}
	b.Pipeline = &Pipeline{Name: s.Cfg.Name, Topic: k.Topic, Group: k.Group, FileEpoch: s.Cfg.Epoch, Kafka: reader, Ledger: s.Ledger, Server: b.Server, Deadline: c.InsertDeadline,
		EventColumn: s.Cfg.Contract.EventTime, Notify: s.Notify, Archive: s.Archive}
	return b, nil
}

// Close ends the connections to the brokers.
func (b *Bench) Close() { b.kafka.Close() }

// Operator makes an operator, with a session of its own.
func (b *Bench) Operator() *Operator {
	deadline := b.Cfg.Sink.ClickHouse.InsertDeadline
	return New(Deps{Journal: b.Pipeline, Tables: b.Server, Live: b.Pipeline, Run: b.run, Log: b.Log, Now: func() time.Time { return b.Client.ServerNow(time.Now()) },
		Pause: pauseFor, Every: every, Passed: b.Passed, Lease: b.Lease, Waiting: b.Waiting, Owner: uuid.NewString(), Who: b.Who, Grace: 3*deadline + b.Client.ClockMargin(), DrainTime: engine.DefaultDrain + 2*b.Cfg.Source.Kafka.SessionTimeout})
}

// Planner makes a planner. The plan may be nil, if the file and the table make none.
func (b *Bench) Planner(ctx context.Context) (*Planner, error) {
	epoch, err := b.Pipeline.Effective(ctx, b.Table.UUID)
	if err != nil {
		return nil, err
	}
	plan, err := contract.Compile(b.Cfg.Contract, b.Table, b.Lineage, json.Version)
	if err != nil {
		return nil, err
	}
	return &Planner{Resolver: Resolver{Cfg: b.Cfg, Client: b.Client, Ledger: b.Ledger, Kafka: b.kafka, Archive: b.Archive, Epoch: epoch, Table: b.Table, Plan: plan}, Server: b.Server}, nil
}

// Contract is a hash of the file's contract.
func (b *Bench) Contract() string {
	sum := sha256.Sum256([]byte(ledger.ContractText(b.Cfg.Contract)))
	return hex.EncodeToString(sum[:8])
}

// SameFile makes sure that a job goes on with the contract that it was planned with.
func (b *Bench) SameFile(j *backfill.Job) error {
	if j.Contract == b.Contract() {
		return nil
	}
	return &waybill.Error{Op: "backfill", Pipeline: j.Pipeline, Class: waybill.ClassConfig, Hint: "use the file that it was planned with; or `waybill backfill cancel` it, and plan it anew",
		Err: fmt.Errorf("the contract is another one than backfill %s was planned with", j.ID)}
}

// Job is a plan as a job that is not on record yet.
func (b *Bench) Job(p *Planner, r *Report, offsets map[int32]waybill.OffsetSet, open bool) backfill.Job {
	j := backfill.Job{Pipeline: b.Cfg.Name, Database: b.Cfg.Sink.ClickHouse.Database, Table: b.Cfg.Sink.ClickHouse.Table, Topic: b.Cfg.Source.Kafka.Topic, Group: b.Cfg.Source.Kafka.Group,
		Scope: r.Scope, Open: open, Begin: backfill.Positions{}, Ends: backfill.Positions{}, Plan: r.Plan, Contract: b.Contract(), Views: p.Views, Rebuilt: r.rebuilt, Keeps: p.KeepUnreachable,
		FileEpoch: b.Cfg.Epoch, BaseEpoch: p.Epoch}
	for _, part := range r.Partitions {
		j.Begin[part.Partition], j.Ends[part.Partition] = part.Begin, part.End
	}
	for _, set := range offsets {
		j.Spans += len(set.Spans())
	}
	return j
}

// run has the engine fill a table.
func (b *Bench) run(ctx context.Context, w Work) error {
	scope, err := b.scope(ctx, w)
	if err != nil {
		return err
	}
	cfg := b.Cfg.Shadow(config.Shadow{Job: w.Job.ID, Epoch: w.Job.Leg.Epoch, Group: w.Job.WorkGroup(), Table: w.Table})
	cfg.Source.Kafka.Start = config.Start{At: config.Earliest} // where the account begins
	records, bytes := b.RecordsPerSecond, b.BytesPerSecond
	if w.Job.Step.Held() { // everybody waits
		records, bytes = 0, 0
	}
	p := engine.NewBackfill(cfg, b.Engine, engine.Backfill{RecordsPerSecond: records, BytesPerSecond: bytes, Archive: archiveOf(b.Archive), Scope: func() engine.Scope {
		until, final := w.Until()
		return engine.Scope{Offsets: scope, Until: until, Final: final}
	}})
	if b.Progress != nil {
		defer every(ctx, time.Second, func(context.Context) { b.Progress(p.Status()) })()
	}
	return p.Run(ctx)
}

// scope is what the engine reads of each partition.
func (b *Bench) scope(ctx context.Context, w Work) (map[int32]waybill.OffsetSet, error) {
	if w.Job.Leg.Number > 0 {
		out := map[int32]waybill.OffsetSet{}
		until, _ := w.Until()
		for p := range until {
			out[p] = waybill.OffsetsIn(waybill.Span{First: w.Job.Leg.From[p], Next: math.MaxInt64})
		}
		return out, nil
	}
	out, err := b.Ledger.JobScope(ctx, w.Job.Pipeline, w.Job.ID)
	if err != nil {
		return nil, err
	}
	spans := 0
	for _, set := range out {
		spans += len(set.Spans())
	}
	if spans != w.Job.Spans {
		return nil, &waybill.Error{Op: "backfill", Pipeline: w.Job.Pipeline, Class: waybill.ClassConfig, Err: fmt.Errorf("%d spans of backfill %s are on record, of %d", spans, w.Job.ID, w.Job.Spans),
			Hint: "`waybill backfill cancel` it, and plan it anew"}
	}
	return out, nil
}

// pauseFor waits before something is asked again.
func pauseFor(ctx context.Context, attempt int) error {
	t := time.NewTimer(min(100*time.Millisecond<<min(attempt, 6), 5*time.Second))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// every calls fn again and again.
func every(ctx context.Context, interval time.Duration, fn func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(interval)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				fn(ctx)
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}
