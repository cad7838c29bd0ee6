package chmodel

import "fmt"

// InsertOptions are the settings of one insert. The zero value is what a Waybill worker pins:
// deduplication on, in views too, view errors not ignored.
type InsertOptions struct {
	// Deadline in milliseconds since the Unix epoch: a block that the server starts to process later
	// is refused with nothing written. 0 is none.
	Deadline int64
	// NoDedup is deduplicate_insert='disable': ids are neither looked up nor kept.
	NoDedup bool
	// NoViewDedup is deduplicate_blocks_in_dependent_materialized_views=0.
	NoViewDedup bool
	// IgnoreViewErrors is materialized_views_ignore_errors=1.
	IgnoreViewErrors bool
	// MaxPartitions is max_partitions_per_insert_block; 0 is the default of 100.
	MaxPartitions int
	// StrictBlocks is use_strict_insert_block_limits=1: blocks are split at MaxBlockRows.
	StrictBlocks bool
	// MaxBlockRows is max_insert_block_size, which only StrictBlocks obeys; 0 is 1,048,449.
	MaxBlockRows int
	// FailIfExchanged decides the race between an insert and EXCHANGE: if the name means another table
	// by the time of the first step, the insert fails with 741 and writes nothing. Otherwise it
	// finishes in the table that the name meant at Begin.
	FailIfExchanged bool
	// LastSliceLate decides the race between the end of the source's block and its first view: the server
	// commits a block's last slice when the block's input ends, while views already work. If set, the view's
	// slices but the last land before the source's last slice, as they do when views are quick;
	// otherwise all of the source lands first.
	LastSliceLate bool
}

// Answer is what the client is told. Duplicated is the profile event DuplicatedInsertedBlocks of the
// native protocol: 2 per dropped slice on MergeTree, 1 on Replicated, views' slices included. The
// count of written rows is not here: the real one always says "all".
type Answer struct {
	OK         bool
	Duplicated int
	ErrCode    int
	Err        string
}

// Insert is one INSERT under way on the server.
type Insert struct {
	s       *Server
	name    string
	target  *table // what the name meant at Begin
	fence   uint32 // of it, as it was at Begin
	token   string
	options InsertOptions
	blocks  [][]Row // not yet started, in order
	number  int     // of the next block
	queue   []slice // of the block under way; views' slices are appended as their sources finish
	started bool
	done    bool
	late    *slice  // the source's last slice, if the first view is to overtake it
	thrown  *Answer // what a view threw: told when everything else is done
	answer  Answer
}

// slice is the part of a block that goes to one table partition of one table; or, if view is set and
// rows are those of the whole block, a view still to be run.
type slice struct {
	table          *table
	name           string // of the table, for traces
	tablePartition int
	key            string // "" if this slice does not deduplicate
	rows           []Row
	view           *view
	late           bool // the source's last slice, overtaken by a view
}

// Begin starts an insert of one block. Nothing is written before the first Step. An unknown table is
// an answer, not a panic.
func (s *Server) Begin(table, token string, rows []Row, o InsertOptions) *Insert {
	return s.BeginBlocks(table, token, [][]Row{rows}, o)
}

// BeginBlocks starts an insert of several server-side blocks under one token: each gets its number
// under it, and its views run before the next block starts.
func (s *Server) BeginBlocks(table, token string, blocks [][]Row, o InsertOptions) *Insert {
	in := &Insert{s: s, name: table, target: s.tables[table], token: token, options: o, blocks: splitBlocks(blocks, o)}
	if in.target != nil {
		in.fence = in.target.options.Fence
	}
	s.trace("insert %s token=%s blocks=%d rows=%d", table, token, len(in.blocks), countRows(blocks))
	return in
}

