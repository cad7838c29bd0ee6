package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/audit"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/kafka"
)

// auditOptions are the flags of `waybill audit`.
type auditOptions struct {
	spans    []string
	from, to string
	offline  bool
	reread   bool
	content  bool
	archive  bool
}

func newAudit(s Streams) *cobra.Command {
	var o auditOptions
	cmd := &cobra.Command{
		Use:   "audit FILE",
		Short: "Reconcile what Kafka held with what ClickHouse holds",
		Long: `Reconciles what Kafka held with what ClickHouse holds, offset by offset:

  L1  the ledger's spans tile the offsets: no gap, no overlap
  L2  what was read is accounted for, and for each table
  L3  what was written is in the tables, once; dead letters are there
  L4  nothing was removed from Kafka before it was read
  L5  with --content: the rows have the values that their records give

It reads alone: workers go on, and it joins no group. Which offsets a table has
is asked of the offset projection, not of the rows. Where the counts of a span
do not agree, and it has offsets that are no rows (filtered ones, tombstones,
transaction markers), its records are read again from Kafka to tell which
offsets should be there; what Kafka no longer has cannot be told, and that is
said. --reread does so for all spans, and checks that the records are still
those that were read then (L5).

--content makes every record into a row again, under the plan that wrote it, and
has the server compare it with the table's, in an empty copy of the table in
Waybill's database that is dropped at once. It names the offsets and columns
that differ, with both values, and each column that could not be compared.

It ends with 0 if all is well, with 1 if a law is broken, and with 2 if none is
known to be broken and something could not be told.`,
		Example: `  waybill audit llm-calls.yaml
  waybill audit llm-calls.yaml --from 24h
  waybill audit llm-calls.yaml --from 24h --content
  waybill audit llm-calls.yaml --spans 3:1000-2000 -o json`,
		Args: args(cobra.ExactArgs(1)),
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.spans, "spans", nil, "only these offsets: `PARTITION:FIRST-LAST`; may be given several times")
	f.StringVar(&o.from, "from", "", "only what was written since: a `TIME` (RFC 3339), or a length of time ago")
	f.StringVar(&o.to, "to", "", "only what was written before: likewise (default: now)")
	f.BoolVar(&o.reread, "reread", false, "read all records again from Kafka, also where the counts agree")
	f.BoolVar(&o.content, "content", false, "compare the values in the rows with what the records give; reads all records again")
	f.BoolVar(&o.offline, "without-kafka", false, "do not ask the brokers")
	f.BoolVar(&o.archive, "archive", false, "audit the archive of the file instead of its tables")
	out := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error { return runAudit(ctx, s, *out, d, o) })
	return cmd
}

func runAudit(ctx context.Context, s Streams, o output, d *desk, opts auditOptions) error {
	if opts.archive {
		if err := d.auditArchive(opts); err != nil {
			return err
		}
	}
	if err := d.recorded(ctx); err != nil {
		return err
	}
	within, err := d.within(ctx, opts)
	if err != nil {
		return err
	}
	r, err := auditOf(ctx, s, d, opts, within)
	if err != nil {
		return unreached(err)
	}
	if o == outputJSON {
		err = printJSON(s.Out, r)
	} else {
		err = printAudit(s.Out, r)
	}
	switch {
	case err != nil:
		return err
	case r.Verdict == audit.Violated:
		return &exitError{code: ExitFindings, said: true, err: errors.New("a law is broken")}
	case r.Verdict == audit.Unclear:
		return &exitError{code: ExitUnclear, said: true, err: errors.New("something could not be told")}
	}
	return nil
}

// auditOf audits what was written of these offsets.
func auditOf(ctx context.Context, s Streams, d *desk, opts auditOptions, within map[int32]waybill.Span) (*audit.Report, error) {
	deps := audit.Deps{Client: d.client, Ledger: d.ledger, Progress: auditProgress(s)}
	if !opts.offline {
		reader, err := openTopic(ctx, d.cfg)
		if err != nil && !waybill.ClassOf(err).Heals() {
			return nil, err
		}
		if deps.Unreached = err; err == nil {
			defer reader.Close()
			deps.Source = reader
		}
	}
	return audit.Run(ctx, deps, d.cfg, audit.Options{Within: within, Reread: opts.reread, Content: opts.content})
}

