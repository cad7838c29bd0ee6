package ledger

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/clickhouse"
)

// Jobs are the last rows of all jobs of a pipeline, in the order of their sequences. The Sequence of each is that of the pipeline's last row. Two
// rows of one sequence are an error: a journal in which that can happen proves nothing.
func (s *Store) Jobs(ctx context.Context, pipeline string) ([]backfill.Job, error) {
	var out []backfill.Job
	var text proto.ColStr
	var sequence, rows proto.ColUInt64
	last, twice := uint64(0), false
	var bad error
	err := s.ch.Query(ctx, fmt.Sprintf(`
SELECT max(sequence) AS q, argMax(job_json, sequence) AS j, toUInt64(count() - uniqExact(sequence)) AS n FROM %s WHERE pipeline = %s GROUP BY job ORDER BY q`,
		s.table(TableJobs), clickhouse.Literal(pipeline)),
		proto.Results{{Name: "q", Data: &sequence}, {Name: "j", Data: &text}, {Name: "n", Data: &rows}}, func(n int) error {
			for i := range n {
				var j backfill.Job
				if bad = json.Unmarshal([]byte(text.Row(i)), &j); bad != nil {
					return bad
				}
				j.Pipeline = pipeline // it may have been renamed since
				twice = twice || rows.Row(i) > 0 || sequence.Row(i) == last
				last = max(last, sequence.Row(i))
				out = append(out, j)
			}
			return nil
		})
	switch {
	case bad != nil:
		return nil, &waybill.Error{Op: "backfill", Pipeline: pipeline, Class: waybill.ClassConfig, Err: fmt.Errorf("a row of %s.%s cannot be read: %w", s.db, TableJobs, bad), Hint: "run the version of Waybill that wrote it"}
	case err != nil:
		return nil, renamed("backfill", err)
	case twice:
		return nil, &waybill.Error{Op: "backfill", Pipeline: pipeline, Class: waybill.ClassBug, Err: fmt.Errorf("two rows of %s.%s have one sequence", s.db, TableJobs),
			Hint: "nothing goes on; find out what else writes into that table"}
	}
	for i := range out {
		out[i].Sequence = last
	}
	return out, nil
}

// Origins are the epochs that the rows of the table are of that a pipeline writes under an epoch.
func (s *Store) Origins(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string) ([]backfill.Origin, error) {
	return s.origins(ctx, pipeline, epoch, topic, KindFill, KindRewrite, KindReplay)
}

// LetterOrigins are the epochs that the dead letters of that table are of: one that was replayed under a newer epoch has its row of that, and is the older one's.
func (s *Store) LetterOrigins(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string) ([]backfill.Origin, error) {
	return s.origins(ctx, pipeline, epoch, topic, KindFill, KindRewrite)
}

// AccountOrigins are the epochs on whose accounts the table's offsets are, whatever was repaired or replayed since.
func (s *Store) AccountOrigins(ctx context.Context, pipeline string, epoch waybill.Epoch) ([]backfill.Origin, error) {
	return s.origins(ctx, pipeline, epoch, "")
}

// origins takes offsets for a newer epoch's that batches of some kinds have gone over, or are at.
func (s *Store) origins(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string, kinds ...ReplayKind) ([]backfill.Origin, error) {
	legs, err := s.legs(ctx, pipeline)
	if err != nil {
		return nil, err
	}
	return legs.Origins(epoch, s.scopes(ctx, pipeline), func(e waybill.Epoch) (map[int32]waybill.OffsetSet, error) {
		if len(kinds) == 0 {
			return nil, nil //nolint:nilnil // none are
		}
		done, underWay, err := s.mended(ctx, pipeline, e, topic, kinds...)
		for p, set := range underWay {
			done[p] = done[p].Union(set)
		}
		return done, err
	})
}

// AccountOf is what an epoch's account is about, by partition; one without an entry is all of it. All other offsets are holes to it.
func (s *Store) AccountOf(ctx context.Context, pipeline string, epoch waybill.Epoch) (map[int32]waybill.OffsetSet, error) {
	legs, err := s.legs(ctx, pipeline)
	if err != nil {
		return nil, err
	}
	return legs.Account(epoch, s.scopes(ctx, pipeline))
}

func (s *Store) scopes(ctx context.Context, pipeline string) func(string) (map[int32]waybill.OffsetSet, error) {
	return func(job string) (map[int32]waybill.OffsetSet, error) { return s.JobScope(ctx, pipeline, job) }
}

func (s *Store) legs(ctx context.Context, pipeline string) (backfill.Legs, error) {
	legs := backfill.Legs{}
	var text proto.ColStr
	var bad error
	err := s.ch.Query(ctx, fmt.Sprintf("SELECT argMax(job_json, sequence) AS j FROM %s WHERE pipeline = %s AND epoch > 0 GROUP BY job, epoch", s.table(TableJobs), clickhouse.Literal(pipeline)),
		proto.Results{{Name: "j", Data: &text}}, func(n int) error {
			for i := range n {
				var j backfill.Job
				if bad = json.Unmarshal([]byte(text.Row(i)), &j); bad != nil {
					return bad
				}
				legs[j.Leg.Epoch] = j
			}
			return nil
		})
	if err = cmp.Or(bad, err); err != nil {
		return nil, renamed("ledger.origins", err)
	}
	return legs, nil
}

