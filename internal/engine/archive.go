package engine

import (
	"context"
	"strings"

	"github.com/waybill-data/waybill/internal/archive"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/ledger"
)

// OpenArchive is a way to the records that a pipeline keeps; nil if its file says that it keeps none. The client is the caller's.
func OpenArchive(client *clickhouse.Client, store *ledger.Store, cfg *config.Pipeline) (*archive.Reader, error) {
	of := cfg.Archiver()
	if of == nil {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	c := of.Sink.ClickHouse
	src := archive.Source{Pipeline: of.Name, Database: c.Database, Table: c.Table, Lineage: c.Lineage}
	if of.Sink.Objects == nil {
		return archive.New(client, store, src), nil
	}
	s, err := OpenObjects(of)
	if err != nil {
		return nil, err
	}
	return archive.NewObjects(s, store, src), nil
}

// processor makes rows under a plan, for a batch.
func (l *life) processor(p *contract.Plan) (*Processor, error) {
	proc, err := l.p.target.processor(p)
	if err == nil && (l.p.backfill != nil && l.p.backfill.Archive != nil || l.p.cfg.Sink.Objects != nil) {
		proc.sumLeft = p.Redacts() // of objects so that they can be compared with the account: see archive.Reader.TakeInventory
	}
	return proc, err
}

// keepFor gives the table of an archive the TTL that the file says.
func (t *table) keepFor(ctx context.Context, info clickhouse.TableInfo) error {
	raw := t.cfg.Contract.Raw
	if raw == nil {
		return nil
	}
	_, have, _ := strings.Cut(info.EngineFull, " TTL ")
	have, _, _ = strings.Cut(have, " SETTINGS ")
	want := raw.TTLClause()
	if have == want {
		return nil
	}
	c := t.cfg.Sink.ClickHouse
	alter := "ALTER TABLE " + clickhouse.Table(c.Database, c.Table)
	if c.Cluster != "" {
		alter += " ON CLUSTER " + clickhouse.Ident(c.Cluster)
	}
	if want == "" {
		return t.client.Exec(ctx, alter+" REMOVE TTL")
	}
	return t.client.Exec(ctx, alter+" MODIFY TTL "+want)
}
