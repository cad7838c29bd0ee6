package operator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
)

// row is a row of a table: which record, and under which epoch it was written.
type row struct {
	p      int32
	offset int64
	epoch  waybill.Epoch
}

// piece is the table partition of a row: records of a piece come in turns, so that a scope in the middle touches some and not others.
func (r row) piece() string { return fmt.Sprint(r.offset / 8) }

type modelTable struct {
	name  string
	rows  map[row]int // how often it is there: ATTACH doubles
	fence waybill.Epoch
	// closed keeps all rows out, for the epoch that is named.
	closed map[waybill.Epoch]bool
}

// sums is what the model's view fills.
const sums = "sums"

// mutants are rules that the model does not keep.
type mutants struct {
	neverRefills bool // what a view has made of rows that are removed stays
	neverCloses  bool // the table takes rows between the exchanges
	fillsAll     bool // what the view makes of rows that are in already is added once more
	attachesNone bool // what the view has made before is left out
}

// model is a server, a broker and a live pipeline, and what can go wrong with each. One of its actors runs at a time, chosen by the seed.
type model struct {
	rnd     *rand.Rand
	now     time.Time
	tables  map[string]*modelTable // by UUID
	uuids   int
	journal []backfill.Job
	ends    backfill.Positions // of the topic
	scope   func(r row) bool
	open    bool

	committed   backfill.Positions
	liveEpoch   waybill.Epoch
	live        *worker
	sleepers    []*worker
	ledger      map[waybill.Epoch]backfill.Positions
	written     map[waybill.Epoch]int64
	generations map[string]waybill.Epoch
	held        time.Time
	told        []string
	groups      []string

	late    []func()   // statements that are still on their way, and name tables
	started []underway // statements that the server has begun with
	trace   []string
	faults  int // how many there may still be
	actors  []*actor
	// mutations of the live table so far.
	mutations uint64
	view      bool // the live table feeds one
	mutants   mutants
	refills   int // how often what the view fills was made anew of all rows, as the table had lost some
}

// worker is a life of the live pipeline: what it knows of its table.
type worker struct {
	epoch waybill.Epoch
	next  backfill.Positions
}

type underway struct {
	name string
	do   func()
}

// actor is an operator that runs in a goroutine of its own, one call at a time.
type actor struct {
	name  string
	grant chan struct{}
	asks  chan struct{}
	over  chan struct{}
	kill  bool
	err   error
}

var errKilled = errors.New("killed")

func newModel(seed uint64) *model {
	m := &model{rnd: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_000_000, 0), tables: map[string]*modelTable{}, ends: backfill.Positions{0: 40, 1: 40}, committed: backfill.Positions{},
		ledger: map[waybill.Epoch]backfill.Positions{}, written: map[waybill.Epoch]int64{}, generations: map[string]waybill.Epoch{}}
	m.put("calls")
	if m.view = seed%2 == 0; m.view {
		m.put(sums)
	}
	return m
}

// feeds are the views of the live table.
func (m *model) feeds() []backfill.View {
	if !m.view {
		return nil
	}
	return []backfill.View{{Database: "db", Name: "summing", Target: sums, Query: "SELECT * FROM db.calls"}}
}

func (m *model) put(name string) string {
	m.uuids++
	uuid := fmt.Sprintf("u%d", m.uuids)
	m.tables[uuid] = &modelTable{name: name, rows: map[row]int{}, closed: map[waybill.Epoch]bool{}}
	return uuid
}

func (m *model) say(format string, args ...any) {
	if len(m.trace) > 2000 {
		m.trace = slices.Delete(m.trace, 0, 1000)
	}
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
}

func (m *model) byName(name string) (string, *modelTable) {
	for uuid, t := range m.tables {
		if t.name == name {
			return uuid, t
		}
	}
	return "", nil
}

