package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/audit"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/receipt"
)

// receiptOptions are the flags of `waybill receipt`.
type receiptOptions struct {
	auditOptions
	html  string
	audit bool
}

func newReceipt(s Streams) *cobra.Command {
	var o receiptOptions
	cmd := &cobra.Command{
		Use:   "receipt FILE",
		Short: "A delivery receipt: which data there is, and what became of it",
		Long: `A delivery receipt: the offsets of each partition, what became of their records,
the plans that were in force, checksums, dead letters, and the findings of that
time. Attach it to a result to say which data it stood on.

Its content has a hash: receipts with the same hash are about the same data.
When it was issued, by which version, and up to when the topic was complete
then stands beside it and is not hashed. In JSON the hash is that of the member
"receipt" without blanks: jq -cj .receipt FILE | sha256sum

--from and --to are when batches were closed. Give both as times, and wait until
the second is over (waybill wait), if the receipt is to be made again later. It
is about whole batches, and after eight days about the longer rows that the
ledger has rolled them up into.

After a backfill of a part it says what the older epochs account for beside what
that of the table does. Batches of which the backfill has made a part anew are
named, and in no count.

--audit audits the same offsets and puts what came of it in. Then it ends like
waybill audit; otherwise with 1 if offsets of the spans are on nobody's account.`,
		Example: `  waybill receipt llm-calls.yaml --from 2026-11-28T00:00:00Z
  waybill receipt llm-calls.yaml --spans 0:0-99999 --audit -o json
  waybill receipt llm-calls.yaml --html receipt.html`,
		Args: args(cobra.ExactArgs(1)),
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.spans, "spans", nil, "these offsets: `PARTITION:FIRST-LAST`; may be given several times")
	f.StringVar(&o.from, "from", "", "batches closed since: a `TIME` (RFC 3339), or a length of time ago")
	f.StringVar(&o.to, "to", "", "batches closed before: likewise (default: now)")
	f.StringVar(&o.html, "html", "", "write it as a page that needs nothing else to this `FILE`, too")
	f.BoolVar(&o.audit, "audit", false, "audit the offsets")
	f.BoolVar(&o.offline, "without-kafka", false, "do not ask the brokers when auditing")
	out := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error { return runReceipt(ctx, s, *out, d, o) })
	return cmd
}

func runReceipt(ctx context.Context, s Streams, o output, d *desk, opts receiptOptions) error {
	if err := d.recorded(ctx); err != nil {
		return err
	}
	scope, err := d.scope(ctx, opts.auditOptions)
	if err != nil {
		return err
	}
	deps := receipt.Deps{Client: d.client, Ledger: d.ledger, Version: version}
	if opts.audit {
		deps.Audit = func(ctx context.Context, within map[int32]waybill.Span) (*audit.Report, error) {
			return auditOf(ctx, s, d, opts.auditOptions, within)
		}
	}
	doc, err := receipt.Make(ctx, deps, d.cfg, scope)
	if err != nil {
		return unreached(err)
	}
	if r := &doc.Receipt; r.From != nil && len(r.Partitions)+len(r.Inherited) == 0 {
		return usage(fmt.Errorf("nothing was written from %s to %s", moment(*r.From), moment(*r.To)))
	}
	if o == outputJSON {
		err = printJSON(s.Out, doc)
	} else {
		err = printReceipt(s.Out, doc)
	}
	if err == nil && opts.html != "" {
		err = writeHTML(opts.html, doc)
	}
	if err != nil {
		return err
	}
	return verdictOf(doc)
}

// verdictOf is how the command ends.
func verdictOf(doc *receipt.Document) error {
	r := &doc.Receipt
	switch {
	case r.Audit != nil && r.Audit.Verdict == audit.Violated:
		return &exitError{code: ExitFindings, said: true, err: errors.New("a law is broken")}
	case len(r.Gaps) > 0:
		return &exitError{code: ExitFindings, said: true, err: errors.New("offsets are on nobody's account")}
	case r.Audit != nil && r.Audit.Verdict == audit.Unclear:
		return &exitError{code: ExitUnclear, said: true, err: errors.New("something could not be told")}
	}
	return nil
}

// scope is what the flags ask for.
func (d *desk) scope(ctx context.Context, o auditOptions) (out receipt.Scope, err error) {
	if o.from != "" || o.to != "" {
		now := d.client.ServerNow(time.Now()).UTC().Truncate(time.Millisecond)
		from, ferr := momentOf(o.from, now, time.Unix(0, 0).UTC())
		to, terr := momentOf(o.to, now, now)
		if ferr == nil && terr == nil { // within says what is wrong with them
			from, to = from.UTC(), to.UTC()
			out.From, out.To = &from, &to
			o.from, o.to = from.Format(time.RFC3339Nano), to.Format(time.RFC3339Nano)
		}
	}
	if out.From == nil || len(o.spans) > 0 {
		out.Within, err = d.within(ctx, o)
		return out, err
	}
	// Those of older epochs that are in the table are found by the receipt.
	out.Within, err = d.ledger.Between(ctx, d.cfg.Name, d.cfg.Epoch, d.cfg.Source.Kafka.Topic, *out.From, *out.To)
	return out, unreached(err)
}

func writeHTML(file string, doc *receipt.Document) error {
	var b bytes.Buffer
	if err := receipt.HTML(&b, doc); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644) //nolint:gosec // it is there to be handed on
}

