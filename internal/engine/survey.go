package engine

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
)

// Survey is what a pipeline would find at its ClickHouse server if it started now, and what it would do there.
type Survey struct {
	Tables []TableSurvey // in the order of the pipeline's tables
	// Plan is what would run. nil: nothing would, for one of Refusals.
	Plan *contract.Plan
	// InUse is the plan that this pipeline put on record last; nil if it has none.
	InUse *contract.Plan
	// Refusals are why the pipeline would not start; config.Problems among them have a line and column.
	Refusals []error
	Notes    []waybill.Finding
}

// TableSurvey is what a pipeline would find of one of its tables.
type TableSurvey struct {
	config.Table
	// Exists: the table is there. Create is the statement that makes it, if not.
	Exists bool
	Create string
	Schema contract.TableSchema // of the table, or of the one that Create makes
	Plan   *contract.Plan       // nil: it has none, for one of the survey's Refusals
}

// Look surveys the server of a pipeline. It reads only: no statement that it sends changes anything, Waybill's own database
// included. The error says that the server could not be asked.
func Look(ctx context.Context, cfg *config.Pipeline, log *slog.Logger) (*Survey, error) {
	c := cfg.Sink.ClickHouse
	client, err := clickhouse.Open(ctx, Server(c), clickhouse.Deps{Logger: log})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	t := &target{cfg: cfg, client: client, ledger: ledger.New(client, "")}
	s := &Survey{}
	var routes []contract.Route
	for _, of := range cfg.Tables() {
		s.Tables = append(s.Tables, TableSurvey{Table: of})
		one := &s.Tables[len(s.Tables)-1]
		if err := newTable(of, client).survey(ctx, s, one); err != nil {
			return nil, err
		}
		routes = append(routes, contract.Route{Name: of.Route, When: of.When, Plan: one.Plan})
	}
	if !slices.ContainsFunc(routes, func(r contract.Route) bool { return r.Plan == nil }) {
		if s.Plan, err = cfg.Join(routes); err != nil {
			return nil, err
		}
	}
	if err := t.surveyRecord(ctx, s); err != nil {
		return nil, err
	}
	if _, err := EffectiveEpoch(ctx, client, t.ledger, cfg); err != nil {
		if err := s.refuse(err); err != nil {
			return nil, err
		}
	}
	s.Notes = append(s.Notes, t.notes...)
	return s, nil
}

// refuse notes why the pipeline would not start. What can heal, or is a bug, comes back: it says nothing of the pipeline.
func (s *Survey) refuse(err error) error {
	if class := waybill.ClassOf(err); class.Heals() || class == waybill.ClassBug {
		return err
	}
	s.Refusals = append(s.Refusals, err)
	return nil
}

func (t *table) survey(ctx context.Context, s *Survey, to *TableSurvey) error {
	c := t.cfg.Sink.ClickHouse
	schema, info, err := t.client.Describe(ctx, c.Database, c.Table, t.lineage)
	if clickhouse.NoTable(err) {
		return t.surveyMissing(s, to, err)
	}
	if err != nil {
		return s.refuse(err)
	}
	to.Exists, to.Schema = true, schema
	if err := t.epochColumn(schema, t.cfg.Epoch); err != nil {
		return s.refuse(err)
	}
	if to.Plan, err = t.cfg.Compile(schema, t.lineage, json.Version); err != nil {
		if err := s.refuse(planError(t.cfg.Pipeline, err)); err != nil {
			return err
		}
	}
	notes, err := t.preflight(ctx, info)
	s.Notes = append(s.Notes, notes...)
	if err != nil {
		return s.refuse(err)
	}
	return nil
}

// surveyMissing is about a table that does not exist.
func (t *table) surveyMissing(s *Survey, to *TableSurvey, missing error) error {
	c := t.cfg.Sink.ClickHouse
	to.Schema = t.cfg.PromisedTable()
	var err error
	if to.Create, err = contract.CreateTable(t.cfg.Contract, t.lineage, c.Database, c.Table, c.Cluster); err != nil {
		return s.refuse(planError(t.cfg.Pipeline, err))
	}
	if to.Plan, err = t.cfg.Compile(to.Schema, t.lineage, json.Version); err != nil {
		return s.refuse(planError(t.cfg.Pipeline, err))
	}
	if t.cfg.Contract.Tables != contract.ModeEvolve {
		return s.refuse(missing)
	}
	return nil
}