func (m *model) named(name string) (*modelTable, error) {
	_, t := m.byName(name)
	if t == nil {
		return nil, &waybill.Error{Op: "model", Class: waybill.ClassSchema, Code: 60, Err: fmt.Errorf("no table %s", name)}
	}
	return t, nil
}

func (m *model) two(from, into string) (a, b *modelTable, err error) {
	if a, err = m.named(from); err == nil {
		b, err = m.named(into)
	}
	return a, b, err
}

var errLost = &waybill.Error{Op: "model", Class: waybill.ClassRetryable, Err: errors.New("no answer")}

// call is what an actor's call goes through: it waits for its turn, and may be lost, late, without an answer, or the last thing that the actor does.
func (a *actor) call(m *model, what string, do func() error) error {
	a.turn()
	m.say("%s: %s", a.name, what)
	if !m.unlucky(40) {
		return do()
	}
	switch m.rnd.IntN(6) {
	case 0:
		m.say("  killed before")
		a.kill = true
	case 1:
		m.say("  killed after")
		_ = do()
		a.kill = true
	case 2:
		m.say("  no answer")
		_ = do()
		return errLost
	case 3:
		m.say("  lost")
		return errLost
	case 4, 5:
		m.say("  late")
		m.late = append(m.late, func() { m.say("arrives late: %s: %v", what, do()) })
		a.kill = m.rnd.IntN(2) == 0
		if !a.kill {
			return errLost
		}
	}
	a.die()
	return errKilled
}

// unlucky: something goes wrong now, as it does once in so many times.
func (m *model) unlucky(in int) bool {
	if m.faults == 0 || m.rnd.IntN(in) > 0 {
		return false
	}
	m.faults--
	return true
}

func (a *actor) turn() {
	a.asks <- struct{}{}
	<-a.grant
	a.die()
}

func (a *actor) die() {
	if a.kill {
		panic(errKilled)
	}
}

// start runs fn as an actor.
func (m *model) start(name string, fn func(*actor) error) *actor {
	a := &actor{name: name, grant: make(chan struct{}), asks: make(chan struct{}), over: make(chan struct{})}
	m.actors = append(m.actors, a)
	go func() {
		defer close(a.over)
		defer func() {
			if r := recover(); r != nil && r != errKilled { //nolint:errorlint // what was panicked with
				panic(r)
			}
		}()
		a.turn()
		a.err = fn(a)
	}()
	<-a.asks
	return a
}

// grantTo lets an actor make its call, and waits for its next. over: it has ended.
func (m *model) grantTo(a *actor) (over bool) {
	a.grant <- struct{}{}
	select {
	case <-a.asks:
		return false
	case <-a.over:
		m.actors = slices.DeleteFunc(m.actors, func(b *actor) bool { return a == b })
		m.say("%s: over: %v", a.name, a.err)
		return true
	}
}

// stop ends an actor where it stands.
func (m *model) stop(a *actor) {
	m.say("%s: killed", a.name)
	a.kill = true
	a.grant <- struct{}{}
	<-a.over
	m.actors = slices.DeleteFunc(m.actors, func(b *actor) bool { return a == b })
}

func (m *model) effective(uuid string) waybill.Epoch { return m.generations[uuid] }

// account is how far an epoch has got.
func (m *model) account(e waybill.Epoch) backfill.Positions {
	if m.ledger[e] == nil {
		m.ledger[e] = backfill.Positions{}
	}
	return m.ledger[e]
}

// insert puts a row into the table of the name, once, unless the table refuses it.
func (m *model) insert(name string, r row) bool {
	_, t := m.byName(name)
	if t == nil || r.epoch < t.fence || len(t.closed) > 0 {
		return false
	}
	if t.rows[r] == 0 {
		t.rows[r] = 1
		if _, fed := m.byName(sums); name == "calls" && fed != nil {
			fed.rows[r]++
		}
	}
	return true
}