func splitBlocks(blocks [][]Row, o InsertOptions) [][]Row {
	limit := o.MaxBlockRows
	if limit == 0 {
		limit = strictInsertBlockRows
	}
	var out [][]Row
	for _, b := range blocks {
		for o.StrictBlocks && len(b) > limit {
			out, b = append(out, b[:limit]), b[limit:]
		}
		if len(b) > 0 {
			out = append(out, b)
		}
	}
	return out
}

func countRows(blocks [][]Row) (n int) {
	for _, b := range blocks {
		n += len(b)
	}
	return n
}

// Step commits the next slice: a table partition of the source, or of a view's target. It reports
// whether the insert is over. A step after the end changes nothing.
func (in *Insert) Step(now int64) (done bool) {
	if in.done {
		return true
	}
	if !in.started {
		in.started = true
		if !in.admit() {
			return true
		}
	}
	if len(in.queue) == 0 && len(in.blocks) > 0 && !in.nextBlock(now) {
		return true
	}
	in.runViews()
	if !in.done && len(in.queue) > 0 {
		next := in.queue[0]
		in.queue = in.queue[1:]
		in.commit(next, now)
		in.runViews()
	}
	if !in.done && len(in.queue) == 0 {
		in.blockDone()
	}
	return in.done
}

// blockDone ends the insert after its last block, or after a block that a view threw on.
func (in *Insert) blockDone() {
	switch {
	case in.thrown != nil:
		in.finish(*in.thrown)
	case len(in.blocks) == 0:
		in.finish(Answer{OK: true})
	}
}

// Run steps to the end at one moment and answers.
func (in *Insert) Run(now int64) Answer {
	for !in.Step(now) {
	}
	return in.answer
}

// Insert is Begin and Run: an insert that nothing interferes with.
func (s *Server) Insert(table, token string, rows []Row, o InsertOptions, now int64) Answer {
	return s.Begin(table, token, rows, o).Run(now)
}

// Done reports whether the insert is over, answered or aborted.
func (in *Insert) Done() bool { return in.done }

// Result is the server's answer. An insert that is still under way or was aborted has none: the zero
// Answer with ErrCode 0 and OK false.
func (in *Insert) Result() Answer { return in.answer }

// Abort is the server's death in the middle of the insert: what was committed stays, nothing more
// comes, and there is no answer.
func (in *Insert) Abort() {
	if in.done {
		return
	}
	in.done = true
	in.s.trace("insert %s token=%s aborted", in.name, in.token)
}

// Fail ends the insert with an error of the server's own (memory limit, KILL QUERY): what was
// committed stays.
func (in *Insert) Fail(code int, msg string) {
	in.finish(Answer{ErrCode: code, Err: msg})
}

func (in *Insert) finish(a Answer) {
	if in.done {
		return
	}
	a.Duplicated = in.answer.Duplicated
	in.answer, in.done = a, true
	in.s.trace("insert %s token=%s answers ok=%v dup=%d code=%d %s", in.name, in.token, a.OK, a.Duplicated, a.ErrCode, a.Err)
}

// admit is what the server checks once per insert.
func (in *Insert) admit() bool {
	switch {
	case in.target == nil:
		in.finish(Answer{ErrCode: CodeUnknownTable, Err: "unknown table " + in.name})
	case in.options.FailIfExchanged && in.s.tables[in.name] != in.target:
		in.finish(Answer{ErrCode: CodeUUIDMismatch, Err: "table was exchanged"})
	case len(in.target.refuse) > 0:
		r := in.target.refuse[0]
		in.target.refuse = in.target.refuse[1:]
		in.finish(Answer{ErrCode: r.code, Err: r.msg})
	}
	return !in.done
}

