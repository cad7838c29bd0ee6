package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/ledger"
)

// shape is the target's tables as they were last read, and the plan compiled against them. It is immutable.
type shape struct {
	tables []*tableShape // in the order of the plan's routes
	plan   *contract.Plan
}

// replicated: some of the tables are.
func (s *shape) replicated() bool {
	return slices.ContainsFunc(s.tables, func(t *tableShape) bool { return t.info.Replicated })
}

// now is the tables as they were last read.
func (t *target) now() *shape { return t.shape.Load() }

// look reads the tables and compiles the plan against them. It changes nothing.
func (t *target) look(ctx context.Context) (*shape, error) {
	s := &shape{}
	var routes []contract.Route
	for _, one := range t.tables {
		ts, err := one.look(ctx)
		if err != nil {
			return nil, err
		}
		if ts.schema.UUID != one.uuid { // the epoch may be another one, too
			return nil, &waybill.Error{Op: "engine.look", Pipeline: t.cfg.Name, Class: waybill.ClassRetryable, Err: errExchanged}
		}
		s.tables = append(s.tables, ts)
		routes = append(routes, contract.Route{Name: one.cfg.Route, When: one.cfg.When, Plan: ts.plan})
	}
	var err error
	s.plan, err = t.cfg.Join(routes)
	return s, err
}

// errExchanged: everything is to be looked at anew.
var errExchanged = errors.New("another table has taken the table's place")

// adopt makes s what batches are gathered under from now on. Its plan is put on record first.
func (t *target) adopt(ctx context.Context, s *shape) error {
	if err := t.savePlans(ctx, s); err != nil {
		return err
	}
	t.mu.Lock()
	t.plans[s.plan.ID()] = s.plan
	t.mu.Unlock()
	for i, ts := range s.tables {
		for _, c := range ts.plan.Columns() {
			if c.Added {
				t.tables[i].evolver.added[c.Name] = true
			}
		}
	}
	t.shape.Store(s)
	return nil
}

// change says what of the tables is not as it was when it was last read.
type change uint8

const (
	unchanged      change = iota
	columnsChanged        // only columns: the plan is compiled anew in place
	tableChanged          // another table, other views, keys or settings: everything is looked at anew
)

// changed compares the tables with what they were.
func (t *target) changed(ctx context.Context) (change, error) {
	was, most := t.now(), unchanged
	var all error
	for i, one := range t.tables {
		c, err := one.changed(ctx, was.tables[i])
		most, all = max(most, c), errors.Join(all, err)
	}
	return most, all
}

// savePlans puts the plan on record before the first intent that names it, and those of its routes, which the rows' rescue columns name.
func (t *target) savePlans(ctx context.Context, s *shape) error {
	now := t.client.ServerNow(time.Now())
	for i, ts := range s.tables {
		if err := t.savePlan(ctx, ledger.PlanOf(t.cfg.Name, ts.plan, t.tables[i].cfg.Contract, ts.schema, now)); err != nil {
			return err
		}
	}
	if !s.plan.Routed() {
		return nil
	}
	return t.savePlan(ctx, ledger.RoutesOf(t.cfg.Name, s.plan, now))
}

func (t *target) savePlan(ctx context.Context, p ledger.Plan) error {
	return t.ledger.Once(ctx, clickhouse.Insert{Database: t.ledger.Database(), Table: ledger.TablePlans, Token: p.Token(), Input: ledger.PlanBlock(p)}, func(ctx context.Context) (bool, error) {
		_, found, err := t.ledger.Plan(ctx, t.cfg.Name, p.ID)
		return found, err
	})
}