// surveyRecord looks up what is on record of the pipeline.
func (t *target) surveyRecord(ctx context.Context, s *Survey) error {
	have, err := t.ledger.Version(ctx)
	switch {
	case err != nil:
		return s.refuse(err)
	case have == 0:
		t.note("would_create_database", "the server has no database %s: it would be created", t.ledger.Database())
		return nil
	case have > ledger.Version():
		return s.refuse(&waybill.Error{Op: "ledger.migrate", Pipeline: t.cfg.Name, Class: waybill.ClassConfig,
			Err:  fmt.Errorf("database %s is of version %d, this Waybill knows versions up to %d", t.ledger.Database(), have, ledger.Version()),
			Hint: "run the newer version of Waybill"})
	case have < ledger.Version():
		t.note("would_migrate", "database %s is of version %d and would be brought to version %d; what is on record now is not looked at", t.ledger.Database(), have, ledger.Version())
		return nil
	}
	plans, err := t.ledger.Plans(ctx, t.cfg.Name)
	if err != nil {
		return s.refuse(err)
	}
	if plans = ledger.OwnPlans(plans); len(plans) == 0 {
		return nil
	}
	last := plans[len(plans)-1]
	if s.InUse, err = contract.ParsePlan([]byte(last.Text)); err != nil {
		t.note("plan_unknown", "plan %s, which is on record last, cannot be compared: %v", last.ID, err)
	}
	return nil
}

func (t *target) note(kind, format string, args ...any) {
	t.notes = append(t.notes, waybill.Finding{Kind: kind, Severity: waybill.SeverityInfo, Message: fmt.Sprintf(format, args...)})
}

// SampleSize says what to read of a topic: about so many records, from the partitions' ends or from their beginnings.
type SampleSize struct {
	Records   int64
	FromStart bool
	Within    map[int32]waybill.Span // nil: of all that is there; else of these offsets, and of no other partition
}

// Sampled is what was read of a topic.
type Sampled struct {
	Spans map[waybill.TopicPartition]waybill.Span
	// InTopic is how many offsets the topic has now, holes included.
	InTopic int64
}

// ReadSample reads records from a pipeline's topic and gives each to fn, partition after partition, control records excepted. It joins no
// group and commits nothing. A record is fn's only until fn returns.
func ReadSample(ctx context.Context, cfg *config.Pipeline, size SampleSize, fn func(*waybill.Record) error) (Sampled, error) {
	k := cfg.Source.Kafka
	to := KafkaConfig(cfg, slog.New(slog.DiscardHandler))
	if to.PartitionMaxBytes == 0 {
		to.PartitionMaxBytes = partitionMaxBytes
	}
	r, err := kafka.OpenReader(ctx, to)
	if err != nil {
		return Sampled{}, err
	}
	defer r.Close()
	info, err := r.Describe(ctx)
	if err != nil {
		return Sampled{}, err
	}
	out := Sampled{Spans: map[waybill.TopicPartition]waybill.Span{}}
	for _, p := range info.Partitions {
		out.InTopic += p.End - p.LogStart
	}
	spans := kafka.Sample(size.clip(info), to.Isolation, size.Records, size.FromStart)
	for _, p := range slices.Sorted(maps.Keys(spans)) {
		tp := waybill.TopicPartition{Topic: k.Topic, Partition: p}
		out.Spans[tp] = spans[p]
		_, err := r.ReadSpan(ctx, tp, spans[p], func(rec *waybill.Record) error {
			if rec.Control {
				return nil
			}
			return fn(rec)
		})
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// clip leaves of a topic's extents what is within the offsets that were asked for.
func (s SampleSize) clip(info kafka.TopicInfo) kafka.TopicInfo {
	if s.Within == nil {
		return info
	}
	var parts []kafka.PartitionInfo
	for _, p := range info.Partitions {
		if w, asked := s.Within[p.Partition]; asked {
			p.LogStart, p.End, p.StableEnd = max(p.LogStart, w.First), min(p.End, w.Next), min(p.StableEnd, w.Next)
			parts = append(parts, p)
		}
	}
	info.Partitions = parts
	return info
}

// OtherGroup is a consumer group of somebody else's, as it stands on a pipeline's topic.
type OtherGroup struct {
	Members   []string // who is in it now, by client id and host
	Positions map[int32]int64
	// Log is what is in the topic now, of each of its partitions.
	Log map[int32]waybill.Span
}

// Lag is how many offsets lie between the group and the topic's end, on the partitions on which it has a position.
func (g OtherGroup) Lag() (lag int64) {
	for p, at := range g.Positions {
		lag += max(0, g.Log[p].Next-max(at, g.Log[p].First))
	}
	return lag
}

// ReadOtherGroup asks where a group stands. It joins none.
func ReadOtherGroup(ctx context.Context, cfg *config.Pipeline, group string) (g OtherGroup, err error) {
	r, err := kafka.OpenReader(ctx, KafkaConfig(cfg, slog.New(slog.DiscardHandler)))
	if err != nil {
		return g, err
	}
	defer r.Close()
	if g.Members, err = r.Members(ctx, group); err != nil {
		return g, err
	}
	if g.Positions, err = r.GroupOffsets(ctx, group); err != nil {
		return g, err
	}
	info, err := r.Describe(ctx)
	if err != nil {
		return g, err
	}
	g.Log = map[int32]waybill.Span{}
	for _, p := range info.Partitions {
		g.Log[p.Partition] = waybill.Span{First: p.LogStart, Next: p.StableEnd}
	}
	return g, nil
}
