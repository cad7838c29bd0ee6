// Package promote gives a field that is being rescued a column of its own: it adds the column to the table and to the
// pipeline file, and fills the rows that are there from their rescue column. Each step can be seen to be done, so that the
// whole can be run again at any time: after it was killed, or for rows that came meanwhile.
package promote

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/failpoint"
	"github.com/waybill-data/waybill/internal/ledger"
)

// Options say what is wanted, beyond the path.
type Options struct {
	Type   string // of the column; empty: what takes all values that are rescued
	Column string // its name; empty: made of the path
	// Partial: values that the column does not take stay in the rescue column; else they keep it from being done.
	Partial bool
	NoFill  bool // rows that are there stay as they are
}

// Deps is what a job works with.
type Deps struct {
	Client *clickhouse.Client
	Ledger *ledger.Store
	Getenv func(string) (string, bool) // of the pipeline file's variables
	Worker string                      // for the record
	Page   int                         // rows filled by one mutation at most; 0: DefaultPage
}

// Job is what is to be done for one path. It is made by Prepare, which changes nothing.
type Job struct {
	Column    contract.Column
	Why       string // the type; empty if it was given
	Statement string // of the ALTER; empty if the table has the column
	// Before and After are the pipeline file's text; nil if the file has the column.
	Before, After []byte
	Survey        Survey
	NoFill        bool
	Unread        bool // the rows that are there have not been looked at: their values cannot be told

	deps       Deps
	cfg        config.Table
	table      contract.TableSchema // with the column
	replicated bool
	old        *contract.Plan
	change     contract.Change
	source     source
}

// Prepare looks at the table, the file and the values, and says what is to be done. What cannot be done is an error with its
// reason.
func Prepare(ctx context.Context, deps Deps, cfg config.Table, text string, o Options) (*Job, error) {
	if deps.Page <= 0 {
		deps.Page = DefaultPage
	}
	j := &Job{deps: deps, cfg: cfg, NoFill: o.NoFill}
	path, err := contract.ParsePath(text)
	if err != nil {
		return nil, j.refuse("write the path as a contract does", fmt.Errorf("path %q: %w", text, err))
	}
	if err := j.look(ctx); err != nil {
		return nil, err
	}
	unread, err := j.rescueColumn(path)
	if err != nil {
		return nil, err
	}
	if unread != nil && (!o.NoFill || o.Type == "") {
		return nil, unread
	}
	if err := j.column(ctx, path, o); err != nil {
		return nil, err
	}
	if err := j.plan(); err != nil {
		return nil, err
	}
	if unread != nil {
		j.Unread = true
		return j, nil
	}
	return j, j.fits(ctx, o)
}

func (j *Job) refuse(hint string, err error) error {
	return &waybill.Error{Op: "schema.promote", Pipeline: j.cfg.Name, Class: waybill.ClassConfig, Err: err, Hint: hint}
}

// look reads the table and compiles the plan of now.
func (j *Job) look(ctx context.Context) error {
	c := j.cfg.Sink.ClickHouse
	t, info, err := j.deps.Client.Describe(ctx, c.Database, c.Table, c.Lineage)
	if err != nil {
		return err
	}
	l := c.Lineage.In(t)
	j.table, j.source = t, source{client: j.deps.Client, table: t, lineage: l}
	if j.replicated = info.Replicated; j.replicated {
		j.source.limit = spellBytes / 2 // its escapes are not counted
	}
	j.old, err = contract.Compile(j.cfg.Contract, t, l, json.Version)
	return err
}

// rescueColumn finds where values are looked for. unread says why they cannot be taken from there for what they were: then there can be a
// column for new events alone.
func (j *Job) rescueColumn(path contract.Path) (unread, err error) {
	c, ok := j.old.RescueColumn()
	if !ok {
		return nil, j.refuse("map the field in the contract: nothing of it has been kept", errors.New("the pipeline has no rescue column"))
	}
	j.source.rescue, j.source.paths = c.Name, prefixes(path)
	const alone = "for new events alone, say --no-fill and --type"
	if n := path.Each(); n >= 0 {
		// An array that no column takes apart is rescued as a whole; of one that some column does, each element is by itself, and how many there
		// were besides is not to be known.
		return j.refuse(fmt.Sprintf("promote the array itself, %s, as text, if it is rescued as a whole; or %s", path[:n], alone),
			fmt.Errorf("%s collects from an array, and elements are rescued one by one, each under its index: an array made of those would lack the others", path)), nil
	}
	if typ, err := column.ParseType(c.Type); err != nil || typ.Leaf().Name != "String" {
		return j.refuse(alone+"; rows that are there are for you to fill, by SQL",
			fmt.Errorf("the rescue column %s is %s, which does not keep texts to the letter: 1.50 is 1.5 in it, and null is nothing", c.Name, c.Type)), nil
	}
	return nil, nil
}