// liveStep is a step of the live worker: a record is written, accounted for, committed; any of which may be the last thing that a life does.
func (m *model) liveStep() {
	if m.now.Before(m.held) && m.rnd.IntN(10) > 0 { // now and then it has not heard of it
		if m.live != nil {
			m.sleep()
		}
		return
	}
	uuid, table := m.byName("calls")
	if m.live == nil && len(table.closed) > 0 {
		return
	}
	if m.live == nil {
		e := m.effective(uuid)
		w := &worker{epoch: e, next: backfill.Positions{}}
		for p := range m.ends {
			w.next[p] = m.committed[p]
			if e != m.liveEpoch { // carry on at the ledger's tip
				w.next[p] = m.account(e)[p]
				m.committed[p] = w.next[p]
			}
		}
		m.liveEpoch, m.live = e, w
		return
	}
	w := m.live
	if m.effective(uuid) != w.epoch && m.rnd.IntN(20) == 0 { // it looks at its table now and then
		m.live = nil
		return
	}
	p := int32(m.rnd.IntN(2)) //nolint:gosec // two
	o := w.next[p]
	if o >= m.ends[p] {
		return
	}
	if !m.insert("calls", row{p, o, w.epoch}) {
		m.live = nil // fenced
		return
	}
	if m.rnd.IntN(20) == 0 {
		m.sleep() // it dies with the row landed
		return
	}
	if m.account(w.epoch)[p] == o { // another life may have done so
		m.account(w.epoch)[p] = o + 1
		m.written[w.epoch]++
	}
	m.committed[p] = o + 1
	w.next[p] = o + 1
}

// sleep ends the life; another one of it may go on as if nothing had happened, some time.
func (m *model) sleep() {
	if m.rnd.IntN(2) == 0 {
		m.sleepers = append(m.sleepers, &worker{m.live.epoch, maps.Clone(m.live.next)})
	}
	m.live = nil
}

// wake lets somebody who slept write what it was about to.
func (m *model) wake() {
	if len(m.sleepers) == 0 {
		return
	}
	w := m.sleepers[m.rnd.IntN(len(m.sleepers))]
	p := int32(m.rnd.IntN(2)) //nolint:gosec // two
	if w.next[p] < m.ends[p] {
		m.insert("calls", row{p, w.next[p], w.epoch})
	}
}

// arrive lets something happen that was sent long ago.
func (m *model) arrive() {
	if len(m.late) > 0 {
		i := m.rnd.IntN(len(m.late))
		do := m.late[i]
		m.late = slices.Delete(m.late, i, i+1)
		do()
	}
}

func (m *model) finishOne(prefix string) bool {
	for i, s := range m.started {
		if strings.Contains(s.name, prefix) {
			m.started = slices.Delete(m.started, i, i+1)
			m.say("ends: what was begun with on %s", s.name)
			s.do()
			return true
		}
	}
	return false
}

// port is what an actor sees of the model.
type port struct {
	m *model
	a *actor
}

func (p port) Jobs(context.Context) (out []backfill.Job, err error) {
	err = p.a.call(p.m, "jobs", func() error {
		if n := len(p.m.journal); n > 0 {
			out = []backfill.Job{p.m.journal[n-1].Clone()}
		}
		return nil
	})
	return out, err
}

func (p port) Add(_ context.Context, j *backfill.Job) (won bool, err error) {
	row := j.Clone()
	err = p.a.call(p.m, fmt.Sprintf("add %d %s %s", j.Sequence, j.State, j.Step), func() error {
		if uint64(len(p.m.journal)) >= row.Sequence {
			there := p.m.journal[row.Sequence-1]
			won = there.Owner == row.Owner && there.At.Equal(row.At) && there.State == row.State && there.Step == row.Step
			return nil
		}
		p.m.journal, won = append(p.m.journal, row), true
		return nil
	})
	return won, err
}

func (p port) Name(_ context.Context, uuid string) (out string, err error) {
	err = p.a.call(p.m, "name of "+uuid, func() error {
		if t := p.m.tables[uuid]; t != nil {
			out = t.name
		}
		return nil
	})
	return out, err
}

