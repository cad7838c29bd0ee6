package audit

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
)

// bucketsAtOnce is how many buckets of a table one query makes sums of: four million offsets.
const bucketsAtOnce = 64

// Names of the queries' own begin with waybill_: ClickHouse would take another for the table's column of that name, or the column for it.

// hash is an expression for a row's share in the sum of a column. The tuple keeps NULL from making the hash NULL.
func (t *contentTable) hash(name string) string {
	return fmt.Sprintf("sipHash64(%s, tuple(%s))", clickhouse.Ident(t.lineage.Offset), clickhouse.Ident(name))
}

// within is the condition for rows of the partition that is audited, from one offset up to another.
func (c *contents) within(t *contentTable, first, next int64) string {
	offset := clickhouse.Ident(t.lineage.Offset)
	where := fmt.Sprintf("%s = %s AND %s = %d AND %s >= %d AND %s < %d", clickhouse.Ident(t.lineage.Topic), clickhouse.Literal(c.tp.Topic),
		clickhouse.Ident(t.lineage.Partition), c.tp.Partition, offset, max(first, c.whole.First), offset, min(next, c.whole.Next))
	if t.lineage.Epoch != "" {
		where += fmt.Sprintf(" AND %s = %d", clickhouse.Ident(t.lineage.Epoch), c.a.cfg.Epoch)
	}
	return where
}

// sumsOf are the sums of each column, by bucket; buckets without rows have none.
func (c *contents) sumsOf(ctx context.Context, t *contentTable, from string, first, next int64) (map[int64][]string, error) {
	bucket := fmt.Sprintf("intDiv(%s, %d)", clickhouse.Ident(t.lineage.Offset), clickhouse.BucketOffsets)
	columns, selected := []string{"waybill_bucket"}, []string{fmt.Sprintf("toString(%s) AS waybill_bucket", bucket)}
	for i, col := range t.comparable() {
		columns = append(columns, fmt.Sprintf("waybill_sum%d", i))
		selected = append(selected, fmt.Sprintf("toString(sum(%s)) AS waybill_sum%d", t.hash(col.Name), i))
	}
	out := map[int64][]string{}
	err := c.a.Client.Texts(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE %s GROUP BY %s", strings.Join(selected, ", "), from,
		c.within(t, first*clickhouse.BucketOffsets, next*clickhouse.BucketOffsets), bucket), columns, func(row []string) error {
		b, err := strconv.ParseInt(row[0], 10, 64)
		out[b] = slices.Clone(row[1:])
		return err
	})
	return out, err
}

// narrow finds the rows of a bucket that differ in the columns of which the sums do. Rows that are in one of the two only are law L3's.
func (c *contents) narrow(ctx context.Context, t *contentTable, parts []*part, differ []string) error {
	var hashes, flags []string
	for i, name := range differ {
		hashes = append(hashes, fmt.Sprintf("%s AS waybill_h%d", t.hash(name), i))
		flags = append(flags, fmt.Sprintf("toString(uniqExact(waybill_h%d) > 1)", i))
	}
	first, next := c.bucket*clickhouse.BucketOffsets, (c.bucket+1)*clickhouse.BucketOffsets
	one := func(table, side string) string {
		return fmt.Sprintf("SELECT toInt64(%s) AS waybill_offset, %s AS waybill_side, %s FROM %s WHERE %s", clickhouse.Ident(t.lineage.Offset), side, strings.Join(hashes, ", "), table, c.within(t, first, next))
	}
	sets := make([]waybill.OffsetSet, len(differ))
	err := c.a.Client.Texts(ctx, fmt.Sprintf("SELECT toString(waybill_offset) AS waybill_at, concat(%s, '') AS waybill_flags FROM (%s UNION ALL %s) GROUP BY waybill_offset HAVING uniqExact(waybill_side) = 2 AND position(waybill_flags, '1') > 0 ORDER BY waybill_offset",
		strings.Join(flags, ", "), one(c.table(t), "0"), one(c.copyOf(t), "1")), []string{"waybill_at", "waybill_flags"}, func(row []string) error {
		offset, err := strconv.ParseInt(row[0], 10, 64)
		for i := range differ {
			if row[1][i] == '1' {
				sets[i].Add(offset)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	for i, name := range differ {
		if err := c.note(ctx, t, name, parts, sets[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *contents) table(t *contentTable) string {
	return clickhouse.Table(t.schema.Database, t.schema.Table)
}

func (c *contents) copyOf(t *contentTable) string {
	return clickhouse.Table(c.a.Ledger.Database(), t.copied)
}

// shownValue is how many bytes of a value are shown.
const shownValue = 300

// values are both values of the first rows that differ, as the server writes them in JSON.
func (c *contents) values(ctx context.Context, t *contentTable, name string, rows waybill.OffsetSet, most int) ([]Example, error) {
	var list []string
	var out []Example
	for _, sp := range rows.Spans() {
		for o := sp.First; o < sp.Next && len(out) < most; o++ {
			list = append(list, strconv.FormatInt(o, 10))
			out = append(out, Example{Offset: o})
		}
	}
	first, next := out[0].Offset, out[len(out)-1].Offset+1
	one := func(table, side string) string {
		return fmt.Sprintf("SELECT toString(%[1]s) AS waybill_at, '%[2]s' AS waybill_side, ifNull(left(toJSONString(%[3]s), %[4]d), 'null') AS waybill_value FROM %[5]s WHERE %[6]s AND %[1]s IN (%[7]s)", clickhouse.Ident(t.lineage.Offset), side,
			clickhouse.Ident(name), shownValue, table, c.within(t, first, next), strings.Join(list, ", "))
	}
	has := make([][]string, len(out)) // an offset may have several rows
	err := c.a.Client.Texts(ctx, one(c.table(t), "has")+" UNION ALL "+one(c.copyOf(t), "gives"), []string{"waybill_at", "waybill_side", "waybill_value"}, func(row []string) error {
		if i := slices.Index(list, row[0]); row[1] == "gives" {
			out[i].Expected = row[2]
		} else {
			has[i] = append(has[i], row[2])
		}
		return nil
	})
	for i := range out {
		for _, v := range has[i] {
			if out[i].Found == "" || v != out[i].Expected {
				out[i].Found = v
			}
		}
	}
	return out, err
}