// column finds the column that takes the path, or says what it will be.
func (j *Job) column(ctx context.Context, path contract.Path, o Options) error {
	have, found := j.taken(path)
	switch {
	case found && (o.Column != "" && o.Column != have.Name || o.Type != "" && o.Type != have.Type):
		return j.refuse("leave out --type and --column to fill its rows", fmt.Errorf("column %s %s takes %s already", have.Name, have.Type, path))
	case found:
		j.Column = have
		return nil
	}
	j.Column = contract.Column{Name: o.Column, Type: o.Type, From: path.String()}
	if j.Column.Name == "" {
		j.Column.Name = contract.ColumnName(path)
	}
	if j.inTable() {
		return j.refuse("choose another name with --column", fmt.Errorf("the table has a column %s that does not take %s", j.Column.Name, path))
	}
	if o.Type == "" {
		return j.infer(ctx, path)
	}
	typ, err := column.ParseType(o.Type)
	if err != nil {
		return j.refuse("give a type that docs/reference/types.md lists", err)
	}
	if dynamic(typ) && !o.NoFill {
		return j.refuse("say --no-fill to add the column for new events alone, or leave out --type", fmt.Errorf("rows cannot be filled with %s: the server has no lookups of such types", typ))
	}
	return nil
}

// dynamic reports whether values of the type bring types of their own.
func dynamic(t column.Type) bool {
	return t.Name == "JSON" || t.Name == "Dynamic" || slices.ContainsFunc(t.Elems, dynamic)
}

// taken is the column of the file, or one that Waybill added to the table, that takes the path.
func (j *Job) taken(path contract.Path) (contract.Column, bool) {
	for _, c := range j.old.Columns() {
		if c.Source != contract.SourceField || c.Path != path.String() {
			continue
		}
		out := contract.Column{Name: c.Name, Type: c.Type, From: c.Path, As: c.As, Format: c.Format, Zone: c.Zone, Length: c.Length, Added: c.Added}
		if out.Format == "rfc3339" {
			out.Format = ""
		}
		return out, true
	}
	return contract.Column{}, false
}

func (j *Job) inTable() bool {
	return slices.ContainsFunc(j.table.Columns, func(c contract.TableColumn) bool { return c.Name == j.Column.Name })
}

func (j *Job) inFile() bool {
	return slices.ContainsFunc(j.cfg.Contract.Columns, func(c contract.Column) bool { return c.Name == j.Column.Name })
}

// infer looks at all values for the type that takes them.
func (j *Job) infer(ctx context.Context, path contract.Path) error {
	rows, seen, err := j.source.observe(ctx)
	if err != nil {
		return err
	}
	in := seen.Infer()
	if rows == 0 || in.Type == "" {
		return j.refuse("check the path (`waybill schema drift` lists them), or say --type", fmt.Errorf("%d rows have a value at %s in the rescue column; %s", rows, path, in.Why))
	}
	j.Column.Type, j.Column.As, j.Why = in.Type, in.As, in.Why
	return nil
}

