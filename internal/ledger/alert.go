package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/alert"
	"github.com/waybill-data/waybill/internal/clickhouse"
)

// claimed is the outcome of a claim that nothing has come of yet.
const claimed = "claimed"

// AlertClaims is the record of who tells whom of a pipeline's findings.
type AlertClaims struct {
	Store    *Store
	Pipeline string
	Worker   string // of this process alone
}

func eventOf(k alert.Key) string { return fmt.Sprintf("%s %s %d", k.Event, k.Severity, k.Reopened) }

// Look implements alert.Claims.
func (c *AlertClaims) Look(ctx context.Context, k alert.Key) (alert.Claim, error) {
	var out alert.Claim
	var attempt proto.ColUInt32
	var done, mine proto.ColUInt8
	at := millisColumn()
	err := c.Store.ch.Query(ctx, fmt.Sprintf(`
SELECT max(attempt) AS a, toUInt8(countIf(outcome != '%[1]s') > 0) AS d, maxIf(at, outcome = '%[1]s') AS t,
       toUInt8(argMinIf(worker, at, outcome = '%[1]s' AND attempt = (SELECT max(attempt) FROM %[2]s WHERE %[3]s)) = %[4]s) AS m
FROM %[2]s WHERE %[3]s`, claimed, c.Store.table(TableAlerts), c.where(k), clickhouse.Literal(c.Worker)),
		proto.Results{{Name: "a", Data: &attempt}, {Name: "d", Data: &done}, {Name: "t", Data: at}, {Name: "m", Data: &mine}}, func(rows int) error {
			for i := range rows {
				out = alert.Claim{Attempt: attempt.Row(i), Mine: attempt.Row(i) > 0 && mine.Row(i) == 1, At: at.Row(i), Done: done.Row(i) == 1}
			}
			return nil
		})
	return out, renamed("ledger.alerts", err)
}

func (c *AlertClaims) where(k alert.Key) string {
	return fmt.Sprintf("pipeline = %s AND receiver = %s AND finding = %s AND event = %s", clickhouse.Literal(c.Pipeline), clickhouse.Literal(k.Receiver),
		clickhouse.Literal(string(k.Finding)), clickhouse.Literal(eventOf(k)))
}

// Take implements alert.Claims. Who has it is what Look says then.
func (c *AlertClaims) Take(ctx context.Context, k alert.Key, attempt uint32) error {
	return c.note(ctx, k, attempt, claimed, fmt.Sprintf("alert-%s-%s-%s-%s-%d", c.Pipeline, k.Receiver, k.Finding, eventOf(k), attempt),
		fmt.Sprintf("%s AND attempt = %d AND outcome = '%s'", c.where(k), attempt, claimed))
}

// Done implements alert.Claims.
func (c *AlertClaims) Done(ctx context.Context, k alert.Key, attempt uint32, o alert.Outcome) error {
	return c.note(ctx, k, attempt, string(o), fmt.Sprintf("alert-%s-%s-%s-%s-%d-%s-%s", c.Pipeline, k.Receiver, k.Finding, eventOf(k), attempt, c.Worker, o),
		fmt.Sprintf("%s AND attempt = %d AND outcome = %s AND worker = %s", c.where(k), attempt, clickhouse.Literal(string(o)), clickhouse.Literal(c.Worker)))
}

// note puts it on record, unless a row is there that meets the condition.
func (c *AlertClaims) note(ctx context.Context, k alert.Key, attempt uint32, outcome, token, there string) error {
	at, pipeline, receiver, event, out := millisColumn(), lowCardinality(), lowCardinality(), lowCardinality(), lowCardinality()
	finding, worker := new(proto.ColStr), new(proto.ColStr)
	at.Append(c.Store.ch.ServerNow(time.Now()))
	pipeline.Append(c.Pipeline)
	receiver.Append(k.Receiver)
	finding.Append(string(k.Finding))
	event.Append(eventOf(k))
	out.Append(outcome)
	worker.Append(c.Worker)
	return c.Store.Once(ctx, clickhouse.Insert{Database: c.Store.db, Table: TableAlerts, Token: waybill.Token(token), Input: proto.Input{
		{Name: "at", Data: at}, {Name: "pipeline", Data: pipeline}, {Name: "receiver", Data: receiver}, {Name: "finding", Data: finding}, {Name: "event", Data: event},
		{Name: "attempt", Data: proto.ColUInt32{attempt}}, {Name: "outcome", Data: out}, {Name: "worker", Data: worker},
	}}, c.Store.has(TableAlerts, there))
}
