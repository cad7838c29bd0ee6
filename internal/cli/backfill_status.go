package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/backfill/operator"
)

func newBackfillStatus(s Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status FILE",
		Short: "How a pipeline's backfill stands",
		Long: `Shows the last backfill of the pipeline: its state, how far its table is in each
partition, which tables there are, who is at it, and what comes next. The
journal is the table waybill.jobs.`,
		Example: `  waybill backfill status llm-calls.yaml
  waybill backfill status llm-calls.yaml -o json`,
		Args: args(cobra.ExactArgs(1)),
	}
	out := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		return d.withBench(ctx, s, fillFlags{}, func(b *operator.Bench, _ backfill.Job) error { return showJob(ctx, s, *out, d, b) })
	})
	return cmd
}

// jobReport is what `backfill status -o json` prints.
type jobReport struct {
	backfill.Job
	Progress  []jobPartition `json:"progress"`
	LiveTable string         `json:"live_table"`
	// OtherTable is the one that is filled, or that was replaced and can be put back; empty: there is none.
	OtherTable string `json:"other_table,omitempty"`
	OtherRows  int64  `json:"other_rows,omitempty"`
	// Fed are the views that are made anew.
	Fed   []jobView `json:"fed,omitempty"`
	Pause float64   `json:"pause_seconds,omitempty"` // for how long live stood still at the last swap
	Busy  bool      `json:"busy"`                    // somebody is at it
}

// jobView is a view that is made anew, and what it fills beside what is live; empty: there is none.
type jobView struct {
	View       string `json:"view"`
	OtherTable string `json:"other_table,omitempty"`
}

// jobPartition is how far the account of the job's epoch is.
type jobPartition struct {
	Partition int32 `json:"partition"`
	At        int64 `json:"at"`
	Live      int64 `json:"live"`
}

func showJob(ctx context.Context, s Streams, o output, d *desk, b *operator.Bench) error {
	j, err := b.Operator().Load(ctx, "")
	if err != nil {
		return noJob(d, err)
	}
	r := &jobReport{Job: j, Progress: []jobPartition{}, LiveTable: j.Database + "." + j.Table}
	if err := r.look(ctx, d, b); err != nil {
		return unreached(err)
	}
	if o == outputJSON {
		return printJSON(s.Out, r)
	}
	return r.print(s.Out)
}

// look adds what is not in the journal.
func (r *jobReport) look(ctx context.Context, d *desk, b *operator.Bench) error {
	r.Busy = r.Owner != "" && d.client.ServerNow(time.Now()).Before(r.Lease)
	r.Pause = operator.Paused(&r.Leg).Seconds()
	if uuid := r.Standby(); uuid != "" {
		name, err := b.Server.Name(ctx, uuid)
		if err != nil {
			return err
		}
		if name != "" {
			r.OtherTable = r.Database + "." + name
			if r.OtherRows, err = b.Server.Rows(ctx, name); err != nil {
				return err
			}
		}
	}
	var err error
	if r.Fed, err = fed(ctx, b, &r.Job); err != nil || r.Leg.Epoch == 0 {
		return err
	}
	tips, err := b.Pipeline.Tips(ctx, r.Leg.Epoch)
	if err != nil {
		return err
	}
	live, err := b.Pipeline.Committed(ctx)
	if err != nil {
		return err
	}
	for _, p := range r.Begin.Partitions() {
		r.Progress = append(r.Progress, jobPartition{p, max(tips[p], r.Begin[p]), max(live[p], r.Begin[p])})
	}
	return nil
}

// fed are the views that a job makes anew.
func fed(ctx context.Context, b *operator.Bench, j *backfill.Job) (out []jobView, err error) {
	for i := range j.Rebuilt {
		v := jobView{View: j.Rebuilt[i].Database + "." + j.Rebuilt[i].Name}
		if uuid := j.StandbyOf(i); uuid != "" {
			name, err := b.Server.Name(ctx, uuid)
			if err != nil {
				return nil, err
			}
			if name != "" {
				v.OtherTable = j.Database + "." + name
			}
		}
		out = append(out, v)
	}
	return out, nil
}