// openTopic is a way to the pipeline's topic and to what its group has committed, without being in the group.
func openTopic(ctx context.Context, cfg *config.Pipeline) (*kafka.Reader, error) {
	return kafka.OpenReader(ctx, engine.KafkaConfig(cfg, slog.New(slog.DiscardHandler)))
}

// within is the offsets that the flags ask for; nil: all.
func (d *desk) within(ctx context.Context, o auditOptions) (map[int32]waybill.Span, error) {
	if len(o.spans) > 0 && (o.from != "" || o.to != "") {
		return nil, usage(errors.New("--spans and --from or --to are two ways to say what to audit"))
	}
	out := map[int32]waybill.Span{}
	for _, text := range o.spans {
		p, sp, err := parseSpan(text)
		if err != nil {
			return nil, usage(fmt.Errorf("--spans %s: %w", text, err))
		}
		if have, twice := out[p]; twice {
			sp = waybill.Span{First: min(have.First, sp.First), Next: max(have.Next, sp.Next)}
		}
		out[p] = sp
	}
	if o.from == "" && o.to == "" {
		return out, nil
	}
	now := d.client.ServerNow(time.Now())
	from, err := momentOf(o.from, now, time.Unix(0, 0))
	if err != nil {
		return nil, usage(fmt.Errorf("--from %s: %w", o.from, err))
	}
	to, err := momentOf(o.to, now, now)
	if err != nil {
		return nil, usage(fmt.Errorf("--to %s: %w", o.to, err))
	}
	out, err = d.ledger.Between(ctx, d.cfg.Name, d.cfg.Epoch, d.cfg.Source.Kafka.Topic, from, to)
	if err == nil && len(out) == 0 {
		err = usage(fmt.Errorf("nothing was written from %s to %s", moment(from), moment(to)))
	}
	return out, unreached(err)
}

// parseSpan reads PARTITION:FIRST-LAST.
func parseSpan(text string) (int32, waybill.Span, error) {
	bad := errors.New("write PARTITION:FIRST-LAST, like 3:1000-1999")
	partition, offsets, ok := strings.Cut(text, ":")
	first, last, ranged := strings.Cut(offsets, "-")
	if !ranged {
		last = first
	}
	p, perr := strconv.ParseInt(partition, 10, 32)
	f, ferr := strconv.ParseInt(first, 10, 64)
	l, lerr := strconv.ParseInt(last, 10, 64)
	if !ok || perr != nil || ferr != nil || lerr != nil || p < 0 || f < 0 || l < f {
		return 0, waybill.Span{}, bad
	}
	return int32(p), waybill.Span{First: f, Next: l + 1}, nil
}

// momentOf reads a time, or how long ago it was.
func momentOf(text string, now, fallback time.Time) (time.Time, error) {
	if text == "" {
		return fallback, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, errors.New("write a time like 2026-11-28T14:00:00Z, or a length of time like 24h")
	}
	return t, nil
}

// auditProgress says on standard error how far a long audit is.
func auditProgress(s Streams) func(audit.Progress) {
	next := time.Now().Add(progressEvery)
	return func(p audit.Progress) {
		if now := time.Now(); now.After(next) {
			next = now.Add(progressEvery)
			tell(s.Err, "waybill: partition %d: %s of %s offsets\n", p.Partition, count(p.Done), count(p.Of))
		}
	}
}

// shownRanges is how many ranges of offsets are shown to people.
const shownRanges = 20

