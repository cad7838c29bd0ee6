package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/ledger"
)

func newSchema(s Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Plans, changes and drift of a pipeline's table",
		Long: `What a pipeline's rows mean and have meant: the plan that is compiled from the
file and the table, all plans before it, the changes of the table, and how
events differ from the contract.

Each command takes the pipeline file: for the server, the table and the name
under which things are on record.`,
		Example: `  waybill schema show llm-calls.yaml
  waybill schema history llm-calls.yaml
  waybill schema drift llm-calls.yaml --since 24h
  waybill schema promote llm-calls.yaml usage.cost`,
	}
	cmd.AddCommand(newSchemaShow(s), newSchemaHistory(s), newSchemaDiff(s), newSchemaDrift(s), newSchemaPromote(s))
	return cmd
}

// desk is a pipeline file with its server, for a command that asks once.
type desk struct {
	file *config.Pipeline // as it is
	// cfg is the file under the epoch that the pipeline runs under now: whoever asks for what is on record asks with it, see engine.EffectiveEpoch.
	cfg    *config.Pipeline
	client *clickhouse.Client
	ledger *ledger.Store
}

// schemaTimeout is how long one statement may take. Mutations and surveys of large tables take long.
const schemaTimeout = 6 * time.Hour

// openDesk loads the file and connects. close must be called.
func openDesk(ctx context.Context, file string) (*desk, error) {
	cfg, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	server := engine.Server(cfg.Sink.ClickHouse)
	server.QueryTimeout = schemaTimeout
	client, err := clickhouse.Open(ctx, server, clickhouse.Deps{})
	if err != nil {
		return nil, unreached(err)
	}
	d := &desk{cfg, cfg, client, ledger.New(client, "").OnCluster(cfg.Sink.ClickHouse.Cluster)}
	epoch, err := engine.EffectiveEpoch(ctx, client, d.ledger, cfg)
	if err != nil {
		d.close()
		return nil, unreached(err)
	}
	d.cfg = cfg.Under(epoch)
	return d, nil
}

// unreached gives an error that waiting can mend its exit code.
func unreached(err error) error {
	if err != nil && waybill.ClassOf(err).Heals() {
		return &exitError{code: ExitConnect, err: err}
	}
	return err
}

func (d *desk) close() { d.client.Close() }

// current is the plan that a worker would run under now, and the tables as they are.
func (d *desk) current(ctx context.Context) (*contract.Plan, []contract.TableSchema, error) {
	var tables []contract.TableSchema
	var routes []contract.Route
	for _, of := range d.cfg.Tables() {
		c := of.Sink.ClickHouse
		t, _, err := d.client.Describe(ctx, c.Database, c.Table, c.Lineage)
		if err != nil {
			return nil, nil, unreached(err)
		}
		p, err := of.Compile(t, c.Lineage.In(t), json.Version)
		if err != nil {
			return nil, nil, err
		}
		tables, routes = append(tables, t), append(routes, contract.Route{Name: of.Route, When: of.When, Plan: p})
	}
	p, err := d.cfg.Join(routes)
	return p, tables, err
}

// recorded makes sure that there is something on record.
func (d *desk) recorded(ctx context.Context) error {
	have, err := d.ledger.Version(ctx)
	switch {
	case err != nil:
		return unreached(err)
	case have == 0:
		return &waybill.Error{
			Op: "schema", Pipeline: d.cfg.Name, Class: waybill.ClassConfig,
			Err: fmt.Errorf("nothing is on record: no pipeline has run against %s", d.cfg.Sink.ClickHouse.Addr), Hint: "start it with `waybill run`",
		}
	case have < ledger.Version():
		return &waybill.Error{
			Op: "schema", Pipeline: d.cfg.Name, Class: waybill.ClassConfig,
			Err:  fmt.Errorf("database %s is of version %d, this is about version %d", d.ledger.Database(), have, ledger.Version()),
			Hint: "start a worker of this version: it brings the database up to date",
		}
	}
	return nil
}

// plan finds a plan on this pipeline's record by its id, or by the beginning of one.
func (d *desk) plan(ctx context.Context, id string) (*contract.Plan, ledger.Plan, error) {
	if err := d.recorded(ctx); err != nil {
		return nil, ledger.Plan{}, err
	}
	all, err := d.ledger.Plans(ctx, d.cfg.Name)
	if err != nil {
		return nil, ledger.Plan{}, unreached(err)
	}
	found := slices.DeleteFunc(all, func(p ledger.Plan) bool { return !strings.HasPrefix(p.ID.String(), strings.ToLower(id)) })
	if len(found) != 1 {
		return nil, ledger.Plan{}, usage(&waybill.Error{
			Op: "schema", Pipeline: d.cfg.Name, Class: waybill.ClassConfig, Err: fmt.Errorf("%d plans on record begin with %q", len(found), id),
			Hint: "`waybill schema history` lists them",
		})
	}
	p, err := contract.ParsePlan([]byte(found[0].Text))
	return p, found[0], err
}

// withDesk is a command's RunE for a pipeline file and further arguments.
func withDesk(run func(context.Context, *desk, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		d, err := openDesk(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		defer d.close()
		return run(cmd.Context(), d, args[1:])
	}
}

// moment writes a point in time, to the second.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// narrow shortens cells of a table until its lines fit: those of the widest column first.
func narrow(rows [][]string) [][]string {
	widths := make([]int, len(rows[0]))
	total := 0
	for c := range widths {
		for _, r := range rows {
			widths[c] = max(widths[c], utf8.RuneCountInString(r[c]))
		}
		total += widths[c] + 2
	}
	for ; total > lineWidth; total-- {
		widest := 0
		for c, w := range widths {
			if w > widths[widest] {
				widest = c
			}
		}
		widths[widest]--
	}
	for _, r := range rows {
		for c := range r {
			r[c] = clip(r[c], widths[c])
		}
	}
	return rows
}
