package conformance

import (
	"cmp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"

	gocmp "github.com/google/go-cmp/cmp"
)

// Row is a row of a suite's table: a lineage offset, the value of the partition key, and the rest. A
// poison row violates a constraint of tables made with Constraint.
type Row struct {
	Offset         int64
	TablePartition int
	Content        uint64
	Poison         bool
}

// TableOptions are those of a suite's table. The engine is plain MergeTree unless Replicated is set.
type TableOptions struct {
	Replicated    bool // model only
	Window        int
	WindowSeconds int
	Constraint    bool
}

// Deadline is a deadline relative to now that the server is told to check.
type Deadline uint8

// Deadlines.
const (
	NoDeadline Deadline = iota
	DeadlineAhead
	DeadlinePassed
	// DeadlinePassesMeanwhile is ahead when the statement arrives and passed when its block does.
	DeadlinePassesMeanwhile
)

// Interrupt is an end that an insert can find while its views run.
type Interrupt uint8

// Interrupts.
const (
	ServerKilled Interrupt = iota // and started again
	ClientKilled
	QueryKilled
)

// Insert is one INSERT over the native protocol, of one native block per element of Blocks.
type Insert struct {
	Table, Token string
	Blocks       [][]Row
	Deadline     Deadline
	// Separate keeps native blocks apart (min_insert_block_size_rows=1); otherwise the server squashes
	// them into one.
	Separate bool
	// StrictRows is max_insert_block_size with use_strict_insert_block_limits=1; 0 leaves both alone.
	StrictRows int
	// LooseRows is max_insert_block_size without strict limits; 0 leaves it alone.
	LooseRows        int
	NoDedup          bool // deduplicate_insert='disable'
	NoViewDedup      bool
	IgnoreViewErrors bool
	MaxPartitions    int // 0 is the default, 100
}

// Answer is what the server said. Duplicated is the profile event DuplicatedInsertedBlocks.
type Answer struct {
	OK         bool
	Duplicated int
	Code       int
}

// Raced is what one of several clients at the same time saw.
type Raced struct {
	Answer
	// Rows is what the client read from the table right after its answer.
	Rows []Row
}

// ClickHouse is what the suite needs of a server, on a database of its own. Failures that a case is not
// about fail the test.
type ClickHouse interface {
	CreateTable(name string, o TableOptions)
	SetWindow(table string, window int)
	// CreateView makes a view that copies source's rows into target.
	CreateView(source, target string)
	FailView(source, target string, fails bool)

	Insert(in Insert) Answer
	// InsertAtOnce runs inserts at the same time.
	InsertAtOnce(ins ...Insert) []Raced
	// InsertAndDie sends the first blocks, waits until something of them is visible if they are complete
	// blocks that the server commits on arrival, and drops the connection without ending the INSERT.
	InsertAndDie(in Insert, blocks int)

	// InterruptInView starts an insert into the source of a view, interrupts it after the source's rows
	// have landed and before the view's have, and waits until nothing of it goes on any more.
	InterruptInView(in Insert, view string, how Interrupt)
	// BreakRename makes the rename of the next part into a table partition fail: its token is then
	// recorded and its rows are gone.
	BreakRename(table string, p int)
	// LosePart loses the only part of a table partition and keeps its id, as a power loss can.
	LosePart(table string, p int)
	// LoseLastID loses the newest id and keeps its part, as a power loss can.
	LoseLastID(table string)

	Rows(table string) []Row
	Parts(table string) int

	Merge(table string)
	DeleteOffsets(table string, lightweight bool, offsets ...int64)
	DropPartition(table string, p int)
	DetachPartition(table string, p int)
	Truncate(table string)
	// Reattach takes the whole table off and on again, as a restart does.
	Reattach(table string)
	AddColumn(table string)
	Exchange(a, b string)
	// Fence adds CONSTRAINT CHECK content >= least; content stands for the epoch here.
	Fence(table string, least uint64)
	AttachPartitionFrom(dst, src string, p int)
	ReplacePartition(dst, src string, p int)
	MovePartition(src, dst string, p int)
}

// rows makes rows of one table partition with content equal to the offset.
func rows(tablePartition int, offsets ...int64) []Row {
	out := make([]Row, len(offsets))
	for i, o := range offsets {
		out[i] = Row{Offset: o, TablePartition: tablePartition, Content: uint64(o)}
	}
	return out
}

func span(tablePartition int, first, next int64) []Row {
	var out []Row
	for o := first; o < next; o++ {
		out = append(out, rows(tablePartition, o)...)
	}
	return out
}

func one(table, token string, block ...[]Row) Insert {
	return Insert{Table: table, Token: token, Blocks: [][]Row{slices.Concat(block...)}}
}

// land inserts and expects an acknowledgement with nothing deduplicated.
func land(t *testing.T, c ClickHouse, in Insert) {
	t.Helper()
	if a := c.Insert(in); !a.OK || a.Duplicated != 0 {
		t.Fatalf("insert under %q: %+v, want it to land", in.Token, a)
	}
}

// dropped inserts and expects an acknowledgement with something deduplicated.
func dropped(t *testing.T, c ClickHouse, in Insert) Answer {
	t.Helper()
	a := c.Insert(in)
	if !a.OK || a.Duplicated == 0 {
		t.Fatalf("insert under %q: %+v, want it deduplicated", in.Token, a)
	}
	return a
}

func refused(t *testing.T, c ClickHouse, in Insert, code int) {
	t.Helper()
	if a := c.Insert(in); a.OK || a.Code != code {
		t.Fatalf("insert under %q: %+v, want error %d", in.Token, a, code)
	}
}

// holds expects exactly these rows in a table, in any order.
func holds(t *testing.T, c ClickHouse, table string, want ...[]Row) {
	t.Helper()
	w, got := slices.Concat(want...), slices.Clone(c.Rows(table))
	byOffset := func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.TablePartition, b.TablePartition), cmp.Compare(a.Content, b.Content))
	}
	slices.SortFunc(w, byOffset)
	slices.SortFunc(got, byOffset)
	if d := gocmp.Diff(w, got, cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("%s (-want +got):\n%s", table, d)
	}
}

// table makes one table with a window and answers its name.
func table(c ClickHouse, name string, window int) string {
	c.CreateTable(name, TableOptions{Window: window})
	return name
}