func printAudit(w io.Writer, r *audit.Report) error {
	var b strings.Builder
	verdict := map[audit.Verdict]string{audit.Clean: "clean: every law holds", audit.Violated: "VIOLATED", audit.Unclear: "nothing is known to be wrong, and something could not be told"}[r.Verdict]
	wrap(&b, "", fmt.Sprintf("%s, epoch %d, topic %s into %s: %s", r.Pipeline, r.Epoch, r.Topic, strings.Join(r.Tables, ", "), verdict))
	rows := [][]string{{"partition", "offsets", "spans", "read", "written", "there", "dead", "filtered", "lost", "lag"}}
	var sum audit.Partition
	for _, p := range r.Partitions {
		lag := "?"
		if p.End >= 0 {
			lag = count(p.Lag)
		}
		rows = append(rows, []string{fmt.Sprint(p.Partition), fmt.Sprintf("%d-%d", p.First, p.Next-1), count(p.Spans), count(p.Read), count(p.Written), count(p.Present), count(p.DeadLettered), count(p.Filtered), count(p.Lost), lag})
		sum.Read += p.Read
		sum.Written += p.Written
		sum.Present += p.Present
		sum.Replayed += p.Replayed
		sum.Repaired += p.Repaired
		sum.Erased += p.Erased
	}
	table(&b, narrow(rows), 10)
	wrap(&b, "", fmt.Sprintf("%s records read, %s rows written, %s there", count(sum.Read), count(sum.Written), count(sum.Present)))
	if sum.Replayed > 0 {
		wrap(&b, "", fmt.Sprintf("%s of those there are dead letters that were replayed", count(sum.Replayed)))
	}
	if sum.Repaired > 0 {
		wrap(&b, "", fmt.Sprintf("%s offsets were repaired since, on record", count(sum.Repaired)))
	}
	if sum.Erased > 0 {
		wrap(&b, "", fmt.Sprintf("%s offsets were erased since, on record", count(sum.Erased)))
	}
	if r.Reread > 0 {
		wrap(&b, "", fmt.Sprintf("%s records were read again from Kafka", count(r.Reread)))
	}
	for _, c := range r.Contents {
		wrap(&b, "", fmt.Sprintf("the values of %s rows of %s were compared, in %d columns", count(c.Rows), c.Table, len(c.Columns)))
	}
	for i := range r.Violations {
		v := &r.Violations[i]
		wrap(&b, "", fmt.Sprintf("%s %s: %s", v.Law, v.Kind, v.Message))
		which := "offsets"
		if !v.Exact {
			which = "among offsets"
		}
		wrap(&b, "  ", fmt.Sprintf("%s/%d, %s %s", v.Topic, v.Partition, which, listed(v.Offsets)))
		printExamples(&b, v.Examples)
		printCauses(&b, v.Causes)
	}
	for _, x := range r.ByRight {
		wrap(&b, "", fmt.Sprintf("%s rows of partition %d are not in %s, and should not be: %s", count(x.Count), x.Partition, x.Table, x.Why))
		wrap(&b, "  ", "offsets "+listed(x.Offsets))
	}
	for _, u := range r.Unknown {
		wrap(&b, "", fmt.Sprintf("%s not told: %s", u.Law, u.Message))
		if u.Action != "" {
			wrap(&b, "  ", u.Action)
		}
		printExamples(&b, u.Examples)
		printCauses(&b, u.Causes)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// listed is ranges of offsets for people.
func listed(offsets []audit.Range) string {
	var ranges []string
	for _, x := range offsets[:min(len(offsets), shownRanges)] {
		ranges = append(ranges, x.String())
	}
	if n := len(offsets) - len(ranges); n > 0 {
		ranges = append(ranges, fmt.Sprintf("and %d more ranges (-o json has all)", n))
	}
	return strings.Join(ranges, ", ")
}

// printCauses says what explains missing rows.
func printCauses(b *strings.Builder, causes []audit.Cause) {
	for _, c := range causes {
		at := ""
		if c.At != "" {
			at = "at " + c.At + ", "
		}
		wrap(b, "  ", fmt.Sprintf("%soffsets %s: %s", at, listed(c.Offsets), c.Message))
	}
}

// shownValue is how many characters of a value people are shown; -o json has more.
const shownValue = 80

// printExamples shows values that differ, on lines of their own: blanks may be what differs.
func printExamples(b *strings.Builder, examples []audit.Example) {
	for _, e := range examples {
		found := clip(e.Found, shownValue)
		if e.Withheld {
			found = "(not shown: redaction has changed values of this record)"
		}
		tell(b, "  offset %d: the record gives %s\n", e.Offset, clip(e.Expected, shownValue))
		tell(b, "  %*s  the table has    %s\n", len(fmt.Sprintf("offset %d", e.Offset)), "", found)
	}
}
