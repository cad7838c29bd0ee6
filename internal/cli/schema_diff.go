package cli

import (
	"context"
	"fmt"
	"io"
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
	From        string       `json:"from"`
	To          string       `json:"to"`
	Differences []difference `json:"differences"`
}

// difference is one thing in which a plan is different from another.
type difference struct {
	Kind   contract.DifferenceKind `json:"kind"`
	Route  string                  `json:"route,omitempty"`
	Column string                  `json:"column,omitempty"`
	Text   string                  `json:"text"`
}

// differences from one plan to another.
func differences(from, to *contract.Plan) []difference {
	out := []difference{}
	for _, d := range contract.Diff(from, to) {
		out = append(out, difference(d))
	}
	return out
}

func (d difference) String() string {
	switch d.Kind {
	case contract.DiffAdded:
		return "+ " + d.Text
	case contract.DiffRemoved:
		return "- " + d.Text
	}
	return "~ " + d.Text
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
	diff := planDiff{from.ID().String(), to.ID().String(), differences(from, to)}
	if o == outputJSON {
		return printJSON(s.Out, diff)
	}
	var b strings.Builder
	wrap(&b, "", fmt.Sprintf("from plan %s to %s", diff.From, diff.To))
	if len(diff.Differences) == 0 {
		wrap(&b, "  ", "no difference")
	}
	for _, x := range diff.Differences {
		wrap(&b, "  ", x.String())
	}
	_, err = io.WriteString(s.Out, b.String())
	return err
}
