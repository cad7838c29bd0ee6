// Package chmodel is a deterministic, in-memory model of one ClickHouse server, as far as the
// exactly-once protocol can see it: tables of parts, insert deduplication tokens in a window,
// materialized views, and the operations that move parts between tables. It has no goroutines, no
// clock and no chance: time is handed in as milliseconds since the Unix epoch, faults are decided by
// the caller. What it claims is what the conformance suite (internal/conformance) also asks of the
// real server.
//
// An insert is carried out step by step, so that a simulator can interleave inserts, read between
// two slices, and kill the server half way.
package chmodel

import (
	"fmt"
	"slices"
)

// Kind is a table engine's way of keeping deduplication ids.
type Kind uint8

const (
	// MergeTree keeps ids in a local log with an exact window; it can hold an id whose part is gone.
	MergeTree Kind = iota
	// Replicated keeps ids in Keeper, in one transaction with the part; its window is soft and only
	// enforced by Cleanup.
	Replicated
)

func (k Kind) String() string {
	if k == Replicated {
		return "Replicated"
	}
	return "MergeTree"
}

// Row is one row of a target table: its lineage, the value of the table's partition key and a
// stand-in for everything else.
type Row struct {
	Topic     string
	Partition int32
	Offset    int64
	Epoch     uint32
	// TablePartition is the value of the ClickHouse partition key.
	TablePartition int
	// Content stands for the other columns.
	Content uint64
	// Poison makes the server refuse a block with this row, before it writes anything of the block,
	// while the table's PoisonRefused is set.
	Poison bool
}

// TableOptions say how a table deduplicates.
type TableOptions struct {
	Kind Kind
	// Window is non_replicated_deduplication_window or replicated_deduplication_window, in ids (one
	// per slice). 0 is off: tokens do nothing.
	Window int
	// WindowSeconds is replicated_deduplication_window_seconds; 0 means no limit by age. Only for
	// Replicated; age counts from the newest id, not from the clock.
	WindowSeconds int
	// PoisonRefused makes the table refuse blocks with poison rows.
	PoisonRefused bool
	// Fence is CONSTRAINT CHECK _epoch >= Fence. An insert goes by what it was when it began.
	Fence uint32
}

// ViewOptions describe a materialized view.
type ViewOptions struct {
	// SinglePartition makes all the view's rows land in table partition 0 of its target, as for a
	// target without PARTITION BY.
	SinglePartition bool
	// RefusesPoison makes the view throw on a block with a poison row (after the source's rows have
	// landed, as every view).
	RefusesPoison bool
}

// Error codes that the model answers with, as ClickHouse numbers them.
const (
	CodeUnknownTable      = 60   // UNKNOWN_TABLE
	CodeTooManyParts      = 252  // TOO_MANY_PARTS; also for too many partitions in one block
	CodeThrowIf           = 395  // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO: a late insert, or a throwing view
	CodeConstraint        = 469  // VIOLATED_CONSTRAINT: a poison row
	CodeUUIDMismatch      = 741  // TABLE_UUID_MISMATCH: the table was exchanged under the insert
	CodeCannotRename      = 1001 // STD_EXCEPTION: rename() of a part failed
	defaultMaxPartitions  = 100
	strictInsertBlockRows = 1_048_449
)

// Server is the model of one server. The zero value is not ready; use NewServer. Not safe for
// concurrent use.
type Server struct {
	// Trace, if set, is told of everything that the server does, one line each.
	Trace func(string)

	tables  map[string]*table // by current name
	views   []*view           // in creation order
	commits uint64            // index of the last change that readers can see
	nextID  int
}

// table is a physical table; names move between them by Exchange, ids and parts do not.
type table struct {
	uuid    int
	options TableOptions
	parts   []*part // in landing order, removed ones included (readers of the past need them)
	born    int     // parts so far
	ids     []id    // oldest first
	evicted []id    // past the window, oldest first: still in the log's files
	swallow []swallow
	refuse  []refusal
}

// part is what one slice of an insert became.
type part struct {
	number         int // kept by mutations; never 0
	tablePartition int
	rows           []Row
	born           uint64 // commit index from which readers see it
	gone           uint64 // commit index from which readers do not see it any more; 0 if they do
}

func (p *part) visible(at uint64) bool { return p.born <= at && (p.gone == 0 || p.gone > at) }

type view struct {
	name           string
	source, target string // names, resolved when an insert reaches the view
	options        ViewOptions
	fails          bool
	altered        bool // by AlterView, since the server started
}