// AddJob adds a row to the journal unless there is one of its sequence or a later one: a compare-and-set. All who want the same sequence insert under the same tokens, so
// that one row of theirs lands; whose it is, is read back.
func (s *Store) AddJob(ctx context.Context, j *backfill.Job, deadline time.Duration) (won bool, err error) {
	text, err := json.Marshal(j)
	if err != nil {
		return false, err
	}
	var of waybill.BatchID
	binary.BigEndian.PutUint64(of[8:], j.Sequence)
	for k, attempt := 0, 0; attempt < addAttempts; attempt++ {
		began := time.Now()
		there, err := s.jobAt(ctx, j.Pipeline, j.Sequence)
		if err != nil || there != "" {
			return there == string(text), err
		}
		// The deadline counts from before the look: what was seen then may not hold any longer.
		a := s.ch.Insert(ctx, clickhouse.Insert{Database: s.db, Table: TableJobs, Input: jobBlock(j, string(text)),
			Token: waybill.ChainToken(j.Pipeline, "jobs", of, 0, TableJobs, k), Deadline: s.ch.ServerNow(began.Add(deadline))})
		switch {
		case a.Outcome.Answered():
			if there, err = s.jobAt(ctx, j.Pipeline, j.Sequence); err != nil || there != "" {
				return there == string(text), err
			}
			if k++; k < onceTokens { // the token is used up, and its row is not there
				attempt--
				continue
			}
		case a.Err != nil && !a.Late && !a.Err.Class.Heals():
			return false, a.Err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(min(50*time.Millisecond<<min(attempt, 6), 2*time.Second)):
		}
	}
	return false, &waybill.Error{Op: "backfill", Pipeline: j.Pipeline, Class: waybill.ClassRetryable, Err: fmt.Errorf("a row of %s.%s could not be written", s.db, TableJobs)}
}

const addAttempts = 20

// jobAt is the row of a sequence, or of a later one; empty: there is none.
func (s *Store) jobAt(ctx context.Context, pipeline string, sequence uint64) (string, error) {
	out := ""
	err := s.ch.Texts(ctx, fmt.Sprintf("SELECT job_json AS j FROM %s WHERE pipeline = %s AND sequence >= %d ORDER BY sequence LIMIT 1", s.table(TableJobs), clickhouse.Literal(pipeline), sequence),
		[]string{"j"}, func(row []string) error {
			out = row[0]
			return nil
		})
	return out, renamed("backfill", err)
}

func jobBlock(j *backfill.Job, text string) proto.Input {
	pipeline, state, step, target := lowCardinality(), lowCardinality(), lowCardinality(), lowCardinality()
	id, scope, owner, note, doc := new(proto.ColStr), new(proto.ColStr), new(proto.ColStr), new(proto.ColStr), new(proto.ColStr)
	at, lease := millisColumn(), millisColumn()
	pipeline.Append(j.Pipeline)
	state.Append(string(j.State))
	step.Append(string(j.Step))
	target.Append(j.Database + "." + j.Table)
	id.Append(j.ID)
	scope.Append(j.Scope)
	owner.Append(j.Who)
	note.Append(j.Note)
	doc.Append(text)
	at.Append(epochOr(j.At))
	lease.Append(epochOr(j.Lease))
	return proto.Input{
		{Name: "pipeline", Data: pipeline}, {Name: "sequence", Data: proto.ColUInt64{j.Sequence}}, {Name: "job", Data: id}, {Name: "state", Data: state}, {Name: "step", Data: step},
		{Name: "epoch", Data: proto.ColUInt32{uint32(j.Leg.Epoch)}}, {Name: "target", Data: target}, {Name: "scope", Data: scope}, {Name: "at", Data: at}, {Name: "owner", Data: owner},
		{Name: "lease", Data: lease}, {Name: "note", Data: note}, {Name: "job_json", Data: doc},
	}
}

// AllThatComes is where a span ends that has no end.
const AllThatComes = math.MaxInt64

// PutJobScope puts a job's scope on record. It may be called again with the same.
func (s *Store) PutJobScope(ctx context.Context, pipeline, job string, offsets map[int32]waybill.OffsetSet) error {
	name, id := lowCardinality(), new(proto.ColStr)
	partition, first, next := new(proto.ColInt32), new(proto.ColInt64), new(proto.ColInt64)
	for _, p := range slices.Sorted(maps.Keys(offsets)) {
		for _, sp := range offsets[p].Spans() {
			name.Append(pipeline)
			id.Append(job)
			partition.Append(p)
			first.Append(sp.First)
			next.Append(sp.Next)
		}
	}
	if partition.Rows() == 0 {
		return nil
	}
	return s.Once(ctx, clickhouse.Insert{Database: s.db, Table: TableJobScopes, Token: waybill.Token("scope-" + pipeline + "-" + job), Input: proto.Input{
		{Name: "pipeline", Data: name}, {Name: "job", Data: id}, {Name: "partition", Data: partition}, {Name: "first", Data: first}, {Name: "next", Data: next}}},
		s.has(TableJobScopes, fmt.Sprintf("pipeline = %s AND job = %s", clickhouse.Literal(pipeline), clickhouse.Literal(job))))
}

