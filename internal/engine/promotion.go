package engine

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/alert"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/finding"
	"github.com/waybill-data/waybill/internal/ledger"
)

// promotionWait is how long a receiver is waited for. The record says the same, and lasts; and workers tell one that is away, see passOn.
const promotionWait = 15 * time.Second

const kindPromoted = "backfill_promoted"

// TellOfPromotion makes a finding of it that a table has another content now, and delivers that to the pipeline's receivers. It may be called again.
func TellOfPromotion(cfg *config.Pipeline, client *clickhouse.Client, store *ledger.Store, log *slog.Logger) func(context.Context, *ledger.Promotion) error {
	return func(ctx context.Context, p *ledger.Promotion) error {
		now := client.ServerNow(time.Now()).UTC().Truncate(time.Millisecond)
		tracker := finding.NewTracker(cfg.Name, worker(), p.Job.Leg.Epoch, finding.Config{})
		tracker.Found(promotionFinding(p), now)
		rows := tracker.Due(now)
		err := store.Once(ctx, clickhouse.Insert{Database: store.Database(), Table: ledger.TableFindings, Input: ledger.FindingBlock(rows),
			Token: waybill.Token(fmt.Sprintf("promoted-%s-%s-%d", cfg.Name, p.Job.ID, p.Job.Leg.Number))}, store.HasFinding(cfg.Name, rows[0].ID))
		if err != nil {
			return err
		}
		sender := alert.New(receivers(cfg.Alerts), alert.Deps{Log: log, Claims: func() alert.Claims {
			return &ledger.AlertClaims{Store: store, Pipeline: cfg.Name, Worker: worker() + " " + uuid.NewString()}
		}})
		ctx, cancel := context.WithTimeout(ctx, promotionWait)
		done := make(chan struct{})
		go func() {
			defer close(done)
			sender.Run(ctx)
		}()
		sender.Update(rows)
		sender.Flush(ctx)
		cancel()
		<-done
		return nil
	}
}

func promotionFinding(p *ledger.Promotion) waybill.Finding {
	target := p.Job.Database + "." + p.Job.Table
	when := ""
	if !p.EventFirst.IsZero() {
		when = fmt.Sprintf(", events from %s to %s", p.EventFirst.UTC().Format(time.RFC3339), p.EventLast.UTC().Format(time.RFC3339))
	}
	views := ""
	if v := p.Views(); len(v) > 0 {
		views = "; so have, by their views, " + strings.Join(v, ", ")
	}
	return waybill.Finding{Kind: kindPromoted, Severity: waybill.SeverityInfo, TopicPartition: waybill.TopicPartition{Topic: p.Job.Topic, Partition: -1}, Subject: target, Batch: fmt.Sprintf("%s.%d", p.Job.ID, p.Job.Leg.Number),
		Message: fmt.Sprintf("%s of backfill %s: %s has another content since %s: %d rows of scope %s in place of %d, in %d table partitions%s%s",
			p.Kind, p.Job.ID, target, p.AsOf.UTC().Format(time.RFC3339), p.RowsIn, p.Job.Scope, p.RowsOut, len(p.Partitions), when, views),
		Action: "whoever has computed something of these rows should compute it again; waybill.promotions has the ranges"}
}
