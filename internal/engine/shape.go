package engine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/ledger"
)

// shape is the target table as it was last read, and the plan compiled against it. It is immutable but for types.
type shape struct {
	schema contract.TableSchema
	info   clickhouse.TableInfo
	plan   *contract.Plan

	mu sync.Mutex
	// types are what the server is told to compare, by column list: see clickhouse.Insert.Types.
	types map[string]string
}

// now is the table as it was last read.
func (t *target) now() *shape { return t.shape.Load() }

// errShapeMoves: the table changed while it was being read.
var errShapeMoves = errors.New("the table is changing")

// look reads the table and compiles the plan against it. It changes nothing.
func (t *target) look(ctx context.Context) (*shape, error) {
	c := t.cfg.Sink.ClickHouse
	schema, info, err := t.client.Describe(ctx, c.Database, c.Table, t.lineage)
	if err != nil {
		return nil, err
	}
	plan, err := contract.Compile(t.cfg.Contract, schema, t.lineage, json.Version)
	if err != nil {
		return nil, planError(t.cfg, err)
	}
	return &shape{schema: schema, info: info, plan: plan, types: map[string]string{}}, nil
}

// adopt makes s what batches are gathered under from now on. Its plan is put on record first.
func (t *target) adopt(ctx context.Context, s *shape) error {
	if err := t.savePlan(ctx, s); err != nil {
		return err
	}
	t.mu.Lock()
	t.plans[s.plan.ID()] = s.plan
	t.mu.Unlock()
	for _, c := range s.plan.Columns() {
		if c.Added {
			t.evolver.added[c.Name] = true
		}
	}
	t.shape.Store(s)
	return nil
}

// typesOf are the types that the server is to compare for a block with these columns: those of the shape, and no newer ones.
// Empty: the user may not read them, and the pipeline does not need the proof.
func (t *target) typesOf(ctx context.Context, s *shape, columns []string) (string, error) {
	key := strings.Join(columns, "\x00")
	s.mu.Lock()
	types, known := s.types[key]
	s.mu.Unlock()
	if known {
		return types, nil
	}
	c := t.cfg.Sink.ClickHouse
	types, err := t.client.ColumnTypes(ctx, c.Database, c.Table, columns)
	switch {
	case err != nil && t.cfg.Delivery == config.AtLeastOnce && waybill.ClassOf(err) == waybill.ClassConfig:
		types = ""
	case err != nil && waybill.ClassOf(err) != waybill.ClassSchema:
		return "", err
	default:
		// Read after the types: if nothing has changed since the shape was read, they are the shape's. A column that is gone is no
		// schema error before it is known that the shape still has it.
		schema, _, derr := t.client.Describe(ctx, c.Database, c.Table, t.lineage)
		if derr != nil {
			return "", derr
		}
		if !reflect.DeepEqual(schema, s.schema) {
			return "", &waybill.Error{Op: "clickhouse.insert", Pipeline: t.cfg.Name, Class: waybill.ClassRetryable, Err: errShapeMoves}
		}
		if err != nil {
			return "", err
		}
	}
	s.mu.Lock()
	s.types[key] = types
	s.mu.Unlock()
	return types, nil
}

// change says what of the table is not as it was when it was last read.
type change uint8

const (
	unchanged      change = iota
	columnsChanged        // only columns: the plan is compiled anew in place
	tableChanged          // another table, other views, keys or settings: everything is looked at anew
)

// changed compares the table with what it was.
func (t *target) changed(ctx context.Context) (change, error) {
	c := t.cfg.Sink.ClickHouse
	schema, info, err := t.client.Describe(ctx, c.Database, c.Table, t.lineage)
	if err != nil {
		if waybill.ClassOf(err) == waybill.ClassSchema {
			return tableChanged, err
		}
		return unchanged, err
	}
	was := t.now()
	switch {
	case schema.UUID != was.schema.UUID || !reflect.DeepEqual(info, was.info):
		return tableChanged, nil
	case !reflect.DeepEqual(schema, was.schema):
		return columnsChanged, nil
	}
	return unchanged, nil
}

// fitted is what of a batch the table takes.
type fitted struct {
	columns []string          // of the table, in the order of the block's that are left
	as      map[string]string // columns of the plan that have another name by now
	gone    []string          // columns of the plan that there are no more
}

// fit is which columns of a batch's plan the table still takes: all of them, but for those that are gone. One that was renamed is not gone: the
// rows that are there took their values along, and so do those that come. A column whose type can no longer take what the plan made is an error.
func (t *target) fit(s *shape, p *contract.Plan) (f fitted, err error) {
	types := map[string]string{}
	for _, c := range s.schema.Columns {
		types[c.Name] = c.Type
	}
	for _, c := range p.Columns() {
		name := c.Name
		now, there := types[name]
		if !there {
			if name, there = renamed(c, p, s.plan); there {
				now = types[name]
			}
		}
		switch {
		case !there && c.Lineage:
			return f, t.misfit(p, c, "is gone")
		case !there:
			f.gone = append(f.gone, c.Name)
			continue
		case now != c.Type && !widens(c.Type, now):
			return f, t.misfit(p, c, "is now "+now)
		}
		if name != c.Name {
			if f.as == nil {
				f.as = map[string]string{}
			}
			f.as[c.Name] = name
		}
		f.columns = append(f.columns, name)
	}
	return f, nil
}

// fitBlock is what the table takes of a block that was made under p.
func (t *target) fitBlock(s *shape, p *contract.Plan, block *column.Block) (*column.Block, fitted, error) {
	f, err := t.fit(s, p)
	if err != nil {
		return nil, f, err
	}
	if len(f.gone) > 0 {
		block = block.Without(f.gone)
	}
	return block.Renamed(f.as), f, nil
}

func (t *target) misfit(p *contract.Plan, c contract.PlanColumn, now string) error {
	return &waybill.Error{Op: "clickhouse.insert", Pipeline: t.cfg.Name, Class: waybill.ClassSchema,
		Err:  fmt.Errorf("a pending batch was gathered under plan %s, in which column %s is %s; in table %s it %s", p.ID(), c.Name, c.Type, t.name(), now),
		Hint: "change the column back until the batch has settled"}
}

// savePlan puts the plan on record before the first intent that names it.
func (t *target) savePlan(ctx context.Context, s *shape) error {
	id := s.plan.ID()
	if _, found, err := t.ledger.Plan(ctx, t.cfg.Name, id); err != nil || found {
		return err
	}
	p := ledger.PlanOf(t.cfg.Name, s.plan, t.cfg.Contract, s.schema, t.client.ServerNow(time.Now()))
	a := t.client.Insert(ctx, clickhouse.Insert{Database: t.ledger.Database(), Table: ledger.TablePlans, Token: p.Token(), Input: ledger.PlanBlock(p)})
	if a.Err != nil {
		return a.Err
	}
	_, found, err := t.ledger.Plan(ctx, t.cfg.Name, id)
	if err == nil && !found {
		err = &waybill.Error{Op: "preflight", Pipeline: t.cfg.Name, Class: waybill.ClassRetryable, Err: fmt.Errorf("plan %s was inserted but cannot be read back", id)}
	}
	return err
}

// widens reports whether the server keeps every value of the type from in a column of the type to.
func widens(from, to string) bool {
	old, err := column.ParseType(from)
	if err != nil {
		return false
	}
	wide, err := column.ParseType(to)
	return err == nil && wide.Widens(old)
}
