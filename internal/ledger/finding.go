package ledger

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/finding"
)

// FindingBlock encodes rows for an INSERT into TableFindings.
func FindingBlock(rows []finding.Row) proto.Input {
	opened, at, last, until := millisColumn(), millisColumn(), millisColumn(), millisColumn()
	kind, severity, state, pipeline, topic, worker := lowCardinality(), lowCardinality(), lowCardinality(), lowCardinality(), lowCardinality(), lowCardinality()
	id, subject, batch, message, action, evidence, why := new(proto.ColStr), new(proto.ColStr), new(proto.ColStr), new(proto.ColStr), new(proto.ColStr), new(proto.ColStr), new(proto.ColStr)
	partition, first, next := new(proto.ColInt32), new(proto.ColInt64), new(proto.ColInt64)
	epoch, episode, reopened, seen := new(proto.ColUInt32), new(proto.ColUInt32), new(proto.ColUInt32), new(proto.ColUInt64)
	for i := range rows {
		r := &rows[i]
		opened.Append(r.FirstSeen)
		at.Append(r.At)
		last.Append(r.LastSeen)
		until.Append(epochOr(r.Until))
		kind.Append(r.Kind)
		severity.Append(string(r.Severity))
		state.Append(string(r.State))
		pipeline.Append(r.Pipeline)
		topic.Append(r.Topic)
		worker.Append(r.Worker)
		id.Append(string(r.ID))
		subject.Append(r.Subject)
		batch.Append(r.Batch)
		message.Append(r.Message)
		action.Append(r.Action)
		evidence.Append(r.Evidence)
		why.Append(r.Why)
		partition.Append(r.Partition)
		first.Append(r.Span.First)
		next.Append(r.Span.Next)
		epoch.Append(uint32(r.Epoch))
		episode.Append(r.Episode)
		reopened.Append(r.Reopened)
		seen.Append(uint64(r.Seen)) //nolint:gosec // a count
	}
	return proto.Input{
		{Name: "opened_at", Data: opened}, {Name: "at", Data: at}, {Name: "last_seen", Data: last}, {Name: "until", Data: until},
		{Name: "kind", Data: kind}, {Name: "severity", Data: severity}, {Name: "state", Data: state}, {Name: "pipeline", Data: pipeline},
		{Name: "topic", Data: topic}, {Name: "worker", Data: worker}, {Name: "id", Data: id}, {Name: "subject", Data: subject},
		{Name: "batch", Data: batch}, {Name: "message", Data: message}, {Name: "action", Data: action}, {Name: "evidence", Data: evidence},
		{Name: "why", Data: why}, {Name: "partition", Data: partition}, {Name: "first", Data: first}, {Name: "next", Data: next},
		{Name: "epoch", Data: epoch}, {Name: "episode", Data: episode}, {Name: "reopened", Data: reopened}, {Name: "seen", Data: seen},
	}
}

// epochOr is t, or 1970 for no time at all.
func epochOr(t time.Time) time.Time {
	if t.IsZero() {
		return time.Unix(0, 0)
	}
	return t
}

// FindingsOf says which findings.
type FindingsOf struct {
	Pipeline string
	// All are those that are not open too; else only open ones.
	All bool
	// Latest adds to the open ones those that were closed within the last hours.
	Latest   bool
	Kinds    []string           // none: all
	Severity []waybill.Severity // none: all
	Since    time.Time          // seen last at or after
	IDs      []string           // beginnings of ids; none: all
}

// latest is how far back FindingsOf.Latest looks.
const latest = "3 HOUR"

// where is the condition on the view. journal is the table behind it: which findings are asked for is told from three of its
// columns, before their texts are read.
func (of *FindingsOf) where(journal string) string {
	where := []string{"pipeline = " + clickhouse.Literal(of.Pipeline)}
	if !of.All {
		having := "argMax(state, (at, state != 'closed')) IN ('opened', 'updated')"
		if of.Latest {
			having += " OR max(at) > now64(3) - INTERVAL " + latest
		}
		where = append(where, fmt.Sprintf("id IN (SELECT id FROM %s WHERE pipeline = %s GROUP BY epoch, id HAVING %s)", journal, clickhouse.Literal(of.Pipeline), having))
	}
	switch {
	case of.Latest:
		where = append(where, "(state = 'open' OR state = 'closed' AND at > now64(3) - INTERVAL "+latest+")")
	case !of.All:
		where = append(where, "state = 'open'")
	}
	if len(of.Kinds) > 0 {
		where = append(where, "kind IN ("+literals(of.Kinds)+")")
	}
	if len(of.Severity) > 0 {
		where = append(where, "severity IN ("+literals(of.Severity)+")")
	}
	if !of.Since.IsZero() {
		where = append(where, fmt.Sprintf("last_seen >= fromUnixTimestamp64Milli(%d)", of.Since.UnixMilli()))
	}
	var ids []string
	for _, id := range of.IDs {
		ids = append(ids, "startsWith(id, "+clickhouse.Literal(id)+")")
	}
	if len(ids) > 0 {
		where = append(where, "("+strings.Join(ids, " OR ")+")")
	}
	return strings.Join(where, " AND ")
}

