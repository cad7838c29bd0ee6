package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/check"
	"github.com/waybill-data/waybill/internal/check/inspect"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/doctor"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/server"
)

func newDoctor(s Streams) *cobra.Command {
	var watch time.Duration
	var b bundleOptions
	cmd := &cobra.Command{
		Use:   "doctor FILE",
		Short: "Say why a pipeline does not move, or does not look right",
		Long: `Asks the brokers, the server and Waybill's own records about a pipeline that
runs or should run, and says what is wrong: the likeliest cause first, why it is
one, and what to do next.

It looks at everything that "waybill check" looks at; at who is in the group,
and how group and topic move while it watches; at pauses, backfills that hold
the pipeline, open findings; at parts and mutations of the tables that it and
its views write, and at the newest batch of the ledger. It changes nothing.

It ends with 0 if nothing is wrong, and with 1 if something is.

--bundle also writes an archive for somebody who helps: this report and that of
"waybill check", the pipeline file, what a running process says of itself, the
latest rows of Waybill's tables, and what server and brokers say of the tables,
the topic and the group. Secrets are taken out, and there is no event and no
dead letter in it. A MANIFEST in it says what each file is, and what could not
be had and why. Look before you send it.`,
		Example: `  waybill doctor llm-calls.yaml
  waybill doctor llm-calls.yaml --watch 30s -o json
  waybill doctor llm-calls.yaml --bundle support.tar.gz`,
		Args: args(cobra.ExactArgs(1)),
	}
	cmd.Flags().DurationVar(&watch, "watch", 5*time.Second, "for how long to watch group and topic move")
	cmd.Flags().StringVar(&b.out, "bundle", "", "write a support archive, `OUT.tar.gz`, which must not be there yet")
	cmd.Flags().StringSliceVar(&b.addrs, "addr", []string{server.DefaultListen}, "for the archive: running processes, `host:port,...`")
	cmd.Flags().IntVar(&b.rows, "rows", defaultBundleRows, "for the archive: how many rows of each of Waybill's tables")
	o := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, paths []string) error {
		return diagnose(cmd.Context(), s, *o, paths[0], watch, b)
	}
	return cmd
}

// doctorReport is what `doctor -o json` prints.
type doctorReport struct {
	Pipeline string             `json:"pipeline"`
	OK       bool               `json:"ok"`
	Summary  string             `json:"summary,omitempty"` // where it is OK
	Causes   []doctor.Diagnosis `json:"causes"`
	// Lag, Came and Settled are offsets: how many wait, how many came and were settled while it watched for Seconds.
	Lag     int64    `json:"lag"`
	Came    int64    `json:"came"`
	Settled int64    `json:"settled"`
	Seconds float64  `json:"seconds"`
	Members []string `json:"members"`
	Unknown []string `json:"unknown"` // what could not be asked, and why
	// Bundle is the archive that was written; nil: none was asked for.
	Bundle *bundleReport `json:"bundle,omitempty"`
}

func diagnose(ctx context.Context, s Streams, o output, file string, watch time.Duration, b bundleOptions) error {
	if err := b.check(); err != nil {
		return err
	}
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	f, seen, err := examine(ctx, cfg, file, watch)
	if err != nil {
		return err
	}
	r := newDoctorReport(f)
	if b.out != "" {
		if r.Bundle, err = b.write(ctx, cfg, f, seen); err != nil {
			return err
		}
	}
	if o == outputJSON {
		err = printJSON(s.Out, r)
	} else {
		_, err = io.WriteString(s.Out, r.text())
	}
	if err == nil && !r.OK {
		return &exitError{code: ExitFindings, said: true, err: errors.New("something is wrong")}
	}
	return err
}

// examine asks everybody. The error is the context's: whatever else goes wrong is among the facts.
func examine(ctx context.Context, cfg *config.Pipeline, file string, watch time.Duration) (*doctor.Facts, *check.Facts, error) {
	f := &doctor.Facts{Now: time.Now(), Pipeline: cfg.Name, File: file, Group: doctor.Group{Name: cfg.Source.Kafka.Group, Members: []string{}}}
	unknown := func(what string, err error) {
		if err != nil {
			f.Unknown = append(f.Unknown, fmt.Sprintf("%s: %v", what, err))
		}
	}
	first, err := engine.ReadOtherGroup(ctx, cfg, cfg.Source.Kafka.Group)
	began := time.Now()
	unknown("the group", err)
	seen := inspect.Look(ctx, cfg, time.Now())
	f.Faults = faults(check.Run(seen))
	if seen.Server.Err == nil {
		unknown("what is on record", onRecord(ctx, cfg, f, seen))
	}
	if err != nil {
		return f, seen, nil //nolint:nilerr // it is among the facts
	}
	select {
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	case <-time.After(watch - time.Since(began)):
	}
	second, err := engine.ReadOtherGroup(ctx, cfg, cfg.Source.Kafka.Group)
	unknown("the group, again", err)
	if err == nil {
		f.Group.Known, f.Group.Apart = true, time.Since(began)
		f.Group.Settles = time.Minute + cfg.Batch.Age
		move(&f.Group, first, second)
	}
	return f, seen, nil
}

func newDoctorReport(f *doctor.Facts) *doctorReport {
	r := &doctorReport{Pipeline: f.Pipeline, Causes: doctor.Diagnose(f), Lag: f.Group.Lag, Came: f.Group.Came, Settled: f.Group.Done, Seconds: f.Group.Apart.Seconds(), Members: f.Group.Members, Unknown: f.Unknown}
	if r.OK = len(r.Causes) == 0; r.OK {
		r.Causes, r.Summary = []doctor.Diagnosis{}, f.Summary()
	}
	if r.Unknown == nil {
		r.Unknown = []string{}
	}
	return r
}