// plan says which steps are left, and makes sure that the result is a pipeline that runs.
func (j *Job) plan() error {
	c := j.cfg.Contract
	if !j.inTable() {
		j.change = contract.Change{Kind: contract.AddColumn, Column: j.Column.Name, Path: j.Column.From, As: j.Column.As, Format: j.Column.Format, Type: j.Column.Type, Why: "waybill schema promote"}
		j.Statement = j.change.SQL(j.table.Database, j.table.Table, j.cfg.Sink.ClickHouse.Cluster)
		j.table.Columns = append(slices.Clone(j.table.Columns), contract.TableColumn{Name: j.Column.Name, Type: j.Column.Type})
		j.source.table = j.table
	}
	if !j.inFile() {
		var err error
		if j.Before, err = os.ReadFile(j.cfg.File); err != nil {
			return err
		}
		if j.After, err = Patch(j.cfg.File, j.Before, j.cfg.Route, j.Column, j.deps.Getenv); err != nil {
			return err
		}
		c.Columns = append(slices.Clone(c.Columns), j.Column)
	}
	_, err := contract.Compile(c, j.table, j.source.lineage, json.Version)
	return err
}

// fits makes sure that the values fit, or are meant not to.
func (j *Job) fits(ctx context.Context, o Options) error {
	var err error
	if j.Survey, err = j.source.check(ctx, j.Column); err != nil {
		return err
	}
	if j.Survey.Misfits == 0 || o.Partial {
		return nil
	}
	why := fmt.Errorf("%d of %d values at %s do not fit %s", j.Survey.Misfits, j.Survey.Rows, j.Column.From, j.Column.Type)
	for _, s := range j.Survey.Samples {
		why = fmt.Errorf("%w\n  %s/%d offset %d: %s (%s)", why, s.Topic, s.Partition, s.Offset, s.Text, s.Why)
	}
	return j.refuse("choose another --type, or say --partial: what does not fit stays in the rescue column", why)
}

// Apply does what is to be done: the column, the file, the rows. progress is called as it goes on; it may be nil. It can be run again
// at any time, with a job prepared anew.
func (j *Job) Apply(ctx context.Context, progress func(Progress)) (Result, error) {
	if j.Statement != "" {
		if err := j.addColumn(ctx); err != nil {
			return Result{}, err
		}
	}
	if j.After != nil {
		if err := j.patch(); err != nil {
			return Result{}, err
		}
	}
	if j.NoFill {
		return Result{}, nil
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	return j.fill(ctx, progress)
}

// addColumn alters the table and puts that on record.
func (j *Job) addColumn(ctx context.Context) error {
	now := j.deps.Client.ServerNow(time.Now())
	made := ledger.Change{
		At: now, Pipeline: j.cfg.Name, Database: j.table.Database, Table: j.table.Table, Change: j.change, Statement: j.Statement,
		Outcome: ledger.OutcomeApplied, Before: j.old.ID(), Worker: j.deps.Worker,
	}
	err := j.exec(ctx, j.Statement)
	if err != nil {
		made.Outcome, made.Error = ledger.OutcomeRefused, err.Error()
	} else if t, _, derr := j.deps.Client.Describe(ctx, j.table.Database, j.table.Table, j.source.lineage); derr == nil {
		// What workers that know the old file go on under.
		if p, perr := contract.Compile(j.cfg.Contract, t, j.source.lineage, json.Version); perr == nil {
			made.After = p.ID()
		}
	}
	a := j.deps.Client.Insert(ctx, clickhouse.Insert{
		Database: j.deps.Ledger.Database(), Table: ledger.TableChanges, Token: waybill.Token(fmt.Sprintf("promote-%s-%d", j.cfg.Name, now.UnixNano())),
		Input: ledger.ChangeBlock([]ledger.Change{made}),
	})
	failpoint.Hit(failpoint.PromoteStep)
	if err == nil && a.Err != nil {
		err = a.Err
	}
	return err
}

// patch writes the file, unless somebody else has.
func (j *Job) patch() error {
	now, err := os.ReadFile(j.cfg.File)
	if err != nil {
		return err
	}
	if string(now) != string(j.Before) {
		return j.refuse("run it again", fmt.Errorf("%s was changed meanwhile", j.cfg.File))
	}
	failpoint.Hit(failpoint.PromoteStep)
	err = replace(j.cfg.File, j.After)
	failpoint.Hit(failpoint.PromoteStep)
	return err
}

// exec runs statements, one after the other.
func (j *Job) exec(ctx context.Context, statements ...string) error {
	for _, sql := range statements {
		failpoint.Hit(failpoint.PromoteStep)
		err := j.deps.Client.Exec(ctx, sql)
		failpoint.Hit(failpoint.PromoteStep)
		if err != nil {
			return err
		}
	}
	return nil
}
