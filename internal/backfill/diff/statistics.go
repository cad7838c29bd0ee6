package diff

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-data/waybill/internal/clickhouse"
)

// shownBytes is how many bytes of a least or greatest value are shown.
const shownBytes = 60

// statistics makes the figures of each table's partitions, one partition and table after the other.
func (c *comparison) statistics(ctx context.Context, spaces []*space) error {
	parts, err := c.partitions(ctx)
	if err != nil {
		return err
	}
	all := c.together(spaces)
	sums := map[*Values]uint64{}
	var differ []string
	for i, p := range parts {
		c.opts.Progress(Progress{"figures of table partitions", int64(i), int64(len(parts))})
		out := Partition{Partition: p.name}
		for _, s := range c.sides() {
			st, err := c.statsOf(ctx, all, s, p.id, sums)
			if err != nil {
				return err
			}
			if st.Rows == 0 {
				continue
			}
			if s == c.live {
				out.Live, c.report.Live.Rows = st, c.report.Live.Rows+st.Rows
			} else {
				out.Shadow, c.report.Shadow.Rows = st, c.report.Shadow.Rows+st.Rows
			}
		}
		if out.Live != nil || out.Shadow != nil {
			c.report.Partitions = append(c.report.Partitions, out)
		}
		if all.exact && p.id != "" && c.same(&out) {
			c.report.Rows.Both += out.Live.Rows
		} else {
			differ = append(differ, p.id)
		}
	}
	c.narrow(all, parts, differ)
	for _, p := range c.columns {
		for _, s := range c.sides() {
			rows := c.report.Live.Rows
			if s == c.shadow {
				rows = c.report.Shadow.Rows
			}
			v := p.values(s)
			v.NullRate = share(v.Nulls, rows)
			if sum, made := sums[v]; made {
				v.Checksum = sumText(sum)
			}
		}
	}
	return nil
}

// same reports whether the two sides of a partition hold the same rows, each once. If a row of it has another copy elsewhere in one of the tables, that
// copy is told as a row that only this table has.
func (c *comparison) same(p *Partition) bool {
	if p.Live == nil || p.Shadow == nil || p.Live.Rows != p.Shadow.Rows || p.Live.keys != p.Live.Rows || p.Shadow.keys != p.Shadow.Rows {
		return false
	}
	return !slices.ContainsFunc(c.compared(), func(col *pair) bool { return p.Checksum(col.Name, true) != p.Checksum(col.Name, false) })
}

// narrow leaves what is known to be the same out of what is compared row by row.
func (c *comparison) narrow(all *space, parts []partition, differ []string) {
	if len(differ) == len(parts) {
		return
	}
	all.settled = len(differ) == 0
	for i := range differ {
		differ[i] = clickhouse.Literal(differ[i])
	}
	for _, s := range c.sides() {
		all.where[s] = fmt.Sprintf("_partition_id IN (%s) AND %s", strings.Join(differ, ", "), all.where[s])
	}
}

func sumText(sum uint64) string { return fmt.Sprintf("%016x", sum) }

// partition is one of the tables' partitions.
type partition struct{ id, name string } // no id: all rows

