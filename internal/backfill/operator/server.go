package operator

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
)

// Server is Tables on a ClickHouse server. Its client's statements may take long: rows are copied and removed by them.
type Server struct {
	Client   *clickhouse.Client
	Database string
	Live     string // name of the table that is live: what views read
	Ledger   string // Waybill's own database
	Lineage  contract.Lineage
}

var _ Tables = (*Server)(nil)

func (s *Server) table(name string) string { return clickhouse.Table(s.Database, name) }

// text is a query's only value; empty if there is no row.
func (s *Server) text(ctx context.Context, sql string) (string, error) {
	all, err := s.texts(ctx, sql)
	if err != nil || len(all) == 0 {
		return "", err
	}
	return all[0], nil
}

// texts are the values of a query's column v.
func (s *Server) texts(ctx context.Context, sql string) (out []string, err error) {
	err = s.Client.Texts(ctx, sql, []string{"v"}, func(row []string) error {
		out = append(out, strings.Clone(row[0]))
		return nil
	})
	return out, err
}

func (s *Server) number(ctx context.Context, sql string) (int64, error) {
	text, err := s.text(ctx, sql)
	if err != nil || text == "" {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}

// Name is what a table is called now.
func (s *Server) Name(ctx context.Context, uuid string) (string, error) {
	return s.text(ctx, fmt.Sprintf("SELECT name AS v FROM system.tables WHERE database = %s AND toString(uuid) = %s", clickhouse.Literal(s.Database), clickhouse.Literal(uuid)))
}

// UUID is a table's.
func (s *Server) UUID(ctx context.Context, name string) (string, error) {
	return s.text(ctx, fmt.Sprintf("SELECT toString(uuid) AS v FROM system.tables WHERE database = %s AND name = %s", clickhouse.Literal(s.Database), clickhouse.Literal(name)))
}

// Like are the tables whose names begin so.
func (s *Server) Like(ctx context.Context, prefix string) ([]string, error) {
	return s.texts(ctx, fmt.Sprintf("SELECT name AS v FROM system.tables WHERE database = %s AND startsWith(name, %s) ORDER BY name", clickhouse.Literal(s.Database), clickhouse.Literal(prefix)))
}

// Make makes an empty table: columns, engine, keys, settings, constraints, indices and projections are those of the other one. Views are not.
func (s *Server) Make(ctx context.Context, name, like string) error {
	return s.Client.Exec(ctx, fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s AS %s", s.table(name), s.table(like)))
}

// Fence puts the constraint on it. One of a lower epoch goes first: nobody writes into a table that does not have its fence yet.
func (s *Server) Fence(ctx context.Context, name string, epoch waybill.Epoch) error {
	there, err := s.fence(ctx, name)
	if err != nil || there == strconv.FormatUint(uint64(epoch), 10) {
		return err
	}
	if err := s.Unfence(ctx, name); err != nil {
		return err
	}
	return s.Client.Exec(ctx, fmt.Sprintf("ALTER TABLE %s ADD %s", s.table(name), clickhouse.FenceConstraintOn(s.Lineage.Epoch, epoch)))
}

// fence is the epoch of the table's fence; empty: it has none.
func (s *Server) fence(ctx context.Context, name string) (string, error) {
	return s.text(ctx, fmt.Sprintf("SELECT extract(create_table_query, '%s CHECK [^ ]+ >= ([0-9]+)') AS v FROM system.tables WHERE database = %s AND name = %s",
		clickhouse.FenceName, clickhouse.Literal(s.Database), clickhouse.Literal(name)))
}

// Unfence removes the fence, if there is one.
func (s *Server) Unfence(ctx context.Context, name string) error {
	there, err := s.fence(ctx, name)
	if err != nil || there == "" {
		return err
	}
	return s.Client.Exec(ctx, fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s", s.table(name), clickhouse.FenceName))
}

// Rename gives a table another name.
func (s *Server) Rename(ctx context.Context, from, to string) error {
	return s.Client.Exec(ctx, fmt.Sprintf("RENAME TABLE %s TO %s", s.table(from), s.table(to)))
}

// Exchange lets two tables change names.
func (s *Server) Exchange(ctx context.Context, live, other string) error {
	return s.Client.Exec(ctx, fmt.Sprintf("EXCHANGE TABLES %s AND %s", s.table(live), s.table(other)))
}

// Drop drops a table, whatever its size.
func (s *Server) Drop(ctx context.Context, name string) error {
	return s.Client.Exec(ctx, fmt.Sprintf("DROP TABLE IF EXISTS %s SETTINGS max_table_size_to_drop = 0", s.table(name)))
}

// awaitPause is between two looks at what the server is doing.
const awaitPause = 200 * time.Millisecond

// Await looks at the statements that the server is at.
func (s *Server) Await(ctx context.Context, prefix string) error {
	for {
		n, err := s.number(ctx, fmt.Sprintf("SELECT toString(count()) AS v FROM system.processes WHERE startsWith(query, 'ALTER TABLE ') AND position(query, %s) > 0", clickhouse.Literal(prefix)))
		if err != nil || n == 0 {
			return err
		}
		t := time.NewTimer(awaitPause)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}

// SameColumns compares names and types, in order.
func (s *Server) SameColumns(ctx context.Context, from, to string) (same bool, missing []string, err error) {
	a, err := s.columns(ctx, from, "")
	if err != nil {
		return false, nil, err
	}
	b, err := s.columns(ctx, to, "")
	if err != nil {
		return false, nil, err
	}
	names, err := s.names(ctx, to)
	if err != nil {
		return false, nil, err
	}
	has, err := s.names(ctx, from)
	if err != nil {
		return false, nil, err
	}
	for _, name := range has {
		if !slices.Contains(names, name) {
			missing = append(missing, name)
		}
	}
	return slices.Equal(a, b), missing, nil
}

func (s *Server) columns(ctx context.Context, name, and string) ([]string, error) {
	return s.texts(ctx, fmt.Sprintf("SELECT concat(name, ' ', type) AS v FROM system.columns WHERE database = %s AND table = %s%s ORDER BY position", clickhouse.Literal(s.Database), clickhouse.Literal(name), and))
}

// names are the columns that an INSERT may name.
func (s *Server) names(ctx context.Context, name string) ([]string, error) {
	return s.texts(ctx, fmt.Sprintf("SELECT name AS v FROM system.columns WHERE database = %s AND table = %s AND default_kind NOT IN ('MATERIALIZED', 'ALIAS', 'EPHEMERAL') ORDER BY position",
		clickhouse.Literal(s.Database), clickhouse.Literal(name)))
}

// Pieces are the ids of the table's partitions.
func (s *Server) Pieces(ctx context.Context, table string) ([]string, error) {
	return s.texts(ctx, fmt.Sprintf("SELECT DISTINCT partition_id AS v FROM system.parts WHERE active AND rows > 0 AND database = %s AND table = %s ORDER BY v", clickhouse.Literal(s.Database), clickhouse.Literal(table)))
}

// scoped is a table beside the job's scope, which may be of any number of spans: the server looks each row up in it.
func (s *Server) scoped(table string, j *backfill.Job) (from, in string) {
	l := s.Lineage
	from = fmt.Sprintf(`%s AS t ASOF LEFT JOIN (
    SELECT partition AS waybill_p, first AS waybill_first, max(next) AS waybill_next FROM %s WHERE pipeline = %s AND job = %s GROUP BY partition, first
) AS s ON toInt32(t.%s) = s.waybill_p AND toInt64(t.%s) >= s.waybill_first`,
		s.table(table), clickhouse.Table(s.Ledger, "job_scopes"), clickhouse.Literal(j.Pipeline), clickhouse.Literal(j.ID), clickhouse.Ident(l.Partition), clickhouse.Ident(l.Offset))
	return from, fmt.Sprintf("(t.%s = %s AND toInt64(t.%s) < s.waybill_next)", clickhouse.Ident(l.Topic), clickhouse.Literal(j.Topic), clickhouse.Ident(l.Offset))
}

// plainJoin keeps users' profiles out of these queries.
const plainJoin = " SETTINGS join_use_nulls = 0, join_algorithm = 'hash'"

// between is a condition for rows of the topic between two positions; nil: from the beginning, or to the end.
func (s *Server) between(topic string, lo, hi backfill.Positions) string {
	l := s.Lineage
	var some []string
	parts := map[int32]bool{}
	for p := range lo {
		parts[p] = true
	}
	for p := range hi {
		parts[p] = true
	}
	for _, p := range slices.Sorted(maps.Keys(parts)) {
		first, next := int64(0), int64(math.MaxInt64)
		if lo != nil {
			first = lo[p]
		}
		if hi != nil {
			next = hi[p]
		}
		if first < next {
			some = append(some, fmt.Sprintf("(%[1]s = %[2]d AND %[3]s >= %[4]d AND %[3]s < %[5]d)", clickhouse.Ident(l.Partition), p, clickhouse.Ident(l.Offset), first, next))
		}
	}
	switch {
	case lo == nil && hi == nil:
		return fmt.Sprintf("(%s = %s)", clickhouse.Ident(l.Topic), clickhouse.Literal(topic))
	case len(some) == 0:
		return "0"
	}
	return fmt.Sprintf("(%s = %s AND (%s))", clickhouse.Ident(l.Topic), clickhouse.Literal(topic), strings.Join(some, " OR "))
}

// Touched are the table partitions with rows of the scope.
func (s *Server) Touched(ctx context.Context, table string, j *backfill.Job) ([]string, error) {
	from, in := s.scoped(table, j)
	return s.texts(ctx, fmt.Sprintf("SELECT DISTINCT toString(t._partition_id) AS v FROM %s WHERE %s ORDER BY v%s", from, in, plainJoin))
}

// Copy copies rows that stay.
func (s *Server) Copy(ctx context.Context, from, into string, j *backfill.Job, pieces []string, lo, hi backfill.Positions) error {
	names, err := s.names(ctx, into)
	if err != nil {
		return err
	}
	has, err := s.names(ctx, from)
	if err != nil {
		return err
	}
	var list, selected []string
	for _, name := range names {
		if slices.Contains(has, name) {
			list, selected = append(list, clickhouse.Ident(name)), append(selected, "t."+clickhouse.Ident(name))
		}
	}
	source, in := s.scoped(from, j)
	where := "NOT " + in + " AND " + s.between(j.Topic, lo, hi)
	if pieces != nil {
		where += " AND t._partition_id IN (" + literals(pieces) + ")"
	}
	return s.Client.Exec(ctx, fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s WHERE %s%s, max_partitions_per_insert_block = 0, throw_on_max_partitions_per_insert_block = 0",
		s.table(into), strings.Join(list, ", "), strings.Join(selected, ", "), source, where, plainJoin))
}

func literals(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = clickhouse.Literal(w)
	}
	return strings.Join(out, ", ")
}

// Attach adds the parts of a table partition of another table, which keeps them.
func (s *Server) Attach(ctx context.Context, into, piece, from string) error {
	return s.Client.Exec(ctx, fmt.Sprintf("ALTER TABLE %s ATTACH PARTITION ID %s FROM %s", s.table(into), clickhouse.Literal(piece), s.table(from)))
}

// RemoveOlder removes rows, and returns when they are gone.
func (s *Server) RemoveOlder(ctx context.Context, table string, epoch waybill.Epoch, topic string, from backfill.Positions, piece string) error {
	where := s.between(topic, from, nil) + " AND " + s.older(epoch)
	n, err := s.number(ctx, fmt.Sprintf("SELECT toString(count()) AS v FROM %s WHERE %s%s", s.table(table), where, s.inPiece(piece)))
	if err != nil || n == 0 {
		return err
	}
	in := ""
	if piece != "" {
		in = " IN PARTITION ID " + clickhouse.Literal(piece)
	}
	return s.Client.Exec(ctx, fmt.Sprintf("ALTER TABLE %s DELETE%s WHERE %s SETTINGS mutations_sync = 2", s.table(table), in, where))
}

func (s *Server) older(epoch waybill.Epoch) string {
	return fmt.Sprintf("%s < %d", clickhouse.Ident(s.Lineage.Epoch), epoch)
}

func (s *Server) inPiece(piece string) string {
	if piece == "" {
		return ""
	}
	return " AND _partition_id = " + clickhouse.Literal(piece)
}

// CountStaying counts rows out of the scope.
func (s *Server) CountStaying(ctx context.Context, table string, j *backfill.Job, lo, hi backfill.Positions) (int64, error) {
	from, in := s.scoped(table, j)
	return s.number(ctx, fmt.Sprintf("SELECT toString(count()) AS v FROM %s WHERE NOT %s AND %s%s", from, in, s.between(j.Topic, lo, hi), plainJoin))
}

// CountScope counts rows of the scope.
func (s *Server) CountScope(ctx context.Context, table string, j *backfill.Job) (int64, error) {
	from, in := s.scoped(table, j)
	return s.number(ctx, fmt.Sprintf("SELECT toString(count()) AS v FROM %s WHERE %s%s", from, in, plainJoin))
}

// CountForeign counts rows that others have written: another pipeline, or a person.
func (s *Server) CountForeign(ctx context.Context, table, topic string) (int64, error) {
	return s.number(ctx, fmt.Sprintf("SELECT toString(count()) AS v FROM %s WHERE %s != %s", s.table(table), clickhouse.Ident(s.Lineage.Topic), clickhouse.Literal(topic)))
}

// CountOlder counts rows of epochs below one.
func (s *Server) CountOlder(ctx context.Context, table string, epoch waybill.Epoch, topic string, lo, hi backfill.Positions) (int64, error) {
	return s.number(ctx, fmt.Sprintf("SELECT toString(count()) AS v FROM %s WHERE %s AND %s", s.table(table), s.between(topic, lo, hi), s.older(epoch)))
}

// CountEpoch counts rows of an epoch.
func (s *Server) CountEpoch(ctx context.Context, table string, epoch waybill.Epoch, topic string) (int64, error) {
	return s.number(ctx, fmt.Sprintf("SELECT toString(count()) AS v FROM %s WHERE %s AND %s = %d", s.table(table), s.between(topic, nil, nil), clickhouse.Ident(s.Lineage.Epoch), epoch))
}

// Exact is false for a table with a TTL that removes rows.
func (s *Server) Exact(ctx context.Context, table string) (bool, error) {
	n, err := s.number(ctx, fmt.Sprintf("SELECT toString(count()) AS v FROM system.tables WHERE database = %s AND name = %s AND match(engine_full, '\\\\sTTL\\\\s')", clickhouse.Literal(s.Database), clickhouse.Literal(table)))
	return n == 0, err
}

// mutationNumber is that of a mutation in system.mutations: of a table that is not replicated they are called mutation_N.txt.
const mutationNumber = "toUInt64OrZero(extract(mutation_id, '([0-9]+)'))"

func (s *Server) mutations(table string) string {
	return fmt.Sprintf("system.mutations WHERE database = %s AND table = %s AND NOT is_killed", clickhouse.Literal(s.Database), clickhouse.Literal(table))
}

// LastMutation is the number of the table's last mutation, and how many are not carried out.
func (s *Server) LastMutation(ctx context.Context, table string) (last uint64, underWay int64, err error) {
	n, err := s.number(ctx, "SELECT toString(max("+mutationNumber+")) AS v FROM "+s.mutations(table))
	if err != nil {
		return 0, 0, err
	}
	underWay, err = s.number(ctx, "SELECT toString(count()) AS v FROM "+s.mutations(table)+" AND NOT is_done")
	return uint64(max(n, 0)), underWay, err //nolint:gosec // a count
}

// Changes are mutations that delete or change rows. An ALTER of columns is one as well, and changes no value.
func (s *Server) Changes(ctx context.Context, table string, after uint64) ([]string, error) {
	return s.texts(ctx, fmt.Sprintf("SELECT concat(toString(create_time), ' ', left(command, 200)) AS v FROM %s AND %s > %d AND match(command, '^\\\\(?(DELETE|UPDATE) ') ORDER BY create_time, mutation_id",
		s.mutations(table), mutationNumber, after))
}

// Rows is how many rows a table has.
func (s *Server) Rows(ctx context.Context, table string) (int64, error) {
	return s.number(ctx, fmt.Sprintf("SELECT toString(count()) AS v FROM %s", s.table(table)))
}
