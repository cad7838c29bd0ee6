package sim

import (
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/sim/chmodel"
	"github.com/waybill-data/waybill/internal/sim/groupmodel"
)

// Times of the simulated installation, in milliseconds. Only their order matters: a request can
// arrive up to sendDeadline after its lease was checked, the server is done with it executionLimit
// later, and tokens are remembered for tokenAge at least, which is far longer (rule 15).
const (
	sessionTimeout   = 6_000
	rebalanceTimeout = 9_000
	sendDeadline     = 4_000
	executionLimit   = 3_000
	insertTimeout    = 2_500
	commitTimeout    = 2_500
	// stragglers is how long after a process's last lease an insert of its may still be at work.
	stragglers = sessionTimeout + sendDeadline + executionLimit
	tokenAge   = 3 * stragglers
	// quietLimit is how long after the last fault everything must be settled.
	quietLimit = 240_000
)

const (
	topic         = "events"
	tableTarget   = "target"
	tableDead     = "dead_letters"
	tableLedger   = "ledger"
	tableView     = "view"
	pipelineName  = "sim"
	clusterName   = "cluster"
	targetTableID = waybill.TableID(7)
)

var tableOf = map[waybill.Store]string{
	waybill.StoreTarget: tableTarget, waybill.StoreDeadLetters: tableDead, waybill.StoreLedger: tableLedger,
}

// layout is what a seed decides beside the faults.
type layout struct {
	workers         int
	partitions      int
	tablePartitions int
	views           bool
	poison          int // percent of records
	inFlight        int
	maxMetadata     int
	mode            delivery.Mode
	producing       int64 // ms: until then records are produced
	kind            chmodel.Kind
	tables          int  // that records are routed to; 0 is one
	handover        bool // an operator puts tables in the place of the target
}

// world is one run.
type world struct {
	rng    *rand.Rand
	now    int64
	seq    uint64
	agenda agenda

	opt    layout
	mutant delivery.Mutant
	broker *groupmodel.Broker
	ch     *chmodel.Server
	truth  truth
	// targets are the tables that records are routed to. The view is on the first.
	targets []string

	procs  []*proc // by worker; the current life of each. Those past the layout's are the backfill's
	lives  int
	epoch  waybill.Epoch
	script []*armed
	outage bool // the operator has taken all workers down for a while
	down   bool // he has done so at least once
	faulty bool // some fault has struck

	inserts   []*request // on the server or on their way to it
	serverUp  int64      // the server is down before this moment
	tokens    map[string]*tokenState
	decisions map[waybill.BatchID]delivery.RowSet
	ledger    map[uint64]delivery.LedgerRow // by the content of the row that stands for it
	batches   map[string]*waybill.Batch     // every batch that was ever gathered, by id
	findings  []foundAt
	expected  []expectation
	problems  []string
	matrix    Matrix
	reads     []uint64 // commit index of the server at each tick, for lagging reads

	operator operator

	verbose bool
	lines   []string
	hash    hash.Hash64
}

type foundAt struct {
	waybill.Finding
	at     int64
	worker string
}

// expectation is a finding that an injected fault must lead to.
type expectation struct {
	kind      string
	partition int32
	since     int64
}

// tokenState is what the simulator knows of one token in one table.
type tokenState struct {
	first, last int64 // when an insert with it was first and last at work
	evicted     bool
}

func newWorld(seed uint64, opt layout, mutant delivery.Mutant, verbose bool) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)), opt: opt, mutant: mutant, epoch: 1,
		broker: groupmodel.New(groupmodel.Config{Topic: topic, Partitions: opt.partitions, SessionTimeout: sessionTimeout,
			RebalanceTimeout: rebalanceTimeout, MaxMetadata: opt.maxMetadata}),
		ch: chmodel.NewServer(), tokens: map[string]*tokenState{}, decisions: map[waybill.BatchID]delivery.RowSet{},
		ledger: map[uint64]delivery.LedgerRow{}, batches: map[string]*waybill.Batch{}, matrix: Matrix{},
		verbose: verbose, hash: fnv.New64a(),
	}
	w.operator = operator{w: w, on: opt.handover}
	w.truth.logs = []map[int32][]fact{{}}
	w.truth.epoch = []waybill.Epoch{1}
	for i := range max(1, opt.tables) {
		name := tableTarget
		if i > 0 {
			name += strconv.Itoa(i)
		}
		w.targets = append(w.targets, name)
		w.ch.AddTable(name, chmodel.TableOptions{Kind: opt.kind, Window: 100_000, PoisonRefused: true})
	}
	w.ch.AddTable(tableDead, chmodel.TableOptions{Kind: opt.kind, Window: 100_000})
	w.ch.AddTable(tableLedger, chmodel.TableOptions{Kind: opt.kind, Window: 100_000})
	if opt.views {
		w.ch.AddTable(tableView, chmodel.TableOptions{Kind: opt.kind, Window: 100_000})
		w.ch.AddView(tableTarget, tableView, chmodel.ViewOptions{})
	}
	if verbose {
		w.broker.Trace, w.ch.Trace = w.line, w.line
	}
	return w
}