// NewServer is a server without tables.
func NewServer() *Server { return &Server{tables: map[string]*table{}} }

// AddTable creates a table. It panics if the name is taken: that is the test's mistake.
func (s *Server) AddTable(name string, o TableOptions) {
	if s.tables[name] != nil {
		panic("chmodel: table exists: " + name)
	}
	s.nextID++
	s.tables[name] = &table{uuid: s.nextID, options: o}
	s.trace("create %s %s window=%d/%ds", name, o.Kind, o.Window, o.WindowSeconds)
}

// DropTable forgets a table with its rows and ids. Inserts under way finish into nothing.
func (s *Server) DropTable(name string) {
	s.must(name)
	delete(s.tables, name)
	s.commits++
	s.trace("drop %s", name)
}

// SetOptions alters a table's settings. Ids kept so far stay; inserts made while the window was off
// are unknown to it.
func (s *Server) SetOptions(name string, o TableOptions) {
	t := s.must(name)
	o.Kind = t.options.Kind
	t.options = o
	t.evict()
	s.trace("alter %s window=%d/%ds poison=%v", name, o.Window, o.WindowSeconds, o.PoisonRefused)
}

// UUID is what a table is beside its name, which can come to mean another one.
func (s *Server) UUID(name string) int { return s.must(name).uuid }

// Exists reports whether there is a table of that name.
func (s *Server) Exists(name string) bool { return s.tables[name] != nil }

// Options of a table.
func (s *Server) Options(name string) TableOptions { return s.must(name).options }

// AddView creates a materialized view: whatever is inserted into source is also inserted into
// target, under an id derived from the source's. The view is named by source and target.
func (s *Server) AddView(source, target string, o ViewOptions) {
	s.must(source)
	s.must(target)
	s.views = append(s.views, &view{name: ViewName(source, target), source: source, target: target, options: o})
	s.trace("create view %s", ViewName(source, target))
}

// ViewName is the name that AddView gives to a view.
func ViewName(source, target string) string { return source + ">" + target }

// FailView makes a view throw on every block, or repairs it, without altering it (what it needs is
// gone, or back). A view that throws lands nothing; the source's rows and those of other views land all
// the same, and then the insert is refused.
func (s *Server) FailView(name string, fails bool) {
	s.mustView(name).fails = fails
	s.trace("view %s fails=%v", name, fails)
}

// AlterView is ALTER TABLE view MODIFY QUERY, even to the query that it had: from then on and until the
// server restarts the view's blocks have other ids, so that repeating an insert from before doubles its
// rows in the view's target. Altering it again changes nothing more.
func (s *Server) AlterView(name string) {
	s.mustView(name).altered = true
	s.trace("view %s altered", name)
}

// Restart is a server's new life, as far as it matters to ids: altered views have their first ids again.
// Inserts under way are not ended by it, see Insert.Abort.
func (s *Server) Restart() {
	for _, v := range s.views {
		v.altered = false
	}
	s.trace("restart")
}

func (s *Server) mustView(name string) *view {
	for _, v := range s.views {
		if v.name == name {
			return v
		}
	}
	panic("chmodel: no such view: " + name)
}

// Tables are the names of the tables, sorted.
func (s *Server) Tables() []string {
	names := make([]string, 0, len(s.tables))
	for n := range s.tables {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Commits is the index of the last change that readers can see; hand it to PresentLagged to read
// what a replica that lags behind would answer.
func (s *Server) Commits() uint64 { return s.commits }

func (s *Server) must(name string) *table {
	t := s.tables[name]
	if t == nil {
		panic("chmodel: no such table: " + name)
	}
	return t
}

func (s *Server) trace(format string, args ...any) {
	if s.Trace != nil {
		s.Trace("ch: " + fmt.Sprintf(format, args...))
	}
}

// add makes rows visible as a new part and answers its number.
func (s *Server) add(t *table, tablePartition int, rows []Row) int {
	s.commits++
	t.born++
	t.parts = append(t.parts, &part{number: t.born, tablePartition: tablePartition, rows: rows, born: s.commits})
	return t.born
}

// live are the parts of a table that readers see now, of all table partitions if p is nil.
func (s *Server) live(t *table, p *int) []*part {
	var out []*part
	for _, q := range t.parts {
		if q.visible(s.commits) && (p == nil || q.tablePartition == *p) {
			out = append(out, q)
		}
	}
	return out
}
