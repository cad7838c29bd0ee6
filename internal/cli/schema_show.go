package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/ledger"
)

func newSchemaShow(s Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show FILE [PLAN]",
		Short: "Where the values of each column come from",
		Long: `Where the values of each column come from, and what becomes of those that do not
fit: the plan that a worker would compile now from the file and the table, or
one on record. The beginning of a plan's id will do if no other begins so.

ELSE says what a column gets if the event lacks the field, or says null; MISFIT
what becomes of a value that the column does not take. Columns that Waybill
added are marked; the table's own, that no event fills, are listed at the end.`,
		Example: `  waybill schema show llm-calls.yaml
  waybill schema show llm-calls.yaml 4e1f -o json`,
		Args: args(cobra.RangeArgs(1, 2)),
	}
	o := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, plans []string) error { return schemaShow(ctx, s, *o, d, plans) })
	return cmd
}

// shownPlan is what `schema show -o json` prints.
type shownPlan struct {
	Pipeline       string              `json:"pipeline"`
	Plan           string              `json:"plan"`
	OnRecord       bool                `json:"on_record"`
	FirstSeen      string              `json:"first_seen,omitempty"` // RFC 3339
	DecoderVersion uint16              `json:"decoder_version"`
	Transform      *contract.Transform `json:"transform,omitempty"`
	Tables         []shownTable        `json:"tables"`
	Unrouted       contract.Unrouted   `json:"unrouted,omitempty"`
}

// shownTable is what a plan says of one table.
type shownTable struct {
	Route        string                `json:"route,omitempty"`
	When         string                `json:"when,omitempty"`
	Database     string                `json:"database"`
	Table        string                `json:"table"`
	NewFields    contract.Modes        `json:"new_fields"`
	Columns      []contract.PlanColumn `json:"columns"`
	LeftToServer []string              `json:"left_to_server"`

	left []ledger.SchemaColumn
}

func schemaShow(ctx context.Context, s Streams, o output, d *desk, plans []string) error {
	shown, err := d.shown(ctx, plans)
	if err != nil {
		return err
	}
	if o == outputJSON {
		return printJSON(s.Out, shown)
	}
	return shown.print(s.Out)
}

func (d *desk) shown(ctx context.Context, plans []string) (*shownPlan, error) {
	if len(plans) > 0 {
		p, stored, err := d.plan(ctx, plans[0])
		if err != nil {
			return nil, err
		}
		columns, err := d.schemas(ctx, p, stored)
		return d.showing(p, &stored, columns), err
	}
	p, tables, err := d.current(ctx)
	if err != nil {
		return nil, err
	}
	var columns [][]ledger.SchemaColumn
	for _, t := range tables {
		of, err := ledger.ParseSchema(ledger.SchemaText(t))
		if err != nil {
			return nil, err
		}
		columns = append(columns, of)
	}
	have, err := d.ledger.Version(ctx)
	if err != nil || have < ledger.Version() {
		return d.showing(p, nil, columns), unreached(err)
	}
	stored, found, err := d.ledger.Plan(ctx, d.cfg.Name, p.ID())
	if err != nil || !found {
		return d.showing(p, nil, columns), unreached(err)
	}
	return d.showing(p, &stored, columns), nil
}

// schemas are the tables as they were when a plan was put on record.
func (d *desk) schemas(ctx context.Context, p *contract.Plan, stored ledger.Plan) ([][]ledger.SchemaColumn, error) {
	var out [][]ledger.SchemaColumn
	for _, r := range p.Routes() {
		of := stored
		if p.Routed() {
			var err error
			if of, _, err = d.ledger.Plan(ctx, d.cfg.Name, r.Plan.ID()); err != nil {
				return nil, unreached(err)
			}
		}
		columns, err := ledger.ParseSchema(of.Schema)
		if err != nil {
			return nil, err
		}
		out = append(out, columns)
	}
	return out, nil
}

// showing puts together what is shown. columns are those of the plan's tables.
func (d *desk) showing(p *contract.Plan, stored *ledger.Plan, columns [][]ledger.SchemaColumn) *shownPlan {
	shown := &shownPlan{Pipeline: d.cfg.Name, Plan: p.ID().String(), DecoderVersion: p.DecoderVersion(), Transform: p.Transform(), Unrouted: p.Unrouted()}
	if stored != nil {
		shown.OnRecord, shown.FirstSeen = true, stored.FirstSeen.UTC().Format("2006-01-02T15:04:05.000Z07:00")
	}
	for i, r := range p.Routes() {
		t := shownTable{
			Route: r.Name, When: r.When, Database: r.Plan.Database(), Table: r.Plan.Table(), NewFields: r.Plan.NewFields(), Columns: r.Plan.Columns(),
			LeftToServer: append([]string{}, r.Plan.LeftToServer()...),
		}
		if len(columns) > 0 {
			t.left = slices.DeleteFunc(slices.Clone(columns[i]), func(c ledger.SchemaColumn) bool { return !slices.Contains(t.LeftToServer, c.Name) })
		}
		shown.Tables = append(shown.Tables, t)
	}
	return shown
}