func (p port) UUID(_ context.Context, name string) (out string, err error) {
	err = p.a.call(p.m, "uuid of "+name, func() error {
		out, _ = p.m.byName(name)
		return nil
	})
	return out, err
}

func (p port) Like(_ context.Context, prefix string) (out []string, err error) {
	err = p.a.call(p.m, "like "+prefix, func() error {
		out = nil
		for _, t := range p.m.tables {
			if strings.HasPrefix(t.name, prefix) {
				out = append(out, t.name)
			}
		}
		slices.Sort(out)
		return nil
	})
	return out, err
}

func (p port) Make(_ context.Context, name, like string) error {
	return p.a.call(p.m, "make "+name, func() error {
		from, err := p.m.named(like)
		if err != nil {
			return err
		}
		if _, t := p.m.byName(name); t == nil {
			p.m.tables[p.m.put(name)].fence = from.fence
		}
		return nil
	})
}

func (p port) Fence(_ context.Context, name string, epoch waybill.Epoch) error {
	return p.a.call(p.m, "fence "+name, func() error {
		t, err := p.m.named(name)
		if err == nil {
			t.fence = epoch
		}
		return err
	})
}

func (p port) Unfence(_ context.Context, name string) error {
	return p.a.call(p.m, "unfence "+name, func() error {
		t, err := p.m.named(name)
		if err == nil {
			t.fence = 0
		}
		return err
	})
}

func (p port) Rename(_ context.Context, from, to string) error {
	return p.a.call(p.m, "rename "+from+" to "+to, func() error {
		t, err := p.m.named(from)
		if err != nil {
			return err
		}
		if _, taken := p.m.byName(to); taken != nil {
			return &waybill.Error{Op: "model", Class: waybill.ClassConfig, Err: errors.New(to + " is taken")}
		}
		t.name = to
		return nil
	})
}

func (p port) Exchange(_ context.Context, live, other string) error {
	return p.a.call(p.m, "exchange "+live+" and "+other, func() error {
		a, err := p.m.named(live)
		if err != nil {
			return err
		}
		b, err := p.m.named(other)
		if err != nil {
			return err
		}
		a.name, b.name = b.name, a.name
		p.m.say("EXCHANGED")
		return nil
	})
}

func (p port) Drop(_ context.Context, name string) error {
	return p.a.call(p.m, "drop "+name, func() error {
		uuid, _ := p.m.byName(name)
		delete(p.m.tables, uuid)
		return nil
	})
}

func (p port) Await(_ context.Context, prefix string) error {
	return p.a.call(p.m, "await "+prefix, func() error {
		for p.m.finishOne(prefix) {
		}
		return nil
	})
}

func (p port) SameColumns(context.Context, string, string) (bool, []string, error) {
	return true, nil, nil
}

func (p port) Pieces(_ context.Context, table string) (out []string, err error) {
	err = p.a.call(p.m, "pieces of "+table, func() error {
		out, err = p.m.pieces(table, func(row) bool { return true })
		return err
	})
	return out, err
}

func (m *model) pieces(table string, of func(row) bool) (out []string, err error) {
	t, err := m.named(table)
	if err != nil {
		return nil, err
	}
	for r := range t.rows {
		if of(r) && !slices.Contains(out, r.piece()) {
			out = append(out, r.piece())
		}
	}
	slices.Sort(out)
	return out, nil
}

func (p port) Touched(_ context.Context, table string, _ *backfill.Job) (out []string, err error) {
	err = p.a.call(p.m, "touched of "+table, func() error {
		out, err = p.m.pieces(table, p.m.scope)
		return err
	})
	return out, err
}

func between(r row, lo, hi backfill.Positions) bool {
	return (lo == nil || r.offset >= lo[r.p]) && (hi == nil || r.offset < hi[r.p])
}