// move is how group and topic have moved from one moment to another. A partition without a position is one from its beginning.
func move(g *doctor.Group, first, second engine.OtherGroup) {
	g.Members = append(g.Members, second.Members...)
	for p, log := range second.Log {
		at, has := second.Positions[p]
		if !has {
			at = log.First
		}
		before, had := first.Positions[p]
		if !had {
			before = first.Log[p].First
		}
		g.Lag += max(0, log.Next-max(at, log.First))
		g.Came += max(0, log.Next-first.Log[p].Next)
		g.Done += max(0, at-before)
	}
}

// faults are check's errors and warnings.
func faults(r *check.Report) (out []doctor.Fault) {
	for i := range r.Items {
		for _, found := range r.Items[i].Findings {
			fault := doctor.Fault{Severity: found.Severity, What: found.What, Why: found.Why}
			for _, m := range found.Mend {
				fault.Next = append(fault.Next, m.Text)
			}
			out = append(out, fault)
		}
	}
	return out
}

// onRecord asks Waybill's own tables, and the server about the tables that are written.
func onRecord(ctx context.Context, cfg *config.Pipeline, f *doctor.Facts, seen *check.Facts) error {
	client, err := clickhouse.Open(ctx, engine.Server(cfg.Sink.ClickHouse), clickhouse.Deps{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer client.Close()
	f.Now = client.ServerNow(time.Now())
	for i := range seen.Tables {
		t := &seen.Tables[i]
		if t.Missing || t.Err != nil {
			continue
		}
		names := [][2]string{{t.Sink.ClickHouse.Database, t.Sink.ClickHouse.Table}}
		for _, v := range t.Info.Views {
			names = append(names, [2]string{v.Target.Database, v.Target.Table})
		}
		for _, name := range names {
			table, err := tableNow(ctx, client, name[0], name[1])
			if err != nil {
				return err
			}
			f.Tables = append(f.Tables, table)
		}
	}
	store := ledger.New(client, "").OnCluster(cfg.Sink.ClickHouse.Cluster)
	if version, err := store.Version(ctx); err != nil || version != ledger.Version() {
		return err // check says that there is none, or another one
	}
	if f.LastSettled, err = store.LastBatch(ctx, cfg.Name); err != nil {
		return err
	}
	f.Recorded = !f.LastSettled.IsZero()
	pause, err := store.PauseOf(ctx, cfg.Name)
	if err != nil {
		return err
	}
	if pause.Paused {
		f.Pause = &doctor.Pause{Who: pause.Who, Why: pause.Why, At: pause.At}
	}
	if job, until, err := store.HeldBy(ctx, cfg.Name); err != nil {
		return err
	} else if job != "" {
		f.Held = &doctor.Hold{Job: job, Until: until}
	}
	rows, err := store.FindingsNow(ctx, ledger.FindingsOf{Pipeline: cfg.Name, Severity: []waybill.Severity{waybill.SeverityWarning, waybill.SeverityError}})
	for i := range rows {
		f.Findings = append(f.Findings, doctor.Finding{Kind: rows[i].Kind, Message: rows[i].Message, Severity: rows[i].Severity, Since: rows[i].FirstSeen})
	}
	return err
}

// tableNow asks the server about a table's parts and what rewrites them.
func tableNow(ctx context.Context, client *clickhouse.Client, database, name string) (t doctor.Table, err error) {
	t.Name = database + "." + name
	of := fmt.Sprintf("database = %s AND table = %s", clickhouse.Literal(database), clickhouse.Literal(name))
	err = client.Texts(ctx, "SELECT toString(max(n)) AS n, ifNull((SELECT value FROM system.merge_tree_settings WHERE name = 'parts_to_throw_insert'), '0') AS l FROM (SELECT count() AS n FROM system.parts WHERE active AND "+of+" GROUP BY partition_id)",
		[]string{"n", "l"}, func(row []string) error {
			t.Parts, _ = strconv.ParseInt(row[0], 10, 64) // what the server writes for a number is one
			t.PartsLimit, _ = strconv.ParseInt(row[1], 10, 64)
			return nil
		})
	if err != nil {
		return t, err
	}
	err = client.Texts(ctx, "SELECT command AS c, toString(toUnixTimestamp(create_time)) AS a, latest_fail_reason AS f FROM system.mutations WHERE NOT is_done AND "+of+" ORDER BY create_time LIMIT 20",
		[]string{"c", "a", "f"}, func(row []string) error {
			at, _ := strconv.ParseInt(row[1], 10, 64)
			t.Mutations = append(t.Mutations, doctor.Mutation{Command: row[0], Since: time.Unix(at, 0).UTC(), Failure: row[2]})
			return nil
		})
	return t, err
}

func (r *doctorReport) text() string {
	var b strings.Builder
	if r.OK {
		wrap(&b, "", r.Pipeline+": "+r.Summary)
	} else {
		errs := len(slices.DeleteFunc(slices.Clone(r.Causes), func(d doctor.Diagnosis) bool { return d.Severity != waybill.SeverityError }))
		wrap(&b, "", fmt.Sprintf("%s: errors: %d, warnings: %d; the likeliest cause first", r.Pipeline, errs, len(r.Causes)-errs))
	}
	for i, c := range r.Causes {
		b.WriteByte('\n')
		wrap(&b, "   ", fmt.Sprintf("%d. %s", i+1, c.Cause))
		wrap(&b, "     ", "   because: "+c.Because)
		for _, next := range c.Next {
			wrap(&b, "     ", "   next: "+next)
		}
	}
	if len(r.Unknown) > 0 {
		b.WriteString("\nnot known:\n")
		for _, u := range r.Unknown {
			wrap(&b, "    ", "  "+u)
		}
	}
	r.Bundle.print(&b)
	return b.String()
}