func (p *shownPlan) print(w io.Writer) error {
	var b strings.Builder
	since := "; not on record: no worker has run under it"
	if p.OnRecord {
		since = ", since " + strings.Replace(p.FirstSeen[:19], "T", " ", 1)
	}
	into := fmt.Sprintf("%d tables", len(p.Tables))
	if t := p.Tables[0]; t.Route == "" {
		into = t.Database + "." + t.Table
	}
	wrap(&b, "", fmt.Sprintf("plan %s of %s into %s%s", p.Plan, p.Pipeline, into, since))
	for _, line := range transformText(p.Transform) {
		wrap(&b, "  ", line)
	}
	for i := range p.Tables {
		p.Tables[i].print(&b)
	}
	if p.Unrouted != "" {
		b.WriteByte('\n')
		wrap(&b, "", "events that no route takes: "+string(p.Unrouted))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (p *shownTable) print(b *strings.Builder) {
	if p.Route != "" {
		b.WriteByte('\n')
		wrap(b, "", fmt.Sprintf("route %s into %s.%s: %s", p.Route, p.Database, p.Table, cmp.Or(p.When, "all that is left")))
	}
	wrap(b, "  ", "fields that no column takes: "+modesText(p.NewFields))
	rows := [][]string{{"COLUMN", "TYPE", "FROM", "ELSE", "MISFIT"}}
	for _, c := range p.Columns {
		rows = append(rows, []string{c.Name + addedMark(c), c.Type, originOf(c), elseOf(c), misfitOf(c)})
	}
	b.WriteByte('\n')
	table(b, narrow(rows), len(rows[0]))
	if slices.ContainsFunc(p.Columns, func(c contract.PlanColumn) bool { return c.Added }) {
		b.WriteString("\n")
		wrap(b, "  ", "+ Waybill added the column; the table's comment on it says where it comes from")
	}
	if len(p.left) > 0 {
		b.WriteString("\n")
		wrap(b, "", "left to the server:")
		for _, c := range p.left {
			wrap(b, "  ", strings.TrimSpace(fmt.Sprintf("%s %s %s %s", c.Name, c.Type, c.DefaultKind, c.DefaultExpr)))
		}
	}
}

func addedMark(c contract.PlanColumn) string {
	if c.Added {
		return " +"
	}
	return ""
}

// originOf says where a column's values come from.
func originOf(c contract.PlanColumn) string {
	switch c.Source {
	case contract.SourceField:
		text := c.Path
		if c.As != "" {
			text += " as " + c.As
		}
		if c.Format != "" && c.Format != "rfc3339" {
			text += " (" + c.Format + ")"
		}
		return text
	case contract.SourceContentRef:
		return "name of " + c.Of
	case contract.SourceContentBytes:
		return "length of " + c.Of
	case contract.SourceHeader:
		return "header " + c.Header
	case contract.SourceConstant:
		return "always " + strconv.Quote(c.Value)
	case contract.SourceExpr:
		return c.Expr
	case contract.SourceRescued:
		return "what does not fit"
	}
	return "record: " + string(c.Source)
}

// elseOf says what the column gets for a missing field and for null: once if both are alike.
func elseOf(c contract.PlanColumn) string {
	missing, null := policyText(c, c.OnMissing), policyText(c, c.OnNull)
	if missing == null {
		return missing
	}
	return cmp.Or(missing, "-") + "/" + cmp.Or(null, "-")
}

// misfitOf says what becomes of a value that the column does not take.
func misfitOf(c contract.PlanColumn) string {
	if c.Evolve {
		return string(contract.ModeEvolve)
	}
	return policyText(c, c.OnInvalid)
}

func policyText(c contract.PlanColumn, p contract.Policy) string {
	if p == contract.Default && c.Default != nil {
		return strconv.Quote(*c.Default)
	}
	return string(p)
}

func modesText(m contract.Modes) string {
	text := string(m.Default)
	for _, p := range m.Paths {
		text += fmt.Sprintf(", %s: %s", p.Path, p.Mode)
	}
	return text
}

// transformText are lines on what happens to events before their fields go to columns.
func transformText(t *contract.Transform) (lines []string) {
	if t == nil {
		return nil
	}
	if v := t.Version; v != nil {
		line := "version from " + cmp.Or(v.From, "header "+v.Header) + ", current " + v.Current
		for _, u := range v.Upcast {
			line += fmt.Sprintf(", %s to %s in %d steps", u.From, u.To, len(u.Steps))
		}
		lines = append(lines, line)
	}
	if r := t.Redact; r != nil {
		lines = append(lines, fmt.Sprintf("redaction policy %d, %d rules", r.Version, len(r.Rules)))
	}
	if t.Filter != "" {
		lines = append(lines, "filter "+t.Filter)
	}
	return lines
}
