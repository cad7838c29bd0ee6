package ledger

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
)

// Kept is what one table of Waybill's database has of a pipeline.
type Kept struct {
	Table  string
	Column string // that has the pipeline's name
	Rows   int64
}

// remembered are tables whose rows outlive their pipeline: whatever reads the topic later must not bring erased records back.
var remembered = []string{TableErasures, TableArchiveErased}

// Kept is what is on record of pipelines, by table, without what has to outlive them. Tables that have nothing are left out.
func (s *Store) Kept(ctx context.Context, pipelines ...string) ([]Kept, error) {
	var tables []Kept
	db := clickhouse.Literal(s.db)
	err := s.ch.Texts(ctx, fmt.Sprintf(`SELECT c.table AS t, c.name AS c FROM system.columns AS c INNER JOIN system.tables AS t ON t.database = c.database AND t.name = c.table
WHERE c.database = %s AND t.engine LIKE '%%MergeTree' AND (c.name = 'pipeline' OR c.table = %s AND c.name = 'name') ORDER BY t`, db, clickhouse.Literal(TablePipelines)),
		[]string{"t", "c"}, func(row []string) error {
			if !slices.Contains(remembered, row[0]) {
				tables = append(tables, Kept{Table: strings.Clone(row[0]), Column: strings.Clone(row[1])})
			}
			return nil
		})
	if err != nil {
		return nil, renamed("ledger.kept", err)
	}
	for i := range tables {
		t := &tables[i]
		if t.Rows, err = s.rows(ctx, t, pipelines...); err != nil {
			return nil, renamed("ledger.kept", err)
		}
	}
	return slices.DeleteFunc(tables, func(t Kept) bool { return t.Rows == 0 }), nil
}

func (k *Kept) of(pipelines []string) string {
	var names []string
	for _, p := range pipelines {
		names = append(names, clickhouse.Literal(p))
	}
	return fmt.Sprintf("%s IN (%s)", clickhouse.Ident(k.Column), strings.Join(names, ", "))
}

// Forget deletes what Kept names. It may be called again.
func (s *Store) Forget(ctx context.Context, pipelines ...string) error {
	tables, err := s.Kept(ctx, pipelines...)
	if err != nil {
		return err
	}
	for i := range tables {
		t := &tables[i]
		if err := s.ch.Exec(ctx, fmt.Sprintf("ALTER TABLE %s DELETE WHERE %s SETTINGS mutations_sync = 2", s.table(t.Table), t.of(pipelines))); err != nil {
			return err
		}
	}
	return nil
}

// Rename has all that is on record of a pipeline go by another name, but for whether it is paused; what has to outlive a pipeline goes by both. again: it was begun before and may have been ended half-way.
// Otherwise nothing may be on record under the new name. No worker may run.
func (s *Store) Rename(ctx context.Context, from, to string, again bool) error {
	there, err := s.Kept(ctx, to)
	if err != nil {
		return err
	}
	there = slices.DeleteFunc(there, func(k Kept) bool { return k.Table == TablePauses })
	if len(there) > 0 && !again {
		return &waybill.Error{Op: "ledger.rename", Pipeline: from, Class: waybill.ClassConfig, Err: fmt.Errorf("%d rows of %s.%s are of a pipeline %s", there[0].Rows, s.db, there[0].Table, to), Hint: "choose a name that no pipeline has had"}
	}
	if again {
		// What the one before has asked for goes on without it. Were the old rows seen now and gone a moment later, the new ones would be removed, and nothing
		// put in their place.
		if err := s.renamesOver(ctx); err != nil {
			return err
		}
	}
	// What has to outlive a pipeline stays under the old name, too: somebody may give that to another one. It comes first: nobody may read the topic under the new
	// name without it.
	for _, name := range remembered {
		const what = "sipHash128(tuple(* EXCEPT pipeline))"
		if err := s.ch.Exec(ctx, fmt.Sprintf("INSERT INTO %[1]s %[2]s (%[3]s AS pipeline) FROM (SELECT * FROM %[1]s WHERE pipeline = %[4]s AND %[5]s NOT IN (SELECT %[5]s FROM %[1]s WHERE pipeline = %[3]s)) SETTINGS insert_deduplicate = 0",
			s.table(name), renameSelect, clickhouse.Literal(to), clickhouse.Literal(from), what)); err != nil {
			return err
		}
	}
	tables, err := s.Kept(ctx, from)
	if err != nil {
		return err
	}
	for i := range tables {
		t := &tables[i]
		if t.Table == TablePauses {
			continue
		}
		table := s.table(t.Table)
		// The old rows are chosen in a SELECT of their own: beside REPLACE, a condition on the column means what is put in its place, and nothing would be copied.
		for _, sql := range []string{ // as long as the old rows are there, the new ones may be part of them
			fmt.Sprintf("ALTER TABLE %s DELETE WHERE %s SETTINGS mutations_sync = 2", table, t.of([]string{to})),
			fmt.Sprintf("INSERT INTO %s %s (%s AS %s) FROM (SELECT * FROM %[1]s WHERE %[5]s) SETTINGS insert_deduplicate = 0", table, renameSelect, clickhouse.Literal(to), clickhouse.Ident(t.Column), t.of([]string{from})),
			fmt.Sprintf("ALTER TABLE %s DELETE WHERE %s SETTINGS mutations_sync = 2", table, t.of([]string{from})),
		} {
			if err := s.ch.Exec(ctx, sql); err != nil {
				return err
			}
		}
	}
	return nil
}

