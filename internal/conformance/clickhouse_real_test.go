package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/waybill-data/waybill/internal/conformance"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

const patience = 20 * time.Second

// real drives a ClickHouse server through the suite's port: inserts over ch-go, everything else by SQL
// over HTTP.
type real struct {
	t   *testing.T
	srv *chserver.Server
	db  string
	// obstacles are set up by BreakRename and cleared by the next insert.
	obstacles *obstacles
}

var (
	_       conformance.ClickHouse = real{}
	queries atomic.Int64
)

func newReal(t *testing.T, own bool) conformance.ClickHouse {
	start := testenv.SharedClickHouse
	if own {
		start = func(t testing.TB) *chserver.Server { return testenv.ClickHouse(t) }
	}
	srv := start(t)
	return real{t, srv, testenv.Database(t, srv), &obstacles{}}
}

func (r real) exec(format string, args ...any) {
	r.t.Helper()
	testenv.Exec(r.t, r.srv.HTTPAddr(), fmt.Sprintf(strings.ReplaceAll(format, "DB.", r.db+"."), args...))
}

func (r real) CreateTable(name string, o conformance.TableOptions) {
	constraint := ""
	if o.Constraint {
		constraint = ", CONSTRAINT no_poison CHECK poison = 0"
	}
	r.exec("CREATE TABLE DB.%s (_offset UInt64, p Int32, content UInt64, poison UInt8%s) ENGINE = MergeTree PARTITION BY p ORDER BY _offset SETTINGS non_replicated_deduplication_window = %d",
		name, constraint, o.Window)
	r.exec("SYSTEM STOP MERGES DB.%s", name)
}

func (r real) SetWindow(table string, window int) {
	r.exec("ALTER TABLE DB.%s MODIFY SETTING non_replicated_deduplication_window = %d", table, window)
}

func (r real) CreateView(source, target string) {
	r.exec("CREATE MATERIALIZED VIEW DB.mv_%s_%s TO DB.%s AS SELECT * FROM DB.%s", source, target, target, source)
}

func (r real) FailView(source, target string, fails bool) {
	where := ""
	if fails {
		where = " WHERE throwIf(content >= 0, 'view fails') = 0"
	}
	r.exec("ALTER TABLE DB.mv_%s_%s MODIFY QUERY SELECT * FROM DB.%s%s", source, target, source, where)
}

func (r real) Rows(table string) []conformance.Row {
	r.t.Helper()
	var out []conformance.Row
	for _, f := range testenv.QueryRows(r.t, r.srv.HTTPAddr(), "SELECT _offset, p, content, poison FROM "+r.db+"."+table) {
		out = append(out, conformance.Row{Offset: r.number(f[0]), TablePartition: int(r.number(f[1])), Content: uint64(r.number(f[2])), Poison: f[3] == "1"})
	}
	return out
}

func (r real) Parts(table string) int {
	r.t.Helper()
	return int(r.number(testenv.QueryValue(r.t, r.srv.HTTPAddr(),
		fmt.Sprintf("SELECT count() FROM system.parts WHERE active AND database = '%s' AND table = '%s'", r.db, table))))
}

