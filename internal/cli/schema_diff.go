package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill/internal/contract"
)

func newSchemaDiff(s Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diff FILE PLAN [PLAN]",
		Short: "What is different between two plans",
		Long: `What is different between two plans on record, column by column; with one plan,
between it and the one that a worker would compile now. The beginning of an id
will do if no other begins so.`,
		Example: `  waybill schema diff llm-calls.yaml 4e1f 9a02
  waybill schema diff llm-calls.yaml 4e1f`,
		Args: args(cobra.RangeArgs(2, 3)),
	}
	o := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, plans []string) error { return schemaDiff(ctx, s, *o, d, plans) })
	return cmd
}

// planDiff is what `schema diff -o json` prints.
type planDiff struct {
	From  string  `json:"from"`
	To    string  `json:"to"`
	Delta []delta `json:"delta"`
}

// delta is one difference between two plans.
type delta struct {
	// What is "added", "removed" or "changed", of a column; or the name of another part of the plan.
	What   string `json:"what"`
	Column string `json:"column,omitempty"`
	// Before and After are that part of the plan; of a column all that the plan says of it.
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`

	was, is contract.PlanColumn
}

func schemaDiff(ctx context.Context, s Streams, o output, d *desk, plans []string) error {
	from, _, err := d.plan(ctx, plans[0])
	if err != nil {
		return err
	}
	var to *contract.Plan
	if len(plans) > 1 {
		to, _, err = d.plan(ctx, plans[1])
	} else {
		to, _, err = d.current(ctx)
	}
	if err != nil {
		return err
	}
	diff := planDiff{from.ID().String(), to.ID().String(), deltas(from, to)}
	if o == outputJSON {
		return printJSON(s.Out, diff)
	}
	var b strings.Builder
	wrap(&b, "", fmt.Sprintf("from plan %s to %s", diff.From, diff.To))
	if len(diff.Delta) == 0 {
		wrap(&b, "  ", "no difference")
	}
	for _, x := range diff.Delta {
		wrap(&b, "  ", x.String())
	}
	_, err = io.WriteString(s.Out, b.String())
	return err
}

// deltas are the differences between two plans: of columns in the order of the second one, those that are gone first.
func deltas(from, to *contract.Plan) []delta {
	out := []delta{}
	find := func(p *contract.Plan, name string) (contract.PlanColumn, bool) {
		i := slices.IndexFunc(p.Columns(), func(c contract.PlanColumn) bool { return c.Name == name })
		if i < 0 {
			return contract.PlanColumn{}, false
		}
		return p.Columns()[i], true
	}
	for _, was := range from.Columns() {
		if _, there := find(to, was.Name); !there {
			out = append(out, delta{What: "removed", Column: was.Name, Before: jsonText(was), was: was})
		}
	}
	for _, is := range to.Columns() {
		was, there := find(from, is.Name)
		switch before, after := jsonText(was), jsonText(is); {
		case !there:
			out = append(out, delta{What: "added", Column: is.Name, After: after, is: is})
		case !bytes.Equal(before, after):
			out = append(out, delta{What: "changed", Column: is.Name, Before: before, After: after, was: was, is: is})
		}
	}
	for _, part := range []struct {
		what     string
		was, now any
	}{
		{"table", from.Database() + "." + from.Table(), to.Database() + "." + to.Table()},
		{"decoder_version", from.DecoderVersion(), to.DecoderVersion()},
		{"new_fields", from.NewFields(), to.NewFields()},
		{"transform", from.Transform(), to.Transform()},
		{"lineage", from.Lineage(), to.Lineage()},
		{"left_to_server", from.LeftToServer(), to.LeftToServer()},
	} {
		if was, now := jsonText(part.was), jsonText(part.now); !bytes.Equal(was, now) {
			out = append(out, delta{What: part.what, Before: was, After: now})
		}
	}
	return out
}

// jsonText is a part of a plan as JSON; all of it was read from JSON.
func jsonText(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

func (x delta) String() string {
	switch x.What {
	case "added":
		return fmt.Sprintf("+ %s%s %s from %s", x.Column, addedMark(x.is), x.is.Type, originOf(x.is))
	case "removed":
		return fmt.Sprintf("- %s %s from %s", x.Column, x.was.Type, originOf(x.was))
	case "changed":
		return "~ " + x.Column + ": " + strings.Join(changes(x.was, x.is), ", ")
	}
	return fmt.Sprintf("~ %s: %s -> %s", strings.ReplaceAll(x.What, "_", " "), x.Before, x.After)
}

// changes are what is different about a column, in words.
func changes(was, is contract.PlanColumn) (out []string) {
	for _, part := range []struct{ what, was, is string }{
		{"type", was.Type, is.Type}, {"from", originOf(was), originOf(is)}, {"else", elseOf(was), elseOf(is)},
		{"misfit", misfitOf(was), misfitOf(is)},
	} {
		if part.was != part.is {
			out = append(out, fmt.Sprintf("%s %s -> %s", part.what, part.was, part.is))
		}
	}
	if len(out) == 0 { // something that is not worth words of its own
		out = append(out, fmt.Sprintf("%s -> %s", jsonText(was), jsonText(is)))
	}
	return out
}
