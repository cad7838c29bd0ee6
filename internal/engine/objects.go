package engine

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/decode/raw"
	"github.com/waybill-data/waybill/internal/failpoint"
	"github.com/waybill-data/waybill/internal/objects"
)

// OpenObjects is the store that a pipeline writes into; nil: it writes into a table. See docs/adr/0018.
func OpenObjects(cfg *config.Pipeline) (*objects.Store, error) {
	s := cfg.Sink.Objects
	if s == nil {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	return openBucket(s, insertTimeout(cfg.Sink.ClickHouse.InsertDeadline))
}

// findObjects is find for rows that become objects: the columns are those of the table that Waybill would make.
func (t *table) findObjects(ctx context.Context) (foundTable, error) {
	if err := t.objects.Check(ctx); err != nil {
		return foundTable{}, err
	}
	t.uuid = objectsUUID(t.cfg.Pipeline)
	return foundTable{schema: t.objectsSchema()}, nil
}

// objectsUUID takes the place of a table's UUID.
func objectsUUID(cfg *config.Pipeline) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(cfg.Sink.Objects.Place())).String()
}

func (t *table) objectsSchema() contract.TableSchema {
	s := t.cfg.PromisedTable()
	s.Database, s.Table, s.UUID = "", t.place(), t.uuid
	return s
}

func (t *table) lookObjects() (*tableShape, error) {
	schema := t.objectsSchema()
	plan, err := t.cfg.Compile(schema, t.lineage, json.Version)
	return &tableShape{schema: schema, plan: plan, types: map[string]string{}}, err
}

// uuidOf is the UUID of the table that the name means now.
func uuidOf(ctx context.Context, client *clickhouse.Client, cfg *config.Pipeline) (string, error) {
	if cfg.Sink.Objects != nil {
		return objectsUUID(cfg), nil
	}
	return client.TableUUID(ctx, cfg.Sink.ClickHouse.Database, cfg.Sink.ClickHouse.Table)
}

// present is which of the asked-for offsets have a row.
func (t *table) present(ctx context.Context, s *tableShape, epoch waybill.Epoch, spans []clickhouse.PartitionSpan) (map[waybill.TopicPartition]waybill.OffsetSet, error) {
	if t.objects == nil {
		return t.client.Present(ctx, t.presence(s, epoch, spans))
	}
	out := map[waybill.TopicPartition]waybill.OffsetSet{}
	for _, sp := range spans {
		there, err := t.objects.Present(ctx, sp.TopicPartition, epoch, sp.Span)
		if err != nil {
			return nil, err
		}
		if !there.Empty() {
			out[sp.TopicPartition] = out[sp.TopicPartition].Union(there)
		}
	}
	return out, nil
}

// past is which offsets at or past some have a row.
func (t *table) past(ctx context.Context, s *tableShape, epoch waybill.Epoch, from map[waybill.TopicPartition]int64) (map[waybill.TopicPartition]waybill.OffsetSet, error) {
	if t.objects == nil {
		return t.client.PresentPast(ctx, t.presence(s, epoch, nil), from)
	}
	var spans []clickhouse.PartitionSpan
	for tp, first := range from {
		spans = append(spans, clickhouse.PartitionSpan{TopicPartition: tp, Span: waybill.Span{First: first, Next: math.MaxInt64}})
	}
	return t.present(ctx, s, epoch, spans)
}

// objectsOf are the objects of a part of a batch.
func (t *table) objectsOf(p *contract.Plan, of *part, b *waybill.Batch) ([]objects.Object, error) {
	return objects.Encode(p, raw.Stamp(p, of.block, b.Time), b)
}

// put writes a batch's objects. What it answers means what it means of an INSERT: they have all landed, or some may have. To write one that
// is there already changes nothing, so nobody is ever told that one was known.
func (t *table) put(ctx context.Context, all []objects.Object) clickhouse.Answer {
	began := time.Now()
	a := clickhouse.Answer{Outcome: clickhouse.Landed}
	for i := range all {
		if err := t.objects.Put(ctx, all[i].String(), all[i].Body); err != nil {
			a.Outcome = clickhouse.Unknown
			if !errors.As(err, &a.Err) {
				a.Err = &waybill.Error{Op: "objects.put", Class: waybill.ClassRetryable, Err: err}
			}
			break
		}
		a.Rows += int(all[i].Count)
		failpoint.Hit(failpoint.AfterObject)
	}
	a.Wall = time.Since(began)
	return a
}

// sent is a request on its way, whatever it is for.
func (t *target) sent(ctx context.Context, r *request) clickhouse.Answer {
	if r.objects != nil {
		return t.tables[r.table].put(ctx, r.objects)
	}
	return t.client.Insert(ctx, r.in)
}