func (r real) number(s string) int64 {
	r.t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

func (r real) Merge(table string) {
	r.exec("SYSTEM START MERGES DB.%s", table)
	r.exec("OPTIMIZE TABLE DB.%s FINAL", table)
}

func (r real) DeleteOffsets(table string, lightweight bool, offsets ...int64) {
	list := strings.Trim(strings.ReplaceAll(fmt.Sprint(offsets), " ", ","), "[]")
	r.exec("SYSTEM START MERGES DB.%s", table) // mutations wait for it
	if lightweight {
		r.exec("DELETE FROM DB.%s WHERE _offset IN (%s) SETTINGS lightweight_deletes_sync = 2", table, list)
		return
	}
	r.exec("ALTER TABLE DB.%s DELETE WHERE _offset IN (%s) SETTINGS mutations_sync = 2", table, list)
}

func (r real) DropPartition(table string, p int) {
	r.exec("ALTER TABLE DB.%s DROP PARTITION %d", table, p)
}
func (r real) DetachPartition(table string, p int) {
	r.exec("ALTER TABLE DB.%s DETACH PARTITION %d", table, p)
}
func (r real) Truncate(table string) { r.exec("TRUNCATE TABLE DB.%s", table) }
func (r real) Reattach(table string) {
	r.exec("DETACH TABLE DB.%s SYNC", table)
	r.exec("ATTACH TABLE DB.%s", table)
}
func (r real) AddColumn(table string) {
	r.exec("ALTER TABLE DB.%s ADD COLUMN extra String DEFAULT 'x'", table)
}
func (r real) Fence(table string, least uint64) {
	r.exec("ALTER TABLE DB.%s ADD CONSTRAINT waybill_epoch CHECK content >= %d", table, least)
}
func (r real) Exchange(a, b string) { r.exec("EXCHANGE TABLES DB.%s AND DB.%s", a, b) }
func (r real) AttachPartitionFrom(dst, src string, p int) {
	r.exec("ALTER TABLE DB.%s ATTACH PARTITION %d FROM DB.%s", dst, p, src)
}
func (r real) ReplacePartition(dst, src string, p int) {
	r.exec("ALTER TABLE DB.%s REPLACE PARTITION %d FROM DB.%s", dst, p, src)
}
func (r real) MovePartition(src, dst string, p int) {
	r.exec("ALTER TABLE DB.%s MOVE PARTITION %d TO TABLE DB.%s", src, p, dst)
}

// columns are the native block of an insert.
type columns struct {
	offset, content proto.ColUInt64
	p               proto.ColInt32
	poison          proto.ColUInt8
}

func (c *columns) input() proto.Input {
	return proto.Input{{Name: "_offset", Data: &c.offset}, {Name: "p", Data: &c.p}, {Name: "content", Data: &c.content}, {Name: "poison", Data: &c.poison}}
}

func (c *columns) fill(rows []conformance.Row) {
	c.reset()
	for _, row := range rows {
		c.offset.Append(uint64(row.Offset))
		c.p.Append(int32(row.TablePartition))
		c.content.Append(row.Content)
		poison := uint8(0)
		if row.Poison {
			poison = 1
		}
		c.poison.Append(poison)
	}
}

func (c *columns) reset() {
	c.offset.Reset()
	c.p.Reset()
	c.content.Reset()
	c.poison.Reset()
}

// statement answers the SQL and, if there is one, the deadline in it.
func (r real) statement(in conformance.Insert) (sql string, deadline int64) {
	const list = "_offset, p, content, poison"
	into := fmt.Sprintf("INSERT INTO %s.%s (%s)", r.db, in.Table, list)
	if in.Deadline == conformance.NoDeadline {
		return into + " FORMAT Native", 0
	}
	away := map[conformance.Deadline]int64{
		conformance.DeadlineAhead: 60_000, conformance.DeadlinePassed: -60_000, conformance.DeadlinePassesMeanwhile: upload.Milliseconds(),
	}
	at := r.clock() + away[in.Deadline]
	return fmt.Sprintf("%s SELECT %s FROM input('_offset UInt64, p Int32, content UInt64, poison UInt8') WHERE throwIf(nowInBlock64(3) > fromUnixTimestamp64Milli(%d), 'late') = 0 FORMAT Native", into, list, at), at
}

// upload is how long a slow client takes between its statement and its block.
const upload = 300 * time.Millisecond

// clock is the server's, ms.
func (r real) clock() int64 {
	r.t.Helper()
	return r.number(testenv.QueryValue(r.t, r.srv.HTTPAddr(), "SELECT toUnixTimestamp64Milli(now64(3))"))
}

func (r real) settings(in conformance.Insert) []ch.Setting {
	set := map[string]string{
		"async_insert": "0", "deduplicate_insert": "enable", "max_insert_threads": "1",
		"deduplicate_blocks_in_dependent_materialized_views": onOff(!in.NoViewDedup),
		"materialized_views_ignore_errors":                   onOff(in.IgnoreViewErrors),
		"parallel_view_processing":                           "0",
	}
	if in.Token != "" {
		set["insert_deduplication_token"] = in.Token
	}
	if in.NoDedup {
		set["deduplicate_insert"] = "disable"
	}
	if in.Separate {
		set["min_insert_block_size_rows"] = "1"
	}
	if in.StrictRows > 0 {
		set["use_strict_insert_block_limits"] = "1"
		set["max_insert_block_size"] = strconv.Itoa(in.StrictRows)
		set["min_insert_block_size_rows"] = strconv.Itoa(in.StrictRows)
	}
	if in.LooseRows > 0 {
		set["max_insert_block_size"] = strconv.Itoa(in.LooseRows)
	}
	if in.MaxPartitions > 0 {
		set["max_partitions_per_insert_block"] = strconv.Itoa(in.MaxPartitions)
	}
	var out []ch.Setting
	for k, v := range set {
		out = append(out, ch.Setting{Key: k, Value: v, Important: true})
	}
	return out
}

func onOff(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

func (r real) Insert(in conformance.Insert) conformance.Answer {
	r.t.Helper()
	a, err := r.insert(in, how{})
	if err != nil {
		r.t.Fatalf("insert into %s: %v", in.Table, err)
	}
	return a
}

func (r real) InsertAtOnce(ins ...conformance.Insert) []conformance.Raced {
	seen := make([]conformance.Raced, len(ins))
	errs := make([]error, len(ins))
	var wg sync.WaitGroup
	for i, in := range ins {
		o := how{afterwards: func(ctx context.Context, conn *ch.Client) (err error) {
			seen[i].Rows, err = r.read(ctx, conn, in.Table)
			return err
		}}
		wg.Go(func() { seen[i].Answer, errs[i] = r.insert(in, o) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		r.t.Fatal(err)
	}
	return seen
}

// read reads a table over the connection that has just inserted into it.
func (r real) read(ctx context.Context, conn *ch.Client, table string) ([]conformance.Row, error) {
	var cols columns
	var out []conformance.Row
	err := conn.Do(ctx, ch.Query{
		Body:   "SELECT _offset, content FROM " + r.db + "." + table,
		Result: proto.Results{{Name: "_offset", Data: &cols.offset}, {Name: "content", Data: &cols.content}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range cols.offset {
				out = append(out, conformance.Row{Offset: int64(cols.offset[i]), Content: cols.content[i]})
			}
			return nil
		},
	})
	return out, err
}

var errDie = errors.New("the client dies here")

func (r real) InsertAndDie(in conformance.Insert, blocks int) {
	r.t.Helper()
	id := fmt.Sprintf("conformance-%d", queries.Add(1))
	_, err := r.insert(in, how{queryID: id, dieAfter: blocks})
	if !errors.Is(err, errDie) {
		r.t.Fatalf("the client was to die, got %v", err)
	}
	r.waitGone(id)
}

func (r real) waitGone(queryID string) {
	r.t.Helper()
	testenv.Eventually(r.t, patience, "the query ends", func() bool {
		return testenv.QueryValue(r.t, r.srv.HTTPAddr(), "SELECT count() FROM system.processes WHERE query_id = '"+queryID+"'") == "0"
	})
}

func (r real) InterruptInView(in conformance.Insert, view string, by conformance.Interrupt) {
	r.t.Helper()
	r.exec("ALTER TABLE DB.mv_%s_%s MODIFY QUERY SELECT * FROM DB.%s WHERE sleepEachRow(2) = 0", in.Table, view, in.Table)
	id := fmt.Sprintf("conformance-%d", queries.Add(1))
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = r.insert(in, how{queryID: id, ctx: ctx}) // how it ends is not the question
	}()
	testenv.Eventually(r.t, patience, "the source's rows are there", func() bool { return len(r.Rows(in.Table)) > 0 })
	if n := len(r.Rows(view)); n != 0 {
		r.t.Fatalf("the view has %d rows already", n)
	}
	switch by {
	case conformance.ServerKilled:
		r.srv.Kill()
		if err := r.srv.Restart(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
	case conformance.QueryKilled:
		r.exec("KILL QUERY WHERE query_id = '%s' SYNC", id)
	case conformance.ClientKilled:
		cancel()
	}
	<-done
	r.waitGone(id)
	r.FailView(in.Table, view, false)
}

// path is a table's directory.
func (r real) path(table string) string {
	r.t.Helper()
	return testenv.QueryValue(r.t, r.srv.HTTPAddr(), fmt.Sprintf("SELECT data_paths[1] FROM system.tables WHERE database = '%s' AND name = '%s'", r.db, table))
}

// BreakRename puts files where the next parts' directories would go: rename() of a directory onto a
// file fails. They are taken away after the next insert.
func (r real) BreakRename(table string, p int) {
	r.t.Helper()
	last := r.number(testenv.QueryValue(r.t, r.srv.HTTPAddr(), fmt.Sprintf("SELECT max(max_block_number) FROM system.parts WHERE database = '%s' AND table = '%s'", r.db, table)))
	for n := last + 1; n <= last+20; n++ {
		name := filepath.Join(r.path(table), fmt.Sprintf("%d_%d_%d_0", p, n, n))
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, os.ErrExist) {
			continue // a part of that number is there
		}
		if err != nil {
			r.t.Fatal(err)
		}
		_ = f.Close()
		r.obstacles.add(name)
	}
}

// obstacles are files that keep parts from being renamed.
type obstacles struct {
	mu    sync.Mutex
	names []string
}

func (o *obstacles) add(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.names = append(o.names, name)
}

func (o *obstacles) remove() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var errs []error
	for _, name := range o.names {
		errs = append(errs, os.Remove(name))
	}
	o.names = nil
	return errors.Join(errs...)
}

func (r real) LosePart(table string, p int) {
	r.t.Helper()
	part := testenv.QueryValue(r.t, r.srv.HTTPAddr(), fmt.Sprintf("SELECT path FROM system.parts WHERE active AND database = '%s' AND table = '%s' AND partition = '%d'", r.db, table, p))
	r.offline(table, func(string) error { return os.RemoveAll(part) })
}

func (r real) LoseLastID(table string) {
	r.t.Helper()
	r.offline(table, func(dir string) error {
		logs, err := filepath.Glob(filepath.Join(dir, "deduplication_logs", "*.txt"))
		if err != nil || len(logs) == 0 {
			return fmt.Errorf("no token log in %s: %w", dir, err)
		}
		slices.Sort(logs)
		last := logs[len(logs)-1]
		text, err := os.ReadFile(last)
		if err != nil {
			return err
		}
		cut := strings.LastIndexByte(strings.TrimSuffix(string(text), "\n"), '\n') + 1
		return os.WriteFile(last, text[:cut], 0o644)
	})
}

// offline takes a table away while something happens to its files.
func (r real) offline(table string, do func(dir string) error) {
	r.t.Helper()
	dir := r.path(table)
	r.exec("DETACH TABLE DB.%s SYNC", table)
	if err := do(dir); err != nil {
		r.t.Fatal(err)
	}
	r.exec("ATTACH TABLE DB.%s", table)
}

// how says what befalls the client of an insert.
type how struct {
	ctx        context.Context // nil: the test's
	queryID    string
	dieAfter   int // blocks; 0 is never
	afterwards func(ctx context.Context, conn *ch.Client) error
}

// insert answers what the server said; an error is anything that is not an exception of the server's.
func (r real) insert(in conformance.Insert, o how) (conformance.Answer, error) {
	if o.ctx == nil {
		o.ctx = r.t.Context()
	}
	ctx, cancel := context.WithTimeout(o.ctx, patience)
	defer cancel()
	conn, err := ch.Dial(ctx, ch.Options{Address: r.srv.TCPAddr()})
	if err != nil {
		return conformance.Answer{}, err
	}
	defer func() { _ = conn.Close() }()
	var a conformance.Answer
	err = conn.Do(ctx, r.query(in, o, &a))
	if removed := r.obstacles.remove(); removed != nil {
		return a, removed
	}
	if ex, ok := ch.AsException(err); ok {
		a.Code = int(ex.Code)
		return a, nil
	}
	if err != nil {
		return a, err
	}
	a.OK = true
	if o.afterwards != nil {
		err = o.afterwards(ctx, conn)
	}
	return a, err
}

func (r real) query(in conformance.Insert, o how, a *conformance.Answer) ch.Query {
	var cols columns
	sent := 0
	sql, deadline := r.statement(in)
	return ch.Query{
		Body: sql, Settings: r.settings(in), Input: cols.input(), QueryID: o.queryID,
		OnInput: func(ctx context.Context) error {
			if o.dieAfter > 0 && sent == o.dieAfter {
				return r.die(ctx, in)
			}
			for in.Deadline == conformance.DeadlinePassesMeanwhile && r.clock() <= deadline { // a slow client
			}
			cols.reset()
			if sent == len(in.Blocks) {
				return io.EOF
			}
			cols.fill(in.Blocks[sent])
			sent++
			return nil
		},
		OnProfileEvents: func(_ context.Context, events []ch.ProfileEvent) error {
			for _, e := range events {
				if e.Name == "DuplicatedInsertedBlocks" && e.Type == proto.ProfileIncrement {
					a.Duplicated += int(e.Value)
				}
			}
			return nil
		},
	}
}

// die waits until the server has committed a block, if it commits them on arrival.
func (r real) die(ctx context.Context, in conformance.Insert) error {
	for in.Separate {
		n, err := testenv.Query(r.srv.HTTPAddr(), "SELECT count() FROM "+r.db+"."+in.Table)
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if strings.TrimSpace(n) != "0" {
			break
		}
	}
	return errDie
}

func TestClickHouse_Real(t *testing.T) {
	testenv.SharedClickHouse(t)
	conformance.ClickHouseSuite.Run(t, "ClickHouse", false, newReal)
}
