package content

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/column"
)

// ErrNone: there is no such value.
var ErrNone = errors.New("there is no such value")

// Table is a place that is a table of ClickHouse.
type Table struct {
	Client          *clickhouse.Client
	Database, Table string
	Cluster         string // on which it is made; empty: on this server alone
}

var _ Place = (*Table)(nil)

// maxInsert is about how many bytes of values are sent at once.
const maxInsert = 64 << 20

// CreateTable is the statement that makes the table: sorted by hash, so that one is found at once; what was stored twice is merged into one, the
// later. Its granules and compressed blocks are for values that are large.
func (t *Table) CreateTable() string {
	on, engine := "", "ReplacingMergeTree"
	if t.Cluster != "" {
		on, engine = " ON CLUSTER "+clickhouse.Ident(t.Cluster), "ReplicatedReplacingMergeTree"
	}
	return fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s%s
(
    hash String COMMENT 'SHA-256 of the content, in hexadecimal digits' CODEC(ZSTD),
    content String CODEC(ZSTD(3)),
    bytes UInt64 MATERIALIZED length(content) CODEC(ZSTD),
    stored_at DateTime('UTC') DEFAULT now() COMMENT 'last' CODEC(ZSTD)
)
ENGINE = %s(stored_at) ORDER BY hash
SETTINGS index_granularity_bytes = 16777216, max_compress_block_size = 4194304
COMMENT 'Long values that rows of Waybill refer to, once each'`, clickhouse.Table(t.Database, t.Table), on, engine)
}

func (t *Table) String() string { return t.Database + "." + t.Table }

func (t *Table) sql() string { return clickhouse.Table(t.Database, t.Table) }

// Prepare makes the table unless there is one.
func (t *Table) Prepare(ctx context.Context) error {
	if err := t.Client.Exec(ctx, t.CreateTable()); err != nil {
		return err
	}
	return t.Look(ctx)
}

// Look refuses a table that is another one.
func (t *Table) Look(ctx context.Context) error {
	var engine, order string
	err := t.Client.Texts(ctx, fmt.Sprintf("SELECT engine AS waybill_e, sorting_key AS waybill_k FROM system.tables WHERE database = %s AND name = %s", clickhouse.Literal(t.Database), clickhouse.Literal(t.Table)),
		[]string{"waybill_e", "waybill_k"}, func(row []string) error {
			engine, order = row[0], row[1]
			return nil
		})
	if err != nil || engine == "" {
		return err
	}
	have := map[string]string{}
	err = t.Client.Texts(ctx, fmt.Sprintf("SELECT name AS waybill_n, concat(type, ' ', default_kind) AS waybill_t FROM system.columns WHERE database = %s AND table = %s", clickhouse.Literal(t.Database), clickhouse.Literal(t.Table)),
		[]string{"waybill_n", "waybill_t"}, func(row []string) error {
			have[row[0]] = row[1]
			return nil
		})
	if err != nil {
		return err
	}
	if have["hash"] != "String " || have["content"] != "String " || !strings.HasPrefix(have["stored_at"], "DateTime") || !strings.HasSuffix(have["stored_at"], " DEFAULT") ||
		!strings.HasSuffix(engine, "MergeTree") || !strings.HasPrefix(order, "hash") {
		return &waybill.Error{Op: "content.prepare", Class: waybill.ClassSchema, Err: fmt.Errorf("%s is no table for long values: it is a %s sorted by %q, with %v", t, engine, order, have),
			Hint: "name another table in content.table, or make this one: " + t.CreateTable()}
	}
	return nil
}

// Put inserts the values, in blocks of a size that the server takes easily.
func (t *Table) Put(ctx context.Context, values []Value) error {
	for len(values) > 0 {
		b, err := column.NewBlock([]string{"hash", "content"}, []string{"String", "String"})
		if err != nil {
			return err
		}
		n, size := 0, 0
		for n < len(values) && (n == 0 || size+len(values[n].Bytes) <= maxInsert) {
			size += len(values[n].Bytes)
			b.Columns[0].(*column.String).AppendString(Name(values[n].Hash))
			b.Columns[1].(*column.String).Append(values[n].Bytes)
			n++
		}
		a := t.Client.Insert(ctx, clickhouse.Insert{Database: t.Database, Table: t.Table, Input: b.Input(), Token: waybill.Token("content-" + uuid.NewString())})
		if !a.Outcome.Answered() {
			return fmt.Errorf("content: %w", a.Err)
		}
		values = values[n:]
	}
	return nil
}

// Get is one value.
func (t *Table) Get(ctx context.Context, name string) (out []byte, err error) {
	found := false
	err = t.Client.Texts(ctx, fmt.Sprintf("SELECT content AS waybill_c FROM %s WHERE hash = %s LIMIT 1", t.sql(), clickhouse.Literal(name)), []string{"waybill_c"}, func(row []string) error {
		out, found = []byte(row[0]), true
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("%s, %s: %w", t, name, ErrNone)
	}
	return out, err
}

// Missing compares references with what is there.
func (t *Table) Missing(ctx context.Context, refs []Reference) (m Missing, err error) {
	q := fmt.Sprintf(`SELECT toString(count()) AS waybill_n, toString(countIf(NOT waybill_there)) AS waybill_m, arrayStringConcat(groupArrayIf(%d)(waybill_ref, NOT waybill_there), ' ') AS waybill_s
FROM (SELECT waybill_ref, waybill_ref IN (SELECT hash FROM %s) AS waybill_there FROM (SELECT DISTINCT waybill_ref FROM (%s)))`, maxMissing, t.sql(), referenced(refs))
	err = t.Client.Texts(ctx, q, []string{"waybill_n", "waybill_m", "waybill_s"}, func(row []string) error {
		m.Names = strings.Fields(row[2])
		if m.References, err = strconv.ParseInt(row[0], 10, 64); err != nil {
			return err
		}
		m.Missing, err = strconv.ParseInt(row[1], 10, 64)
		return err
	})
	return m, err
}

// sweepBatch is how many values are removed by one statement.
const sweepBatch = 5_000

// Sweep finds what no row refers to. A value that is stored again meanwhile stays: only what was stored before the sweep's bound is deleted, and a
// row that refers to a value is preceded by storing it.
func (t *Table) Sweep(ctx context.Context, refs []Reference, before time.Duration, remove bool) (s Swept, err error) {
	bound, err := t.bound(ctx, before)
	if err != nil {
		return s, err
	}
	unreferenced := fmt.Sprintf("FROM (SELECT hash, max(stored_at) AS waybill_last, any(bytes) AS waybill_bytes FROM %s GROUP BY hash) WHERE hash NOT IN (SELECT waybill_ref FROM (%s))", t.sql(), referenced(refs))
	old := fmt.Sprintf("waybill_last < toDateTime(%s, 'UTC')", bound)
	err = t.Client.Texts(ctx, fmt.Sprintf("SELECT toString(countIf(%[1]s)) AS waybill_a, toString(sumIf(waybill_bytes, %[1]s)) AS waybill_b, toString(countIf(NOT %[1]s)) AS waybill_c %[2]s", old, unreferenced),
		[]string{"waybill_a", "waybill_b", "waybill_c"}, func(row []string) (err error) {
			for i, to := range []*int64{&s.Values, &s.Bytes, &s.Young} {
				if *to, err = strconv.ParseInt(row[i], 10, 64); err != nil {
					return err
				}
			}
			return nil
		})
	if err != nil || !remove {
		return s, err
	}
	for {
		var names []string
		err = t.Client.Texts(ctx, fmt.Sprintf("SELECT hash AS waybill_h %s AND %s ORDER BY 1 LIMIT %d", unreferenced, old, sweepBatch), []string{"waybill_h"}, func(row []string) error {
			names = append(names, clickhouse.Literal(row[0]))
			return nil
		})
		if err != nil {
			return s, err
		}
		if len(names) == 0 {
			s.Removed = true
			return s, nil
		}
		// If the sweep ends here, the next one finds the same values.
		mark := "waybill-content-" + uuid.NewString()
		command := fmt.Sprintf("DELETE WHERE '%s' != '' AND hash IN (%s) AND stored_at < toDateTime(%s, 'UTC')", mark, strings.Join(names, ", "), bound)
		if err := t.Client.Mutate(ctx, clickhouse.Mutation{Database: t.Database, Table: t.Table, Command: command, Mark: mark}); err != nil {
			return s, err
		}
	}
}

// bound is the server's time some time ago, in seconds since 1970.
func (t *Table) bound(ctx context.Context, before time.Duration) (bound string, err error) {
	err = t.Client.Texts(ctx, fmt.Sprintf("SELECT toString(toUnixTimestamp(now()) - %d) AS waybill_b", int64(before/time.Second)), []string{"waybill_b"}, func(row []string) error {
		bound = row[0]
		return nil
	})
	return bound, err
}
