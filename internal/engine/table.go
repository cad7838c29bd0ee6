package engine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/objects"
)

// table is one of a pipeline's tables.
type table struct {
	cfg     config.Table
	client  *clickhouse.Client
	objects *objects.Store // where its rows go, if it is no table; else nil
	uuid    string         // when it was prepared
	lineage contract.Lineage
	evolver evolver // the gatherer's
}

func newTable(cfg config.Table, client *clickhouse.Client) *table {
	return &table{cfg: cfg, client: client, lineage: cfg.Sink.ClickHouse.Lineage, evolver: evolver{map[string]*attempt{}, map[string]bool{}, map[string]bool{}}}
}

// name is the table's full name, as tokens, plans and ledger rows carry it.
func (t *table) name() string { return t.cfg.Sink.ClickHouse.Name() }

// place is the full name that the server knows the table by.
func (t *table) place() string { return t.cfg.Sink.ClickHouse.Place() }

// tableShape is a table as it was last read, and the plan compiled against it. It is immutable but for types.
type tableShape struct {
	schema contract.TableSchema
	info   clickhouse.TableInfo
	plan   *contract.Plan

	mu sync.Mutex
	// types are what the server is told to compare, by column list: see clickhouse.Insert.Types.
	types map[string]string
}

// foundTable is a table as it was found when it was prepared.
type foundTable struct {
	schema contract.TableSchema
	info   clickhouse.TableInfo
}

// find makes the table if it is to be made.
func (t *table) find(ctx context.Context) (foundTable, error) {
	if t.objects != nil {
		return t.findObjects(ctx)
	}
	c := t.cfg.Sink.ClickHouse
	schema, info, err := t.client.Describe(ctx, c.Database, c.Table, t.lineage)
	if t.cfg.Contract.Tables == contract.ModeEvolve && waybill.ClassOf(err) == waybill.ClassSchema {
		if err = t.create(ctx); err == nil {
			schema, info, err = t.client.Describe(ctx, c.Database, c.Table, t.lineage)
		}
	}
	t.uuid = schema.UUID
	return foundTable{schema, info}, err
}

// check says what of the table is worth knowing. The error is why it cannot hold what the file asks for.
func (t *table) check(ctx context.Context, found foundTable, epoch waybill.Epoch) ([]waybill.Finding, error) {
	if t.objects != nil {
		return nil, nil
	}
	if err := t.epochColumn(found.schema, epoch); err != nil {
		return nil, err
	}
	if err := t.keepFor(ctx, found.info); err != nil {
		return nil, err
	}
	notes, err := preflight(t.cfg.Pipeline, found.info)
	if err != nil {
		return nil, err
	}
	more, err := t.rowPolicies(ctx)
	return append(notes, more...), err
}

// create makes the table as the contract says. Any number of workers may do so at once.
func (t *table) create(ctx context.Context) error {
	c := t.cfg.Sink.ClickHouse
	sql, err := contract.CreateTable(t.cfg.Contract, t.lineage, c.Database, c.Table, c.Cluster)
	if err != nil {
		return err
	}
	return t.client.Exec(ctx, sql)
}

// rowPolicies: a policy that hides rows from the reading user makes rows look absent, and they would be
// inserted again.
func (t *table) rowPolicies(ctx context.Context) ([]waybill.Finding, error) {
	if t.cfg.Delivery == config.AtLeastOnce {
		return nil, nil
	}
	c := t.cfg.Sink.ClickHouse
	names, err := t.client.RowPolicies(ctx, c.Database, c.Table)
	switch {
	case err != nil && waybill.ClassOf(err).NeedsPerson():
		return []waybill.Finding{{Kind: "row_policies_unknown", Severity: waybill.SeverityInfo, Subject: t.place(),
			Message: fmt.Sprintf("the user may not see row policies, so it is not known whether one hides rows of %s from it", t.place()),
			Action:  "GRANT SHOW ROW POLICIES ON *.* to the user, or make sure that no policy applies to it"}}, nil
	case err != nil:
		return nil, err
	case len(names) > 0:
		return nil, &waybill.Error{Op: "preflight", Pipeline: t.cfg.Name, Class: waybill.ClassConfig,
			Err:  fmt.Errorf("row policies apply to the user on %s: %s; rows that they hide would be taken for absent and inserted again", t.place(), strings.Join(names, ", ")),
			Hint: "exempt the user from them, or set `delivery: at-least-once`"}
	}
	return nil, nil
}