// nextBlock checks a block before anything of it is written and queues its slices.
func (in *Insert) nextBlock(now int64) bool {
	rows := in.blocks[0]
	in.blocks = in.blocks[1:]
	limit := in.options.MaxPartitions
	if limit == 0 {
		limit = defaultMaxPartitions
	}
	key := in.key(rows)
	slices := scatter(in.target, in.name, key, rows)
	switch {
	case in.options.Deadline != 0 && now > in.options.Deadline:
		in.finish(Answer{ErrCode: CodeThrowIf, Err: "late"})
	case before(in.fence, rows):
		in.finish(Answer{ErrCode: CodeConstraint, Err: ErrFence})
	case in.target.options.PoisonRefused && hasPoison(rows):
		in.finish(Answer{ErrCode: CodeConstraint, Err: "constraint violated by a row"})
	case len(slices) > limit:
		in.finish(Answer{ErrCode: CodeTooManyParts, Err: fmt.Sprintf("too many partitions for single INSERT block (%d)", len(slices))})
	default:
		in.queueBlock(slices, in.viewsOf(in.name, key, rows))
		in.number++
	}
	return !in.done
}

func (in *Insert) queueBlock(slices, views []slice) {
	if last := len(slices) - 1; in.options.LastSliceLate && len(views) > 0 {
		late := slices[last]
		late.late = true
		in.late, slices = &late, slices[:last]
	}
	in.queue = slices
	in.queue = append(in.queue, views...)
}

// key identifies the block under way in deduplication logs; "" if it does not deduplicate.
func (in *Insert) key(rows []Row) string {
	switch {
	case in.options.NoDedup:
		return ""
	case in.token != "":
		return tokenKey(in.token, in.number)
	}
	return contentKey(rows)
}

// scatter cuts a block into one slice per table partition, in the order in which these first appear.
func scatter(t *table, name, key string, rows []Row) []slice {
	var out []slice
	at := map[int]int{}
	for _, r := range rows {
		i, ok := at[r.TablePartition]
		if !ok {
			i = len(out)
			at[r.TablePartition] = i
			out = append(out, slice{table: t, name: name, tablePartition: r.TablePartition, key: key})
		}
		out[i].rows = append(out[i].rows, r)
	}
	return out
}

// ErrFence is the answer to a block of an epoch that the table does not take.
const ErrFence = "constraint waybill_epoch violated by a row"

// before: some row is of an epoch before this one.
func before(epoch uint32, rows []Row) bool {
	for _, r := range rows {
		if r.Epoch < epoch {
			return true
		}
	}
	return false
}

func hasPoison(rows []Row) bool {
	for _, r := range rows {
		if r.Poison {
			return true
		}
	}
	return false
}

// commit looks the slice's id up and lands its rows if it is not known.
func (in *Insert) commit(sl slice, now int64) {
	t := sl.table
	dedup := sl.key != "" && t.options.Window > 0
	if dedup && t.knows(sl.tablePartition, sl.key) {
		in.answer.Duplicated += duplicatedEvents(t.options.Kind)
		in.s.trace("  %s p=%d deduplicated", sl.name, sl.tablePartition)
		return
	}
	entry := id{tablePartition: sl.tablePartition, key: sl.key, token: in.token, at: now}
	lost := t.takeSwallow(sl.tablePartition, in.token)
	if lost == nil {
		entry.part = in.s.add(t, sl.tablePartition, sl.rows)
		in.s.trace("  %s p=%d landed %d rows", sl.name, sl.tablePartition, len(sl.rows))
	}
	if dedup {
		t.record(entry)
	}
	if lost == nil {
		return
	}
	in.s.trace("  %s p=%d SWALLOWED %d rows answered=%v", sl.name, sl.tablePartition, len(sl.rows), lost.answered)
	if lost.answered {
		return
	}
	for _, rest := range in.queue {
		if rest.late && !sl.late { // the source's end does not wait for its view
			in.commit(rest, now)
		}
	}
	in.finish(Answer{ErrCode: CodeCannotRename, Err: "rename of the part failed"})
}

// duplicatedEvents is by how much DuplicatedInsertedBlocks grows for one dropped slice.
func duplicatedEvents(k Kind) int {
	if k == MergeTree {
		return 2
	}
	return 1
}
