package operator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
)

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