// partitions are those that either table has.
func (c *comparison) partitions(ctx context.Context) ([]partition, error) {
	if !c.live.info.MergeTree || !c.shadow.info.MergeTree {
		return []partition{{name: "all"}}, nil
	}
	if c.live.info.PartitionKey != c.shadow.info.PartitionKey {
		c.report.Notes = append(c.report.Notes, fmt.Sprintf("the tables are not partitioned alike (%s; %s): figures are of all rows", orNone(c.live.info.PartitionKey), orNone(c.shadow.info.PartitionKey)))
		return []partition{{name: "all"}}, nil
	}
	found := map[string]string{}
	for _, s := range c.sides() {
		err := c.texts(ctx, fmt.Sprintf("SELECT partition_id AS waybill_id, any(partition) AS waybill_name FROM system.parts WHERE active AND database = %s AND table = %s GROUP BY partition_id",
			clickhouse.Literal(s.Database), clickhouse.Literal(s.Table)), []string{"waybill_id", "waybill_name"}, func(row []string) error {
			found[row[0]] = row[1]
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	var out []partition
	for _, id := range slices.Sorted(maps.Keys(found)) {
		name := found[id]
		if name == "tuple()" {
			name = "all"
		}
		out = append(out, partition{id, name})
	}
	return out, nil
}

func orNone(key string) string {
	if key == "" {
		return "not at all"
	}
	return key
}

// together is the rows of all spaces.
func (c *comparison) together(spaces []*space) *space {
	if len(spaces) == 1 {
		return spaces[0]
	}
	all := &space{keys: map[*side][]string{}, where: map[*side]string{}, bucket: "0"}
	for _, s := range c.sides() {
		conditions := []string{"0"}
		for _, sp := range spaces {
			conditions = append(conditions, "("+sp.where[s]+")")
		}
		all.keys[s] = []string{fmt.Sprintf("toString(%s)", clickhouse.Ident(s.by.Topic)), s.by.partition(), s.by.offset()}
		all.where[s] = "(" + strings.Join(conditions, " OR ") + ")"
	}
	return all
}

// statsOf are the figures of one partition of one table. Sums of columns are added to sums.
func (c *comparison) statsOf(ctx context.Context, all *space, s *side, id string, sums map[*Values]uint64) (*Stats, error) {
	columns := slices.DeleteFunc(slices.Clone(c.columns), func(p *pair) bool { return p.State == NotCompared || p.in(s) == "" })
	var inner []string
	names, outer := []string{"waybill_rows", "waybill_keys"}, []string{"toString(count()) AS waybill_rows", "'0' AS waybill_keys"}
	if all.exact { // offsets are dense, so their bitmap is small
		outer[1] = fmt.Sprintf("toString(groupBitmap(toUInt64(waybill_k0) * %d + toUInt64(waybill_k1))) AS waybill_keys", int64(1)<<bucketBits)
	}
	add := func(name, expr string) {
		names, outer = append(names, name), append(outer, expr+" AS "+name)
	}
	for i, p := range columns {
		inner = append(inner, fmt.Sprintf("%s AS waybill_c%d", clickhouse.Ident(p.Name), i), fmt.Sprintf("%s AS waybill_v%d", p.hash(s), i))
		least, most := "''", "''"
		if p.ordered {
			least = fmt.Sprintf("ifNull(left(toString(min(waybill_c%d)), %d), '')", i, shownBytes)
			most = fmt.Sprintf("ifNull(left(toString(max(waybill_c%d)), %d), '')", i, shownBytes)
		}
		add(fmt.Sprintf("waybill_null%d", i), fmt.Sprintf("toString(countIf(isNull(waybill_c%d)))", i))
		add(fmt.Sprintf("waybill_min%d", i), least)
		add(fmt.Sprintf("waybill_max%d", i), most)
		add(fmt.Sprintf("waybill_uniq%d", i), fmt.Sprintf("toString(uniqCombined64(14)(waybill_v%d))", i))
		add(fmt.Sprintf("waybill_sum%d", i), fmt.Sprintf("toString(sum(cityHash64(waybill_key, waybill_v%d)))", i))
	}
	extra := ""
	if id != "" {
		extra = "_partition_id = " + clickhouse.Literal(id)
	}
	out := &Stats{}
	err := c.texts(ctx, fmt.Sprintf("SELECT %s FROM (%s)", strings.Join(outer, ", "), all.selected(s, extra, inner...)), names, func(row []string) error {
		n, err := numbers(row[:2])
		if err != nil {
			return err
		}
		out.Rows, out.keys = n[0], n[1]
		for i, p := range columns {
			got := row[2+5*i:]
			n, err := numbers([]string{got[0], got[3]})
			if err != nil {
				return err
			}
			sum, err := strconv.ParseUint(got[4], 10, 64)
			if err != nil {
				return err
			}
			v := p.values(s)
			v.Nulls += n[0]
			sums[v] += sum
			out.Columns = append(out.Columns, ColumnStats{Name: p.Name, Values: Values{Nulls: n[0], NullRate: share(n[0], out.Rows), Checksum: sumText(sum)}, Min: got[1], Max: got[2], Distinct: n[1]})
		}
		return nil
	})
	return out, err
}