func printReceipt(w io.Writer, doc *receipt.Document) error {
	var b strings.Builder
	r := &doc.Receipt
	wrap(&b, "", fmt.Sprintf("delivery receipt of %s, epoch %d: topic %s into %s", r.Pipeline, r.Epoch, r.Topic, strings.Join(r.Tables, ", ")))
	if r.From != nil {
		wrap(&b, "", fmt.Sprintf("batches closed from %s to %s", moment(*r.From), moment(*r.To)))
	}
	if r.EventFirst != nil {
		wrap(&b, "", fmt.Sprintf("events from %s to %s", r.EventFirst.Format("2006-01-02 15:04"), r.EventLast.Format("2006-01-02 15:04")))
	}
	rows := [][]string{{"partition", "offsets", "read", "written", "filtered", "dead", "empty", "lost"}}
	row := func(name, offsets string, c *receipt.Counts) {
		rows = append(rows, []string{name, offsets, count(c.Read), count(c.Written), count(c.Filtered), count(c.DeadLettered), count(c.Tombstones), count(c.Lost)})
	}
	for i := range r.Partitions {
		p := &r.Partitions[i]
		row(fmt.Sprint(p.Partition), fmt.Sprintf("%d-%d", p.First, p.Next-1), &p.Counts)
	}
	if len(r.Partitions) > 1 {
		row("all", "", &r.Total)
	}
	table(&b, narrow(rows), 2)
	wrap(&b, "", fmt.Sprintf("checksum %s of the %s records read", r.Total.Checksum, count(r.Total.Read)))
	printReceiptDetails(&b, r)
	for i := range r.Inherited {
		printInherited(&b, &r.Inherited[i])
	}
	if t := doc.Issued.CompleteThrough; t != nil {
		wrap(&b, "", "complete through "+moment(*t))
	} else {
		wrap(&b, "", "up to when the topic is complete cannot be said yet")
	}
	wrap(&b, "", fmt.Sprintf("issued %s by waybill %s", moment(doc.Issued.At), doc.Issued.Version))
	fmt.Fprintf(&b, "%s\n", doc.Hash)
	_, err := io.WriteString(w, b.String())
	return err
}

// printInherited says what an older epoch accounts for.
func printInherited(b *strings.Builder, in *receipt.Inherited) {
	wrap(b, "", fmt.Sprintf("rows of epoch %d, which a backfill has left as they were:", in.Epoch))
	rows := [][]string{{"partition", "offsets", "read", "written", "filtered", "dead", "empty", "lost"}}
	for i := range in.Partitions {
		p := &in.Partitions[i]
		rows = append(rows, []string{fmt.Sprint(p.Partition), fmt.Sprintf("%d-%d", p.First, p.Next-1), count(p.Read), count(p.Written), count(p.Filtered), count(p.DeadLettered), count(p.Tombstones), count(p.Lost)})
	}
	if len(in.Partitions) > 0 {
		table(b, narrow(rows), 2)
		wrap(b, "  ", fmt.Sprintf("checksum %s of the %s records read", in.Total.Checksum, count(in.Total.Read)))
	}
	for _, p := range in.Partly {
		wrap(b, "  ", fmt.Sprintf("partition %d, offsets %d-%d: %s of the %s are still of it, and in no count", p.Partition, p.First, p.Next-1, count(p.Offsets), count(p.Of)))
	}
	for _, k := range in.DeadLetters {
		wrap(b, "  ", fmt.Sprintf("dead letters: %s %s of %s, %s", count(k.Count), k.State, k.Stage, k.Code))
	}
	for _, x := range in.Amended {
		wrap(b, "  ", fmt.Sprintf("since: %s offsets that were %s are %s", count(x.Count), x.Was, x.Is))
	}
}

func printReceiptDetails(b *strings.Builder, r *receipt.Receipt) {
	if n := r.Total.Rescued; n > 0 {
		wrap(b, "", fmt.Sprintf("%s rows have values in the rescue column", count(n)))
	}
	if n := r.Total.Redacted; n > 0 {
		wrap(b, "", fmt.Sprintf("%s records have values that were redacted", count(n)))
	}
	if len(r.Rows) > 1 {
		for _, t := range r.Rows {
			wrap(b, "", fmt.Sprintf("%s rows in %s", count(t.Rows), t.Table))
		}
	}
	for _, p := range r.Plans {
		var since []string
		for _, s := range p.Since {
			since = append(since, fmt.Sprintf("%d:%d", s.Partition, s.Offset))
		}
		wrap(b, "", fmt.Sprintf("plan %s since %s", p.Plan, strings.Join(since, ", ")))
	}
	for _, k := range r.DeadLetters {
		wrap(b, "", fmt.Sprintf("dead letters: %s %s of %s, %s", count(k.Count), k.State, k.Stage, k.Code))
	}
	for _, x := range r.Amended {
		if x.Was == ledger.FateNone {
			wrap(b, "", fmt.Sprintf("since: %s offsets of older epochs are %s under this one", count(x.Count), x.Is))
			continue
		}
		wrap(b, "", fmt.Sprintf("since: %s offsets that were %s are %s", count(x.Count), x.Was, x.Is))
	}
	for _, g := range r.Gaps {
		wrap(b, "", fmt.Sprintf("on nobody's account: partition %d, offsets %d-%d", g.Partition, g.First, g.Next-1))
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		state := f.Severity
		if f.Open {
			state = "open " + state
		}
		wrap(b, "", fmt.Sprintf("finding %s, %s, since %s: %s", f.Kind, state, moment(f.At), f.Message))
	}
	if a := r.Audit; a != nil {
		wrap(b, "", "audit: "+string(a.Verdict))
		for i := range a.Violations {
			wrap(b, "  ", a.Violations[i].Law+" "+a.Violations[i].Kind+": "+a.Violations[i].Message)
		}
		for _, u := range a.Unknown {
			wrap(b, "  ", u.Law+" not told: "+u.Message)
		}
	}
}
