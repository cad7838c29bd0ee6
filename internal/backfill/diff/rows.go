package diff

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-data/waybill/internal/clickhouse"
)

// bucket is what the tables have of one bucket of keys.
type bucket struct {
	id   int64
	live held
	shad held
}

// held is what one table has of a bucket.
type held struct {
	rows, keys int64 // keys is how many different ones there are; 0: it is not known
	sums       []string
}

// rows compares the rows of a space.
func (c *comparison) rows(ctx context.Context, sp *space) error {
	if sp.settled {
		return nil
	}
	buckets, err := c.buckets(ctx, sp)
	if err != nil {
		return err
	}
	var todo []*bucket
	for _, b := range buckets {
		if sp.exact && b.live.rows == b.shad.rows && b.live.keys == b.live.rows && b.shad.keys == b.shad.rows && slices.Equal(b.live.sums, b.shad.sums) {
			c.report.Rows.Both += b.live.rows
		} else {
			todo = append(todo, b)
		}
	}
	// In order of offsets: rows that came at one time are near each other in the table.
	slices.SortFunc(todo, func(a, b *bucket) int { return cmp.Or(cmp.Compare(a.number(), b.number()), cmp.Compare(a.id, b.id)) })
	var total, done int64
	for _, b := range todo {
		total += b.most()
	}
	for len(todo) > 0 {
		slice := c.cut(sp, todo)
		todo = todo[len(slice.buckets):]
		c.opts.Progress(Progress{"rows side by side", done, total})
		done += slice.rows
		if err := c.sideBySide(ctx, sp, slice); err != nil {
			return err
		}
	}
	return nil
}

// number is the bucket's, without the partition's.
func (b *bucket) number() int64 { return b.id & (1<<bucketBits - 1) }

func (b *bucket) most() int64 { return max(b.live.rows, b.shad.rows) }

