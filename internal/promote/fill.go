package promote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/failpoint"
)

// DefaultPage is how many rows are filled by one mutation at most.
const DefaultPage = 200_000

// Progress is how far the filling is.
type Progress struct {
	Partition string // of the table, that is being worked on
	Done, Of  int64  // rows with a value at the path
	Filled    int64  // of those done: rows that were filled just now
}

// Result is what the table says after the filling.
type Result struct {
	Rows    int64 `json:"rows"`    // with a value at the path in the rescue column
	Filled  int64 `json:"filled"`  // of those: filled just now
	Already int64 `json:"already"` // of those: the column had the value
	Kept    int64 `json:"kept"`    // of those: the value does not fit, and is in the rescue column alone
	// Wrong are rows that should have their value, and do not. There should be none.
	Wrong   int64    `json:"wrong"`
	Samples []Misfit `json:"samples,omitempty"` // of Kept
}

// filler fills the rows of one table, partition by partition, page by page. A page's values are made here, brought to the server as a
// table, and taken from there by a mutation of those rows that do not have them. So a mutation that is carried out late, or twice,
// does no harm, and what is done is recognised by looking.
type filler struct {
	*Job
	ctx      context.Context
	maker    *maker
	finder   *finder
	prefix   string // of the names of all tables for this column, whichever run made them
	values   string // table of the page's keys and values
	lookup   string // the same, for joinGet
	progress func(Progress)
	result   Result
}

func (j *Job) fill(ctx context.Context, progress func(Progress)) (Result, error) {
	m, err := newMaker(j.Column, j.source.lineage, j.table)
	if err != nil {
		return Result{}, err
	}
	m.limit = j.source.limit
	db := j.deps.Ledger.Database()
	f := &filler{Job: j, ctx: ctx, maker: m, finder: newFinder(j.source.paths), progress: progress}
	f.name()
	if err := f.prepare(db); err != nil {
		return f.result, err
	}
	partitions, err := f.partitions()
	if err != nil {
		return f.result, err
	}
	for _, p := range partitions {
		if err := f.partition(p); err != nil {
			return f.result, err
		}
	}
	return f.result, f.drop(db)
}

// name gives the tables names of this run's own: a mutation never finds the values of another run.
func (f *filler) name() {
	sum := sha256.Sum256([]byte(f.table.Database + "\x00" + f.table.Table + "\x00" + f.Column.Name))
	f.prefix = "promote_" + hex.EncodeToString(sum[:6])
	f.values = f.prefix + "_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	f.lookup = f.values + "_lookup"
}

// prepare waits for what a run that was killed has left behind, and makes the tables anew.
func (f *filler) prepare(db string) error {
	if err := f.wait(); err != nil {
		return err
	}
	if err := f.drop(db); err != nil {
		return err
	}
	l := f.source.lineage
	var columns []string
	for _, name := range []string{l.Topic, l.Partition, l.Offset, l.Epoch} {
		for _, c := range f.table.Columns {
			if c.Name == name {
				typ := strings.TrimSuffix(strings.TrimPrefix(c.Type, "LowCardinality("), ")")
				columns = append(columns, clickhouse.Ident(c.Name)+" "+typ)
			}
		}
	}
	body := strings.Join(append(columns, clickhouse.Ident(f.Column.Name)+" "+f.Column.Type), ", ")
	return f.exec(f.ctx,
		fmt.Sprintf("CREATE TABLE %s (%s) ENGINE = MergeTree ORDER BY tuple() COMMENT 'of waybill schema promote; may be dropped when none is running'",
			clickhouse.Table(db, f.values), body),
		fmt.Sprintf("CREATE TABLE %s (%s) ENGINE = Join(ANY, LEFT, %s) COMMENT 'of waybill schema promote; may be dropped when none is running'",
			clickhouse.Table(db, f.lookup), body, strings.Join(f.source.keys(), ", ")),
	)
}

