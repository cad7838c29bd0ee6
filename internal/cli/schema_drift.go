package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/drift"
)

func newSchemaDrift(s Streams) *cobra.Command {
	var since time.Duration
	cmd := &cobra.Command{
		Use:   "drift FILE",
		Short: "How events differ from the contract",
		Long: `How events differ from the contract, as all workers of the pipeline have counted
it: fields that no column takes, values that did not fit their column, columns
whose field was missing, null or invalid, events that matched no field.

SHARE is of the events that were written in the same days. Values in arrays
count each, so that there can be more of them than events. TYPE is the column
type that would take all that one worker has seen.

Days are whole: --since 1h is today.`,
		Example: `  waybill schema drift llm-calls.yaml
  waybill schema drift llm-calls.yaml --since 24h -o json`,
		Args: args(cobra.ExactArgs(1)),
	}
	cmd.Flags().DurationVar(&since, "since", 0, "how far back, in whole days; 0: all that is on record")
	o := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		if since < 0 {
			return usage(fmt.Errorf("--since %s: a length of time, as 24h", since))
		}
		return schemaDrift(ctx, s, *o, d, since)
	})
	return cmd
}

// drifted is what `schema drift -o json` prints.
type drifted struct {
	Pipeline string       `json:"pipeline"`
	Epoch    uint32       `json:"epoch"`
	Since    *time.Time   `json:"since,omitempty"`
	Written  int64        `json:"written"` // events, in all tables
	Drift    []driftEntry `json:"drift"`
}

type driftEntry struct {
	Table  string           `json:"table,omitempty"` // database.table, of a pipeline with routes
	Kind   drift.Kind       `json:"kind"`
	Path   string           `json:"path,omitempty"`
	Column string           `json:"column,omitempty"`
	Count  int64            `json:"count"`
	Share  *float64         `json:"share,omitempty"` // of the events written to the table; none written: unknown
	Mode   contract.Mode    `json:"mode,omitempty"`
	Reason string           `json:"reason,omitempty"`
	Type   string           `json:"type,omitempty"`
	Kinds  map[string]int64 `json:"kinds,omitempty"`
	Sample string           `json:"sample,omitempty"`
	First  driftPlace       `json:"first"`
	Last   driftPlace       `json:"last"`
}

type driftPlace struct {
	Time      time.Time `json:"time"`
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
}

func schemaDrift(ctx context.Context, s Streams, o output, d *desk, since time.Duration) error {
	if err := d.recorded(ctx); err != nil {
		return err
	}
	out := drifted{Pipeline: d.cfg.Name, Epoch: uint32(d.cfg.Epoch), Drift: []driftEntry{}}
	from := time.Time{}
	if since > 0 {
		from = d.client.ServerNow(time.Now()).Add(-since).UTC().Truncate(24 * time.Hour)
		out.Since = &from
	}
	rows, err := d.ledger.Drift(ctx, d.cfg.Name, d.cfg.Epoch, from)
	if err != nil {
		return unreached(err)
	}
	out.take(rows, len(d.cfg.Routes) > 0)
	if o == outputJSON {
		return printJSON(s.Out, out)
	}
	return out.print(s.Out)
}

func (x *drifted) take(rows []drift.Row, routed bool) {
	written := map[string]int64{} // by table
	for i := range rows {
		if rows[i].Kind == drift.KindWritten {
			x.Written += rows[i].Count
			written[rows[i].Target] += rows[i].Count
		}
	}
	for i := range rows {
		r := &rows[i]
		if r.Kind == drift.KindWritten {
			continue
		}
		e := driftEntry{
			Kind: r.Kind, Path: r.Path, Column: r.Column, Count: r.Count, Mode: r.Mode, Reason: r.Reason, Type: r.Type,
			Kinds: kindsOf(r.Kinds), Sample: r.Sample, First: placeOf(r.First), Last: placeOf(r.Last),
		}
		if routed {
			e.Table = r.Target
		}
		if of := written[r.Target]; of > 0 {
			share := float64(r.Count) / float64(of)
			e.Share = &share
		}
		x.Drift = append(x.Drift, e)
	}
}

func placeOf(a contract.At) driftPlace {
	return driftPlace{time.UnixMilli(a.Time).UTC(), a.Topic, a.Partition, a.Offset}
}

func kindsOf(k contract.Kinds) map[string]int64 {
	out := map[string]int64{
		"null": k.Null, "bool": k.Bool, "integer": k.Integer, "decimal": k.Decimal, "string": k.String, "array": k.Array, "object": k.Object,
	}
	for name, n := range out {
		if n == 0 {
			delete(out, name)
		}
	}
	return out
}

func (x *drifted) print(w io.Writer) error {
	var b strings.Builder
	since := ""
	if x.Since != nil {
		since = " since " + x.Since.Format("2006-01-02")
	}
	wrap(&b, "", fmt.Sprintf("%s, epoch %d: %s events written%s", x.Pipeline, x.Epoch, count(x.Written), since))
	if len(x.Drift) == 0 {
		wrap(&b, "  ", "none of them differed from the contract")
	} else {
		rows := [][]string{{"PATH", "KIND", "MODE", "TYPE", "COUNT", "SHARE"}}
		for i := range x.Drift {
			e := &x.Drift[i]
			if e.Table != "" && (i == 0 || e.Table != x.Drift[i-1].Table) {
				rows = append(rows, []string{"table " + e.Table, "", "", "", "", ""})
			}
			rows = append(rows, []string{cmp.Or(e.Path, e.Column, "-"), string(e.Kind), cmp.Or(string(e.Mode), "-"), cmp.Or(e.Type, "-"), count(e.Count), e.share()})
		}
		b.WriteByte('\n')
		table(&b, narrow(rows), 4)
	}
	for i := range x.Drift {
		x.Drift[i].print(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (e *driftEntry) share() string {
	if e.Share == nil {
		return "-"
	}
	return drift.Percent(*e.Share)
}

// print writes what does not fit into the table, for fields.
func (e *driftEntry) print(b *strings.Builder) {
	if e.Path == "" {
		return
	}
	b.WriteByte('\n')
	title := e.Path
	if e.Column != "" {
		title += ", column " + e.Column
	}
	if e.Table != "" {
		title += ", table " + e.Table
	}
	if e.Reason != "" {
		title += ": " + e.Reason
	}
	wrap(b, "  ", title)
	wrap(b, "    ", "first "+e.First.String()+", last "+e.Last.String())
	if e.Sample != "" {
		wrap(b, "    ", "as in "+e.Sample)
	}
}

func (p driftPlace) String() string {
	return fmt.Sprintf("%s at %s/%d offset %d", moment(p.Time), p.Topic, p.Partition, p.Offset)
}