// renameSelect is in the statements that put rows under their new name, by which they are found again.
const renameSelect = "SELECT * REPLACE"

func (s *Store) rows(ctx context.Context, t *Kept, pipelines ...string) (n int64, err error) {
	err = s.ch.Texts(ctx, fmt.Sprintf("SELECT toString(count()) AS n FROM %s WHERE %s", s.table(t.Table), t.of(pipelines)), []string{"n"}, func(row []string) (err error) {
		n, err = strconv.ParseInt(row[0], 10, 64)
		return err
	})
	return n, err
}

// renameQuiet is how long nothing of a rename before may be seen on a server for it to be over: a statement whose sender has died may have been on its way.
const renameQuiet = 200 * time.Millisecond

// renamesOver waits until what a rename before has asked of the server is done: statements that run, and mutations.
func (s *Store) renamesOver(ctx context.Context) error {
	sql := fmt.Sprintf(`SELECT toString(assumeNotNull((SELECT count() FROM system.mutations WHERE NOT is_done AND NOT is_killed AND database = %[1]s)
    + (SELECT count() FROM system.processes WHERE startsWith(query, %[2]s) OR startsWith(query, %[3]s) AND position(query, %[4]s) > 0))) AS n`,
		clickhouse.Literal(s.db), clickhouse.Literal("ALTER TABLE "+clickhouse.Ident(s.db)+"."), clickhouse.Literal("INSERT INTO "+clickhouse.Ident(s.db)+"."), clickhouse.Literal(renameSelect))
	for quiet := 0; quiet < 2; {
		left := ""
		if err := s.ch.Texts(ctx, sql, []string{"n"}, func(row []string) error { left = row[0]; return nil }); err != nil {
			return err
		}
		if quiet++; left != "0" {
			quiet = 0
		}
		t := time.NewTimer(renameQuiet)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
	return nil
}

// Names are all pipelines that are on record, those that keep records included.
func (s *Store) Names(ctx context.Context) (names []string, err error) {
	err = s.ch.Texts(ctx, fmt.Sprintf("SELECT DISTINCT toString(name) AS n FROM %s ORDER BY n", s.table(TablePipelines)), []string{"n"}, func(row []string) error {
		names = append(names, strings.Clone(row[0]))
		return nil
	})
	return names, renamed("ledger.names", err)
}

// Drop drops Waybill's database with all that is in it. It may be called again.
func (s *Store) Drop(ctx context.Context) error {
	return s.ch.Exec(ctx, "DROP DATABASE IF EXISTS "+clickhouse.Ident(s.db)+" SYNC")
}