// buckets are what the tables have of each bucket.
func (c *comparison) buckets(ctx context.Context, sp *space) (map[int64]*bucket, error) {
	out := map[int64]*bucket{}
	for i, s := range c.sides() {
		c.opts.Progress(Progress{"checksums of " + s.name, int64(i), 2})
		var inner []string
		names, outer := []string{"waybill_at", "waybill_rows", "waybill_keys"}, []string{"toString(waybill_bucket) AS waybill_at", "toString(count()) AS waybill_rows", "'0' AS waybill_keys"}
		if sp.exact {
			outer[2] = fmt.Sprintf("toString(groupBitmap(toUInt32(waybill_k1 %% %d))) AS waybill_keys", clickhouse.BucketOffsets)
			for j, p := range c.compared() {
				inner = append(inner, fmt.Sprintf("%s AS waybill_v%d", p.hash(s), j))
				names = append(names, fmt.Sprintf("waybill_sum%d", j))
				outer = append(outer, fmt.Sprintf("toString(sum(cityHash64(waybill_key, waybill_v%d))) AS waybill_sum%d", j, j))
			}
		}
		err := c.texts(ctx, fmt.Sprintf("SELECT %s FROM (%s) GROUP BY waybill_bucket", strings.Join(outer, ", "), sp.selected(s, "", inner...)), names, func(row []string) error {
			n, err := numbers(row[:3])
			if err != nil {
				return err
			}
			b := out[n[0]]
			if b == nil {
				b = &bucket{id: n[0]}
				out[b.id] = b
			}
			h := held{rows: n[1], keys: n[2], sums: slices.Clone(row[3:])}
			if s == c.live {
				b.live = h
			} else {
				b.shad = h
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// slice is buckets whose rows are put side by side at once, in these columns.
type slice struct {
	buckets []*bucket
	columns []*pair
	rows    int64
}

// bytesPerRow is about what the server needs for a row of a slice: its key, how often either table has it, and two sums for each column, in a hash table
// that is half empty, and of which each thread has a share before they are merged.
func bytesPerRow(columns int) int64 { return 4 * (64 + 16*int64(columns)) }

// cut takes as many buckets from the front as fit the memory limit, at least one.
func (c *comparison) cut(sp *space, todo []*bucket) slice {
	all := c.compared()
	differ := make([]bool, len(all))
	var out slice
	for i, b := range todo {
		var columns []*pair
		for j, p := range all {
			if differ[j] = differ[j] || !sp.exact || b.live.rows == 0 || b.shad.rows == 0 || b.live.sums[j] != b.shad.sums[j]; differ[j] {
				columns = append(columns, p)
			}
		}
		if i > 0 && (out.rows+b.most())*bytesPerRow(len(columns)) > c.opts.Memory {
			break
		}
		out.buckets, out.columns, out.rows = append(out.buckets, b), columns, out.rows+b.most()
	}
	return out
}

// condition selects the rows of a slice.
func (sl slice) condition(sp *space, s *side) string {
	var ids []string
	first, last := sl.buckets[0].number(), sl.buckets[0].number()
	for _, b := range sl.buckets {
		ids = append(ids, strconv.FormatInt(b.id, 10))
		first, last = min(first, b.number()), max(last, b.number())
	}
	out := fmt.Sprintf("waybill_bucket IN (%s)", strings.Join(ids, ","))
	if sp.exact { // spares parts and granules by the offsets themselves
		out = fmt.Sprintf("%[1]s >= %[2]d AND %[1]s < %[3]d AND ", clickhouse.Ident(s.by.Offset), first*clickhouse.BucketOffsets, (last+1)*clickhouse.BucketOffsets) + out
	}
	return out
}

// codeMemory is the server's for a query that needs more memory than it may use.
const codeMemory = 241

// sideBySide compares the rows of a slice one by one. A slice that turns out to be too large is halved.
func (c *comparison) sideBySide(ctx context.Context, sp *space, sl slice) error {
	err := c.compareSlice(ctx, sp, sl)
	if serverCode(err) != codeMemory || len(sl.buckets) < 2 {
		return err
	}
	half := len(sl.buckets) / 2
	for _, buckets := range [][]*bucket{sl.buckets[:half], sl.buckets[half:]} {
		part := slice{buckets: buckets, columns: sl.columns}
		for _, b := range buckets {
			part.rows += b.most()
		}
		if err := c.sideBySide(ctx, sp, part); err != nil {
			return err
		}
	}
	return nil
}

// tally is a number of rows, and the keys of some of them.
type tally struct {
	name      string
	condition string
	count     *int64
	samples   func([]Key)
}

func (c *comparison) compareSlice(ctx context.Context, sp *space, sl slice) error {
	var keys []string
	for i := range sp.keys[c.live] {
		keys = append(keys, fmt.Sprintf("waybill_k%d", i))
	}
	differs := func(i int) string { return fmt.Sprintf("waybill_n1 * waybill_a%d != waybill_n0 * waybill_b%d", i, i) }
	both := "waybill_n0 > 0 AND waybill_n1 > 0"
	r, anywhere := &c.report.Rows, []string{"0"}
	for i := range sl.columns {
		anywhere = append(anywhere, differs(i))
	}
	// Of a key with several rows, all of each table are taken together: their sums, in proportion to how many there are.
	tallies := []tally{
		{"both", both, &r.Both, nil}, {"changed", both + " AND (" + strings.Join(anywhere, " OR ") + ")", &r.Changed, nil},
		{"only0", "waybill_n1 = 0", &r.OnlyLive, c.keep(&c.report.Samples.OnlyLive)}, {"only1", "waybill_n0 = 0", &r.OnlyShadow, c.keep(&c.report.Samples.OnlyShadow)},
		{"twice0", "waybill_n0 > 1", &r.DoubledLive, c.keep(&c.report.Samples.DoubledLive)}, {"twice1", "waybill_n1 > 1", &r.DoubledShadow, c.keep(&c.report.Samples.DoubledShadow)},
	}
	changed := make([][]Key, len(sl.columns))
	for i, p := range sl.columns {
		tallies = append(tallies, tally{fmt.Sprintf("c%d", i), both + " AND " + differs(i), &p.Changed, c.keep(&changed[i])})
		if len(p.Samples) >= c.opts.Samples {
			tallies[len(tallies)-1].samples = nil
		}
	}
	var names, outer []string
	for _, t := range tallies {
		names, outer = append(names, "waybill_"+t.name), append(outer, fmt.Sprintf("toString(countIf(%s)) AS waybill_%s", t.condition, t.name))
		if t.samples != nil && c.opts.Samples > 0 {
			names = append(names, "waybill_s_"+t.name)
			outer = append(outer, fmt.Sprintf("toJSONString(groupArraySortedIf(%d)(tuple(%s), %s)) AS waybill_s_%s", c.opts.Samples, strings.Join(keys, ", "), t.condition, t.name))
		}
	}
	counted := map[*int64]int64{}
	var found []func()
	err := c.texts(ctx, fmt.Sprintf("SELECT %s FROM (%s)", strings.Join(outer, ", "), c.grouped(sp, sl, keys)), names, func(row []string) error {
		for _, t := range tallies {
			n, err := strconv.ParseInt(row[0], 10, 64)
			if err != nil {
				return err
			}
			counted[t.count] = n
			if row = row[1:]; t.samples != nil && c.opts.Samples > 0 {
				list, err := keysOf(row[0], sp.topic)
				if err != nil {
					return err
				}
				found = append(found, func() { t.samples(list) })
				row = row[1:]
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for to, n := range counted {
		*to += n
	}
	for _, keep := range found {
		keep()
	}
	c.report.Cost.Slices++
	for _, b := range sl.buckets {
		c.report.Cost.Looked += b.live.rows + b.shad.rows
	}
	return c.show(ctx, sp, sl, changed)
}

// grouped is one row for each key of a slice: how many rows either table has of it, and the sums of their values' hashes.
func (c *comparison) grouped(sp *space, sl slice, keys []string) string {
	out := slices.Clone(keys)
	out = append(out, "countIf(waybill_side = 0) AS waybill_n0", "countIf(waybill_side = 1) AS waybill_n1")
	var union []string
	for number, s := range c.sides() {
		inner := []string{fmt.Sprintf("%d AS waybill_side", number)}
		for i, p := range sl.columns {
			inner = append(inner, fmt.Sprintf("%s AS waybill_v%d", p.hash(s), i))
		}
		union = append(union, sp.selected(s, sl.condition(sp, s), inner...))
	}
	for i := range sl.columns {
		out = append(out, fmt.Sprintf("sumIf(waybill_v%[1]d, waybill_side = 0) AS waybill_a%[1]d, sumIf(waybill_v%[1]d, waybill_side = 1) AS waybill_b%[1]d", i))
	}
	return fmt.Sprintf("SELECT %s FROM (%s) GROUP BY %s", strings.Join(out, ", "), strings.Join(union, " UNION ALL "), strings.Join(keys, ", "))
}

// keep adds to a list of samples, up to as many as are wanted.
func (c *comparison) keep(to *[]Key) func([]Key) {
	return func(more []Key) {
		*to = append(*to, more[:min(len(more), max(0, c.opts.Samples-len(*to)))]...)
	}
}

// keysOf reads an array of tuples.
func keysOf(text, topic string) ([]Key, error) {
	var list [][]any
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&list); err != nil {
		return nil, fmt.Errorf("keys of rows: %w", err)
	}
	var out []Key
	for _, parts := range list {
		k := Key{}
		if topic != "" {
			k = append(k, topic)
		}
		for _, p := range parts {
			k = append(k, fmt.Sprint(p))
		}
		out = append(out, k)
	}
	return out, nil
}

// shownValue is how many bytes of a value are shown.
const shownValue = 300

// show looks up the values of rows that differ, which the columns have as samples.
func (c *comparison) show(ctx context.Context, sp *space, sl slice, changed [][]Key) error {
	wanted := map[string]Key{}
	for _, keys := range changed {
		for _, k := range keys {
			wanted[k.String()] = k
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	values := map[*side]map[string][]string{}
	for _, s := range c.sides() {
		values[s] = map[string][]string{}
		if err := c.lookUp(ctx, sp, sl, s, wanted, values[s]); err != nil {
			return err
		}
	}
	for i, p := range sl.columns {
		for _, k := range changed[i] {
			if a, b := values[c.live][k.String()], values[c.shadow][k.String()]; len(p.Samples) < c.opts.Samples && a != nil && b != nil {
				p.Samples = append(p.Samples, ValueSample{k, a[i], b[i]})
			}
		}
	}
	return nil
}

// lookUp reads the values of rows, by key.
func (c *comparison) lookUp(ctx context.Context, sp *space, sl slice, s *side, wanted map[string]Key, into map[string][]string) error {
	skip := 0
	if sp.topic != "" {
		skip = 1
	}
	var in, keys, names, outer []string
	for _, text := range slices.Sorted(maps.Keys(wanted)) {
		k := slices.Clone(wanted[text][skip:])
		if !sp.exact {
			for i := range k {
				k[i] = clickhouse.Literal(k[i])
			}
		}
		in = append(in, "("+strings.Join(k, ",")+")")
	}
	for i := range sp.keys[s] {
		keys = append(keys, fmt.Sprintf("waybill_k%d", i))
		names, outer = append(names, fmt.Sprintf("waybill_t%d", i)), append(outer, fmt.Sprintf("toString(waybill_k%[1]d) AS waybill_t%[1]d", i))
	}
	var inner []string
	for i, p := range sl.columns {
		inner = append(inner, fmt.Sprintf("ifNull(left(toJSONString(%s), %d), 'null') AS waybill_c%d", clickhouse.Ident(p.Name), shownValue, i))
		names, outer = append(names, fmt.Sprintf("waybill_c%d", i)), append(outer, fmt.Sprintf("waybill_c%d", i))
	}
	condition := sl.condition(sp, s) + fmt.Sprintf(" AND (%s) IN (%s)", strings.Join(keys, ", "), strings.Join(in, ", "))
	return c.texts(ctx, fmt.Sprintf("SELECT %s FROM (%s)", strings.Join(outer, ", "), sp.selected(s, condition, inner...)), names, func(row []string) error {
		k := Key{}
		if sp.topic != "" {
			k = append(k, sp.topic)
		}
		k = append(k, row[:len(keys)]...)
		into[k.String()] = slices.Clone(row[len(keys):])
		return nil
	})
}