// drop removes the tables of all runs: one that is under way fails at its next page, without harm.
func (f *filler) drop(db string) error {
	var drops []string
	err := f.deps.Client.Texts(f.ctx, fmt.Sprintf("SELECT name AS w FROM system.tables WHERE database = %s AND startsWith(name, %s)", clickhouse.Literal(db), clickhouse.Literal(f.prefix)),
		[]string{"w"}, func(row []string) error {
			drops = append(drops, "DROP TABLE IF EXISTS "+clickhouse.Table(db, row[0])+" SYNC")
			return nil
		})
	if err != nil {
		return err
	}
	return f.exec(f.ctx, drops...)
}

// partitions are those of the table that hold rows with something to fill.
func (f *filler) partitions() ([]string, error) {
	var out []string
	err := f.deps.Client.Texts(f.ctx, fmt.Sprintf("SELECT DISTINCT toString(_partition_id) AS waybill_1 FROM %s WHERE %s ORDER BY waybill_1", f.target(), f.source.holds()), aliases[:1],
		func(row []string) error {
			out = append(out, row[0])
			return nil
		})
	return out, err
}

func (f *filler) target() string { return clickhouse.Table(f.table.Database, f.table.Table) }

// partition fills one, page by page in the order of the key.
func (f *filler) partition(id string) error {
	within := fmt.Sprintf("_partition_id = %s AND %s", clickhouse.Literal(id), f.source.holds())
	from := within
	for {
		f.maker.block.Reset()
		n, last := 0, place{}
		survey := Survey{}
		err := f.source.rows(f.ctx, from, f.deps.Page, func(at place, column string) error {
			n, last = n+1, at
			survey.take(f.maker, at, column, f.finder)
			return nil
		})
		if err != nil || n == 0 {
			return err
		}
		f.kept(survey)
		if err := f.page(id, survey); err != nil {
			return err
		}
		if n < f.deps.Page {
			return nil
		}
		from = within + " AND " + f.past(last)
	}
}

func (f *filler) kept(s Survey) {
	f.result.Rows += s.Rows
	f.result.Kept += s.Misfits
	for _, m := range s.Samples {
		if len(f.result.Samples) < maxSamples {
			f.result.Samples = append(f.result.Samples, m)
		}
	}
}

// past is the condition for rows whose key comes after.
func (f *filler) past(last place) string {
	values := []string{clickhouse.Literal(last.topic), strconv.Itoa(int(last.partition)), strconv.FormatInt(last.offset, 10)}
	if f.source.lineage.Epoch != "" {
		values = append(values, strconv.FormatUint(uint64(last.epoch), 10))
	}
	return fmt.Sprintf("(%s) > (%s)", strings.Join(f.source.keys(), ", "), strings.Join(values, ", "))
}

// page brings the values at hand into the rows of a partition, and sees that they are there.
func (f *filler) page(id string, s Survey) error {
	defer func() {
		f.progress(Progress{Partition: id, Done: f.result.Rows, Of: f.Survey.Rows, Filled: f.result.Filled})
	}()
	if f.maker.block.Rows() == 0 {
		return nil
	}
	if err := f.bring(); err != nil {
		return err
	}
	rows, lacking, err := f.count(id)
	if err != nil {
		return err
	}
	if lacking > 0 {
		if err := f.mutate(id); err != nil {
			return err
		}
	}
	_, wrong, err := f.count(id)
	if err != nil {
		return err
	}
	f.result.Wrong += wrong + max(0, s.Rows-s.Misfits-rows) // rows that were there a moment ago, too
	f.result.Filled += lacking - wrong
	f.result.Already += rows - lacking
	return nil
}

// bring puts the values where the mutation finds them.
func (f *filler) bring() error {
	db := f.deps.Ledger.Database()
	if err := f.exec(f.ctx, "TRUNCATE TABLE "+clickhouse.Table(db, f.values), "TRUNCATE TABLE "+clickhouse.Table(db, f.lookup)); err != nil {
		return err
	}
	a := f.deps.Client.Insert(f.ctx, clickhouse.Insert{
		Database: db, Table: f.values, Input: f.maker.block.Input(), Token: waybill.Token("promote-" + uuid.NewString()),
	})
	failpoint.Hit(failpoint.PromoteStep)
	if a.Err != nil {
		return a.Err
	}
	return f.exec(f.ctx, fmt.Sprintf("INSERT INTO %s SELECT * FROM %s", clickhouse.Table(db, f.lookup), clickhouse.Table(db, f.values)))
}

