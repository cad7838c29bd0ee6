package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill/internal/content"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/ledger"
)

func newContent(s Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "content",
		Short: "Long values that rows only refer to",
		Long: `Long values that rows only refer to, if columns of the pipeline's file say
"large": each is kept once, by its hash, in a table or as an object on storage
that speaks S3. The row has its beginning, its name and its length.`,
		Example: `  waybill content status llm-calls.yaml
  waybill content sweep llm-calls.yaml --yes`,
	}
	cmd.AddCommand(newContentStatus(s), newContentGet(s), newContentSweep(s))
	return cmd
}

// contentOf is where the file's long values are, and which columns may name any.
func (d *desk) contentOf(ctx context.Context) (*content.Store, []content.Reference, error) {
	if d.cfg.Content == nil {
		return nil, nil, usage(fmt.Errorf("%s keeps no long values elsewhere: no column of its file says large", d.cfg.Name))
	}
	if err := d.recorded(ctx); err != nil {
		return nil, nil, err
	}
	store, err := engine.OpenContent(d.cfg, d.client)
	if err != nil {
		return nil, nil, err
	}
	refs, err := engine.ContentReferences(ctx, d.cfg, d.client, d.ledger.Database(), ledger.TablePlans)
	return store, refs, unreached(err)
}

// contentReport is what `content status` and `content sweep` print with -o json.
type contentReport struct {
	Pipeline string           `json:"pipeline"`
	Place    string           `json:"place"`
	Columns  []string         `json:"columns"` // database.table.column, that may refer to values there
	Missing  *content.Missing `json:"references,omitempty"`
	Swept    content.Swept    `json:"unreferenced"`
}

func newContentStatus(s Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status FILE",
		Short: "Whether every reference leads to its value",
		Long: `Whether every long value is there that a row of the pipeline refers to, and how
many values are there that no row refers to, of any table of the server that
has a column of one of the names that pipelines use for references.

It ends with 1 if a value is missing: "waybill audit" says of which rows.`,
		Example: `  waybill content status llm-calls.yaml
  waybill content status llm-calls.yaml -o json`,
		Args: args(cobra.ExactArgs(1)),
	}
	o := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		store, refs, err := d.contentOf(ctx)
		if err != nil {
			return err
		}
		missing, err := store.Missing(ctx, engine.OwnReferences(d.cfg))
		if err != nil {
			return unreached(err)
		}
		swept, err := store.Sweep(ctx, refs, content.Grace, false)
		if err != nil {
			return unreached(err)
		}
		r := contentReport{Pipeline: d.cfg.Name, Place: store.String(), Columns: columnsOf(refs), Missing: &missing, Swept: swept}
		if err := printContent(s, *o, &r); err != nil || missing.Missing == 0 {
			return err
		}
		return &exitError{code: ExitFindings, said: true, err: errors.New("long values are missing")}
	})
	return cmd
}

func newContentSweep(s Streams) *cobra.Command {
	var (
		yes   bool
		older = content.Grace
	)
	cmd := &cobra.Command{
		Use:   "sweep FILE",
		Short: "Remove values that no row refers to",
		Long: `Removes long values that no row refers to any more, as rows were deleted,
expired or erased. Rows of all tables of the server count that have a column of
one of the names that pipelines use for references.

A value comes before the rows that refer to it. One that was stored a short
while ago is left alone, therefore: --older says how long, at least 2h. Workers
go on meanwhile.

Without --yes it says what there is, and changes nothing.`,
		Example: `  waybill content sweep llm-calls.yaml
  waybill content sweep llm-calls.yaml --yes --older 24h`,
		Args: args(cobra.ExactArgs(1)),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	cmd.Flags().DurationVar(&older, "older", older, "only values that were last stored this `TIME` ago")
	o := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		if older < content.Grace {
			return usage(fmt.Errorf("--older %s: a row may be about to refer to a value for up to %s", older, content.Grace))
		}
		store, refs, err := d.contentOf(ctx)
		if err != nil {
			return err
		}
		r := contentReport{Pipeline: d.cfg.Name, Place: store.String(), Columns: columnsOf(refs)}
		if r.Swept, err = store.Sweep(ctx, refs, older, yes); err != nil {
			return unreached(err)
		}
		return printContent(s, *o, &r)
	})
	return cmd
}

func columnsOf(refs []content.Reference) []string {
	out := make([]string, len(refs))
	for i, r := range refs {
		out[i] = r.Database + "." + r.Table + "." + r.Column
	}
	return out
}

func printContent(s Streams, o output, r *contentReport) error {
	if o == outputJSON {
		return printJSON(s.Out, r)
	}
	var b strings.Builder
	wrap(&b, "", fmt.Sprintf("%s keeps long values in %s; %d columns may refer to them: %s", r.Pipeline, r.Place, len(r.Columns), strings.Join(r.Columns, ", ")))
	if m := r.Missing; m != nil {
		wrap(&b, "", fmt.Sprintf("its rows refer to %s values", count(m.References)))
		if m.Missing > 0 {
			wrap(&b, "", fmt.Sprintf("MISSING: %s of them are not there, %s", count(m.Missing), strings.Join(m.Names[:min(len(m.Names), 3)], ", ")))
		} else {
			wrap(&b, "", "all of them are there")
		}
	}
	switch {
	case r.Swept.Values == 0 && r.Swept.Young == 0:
		wrap(&b, "", "no value is there that no row refers to")
	case r.Swept.Removed:
		wrap(&b, "", fmt.Sprintf("%s values that no row refers to, with %s bytes, were removed", count(r.Swept.Values), count(r.Swept.Bytes)))
	default:
		wrap(&b, "", fmt.Sprintf("%s values that no row refers to, with %s bytes, could be removed: `waybill content sweep --yes`", count(r.Swept.Values), count(r.Swept.Bytes)))
	}
	if r.Swept.Young > 0 {
		wrap(&b, "", fmt.Sprintf("%s more were stored so lately that rows may be about to refer to them", count(r.Swept.Young)))
	}
	_, err := s.Out.Write([]byte(b.String()))
	return err
}

func newContentGet(s Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get FILE NAME",
		Short: "Print a long value",
		Long: `Prints a long value, as it is. NAME is what the row says: 64 hexadecimal digits.

In a table it is found by SQL as well:
  SELECT content FROM llm_content WHERE hash = '...' LIMIT 1`,
		Example: `  waybill content get llm-calls.yaml 9f86d081884c7d65... > prompt.json`,
		Args:    args(cobra.ExactArgs(2)),
	}
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, a []string) error {
		store, _, err := d.contentOf(ctx)
		if err != nil {
			return err
		}
		value, err := store.Get(ctx, strings.ToLower(a[0]))
		switch {
		case errors.Is(err, content.ErrNone):
			return &exitError{code: ExitFindings, err: err}
		case err != nil:
			return unreached(err)
		}
		_, err = s.Out.Write(value)
		return err
	})
	return cmd
}