// route is the table that a record goes to.
func (w *world) route(value uint64) int { return int(value>>9) % len(w.targets) } //nolint:gosec // 55 bits

// tableFor is the table that a fault of a store is about.
func (w *world) tableFor(f *armed) string {
	if f.Store == waybill.StoreTarget {
		return w.targets[f.At%int64(len(w.targets))]
	}
	return tableOf[f.Store]
}

// tablesOf are the tables that make up a store.
func (p *proc) tablesOf(s waybill.Store) []string {
	if s == waybill.StoreTarget {
		return p.targets
	}
	return []string{tableOf[s]}
}

// tokenIn is the token of a request for a table: each has a chain of its own.
func tokenIn(token waybill.Token, table string) string {
	if strings.HasPrefix(table, tableTarget) && table != tableTarget {
		return string(token) + "-" + table
	}
	return string(token)
}

// line adds to the transcript.
func (w *world) line(s string) {
	text := fmt.Sprintf("%8.3f %s", float64(w.now)/1000, s)
	w.hash.Write([]byte(text + "\n"))
	w.lines = append(w.lines, text)
}

func (w *world) tracef(format string, args ...any) {
	if w.verbose {
		w.line(fmt.Sprintf(format, args...))
	}
}

// fail notes that the run has broken a law.
func (w *world) fail(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	w.tracef("PROBLEM %s", s)
	w.problems = append(w.problems, s)
}

func (w *world) found(worker string, f waybill.Finding) {
	w.tracef("%s FINDING %s %s %s %s: %s", worker, f.Kind, f.TopicPartition, f.Span, f.Batch, f.Message)
	w.findings = append(w.findings, foundAt{f, w.now, worker})
}

// start sets everything going.
func (w *world) start() {
	for i := range w.opt.workers {
		w.procs = append(w.procs, nil)
		w.launch(i)
	}
	w.tick()
	w.producer()
	w.person()
	w.operator.start()
	for _, f := range w.script {
		w.after(f.At, func() { w.due(f) })
	}
}

// tick is the coordinator's clock.
func (w *world) tick() {
	w.broker.Tick(w.now)
	w.operator.tick()
	w.after(500, w.tick)
}

func (w *world) producer() {
	if w.now > w.opt.producing {
		return
	}
	for range w.between(1, 3) {
		w.produce(int32(w.rng.IntN(int(w.broker.Partitions()))))
	}
	w.after(w.between(50, 900), w.producer)
}

// forgotten: the broker has lost the offset while nothing was going on; the ledger still has it, and
// the next commit will say it again.
func (w *world) forgotten(c groupmodel.Committed) bool {
	for _, f := range w.script {
		if f.Kind == LoseOffsets && f.struck && f.Partition == c.Partition {
			return c.Offset < 0 && w.tip(c.Partition, w.epoch) == w.broker.LogEnd(c.Partition)
		}
	}
	return false
}

// quiet reports whether there is nothing left to do: all is settled up to the end of the log.
func (w *world) quiet() bool {
	if w.outage || len(w.inserts) > 0 || w.now <= w.opt.producing || !w.operator.over() {
		return false
	}
	for _, f := range w.script {
		if !f.struck && !f.missed && w.now < f.At {
			return false
		}
	}
	for _, c := range w.broker.FetchOffsets() {
		if c.Offset != w.broker.LogEnd(c.Partition) && !w.forgotten(c) {
			return false
		}
	}
	held := 0
	for _, p := range w.procs {
		if p.shadow != nil {
			continue // whatever is left of a backfill
		}
		if p.dead || p.pausedUntil > w.now || !p.m.Quiet() || p.handing > 0 || p.exchanged() {
			return false
		}
		held += len(p.parts)
	}
	return held == int(w.broker.Partitions())
}