// JobScope reads a job's scope. It is there once, or more than once and the same.
func (s *Store) JobScope(ctx context.Context, pipeline, job string) (map[int32]waybill.OffsetSet, error) {
	out := map[int32]waybill.OffsetSet{}
	err := s.spans(ctx, "backfill", fmt.Sprintf("SELECT '' AS t, partition AS p, first AS f, next AS n FROM %s WHERE pipeline = %s AND job = %s ORDER BY p, f",
		s.table(TableJobScopes), clickhouse.Literal(pipeline), clickhouse.Literal(job)), func(tp waybill.TopicPartition, sp waybill.Span) {
		set := out[tp.Partition]
		set.AddSpan(sp)
		out[tp.Partition] = set
	})
	return out, err
}

// EpochWritten is how many rows the account of an epoch says are in the table.
func (s *Store) EpochWritten(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string) (int64, error) {
	var w proto.ColInt64
	out := int64(0)
	err := s.ch.Query(ctx, fmt.Sprintf("SELECT sum(written) AS w FROM (SELECT partition, first, written FROM %s WHERE %s AND topic = %s LIMIT 1 BY partition, first)",
		s.table(TableLedger), scope(pipeline, epoch), clickhouse.Literal(topic)), proto.Results{{Name: "w", Data: &w}}, func(int) error {
		out = w.Row(0)
		return nil
	})
	return out, renamed("backfill", err)
}

// Promotion is what those who read a table should know of another content.
type Promotion struct {
	Job             *backfill.Job
	Kind            string
	AsOf            time.Time
	Pause           time.Duration
	Partitions      []string
	EventColumn     string
	EventFirst      time.Time // zero: not known
	EventLast       time.Time
	RowsOut, RowsIn int64
}

// Views are the tables, as database.table, that have been made anew along, by the materialized views that fill them.
func (p *Promotion) Views() []string {
	var out []string
	for _, v := range p.Job.Rebuilt {
		out = append(out, p.Job.Database+"."+v.Target)
	}
	return out
}

// PutPromotion puts it on record, once for each leg of a job.
func (s *Store) PutPromotion(ctx context.Context, p *Promotion) error {
	pipeline, kind, target, column := lowCardinality(), lowCardinality(), lowCardinality(), lowCardinality()
	job, at, partitions, views := new(proto.ColStr), millisColumn(), new(proto.ColStr).Array(), new(proto.ColStr).Array()
	first, last := proto.NewColNullable[time.Time](millisColumn()), proto.NewColNullable[time.Time](millisColumn())
	positions := proto.NewMap(proto.ColumnOf[int32](new(proto.ColInt32)), proto.ColumnOf[int64](new(proto.ColInt64)))
	pipeline.Append(p.Job.Pipeline)
	kind.Append(p.Kind)
	target.Append(p.Job.Database + "." + p.Job.Table)
	column.Append(p.EventColumn)
	job.Append(p.Job.ID)
	at.Append(p.AsOf)
	partitions.Append(p.Partitions)
	views.Append(p.Views())
	first.Append(proto.Nullable[time.Time]{Set: !p.EventFirst.IsZero(), Value: epochOr(p.EventFirst)})
	last.Append(proto.Nullable[time.Time]{Set: !p.EventLast.IsZero(), Value: epochOr(p.EventLast)})
	positions.Append(p.Job.Leg.V)
	return s.Once(ctx, clickhouse.Insert{Database: s.db, Table: TablePromotions, Token: waybill.Token(fmt.Sprintf("promotion-%s-%s-%d", p.Job.Pipeline, p.Job.ID, p.Job.Leg.Number)), Input: proto.Input{
		{Name: "pipeline", Data: pipeline}, {Name: "job", Data: job}, {Name: "leg", Data: proto.ColUInt32{uint32(p.Job.Leg.Number)}}, {Name: "kind", Data: kind}, {Name: "target", Data: target}, {Name: "views", Data: views}, //nolint:gosec // few
		{Name: "epoch", Data: proto.ColUInt32{uint32(p.Job.Leg.Epoch)}}, {Name: "as_of", Data: at}, {Name: "pause_ms", Data: proto.ColUInt64{uint64(p.Pause.Milliseconds())}}, //nolint:gosec // positive
		{Name: "partitions", Data: partitions}, {Name: "event_column", Data: column}, {Name: "event_first", Data: first}, {Name: "event_last", Data: last},
		{Name: "rows_out", Data: proto.ColUInt64{uint64(p.RowsOut)}}, {Name: "rows_in", Data: proto.ColUInt64{uint64(p.RowsIn)}}, {Name: "positions", Data: positions}, //nolint:gosec // counts
	}}, s.has(TablePromotions, fmt.Sprintf("pipeline = %s AND job = %s AND leg = %d", clickhouse.Literal(p.Job.Pipeline), clickhouse.Literal(p.Job.ID), p.Job.Leg.Number)))
}