func (p port) Copy(_ context.Context, from, into string, _ *backfill.Job, pieces []string, lo, hi backfill.Positions) error {
	return p.a.call(p.m, "copy from "+from+" into "+into, func() error {
		a, b, err := p.m.two(from, into)
		if err != nil {
			return err
		}
		for _, r := range sorted(a.rows) {
			if !p.m.scope(r) && between(r, lo, hi) && (pieces == nil || slices.Contains(pieces, r.piece())) {
				b.rows[r] += a.rows[r]
				if p.m.unlucky(500) {
					return errLost // it is not atomic
				}
			}
		}
		return nil
	})
}

func sorted(rows map[row]int) []row {
	return slices.SortedFunc(maps.Keys(rows), func(a, b row) int {
		return strings.Compare(fmt.Sprintf("%d %08d %d", a.p, a.offset, a.epoch), fmt.Sprintf("%d %08d %d", b.p, b.offset, b.epoch))
	})
}

// Attach is not atomic, and goes on at the server when its sender has died.
func (p port) Attach(_ context.Context, into, piece, from string) error {
	return p.a.call(p.m, "attach "+piece+" of "+from+" to "+into, func() error {
		a, b, err := p.m.two(from, into)
		if err != nil {
			return err
		}
		attached := maps.Clone(a.rows)
		maps.DeleteFunc(attached, func(r row, _ int) bool { return r.piece() != piece })
		do := func() {
			for r, n := range attached {
				b.rows[r] += n
			}
		}
		if !p.m.unlucky(6) {
			do()
			return nil
		}
		if p.m.rnd.IntN(2) == 0 {
			p.m.say("  some of it")
			maps.DeleteFunc(attached, func(r row, _ int) bool { return r.offset%2 == 0 })
			do()
			return errLost
		}
		p.m.say("  it goes on at the server")
		p.m.started = append(p.m.started, underway{into, do})
		return errLost
	})
}

func (p port) RemoveOlder(_ context.Context, table string, epoch waybill.Epoch, _ string, from backfill.Positions, piece string) error {
	return p.a.call(p.m, fmt.Sprintf("remove rows of %s below epoch %d from %v in %q", table, epoch, from, piece), func() error {
		t, err := p.m.named(table)
		if err == nil {
			maps.DeleteFunc(t.rows, func(r row, _ int) bool {
				return r.epoch < epoch && between(r, from, nil) && (piece == "" || r.piece() == piece)
			})
		}
		return err
	})
}

func (p port) Feeds(context.Context, string) (out []backfill.View, err error) {
	err = p.a.call(p.m, "feeds", func() error {
		out = p.m.feeds()
		return nil
	})
	return out, err
}

func (p port) Fill(_ context.Context, _ backfill.View, from, into, _ string, lo, hi backfill.Positions) error {
	return p.a.call(p.m, fmt.Sprintf("fill %s from %s between %v and %v", into, from, lo, hi), func() error {
		a, b, err := p.m.two(from, into)
		if err != nil {
			return err
		}
		for _, r := range sorted(a.rows) {
			if between(r, lo, hi) || p.m.mutants.fillsAll && between(r, nil, hi) {
				b.rows[r] += a.rows[r]
				if p.m.unlucky(500) {
					return errLost // it is not atomic
				}
			}
		}
		return nil
	})
}

func (p port) AttachAll(_ context.Context, into, from string) error {
	return p.a.call(p.m, "attach all of "+from+" to "+into, func() error {
		a, b, err := p.m.two(from, into)
		if err != nil {
			return err
		}
		for _, r := range sorted(a.rows) {
			if !p.m.mutants.attachesNone {
				b.rows[r] += a.rows[r]
			}
			if p.m.unlucky(500) {
				return errLost
			}
		}
		return nil
	})
}

