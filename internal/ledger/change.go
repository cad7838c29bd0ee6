package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
)

// Outcome says what the server made of a change.
type Outcome string

// The outcomes.
const (
	OutcomeApplied Outcome = "applied"
	OutcomeRefused Outcome = "refused"
)

// Change is one change of a table that Waybill carried out, or was refused.
type Change struct {
	At              time.Time
	Pipeline        string
	Database, Table string
	contract.Change
	Statement string
	Outcome   Outcome
	Error     string         // of a refusal
	Before    waybill.PlanID // the plan that did not fit
	After     waybill.PlanID // the plan compiled from the changed table; 0 for a refusal
	Worker    string
}

// ChangeBlock encodes changes for an INSERT into TableChanges.
func ChangeBlock(changes []Change) proto.Input {
	at, recordTime := millisColumn(), millisColumn()
	pipeline, database, table, kind, outcome := lowCardinality(), lowCardinality(), lowCardinality(), lowCardinality(), lowCardinality()
	topic, worker := lowCardinality(), lowCardinality()
	column, path, from, to := new(proto.ColStr), new(proto.ColStr), new(proto.ColStr), new(proto.ColStr)
	why, statement, message := new(proto.ColStr), new(proto.ColStr), new(proto.ColStr)
	before, after := new(proto.ColUInt64), new(proto.ColUInt64)
	partition, offset := new(proto.ColInt32), new(proto.ColInt64)
	for i := range changes {
		c := &changes[i]
		at.Append(c.At)
		pipeline.Append(c.Pipeline)
		database.Append(c.Database)
		table.Append(c.Table)
		kind.Append(string(c.Kind))
		column.Append(c.Column)
		path.Append(c.Path)
		from.Append(c.From)
		to.Append(c.Type)
		why.Append(c.Why)
		statement.Append(c.Statement)
		outcome.Append(string(c.Outcome))
		message.Append(c.Error)
		before.Append(uint64(c.Before))
		after.Append(uint64(c.After))
		topic.Append(c.First.Topic)
		partition.Append(c.First.Partition)
		offset.Append(c.First.Offset)
		recordTime.AppendRaw(proto.DateTime64(c.First.Time))
		worker.Append(c.Worker)
	}
	return proto.Input{
		{Name: "at", Data: at}, {Name: "pipeline", Data: pipeline}, {Name: "database", Data: database}, {Name: "table", Data: table},
		{Name: "kind", Data: kind}, {Name: "column", Data: column}, {Name: "path", Data: path}, {Name: "from_type", Data: from},
		{Name: "to_type", Data: to}, {Name: "why", Data: why}, {Name: "statement", Data: statement}, {Name: "outcome", Data: outcome},
		{Name: "error", Data: message}, {Name: "plan_before", Data: before}, {Name: "plan_after", Data: after},
		{Name: "topic", Data: topic}, {Name: "partition", Data: partition}, {Name: "offset", Data: offset},
		{Name: "record_time", Data: recordTime}, {Name: "worker", Data: worker},
	}
}

// Changes are all changes on a pipeline's record, oldest first. As and Format of columns are in the statement alone.
func (s *Store) Changes(ctx context.Context, pipeline string) ([]Change, error) {
	var out []Change
	at, recordTime := millisColumn(), millisColumn()
	var database, table, kind, column, path, from, to, why, statement, outcome, message, topic, worker proto.ColStr
	var before, after proto.ColUInt64
	var partition proto.ColInt32
	var offset proto.ColInt64
	err := s.ch.Query(ctx, fmt.Sprintf(`
SELECT at, database AS d, table AS g, kind AS k, column, path, from_type, to_type, why, statement, outcome AS u, error, plan_before, plan_after,
       topic AS t, partition AS p, offset AS o, record_time, worker AS w
FROM %s WHERE pipeline = %s ORDER BY at, outcome, column, to_type`, s.table(TableChanges), clickhouse.Literal(pipeline)),
		proto.Results{
			{Name: "at", Data: at}, {Name: "d", Data: &database}, {Name: "g", Data: &table}, {Name: "k", Data: &kind}, {Name: "column", Data: &column},
			{Name: "path", Data: &path}, {Name: "from_type", Data: &from}, {Name: "to_type", Data: &to}, {Name: "why", Data: &why},
			{Name: "statement", Data: &statement}, {Name: "u", Data: &outcome}, {Name: "error", Data: &message}, {Name: "plan_before", Data: &before},
			{Name: "plan_after", Data: &after}, {Name: "t", Data: &topic}, {Name: "p", Data: &partition}, {Name: "o", Data: &offset},
			{Name: "record_time", Data: recordTime}, {Name: "w", Data: &worker},
		}, func(rows int) error {
			for i := range rows {
				out = append(out, Change{
					At: at.Row(i), Pipeline: pipeline, Database: database.Row(i), Table: table.Row(i),
					Change: contract.Change{
						Kind: contract.ChangeKind(kind.Row(i)), Column: column.Row(i), Path: path.Row(i), From: from.Row(i), Type: to.Row(i), Why: why.Row(i),
						First: contract.At{Topic: topic.Row(i), Partition: partition.Row(i), Offset: offset.Row(i), Time: recordTime.Row(i).UnixMilli()},
					},
					Statement: statement.Row(i), Outcome: Outcome(outcome.Row(i)), Error: message.Row(i),
					Before: waybill.PlanID(before.Row(i)), After: waybill.PlanID(after.Row(i)), Worker: worker.Row(i),
				})
			}
			return nil
		})
	return out, renamed("ledger.changes", err)
}

// Added are the names of columns of a table that Waybill has added: those on record as such, and those that plans on record know by
// their comments (a worker may have died before it put on record what it had added).
func (s *Store) Added(ctx context.Context, pipeline, database, table string) ([]string, error) {
	var out []string
	var name proto.ColStr
	of := fmt.Sprintf("pipeline = %s AND database = %s AND table = %s", clickhouse.Literal(pipeline), clickhouse.Literal(database), clickhouse.Literal(table))
	err := s.ch.Query(ctx, fmt.Sprintf(`
SELECT DISTINCT name AS n FROM (
    SELECT column AS name FROM %s WHERE %s AND kind = '%s' AND outcome = '%s'
    UNION ALL
    SELECT c.1 AS name FROM (
        SELECT arrayJoin(JSONExtract(text, 'columns', 'Array(Tuple(name String, added Bool))')) AS c FROM %s WHERE %s)
    WHERE c.2)
ORDER BY n`, s.table(TableChanges), of, contract.AddColumn, OutcomeApplied, s.table(TablePlans), of),
		proto.Results{{Name: "n", Data: &name}}, func(rows int) error {
			for i := range rows {
				out = append(out, name.Row(i))
			}
			return nil
		})
	return out, renamed("ledger.changes", err)
}
