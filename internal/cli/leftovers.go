package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/replay"
)

// backfillsOver are the backfills of pipelines, all of which are over: while one is not, or a replay, repair or erasure was begun and is not finished, what is on
// record of a pipeline stays as it is.
func backfillsOver(ctx context.Context, store *ledger.Store, op string, pipelines ...string) ([]backfill.Job, error) {
	var out []backfill.Job
	for _, name := range pipelines {
		jobs, err := store.Jobs(ctx, name)
		if err != nil {
			return nil, unreached(err)
		}
		for i := range jobs {
			if !jobs[i].State.Over() {
				return nil, usage(&waybill.Error{Op: op, Pipeline: name, Class: waybill.ClassConfig, Err: fmt.Errorf("backfill %s is %s", jobs[i].ID, jobs[i].State), Hint: "end or cancel it first"})
			}
		}
		begun, err := store.UnfinishedReplays(ctx, name)
		if err != nil {
			return nil, unreached(err)
		}
		if len(begun) > 0 {
			return nil, usage(replay.NotOurs(&begun[0]))
		}
		out = append(out, jobs...)
	}
	return out, nil
}

// keptTables are the tables that backfills which are over have left, in words: once nothing is on record of them, nobody else names them.
func keptTables(ctx context.Context, client *clickhouse.Client, jobs []backfill.Job) (out []string, err error) {
	for i := range jobs {
		j := &jobs[i]
		ids := []string{clickhouse.Literal(j.Standby())}
		for view := range j.Rebuilt {
			ids = append(ids, clickhouse.Literal(j.StandbyOf(view)))
		}
		err := client.Texts(ctx, fmt.Sprintf("SELECT name AS waybill_t FROM system.tables WHERE database = %s AND toString(uuid) IN (%s) ORDER BY 1", clickhouse.Literal(j.Database), strings.Join(ids, ", ")), []string{"waybill_t"}, func(row []string) error {
			out = append(out, fmt.Sprintf("table %s.%s, which backfill %s of %s keeps", j.Database, row[0], j.ID, j.Pipeline))
			return nil
		})
		if err != nil {
			return nil, unreached(err)
		}
	}
	return out, nil
}

// workGroups are the consumer groups that backfills have read with, and that are still there.
func workGroups(jobs []backfill.Job) (out []string) {
	for i := range jobs {
		out = append(out, jobs[i].WorkGroups()...)
	}
	return out
}
