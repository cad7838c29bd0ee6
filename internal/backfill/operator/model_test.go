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
