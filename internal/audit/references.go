package audit

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/engine"
)

// askReferences looks whether the long values are there that rows of the pipeline's tables refer to: all of them, as values are not counted by span.
func (a *auditor) askReferences(ctx context.Context) error {
	store, err := engine.OpenContent(a.cfg, a.Client)
	if err != nil || store == nil {
		return err
	}
	refs := engine.OwnReferences(a.cfg)
	missing, err := store.Missing(ctx, refs)
	if err != nil {
		a.unknown("L3", "look at "+store.String(), "whether the long values are there that rows refer to: %v", err)
		return ctx.Err()
	}
	a.report.References = &References{Place: store.String(), Values: missing.References, Missing: missing.Missing}
	if missing.Missing == 0 {
		return nil
	}
	l := a.cfg.Sink.ClickHouse.Lineage
	for _, ref := range refs {
		found := map[string]map[int32]*waybill.OffsetSet{} // by topic
		rows := int64(0)
		for names := missing.Names; len(names) > 0; {
			some := names[:min(len(names), 1_000)]
			names = names[len(some):]
			quoted := make([]string, len(some))
			for i, n := range some {
				quoted[i] = clickhouse.Literal(n)
			}
			err := a.Client.Texts(ctx, fmt.Sprintf("SELECT toString(%s) AS waybill_t, toString(%s) AS waybill_p, toString(%s) AS waybill_o FROM %s WHERE %s IN (%s)", clickhouse.Ident(l.Topic), clickhouse.Ident(l.Partition),
				clickhouse.Ident(l.Offset), clickhouse.Table(ref.Database, ref.Table), clickhouse.Ident(ref.Column), strings.Join(quoted, ", ")), []string{"waybill_t", "waybill_p", "waybill_o"}, func(row []string) error {
				partition, err := strconv.ParseInt(row[1], 10, 32)
				if err != nil {
					return err
				}
				offset, err := strconv.ParseInt(row[2], 10, 64)
				if err != nil {
					return err
				}
				of := found[row[0]]
				if of == nil {
					of = map[int32]*waybill.OffsetSet{}
					found[row[0]] = of
				}
				if of[int32(partition)] == nil {
					of[int32(partition)] = &waybill.OffsetSet{}
				}
				of[int32(partition)].Add(offset)
				rows++
				return nil
			})
			if err != nil {
				return err
			}
		}
		for topic, of := range found {
			for partition, set := range of {
				a.report.Violations = append(a.report.Violations, Violation{Law: "L3", Kind: KindNoValue, Topic: topic, Partition: partition, Table: ref.Database + "." + ref.Table, Column: ref.Column,
					Count: set.Len(), Offsets: rangesOf(*set), Exact: int64(len(missing.Names)) == missing.Missing,
					Message: fmt.Sprintf("%d rows refer to long values that are not in %s: `waybill repair rows` makes the rows anew, and with them the values", set.Len(), store)})
			}
		}
	}
	return nil
}