func (p port) Close(_ context.Context, name string, epoch waybill.Epoch) error {
	return p.a.call(p.m, "close "+name, func() error {
		t, err := p.m.named(name)
		if err == nil && !p.m.mutants.neverCloses {
			t.closed[epoch] = true
		}
		return err
	})
}

func (p port) Reopen(_ context.Context, name string, epoch waybill.Epoch) error {
	return p.a.call(p.m, "open "+name, func() error {
		t, err := p.m.named(name)
		if err == nil {
			delete(t.closed, epoch)
		}
		return err
	})
}

func (p port) count(what, table string, of func(row) bool) (n int64, err error) {
	err = p.a.call(p.m, what+" of "+table, func() error {
		t, err := p.m.named(table)
		if err != nil {
			return err
		}
		n = 0
		for r, times := range t.rows {
			if of(r) {
				n += int64(times)
			}
		}
		return nil
	})
	return n, err
}

func (p port) CountStaying(_ context.Context, table string, _ *backfill.Job, lo, hi backfill.Positions) (int64, error) {
	return p.count("count what stays", table, func(r row) bool { return !p.m.scope(r) && between(r, lo, hi) })
}

// CountForeign: nobody else writes in the model.
func (p port) CountForeign(context.Context, string, string) (int64, error) { return 0, nil }

func (p port) CountOlder(_ context.Context, table string, epoch waybill.Epoch, _ string, lo, hi backfill.Positions) (int64, error) {
	return p.count("count older", table, func(r row) bool {
		return r.epoch < epoch && between(r, lo, hi) && !(p.m.mutants.neverRefills && lo != nil && hi == nil)
	})
}

func (p port) CountEpoch(_ context.Context, table string, epoch waybill.Epoch, _ string) (int64, error) {
	return p.count("count epoch", table, func(r row) bool { return r.epoch == epoch })
}

func (p port) Exact(context.Context, string) (bool, error) { return true, nil }

func (p port) LastMutation(context.Context, string) (last uint64, underWay int64, err error) {
	err = p.a.call(p.m, "last mutation", func() error {
		last = p.m.mutations
		return nil
	})
	return last, 0, err
}

// Changes: now and then somebody has changed rows since.
func (p port) Changes(_ context.Context, _ string, after uint64) (out []string, err error) {
	err = p.a.call(p.m, "changes", func() error {
		if p.m.mutations < 2 && p.m.unlucky(8) {
			p.m.mutations++
		}
		if p.m.mutations > after {
			out = []string{"UPDATE"}
		}
		return nil
	})
	return out, err
}

func (p port) Members(context.Context) (out []string, err error) {
	err = p.a.call(p.m, "members", func() error {
		out = nil
		if p.m.live != nil {
			out = []string{"live"}
		}
		return nil
	})
	return out, err
}

func (p port) Committed(context.Context) (out backfill.Positions, err error) {
	err = p.a.call(p.m, "committed", func() error {
		out = maps.Clone(p.m.committed)
		return nil
	})
	return out, err
}

func (p port) Tips(_ context.Context, epoch waybill.Epoch) (out backfill.Positions, err error) {
	err = p.a.call(p.m, "tips", func() error {
		out = maps.Clone(p.m.account(epoch))
		return nil
	})
	return out, err
}

func (p port) Written(_ context.Context, epoch waybill.Epoch) (n int64, err error) {
	err = p.a.call(p.m, "written", func() error {
		n = p.m.written[epoch]
		return nil
	})
	return n, err
}

func (p port) Begins(context.Context) (backfill.Positions, error) {
	return backfill.Positions{0: 0, 1: 0}, nil
}

func (p port) NextEpoch(context.Context) (e waybill.Epoch, err error) {
	err = p.a.call(p.m, "next epoch", func() error {
		e = 0
		for _, g := range p.m.generations {
			e = max(e, g)
		}
		for i := range p.m.journal {
			e = max(e, p.m.journal[i].Leg.Epoch)
		}
		e++
		return nil
	})
	return e, err
}