func literals[T ~string](words []T) string {
	var out []string
	for _, w := range words {
		out = append(out, clickhouse.Literal(string(w)))
	}
	return strings.Join(out, ", ")
}

// maxFindings bounds what is read: the latest ones.
const maxFindings = 10_000

// FindingsNow are findings as they are now, by the journal, the oldest first. Their State is Opened for all that are open.
func (s *Store) FindingsNow(ctx context.Context, of FindingsOf) ([]finding.Row, error) {
	var kind, severity, state, topic, id, subject, batch, message, action, evidence, why, workers proto.ColStr
	var partition proto.ColInt32
	var first, next proto.ColInt64
	var epoch, episode, reopened proto.ColUInt32
	var seen proto.ColUInt64
	opened, at, last, until := millisColumn(), millisColumn(), millisColumn(), millisColumn()
	var out []finding.Row
	take := func(rows int) error {
		for i := range rows {
			r := finding.Row{
				Finding: waybill.Finding{
					Kind: kind.Row(i), Severity: waybill.Severity(severity.Row(i)), TopicPartition: waybill.TopicPartition{Topic: topic.Row(i), Partition: partition.Row(i)},
					Span: waybill.Span{First: first.Row(i), Next: next.Row(i)}, Batch: batch.Row(i), Message: message.Row(i), Action: action.Row(i), Subject: subject.Row(i), Evidence: evidence.Row(i),
				},
				ID: finding.ID(id.Row(i)), Pipeline: of.Pipeline, Epoch: waybill.Epoch(epoch.Row(i)), Episode: episode.Row(i), State: finding.State(state.Row(i)),
				At: at.Row(i), FirstSeen: opened.Row(i), LastSeen: last.Row(i), Seen: int64(seen.Row(i)), //nolint:gosec // a count
				Reopened: reopened.Row(i), Why: why.Row(i), Worker: workers.Row(i),
			}
			if r.State == stateOpen {
				r.State = finding.Opened
			}
			if u := until.Row(i); u.Unix() > 0 {
				r.Until = u
			}
			out = append(out, r)
		}
		return nil
	}
	err := s.ch.Query(ctx, fmt.Sprintf(`
SELECT * FROM (
    SELECT kind, severity, state, topic, partition, first, next, batch, message, action, subject, evidence, id, epoch, episode, reopened, seen,
           opened_at, if(state = 'closed', closed_at, at) AS ended, last_seen, until, why, arrayStringConcat(arraySort(workers), ', ') AS workers
    FROM %s WHERE %s ORDER BY last_seen DESC, id LIMIT %d
) ORDER BY opened_at, id`, s.table(ViewFindings), of.where(s.table(TableFindings)), maxFindings),
		proto.Results{
			{Name: "kind", Data: &kind}, {Name: "severity", Data: &severity}, {Name: "state", Data: &state}, {Name: "topic", Data: &topic},
			{Name: "partition", Data: &partition}, {Name: "first", Data: &first}, {Name: "next", Data: &next}, {Name: "batch", Data: &batch},
			{Name: "message", Data: &message}, {Name: "action", Data: &action}, {Name: "subject", Data: &subject}, {Name: "evidence", Data: &evidence},
			{Name: "id", Data: &id}, {Name: "epoch", Data: &epoch}, {Name: "episode", Data: &episode}, {Name: "reopened", Data: &reopened}, {Name: "seen", Data: &seen},
			{Name: "opened_at", Data: opened}, {Name: "ended", Data: at}, {Name: "last_seen", Data: last}, {Name: "until", Data: until}, {Name: "why", Data: &why},
			{Name: "workers", Data: &workers},
		}, take)
	return out, renamed("ledger.findings", err)
}

// FindingRows is how many rows the journal has of a pipeline: if there are no more than there were, nothing is new. It costs the server a
// fraction of FindingsNow.
func (s *Store) FindingRows(ctx context.Context, pipeline string) (int64, error) {
	var count proto.ColInt64
	n := int64(0)
	err := s.ch.Query(ctx, fmt.Sprintf("SELECT toInt64(count()) AS n FROM %s WHERE pipeline = %s", s.table(TableFindings), clickhouse.Literal(pipeline)),
		proto.Results{{Name: "n", Data: &count}}, func(rows int) error {
			for i := range rows {
				n = count.Row(i)
			}
			return nil
		})
	return n, renamed("ledger.findings", err)
}

// stateOpen is what the view calls a finding that is open.
const stateOpen = "open"

// HasFinding looks whether a finding is on record.
func (s *Store) HasFinding(pipeline string, id finding.ID) func(context.Context) (bool, error) {
	return s.has(TableFindings, fmt.Sprintf("pipeline = %s AND id = %s", clickhouse.Literal(pipeline), clickhouse.Literal(string(id))))
}