func (r *jobReport) print(w io.Writer) error {
	var b strings.Builder
	state := string(r.State)
	if r.Step != backfill.NoStep {
		state += ", step " + string(r.Step)
	}
	epoch := ""
	if r.Leg.Epoch > 0 {
		epoch = fmt.Sprintf(", epoch %d", r.Leg.Epoch)
	}
	wrap(&b, "", fmt.Sprintf("%s, backfill %s of scope %s%s: %s", r.Pipeline, r.ID, r.Scope, epoch, state))
	if !r.State.Over() && len(r.Progress) > 0 {
		rows := [][]string{{"partition", "at", "live at"}}
		for _, p := range r.Progress[:min(len(r.Progress), maxShown)] {
			rows = append(rows, []string{fmt.Sprint(p.Partition), fmt.Sprint(p.At), fmt.Sprint(p.Live)})
		}
		table(&b, rows, 3)
		more(&b, len(r.Progress)-maxShown, "partitions")
	}
	if r.OtherTable != "" {
		what := "its table is"
		if r.State == backfill.Promoted || r.State == backfill.RolledBack {
			what = "the table that was replaced is kept as"
		}
		wrap(&b, "  ", fmt.Sprintf("%s %s, with %s rows", what, r.OtherTable, count(r.OtherRows)))
	}
	for _, v := range r.Fed {
		switch {
		case v.OtherTable == "":
			wrap(&b, "  ", "view "+v.View+" is made anew")
		case r.State == backfill.Promoted || r.State == backfill.RolledBack:
			wrap(&b, "  ", fmt.Sprintf("what view %s had filled is kept as %s", v.View, v.OtherTable))
		default:
			wrap(&b, "  ", fmt.Sprintf("what view %s makes of it is %s", v.View, v.OtherTable))
		}
	}
	if r.Busy {
		wrap(&b, "  ", r.Who+" is at it")
	}
	if r.Note != "" {
		wrap(&b, "  ", r.Note)
	}
	for _, why := range r.Verdict {
		if !r.State.Over() {
			wrap(&b, "  ", "not to be promoted: "+why)
		}
	}
	if next := r.next(); next != "" {
		wrap(&b, "  ", "next: "+next)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// next is which commands make sense now.
func (r *jobReport) next() string {
	switch r.State {
	case backfill.Planned, backfill.Running, backfill.Failed:
		return "run"
	case backfill.CaughtUp, backfill.Verifying:
		return "verify"
	case backfill.Ready, backfill.Promoting:
		return "promote"
	case backfill.RollingBack:
		return "rollback"
	case backfill.Promoted, backfill.RolledBack, backfill.Canceled:
	}
	switch {
	case r.OtherTable == "":
		return ""
	case r.State == backfill.Promoted:
		return "rollback, or cleanup"
	case r.State == backfill.RolledBack:
		return "promote, or cleanup"
	}
	return "cleanup"
}

// foreseeCleanup says what would be dropped.
func foreseeCleanup(ctx context.Context, s Streams, o output, b *operator.Bench, j *backfill.Job) error {
	out := struct {
		Job   string `json:"job"`
		State string `json:"state"`
		Table string `json:"table,omitempty"`
		Rows  int64  `json:"rows"`
		// ViewTables are what views had filled.
		ViewTables []string `json:"view_tables,omitempty"`
		Groups     []string `json:"groups,omitempty"`
	}{Job: j.ID, State: string(j.State)}
	if !j.State.Over() {
		return usage(fmt.Errorf("backfill %s is %s: only what is left of one that is over can be dropped; cancel it first", j.ID, j.State))
	}
	if uuid := j.Standby(); uuid != "" {
		name, err := b.Server.Name(ctx, uuid)
		if err != nil {
			return unreached(err)
		}
		if name != "" {
			out.Table = j.Database + "." + name
			if out.Rows, err = b.Server.Rows(ctx, name); err != nil {
				return unreached(err)
			}
		}
	}
	views, err := fed(ctx, b, j)
	if err != nil {
		return unreached(err)
	}
	for _, v := range views {
		if v.OtherTable != "" {
			out.ViewTables = append(out.ViewTables, v.OtherTable)
		}
	}
	out.Groups = j.WorkGroups()
	groups := "group " + strings.Join(out.Groups, ", group ")
	if o == outputJSON {
		return printJSON(s.Out, out)
	}
	var w strings.Builder
	switch {
	case out.Table == "" && len(out.Groups) == 0:
		wrap(&w, "", fmt.Sprintf("backfill %s has left nothing", j.ID))
	case out.Table == "":
		wrap(&w, "", fmt.Sprintf("would drop %s; say --yes to do it", groups))
	default:
		also := ""
		for _, t := range out.ViewTables {
			also += ", table " + t
		}
		wrap(&w, "", fmt.Sprintf("would drop table %s with %s rows%s, and %s: after that nothing can be rolled back; say --yes to do it", out.Table, count(out.Rows), also, groups))
	}
	_, err = io.WriteString(s.Out, w.String())
	return err
}