// Raised: nobody raises the file's epoch in the model.
func (p port) Raised(context.Context, waybill.Epoch) (waybill.Epoch, error) { return 0, nil }

func (p port) Effective(_ context.Context, table string) (e waybill.Epoch, err error) {
	err = p.a.call(p.m, "epoch of "+table, func() error {
		e = p.m.effective(table)
		return nil
	})
	return e, err
}

func (p port) Epoch(_ context.Context, table string, epoch waybill.Epoch, _ string) error {
	return p.a.call(p.m, fmt.Sprintf("epoch of %s is %d", table, epoch), func() error {
		p.m.generations[table] = max(p.m.generations[table], epoch)
		return nil
	})
}

func (p port) Hold(_ context.Context, _ string, until time.Time) error {
	return p.a.call(p.m, "hold", func() error {
		p.m.held = until
		return nil
	})
}

func (p port) Release(context.Context, string) error {
	return p.a.call(p.m, "release", func() error {
		p.m.held = time.Time{}
		return nil
	})
}

func (p port) Tell(_ context.Context, j *backfill.Job) error {
	return p.a.call(p.m, "tell", func() error {
		p.m.told = append(p.m.told, fmt.Sprintf("%s %d", j.State, j.Leg.Number))
		return nil
	})
}

func (p port) DropGroup(_ context.Context, group string) error {
	return p.a.call(p.m, "drop group "+group, func() error {
		p.m.groups = append(p.m.groups, group)
		return nil
	})
}

// run is the engine: one record after the other, each written and accounted for at once.
func (p port) run(_ context.Context, w Work) error {
	e := w.Job.Leg.Epoch
	for {
		until, final := w.Until()
		done := true
		for part, end := range until {
			for p.m.account(e)[part] < end {
				done = false
				refused := false
				err := p.a.call(p.m, fmt.Sprintf("engine %d@%d of epoch %d into %s", part, p.m.account(e)[part], e, w.Table), func() error {
					o := p.m.account(e)[part]
					if o >= end {
						return nil
					}
					r := row{part, o, e}
					if w.Job.Leg.Number == 0 && p.m.scope(r) || w.Job.Leg.Number > 0 && o >= w.Job.Leg.From[part] {
						if refused = !p.m.insert(w.Table, r); refused {
							return nil
						}
						p.m.written[e]++
					}
					p.m.account(e)[part] = o + 1
					return nil
				})
				if refused {
					return &waybill.Error{Op: "model", Class: waybill.ClassSchema, Err: errors.New("the engine's table is gone")}
				}
				if err != nil && !errors.Is(err, errLost) {
					return err
				}
			}
		}
		if done && final {
			return nil
		}
		if done {
			p.a.turn()
		}
	}
}

// every calls fn between the engine's steps: as the model has one goroutine for an actor, it is called when Until is asked for. See operator.
func (m *model) operator(a *actor) *Operator {
	p := port{m, a}
	o := New(Deps{Journal: p, Tables: p, Live: p, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return m.now }, Owner: a.name, Who: a.name, Grace: 3 * time.Second, DrainTime: time.Minute,
		Pause: func(context.Context, int) error {
			a.turn()
			m.now = m.now.Add(time.Second)
			return nil
		}})
	var beside []func(context.Context)
	o.Every = func(_ context.Context, _ time.Duration, fn func(context.Context)) func() {
		beside = append(beside, fn)
		n := len(beside)
		return func() { beside = beside[:n-1] }
	}
	o.Deps.Run = func(ctx context.Context, w Work) error {
		until := w.Until
		w.Until = func() (backfill.Positions, bool) {
			for _, fn := range beside {
				fn(ctx)
			}
			return until()
		}
		return p.run(ctx, w)
	}
	o.Passed = func(point string) {
		m.say("%s: -- %s", a.name, point)
		if point == "refill" {
			m.refills++
		}
	}
	return o
}
