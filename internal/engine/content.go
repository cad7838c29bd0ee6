package engine

import (
	"context"
	"time"

	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/content"
	"github.com/waybill-data/waybill/internal/failpoint"
	"github.com/waybill-data/waybill/internal/objects"
)

// OpenContent is where a pipeline's long values are; nil: no column has any. See docs/adr/0026.
func OpenContent(cfg *config.Pipeline, client *clickhouse.Client) (*content.Store, error) {
	c := cfg.Content
	switch {
	case c == nil:
		return nil, nil //nolint:nilnil // there is none, and that is no error
	case c.S3 == nil:
		return content.New(&content.Table{Client: client, Database: cfg.Sink.ClickHouse.Database, Table: c.Table, Cluster: cfg.Sink.ClickHouse.Cluster}), nil
	}
	store, err := openBucket(c.S3, insertTimeout(cfg.Sink.ClickHouse.InsertDeadline))
	if err != nil {
		return nil, err
	}
	return content.New(&content.Bucket{Objects: store, Client: client, Where: c.S3.Place()}), nil
}

// ContentReferences are the columns, whoever's they are, that may have names of values in the pipeline's place for them.
func ContentReferences(ctx context.Context, cfg *config.Pipeline, client *clickhouse.Client, plansDatabase, plansTable string) ([]content.Reference, error) {
	var own []string
	for _, r := range OwnReferences(cfg) {
		own = append(own, r.Column)
	}
	return content.References(ctx, client, plansDatabase, plansTable, cfg.Sink.ClickHouse.Database, own)
}

// OwnReferences are the columns of the pipeline's tables that have names of values, all of which are in its place.
func OwnReferences(cfg *config.Pipeline) (out []content.Reference) {
	for _, t := range cfg.Tables() {
		for _, c := range t.Contract.Columns {
			if c.Large != nil {
				out = append(out, content.Reference{Database: t.Sink.ClickHouse.Database, Table: t.Sink.ClickHouse.Table, Column: c.Large.Ref})
			}
		}
	}
	return out
}

// storeContent sees that the values are there that a batch's rows refer to. It comes before every INSERT of the rows: a row that can be read leads to what
// it names.
func (t *target) storeContent(ctx context.Context, p *Pipeline, blocks Blocks) error {
	var values []content.Value
	for _, b := range blocks {
		for i := range b.Contents {
			values = append(values, content.Value{Hash: b.Contents[i].Hash, Bytes: b.Contents[i].Value})
		}
	}
	if len(values) == 0 {
		return nil
	}
	failpoint.Hit(failpoint.BeforeContent)
	done, err := t.content.Store(ctx, values)
	p.metrics.Contents(done.Values, done.Bytes, done.Known)
	if err == nil {
		failpoint.Hit(failpoint.AfterContent)
	}
	return err
}

func openBucket(s *config.S3, timeout time.Duration) (*objects.Store, error) {
	return objects.Open(objects.Config{Endpoint: s.Endpoint, Bucket: s.Bucket, Prefix: s.Prefix, Region: s.Region, AccessKey: s.AccessKey, SecretKey: s.SecretKey.Reveal(),
		PathStyle: s.PathStyle, Timeout: timeout})
}
