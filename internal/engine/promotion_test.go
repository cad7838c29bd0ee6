package engine_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
)

// Whoever has asked for it hears once of a promotion, also if the step is taken again and workers know of the finding; and if nobody could be told then, a worker does
// so once the receiver is there.
func TestTellOfPromotion_OnceAndAfterAll(t *testing.T) {
	w := newWorld(t, 1)
	h := newHook(t)
	cfg := w.file(spec{top: fmt.Sprintf("epoch: 1\nalerts: [{webhook: {url: %q}, severity: info, kinds: [backfill_promoted]}]", h.URL)})
	client, err := clickhouse.Open(t.Context(), engine.Server(cfg.Sink.ClickHouse), clickhouse.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	store := ledger.New(client, "")
	if err := store.Migrate(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	tell := engine.TellOfPromotion(cfg, client, store, slog.New(slog.DiscardHandler))
	promoted := func(kind string, leg int) *ledger.Promotion {
		j := &backfill.Job{ID: "1", Pipeline: w.name, Database: w.db, Table: "calls", Topic: topic, Scope: "all", Rebuilt: []backfill.View{{Database: w.db, Name: "by_day", Target: "daily"}}, Leg: backfill.Leg{Number: leg, Epoch: waybill.Epoch(leg + 1)}} //nolint:gosec // few
		return &ledger.Promotion{Job: j, Kind: kind, AsOf: time.Now(), RowsOut: 10, RowsIn: 9}
	}
	for range 2 {
		if err := tell(t.Context(), promoted("promotion", 0)); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.heard(); got != "[told backfill_promoted]" {
		t.Fatalf("it was told twice, and the receiver heard %s", got)
	}
	a := w.start(cfg)
	a.await("it runs", func(s status.Pipeline) bool { return s.State == status.Running })
	h.away.Store(true)
	if err := tell(t.Context(), promoted("rollback", 1)); err != nil {
		t.Fatalf("a receiver that is away keeps a rollback from its end: %v", err)
	}
	if got := h.heard(); got != "[told backfill_promoted]" {
		t.Errorf("heard %s", got)
	}
	if got := w.query("SELECT count() FROM waybill.findings_now WHERE kind = 'backfill_promoted' AND pipeline = '" + w.name + "'"); got != "2" {
		t.Errorf("%s findings are on record", got)
	}
	if got := w.query("SELECT countIf(endsWith(message, '; so have, by their views, " + w.db + ".daily')) FROM waybill.findings_now WHERE kind = 'backfill_promoted' AND pipeline = '" + w.name + "'"); got != "2" {
		t.Errorf("%s findings say what views fill", got)
	}
	h.away.Store(false)
	// The process that had claimed it is gone. Two minutes later somebody else may.
	claims := " waybill.alerts WHERE outcome = 'claimed' AND pipeline = '" + w.name + "'"
	w.exec("INSERT INTO waybill.alerts SELECT * REPLACE (at - INTERVAL 3 MINUTE AS at) FROM"+claims, "DELETE FROM"+claims+" AND at > now() - INTERVAL 2 MINUTE")
	testenv.Eventually(t, 2*soon, "a worker has told it", func() bool { return h.heard() == "[told backfill_promoted told backfill_promoted]" })
	a.stop()
	if got := h.heard(); got != "[told backfill_promoted told backfill_promoted]" {
		t.Errorf("heard %s", got)
	}
}