// value is the expression of a row's value.
func (f *filler) value() string {
	keys := f.source.keys()
	keys[0] = "toString(" + keys[0] + ")"
	return fmt.Sprintf("joinGet(%s, %s, %s)", clickhouse.Literal(f.deps.Ledger.Database()+"."+f.lookup), clickhouse.Literal(f.Column.Name), strings.Join(keys, ", "))
}

// here is the condition for the page's rows.
func (f *filler) here() string {
	keys := strings.Join(f.source.keys(), ", ")
	return fmt.Sprintf("(%s) IN (SELECT %s FROM %s)", keys, keys, clickhouse.Table(f.deps.Ledger.Database(), f.values))
}

// lacks is the condition for rows that do not have their value. Texts tell all values apart, and are there for every type.
func (f *filler) lacks() string {
	c, v := clickhouse.Ident(f.Column.Name), f.value()
	return fmt.Sprintf("(isNull(%[1]s) != isNull(%[2]s) OR ifNull(toString(%[1]s), '') != ifNull(toString(%[2]s), ''))", c, v)
}

// count asks the table for the page's rows: all of them, and those without their value.
func (f *filler) count(id string) (rows, lacking int64, err error) {
	err = f.deps.Client.Texts(f.ctx, fmt.Sprintf("SELECT toString(count()) AS waybill_1, toString(countIf(%s)) AS waybill_2 FROM %s WHERE _partition_id = %s AND %s",
		f.lacks(), f.target(), clickhouse.Literal(id), f.here()), aliases[:2], func(row []string) error {
		var err error
		if rows, err = strconv.ParseInt(row[0], 10, 64); err == nil {
			lacking, err = strconv.ParseInt(row[1], 10, 64)
		}
		return err
	})
	return rows, lacking, err
}

// mutate sets the page's values in one partition.
func (f *filler) mutate(id string) error {
	if f.replicated {
		return f.spell(id)
	}
	err := f.exec(f.ctx, fmt.Sprintf("ALTER TABLE %s UPDATE %s = %s IN PARTITION ID %s WHERE %s AND %s",
		f.target(), clickhouse.Ident(f.Column.Name), f.value(), clickhouse.Literal(id), f.here(), f.lacks()))
	if err != nil {
		return err
	}
	return f.wait()
}

// wait waits until no mutation of this job is left. One that the server cannot carry out is taken back: it would block all
// that follow.
func (f *filler) wait() error {
	ours := fmt.Sprintf("database = %s AND table = %s AND position(command, %s) > 0",
		clickhouse.Literal(f.table.Database), clickhouse.Literal(f.table.Table), clickhouse.Literal(f.prefix))
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		left, failed := 0, ""
		err := f.deps.Client.Texts(f.ctx, "SELECT latest_fail_reason AS w FROM system.mutations WHERE NOT is_done AND "+ours, []string{"w"}, func(row []string) error {
			left++
			failed += row[0]
			return nil
		})
		switch {
		case err != nil || left == 0:
			return err
		case failed != "":
			return f.takeBack(ours, failed)
		}
		select {
		case <-f.ctx.Done():
			return f.ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (f *filler) takeBack(ours, why string) error {
	columns := []string{"kill_status", "database", "table", "mutation_id", "command"}
	if err := f.deps.Client.Texts(f.ctx, "KILL MUTATION WHERE "+ours+" SYNC", columns, func([]string) error { return nil }); err != nil {
		return err
	}
	return &waybill.Error{
		Op: "schema.promote", Pipeline: f.cfg.Name, Class: waybill.ClassRetryable, Err: fmt.Errorf("the server could not fill the rows: %s", why),
		Hint: "the mutation was taken back; run it again: what was filled is not filled twice",
	}
}