// epochColumn: a table may do without the epoch column as long as there is only one epoch.
func (t *table) epochColumn(schema contract.TableSchema, epoch waybill.Epoch) error {
	has := t.lineage.In(schema)
	if has.Epoch == "" && epoch > 0 {
		return &waybill.Error{Op: "preflight", Pipeline: t.cfg.Name, Class: waybill.ClassConfig,
			Err:  fmt.Errorf("epoch is %d, but table %s has no column %s to tell its rows from those of earlier epochs", epoch, t.place(), t.lineage.Epoch),
			Hint: fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s UInt32 DEFAULT 0, then drop and add the projection %s with it", t.place(), t.lineage.Epoch, clickhouse.ProjectionName)}
	}
	t.lineage = has
	return nil
}

// look reads the table and compiles the plan against it. It changes nothing.
func (t *table) look(ctx context.Context) (*tableShape, error) {
	if t.objects != nil {
		return t.lookObjects()
	}
	c := t.cfg.Sink.ClickHouse
	schema, info, err := t.client.Describe(ctx, c.Database, c.Table, t.lineage)
	if err != nil {
		return nil, err
	}
	plan, err := t.cfg.Compile(schema, t.lineage, json.Version)
	if err != nil {
		return nil, planError(t.cfg.Pipeline, err)
	}
	return &tableShape{schema: schema, info: info, plan: plan, types: map[string]string{}}, nil
}

// planError shows what does not fit the table at its place in the pipeline file.
func planError(cfg *config.Pipeline, err error) error {
	problems := cfg.ContractProblems(err)
	if len(problems) == 0 {
		return err
	}
	return problems
}

// typesOf are the types that the server is to compare for a block with these columns: those of the shape, and no newer ones.
// Empty: the user may not read them, and the pipeline does not need the proof.
func (t *table) typesOf(ctx context.Context, s *tableShape, columns []string) (string, error) {
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
	case err != nil && t.cfg.Delivery == config.AtLeastOnce && waybill.ClassOf(err).NeedsPerson():
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

// errShapeMoves: the table changed while it was being read.
var errShapeMoves = errors.New("the table is changing")

// changed compares the table with what it was.
func (t *table) changed(ctx context.Context, was *tableShape) (change, error) {
	if t.objects != nil {
		return unchanged, nil // what an object looks like is in the binary
	}
	c := t.cfg.Sink.ClickHouse
	schema, info, err := t.client.Describe(ctx, c.Database, c.Table, t.lineage)
	if err != nil {
		if waybill.ClassOf(err) == waybill.ClassSchema {
			return tableChanged, err
		}
		return unchanged, err
	}
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
func (t *table) fit(s *tableShape, p *contract.Plan) (f fitted, err error) {
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
func (t *table) fitBlock(s *tableShape, p *contract.Plan, block *column.Block) (*column.Block, fitted, error) {
	f, err := t.fit(s, p)
	if err != nil {
		return nil, f, err
	}
	if len(f.gone) > 0 {
		block = block.Without(f.gone)
	}
	return block.Renamed(f.as), f, nil
}

func (t *table) misfit(p *contract.Plan, c contract.PlanColumn, now string) error {
	return &waybill.Error{Op: "clickhouse.insert", Pipeline: t.cfg.Name, Class: waybill.ClassSchema,
		Err:  fmt.Errorf("a pending batch was gathered under plan %s, in which column %s is %s; in table %s it %s", p.ID(), c.Name, c.Type, t.place(), now),
		Hint: "change the column back until the batch has settled"}
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

// insert is the INSERT of a block that was made under p into the table as it is now, and the columns that are gone from there.
// The server compares: it would cast the types of a block that was made for another shape of the table without a word.
func (t *table) insert(ctx context.Context, s *tableShape, p *contract.Plan, block *column.Block) (in clickhouse.Insert, gone []string, err error) {
	block, f, err := t.fitBlock(s, p, block)
	if err != nil {
		return in, nil, err
	}
	types, err := t.typesOf(ctx, s, f.columns)
	if err != nil {
		return in, nil, err
	}
	c := t.cfg.Sink.ClickHouse
	return clickhouse.Insert{Database: c.Database, Table: c.Table, Input: block.Input(), Types: types}, f.gone, nil
}

func (t *table) presence(s *tableShape, epoch waybill.Epoch, spans []clickhouse.PartitionSpan) clickhouse.Presence {
	return clickhouse.Presence{Database: t.cfg.Sink.ClickHouse.Database, Table: t.cfg.Sink.ClickHouse.Table, Lineage: t.lineage, Epoch: epoch,
		HasProjection: s.info.OffsetProjection, Replicated: s.info.Replicated, Spans: spans}
}
