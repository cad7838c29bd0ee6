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
	"github.com/waybill-data/waybill/internal/backfill/diff"
	"github.com/waybill-data/waybill/internal/config"
)

// diffFlags are what to compare, and how.
type diffFlags struct {
	live, shadow, topic string
	spans, key, without []string
	samples             int
	memory              string
	whole               bool
	html                string
}

// limitFlags are thresholds.
type limitFlags struct {
	missing, extra, doubled, rows string
	changed, nullRate             []string
}

func newBackfillDiff(s Streams) *cobra.Command {
	var o diffFlags
	var l limitFlags
	cmd := &cobra.Command{
		Use:   "diff FILE --live TABLE --shadow TABLE",
		Short: "Compare two tables, row by row and column by column",
		Long: `Compares two tables on the server: which rows only one of them has, or has
several times; how many rows differ, and in which columns, with both values of
some; and, for each partition of the tables, rows, NULLs, least and greatest
value, distinct values and a checksum of each column.

Rows are matched by topic, partition and offset, or by the columns that --key
names. Columns of different types are compared as the type that takes both, or
as text. What one table has behind the last row of the other is no difference,
and is said; --whole takes both tables to be complete.

Neither table is held in memory: --memory bounds what the server may use for
each query. The larger part of equal rows is told by checksums alone.

It ends with 1 if one of the limits does not hold. Missing, extra and doubled
rows are not allowed unless it is said how many; changed ones are. Limits are
numbers of rows, or shares like 0.5%.`,
		Example: `  waybill backfill diff llm-calls.yaml --live ai.llm_calls \
      --shadow ai.llm_calls_old
  waybill backfill diff llm-calls.yaml --live ai.a --shadow ai.b \
      --key trace_id --max-changed 1% --max-changed model=0
  waybill backfill diff llm-calls.yaml --live ai.a --shadow ai.b \
      --html diff.html`,
		Args: args(cobra.ExactArgs(1)),
	}
	f := cmd.Flags()
	f.StringVar(&o.live, "live", "", "the `TABLE` that is there, as database.table (default: the pipeline's)")
	f.StringVar(&o.shadow, "shadow", "", "the `TABLE` that is to replace it")
	f.StringVar(&o.topic, "topic", "", "only rows of this topic")
	f.StringArrayVar(&o.spans, "spans", nil, "only these offsets: `PARTITION:FIRST-LAST`; may be given several times")
	f.StringSliceVar(&o.key, "key", nil, "match rows by these `COLUMNS`")
	f.BoolVar(&o.whole, "whole", false, "both tables are complete: there is nothing to come")
	addDiffFlags(cmd, &o)
	addLimitFlags(cmd, &l)
	out := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error { return runDiff(ctx, s, *out, d, o, l) })
	return cmd
}

// addDiffFlags adds what comparisons have in common.
func addDiffFlags(cmd *cobra.Command, o *diffFlags) {
	f := cmd.Flags()
	f.StringSliceVar(&o.without, "without", nil, "`COLUMNS` not to compare")
	f.IntVar(&o.samples, "samples", 3, "how many rows to show of each sort of difference")
	f.StringVar(&o.memory, "memory", "1GiB", "how much memory the server may use for a query: a `SIZE`")
	f.StringVar(&o.html, "html", "", "write the report as a page that needs nothing else to this `FILE`, too")
}

func addLimitFlags(cmd *cobra.Command, l *limitFlags) {
	f := cmd.Flags()
	f.StringVar(&l.missing, "max-missing", "0", "rows of live that the shadow may lack: a `LIMIT`, or any")
	f.StringVar(&l.extra, "max-extra", "0", "rows that only the shadow may have: a `LIMIT`, or any")
	f.StringVar(&l.doubled, "max-doubled", "0", "rows that the shadow may have several times: a `LIMIT`, or any")
	f.StringVar(&l.rows, "rows", "any", "how far the numbers of rows may be apart: a `LIMIT`, or any")
	f.StringArrayVar(&l.changed, "max-changed", nil, "rows that may differ: a `LIMIT` for all columns together, or\nCOLUMN=LIMIT for one; may be given several times (default any)")
	f.StringArrayVar(&l.nullRate, "null-rate", nil, "by how much a column's share of NULLs may grow: a `LIMIT`, or\nCOLUMN=LIMIT; may be given several times (default any)")
}

// thresholds are what the flags say.
func (l *limitFlags) thresholds() (t diff.Thresholds, err error) {
	one := func(flag, text string) *diff.Limit {
		if text == "any" || err != nil {
			return nil
		}
		limit, perr := diff.ParseLimit(text)
		if perr != nil {
			err = usage(fmt.Errorf("--%s %s: %w", flag, text, perr))
		}
		return &limit
	}
	several := func(flag string, texts []string, all **diff.Limit) map[string]diff.Limit {
		columns := map[string]diff.Limit{}
		for _, text := range texts {
			i := strings.LastIndexByte(text, '=')
			limit := one(flag, text[i+1:])
			switch {
			case i < 0:
				*all = limit
			case limit != nil:
				columns[text[:i]] = *limit
			}
		}
		return columns
	}
	t.Missing, t.Extra, t.Doubled, t.Rows = one("max-missing", l.missing), one("max-extra", l.extra), one("max-doubled", l.doubled), one("rows", l.rows)
	t.ColumnChanged = several("max-changed", l.changed, &t.Changed)
	t.ColumnNullRate = several("null-rate", l.nullRate, &t.NullRate)
	return t, err
}

// diffResult is what `backfill diff -o json` prints.
type diffResult struct {
	OK         bool            `json:"ok"` // every limit holds
	Refusals   []string        `json:"refusals"`
	Thresholds diff.Thresholds `json:"thresholds"`
	*diff.Report
}

func runDiff(ctx context.Context, s Streams, o output, d *desk, flags diffFlags, limits limitFlags) error {
	thresholds, err := limits.thresholds()
	if err != nil {
		return err
	}
	live, shadow, opts, err := flags.options(d)
	if err != nil {
		return err
	}
	opts.Progress = diffProgress(s)
	r, err := diff.Compare(ctx, d.client, live, shadow, opts)
	if err != nil {
		return unreached(err)
	}
	result := diffResult{Refusals: append([]string{}, r.Refusals(thresholds)...), Thresholds: thresholds, Report: r}
	result.OK = len(result.Refusals) == 0
	if flags.html != "" {
		page := diff.Page{Title: "Comparison of two tables", At: time.Now(), Tables: []diff.PageTable{{Report: r}}}
		if err := writePage(flags.html, page); err != nil {
			return err
		}
	}
	if o == outputJSON {
		err = printJSON(s.Out, result)
	} else {
		err = result.print(s.Out)
	}
	if err == nil && !result.OK {
		err = &exitError{code: ExitFindings, said: true, err: errors.New("a limit does not hold")}
	}
	return err
}

// options are what the flags say.
func (o *diffFlags) options(d *desk) (live, shadow diff.TableRef, opts diff.Options, err error) {
	c := d.cfg.Sink.ClickHouse
	if o.live == "" && len(d.cfg.Routes) == 0 {
		o.live = c.Place()
	}
	if live, err = tableRef("--live", o.live); err == nil {
		shadow, err = tableRef("--shadow", o.shadow)
	}
	live.Lineage, shadow.Lineage = c.Lineage, c.Lineage
	opts = diff.Options{Topic: o.topic, Key: o.key, Without: o.without, Samples: o.samples, Whole: o.whole, Rescue: d.cfg.Contract.RescueColumn}
	if err == nil {
		opts.Memory, err = sizeOf("--memory", o.memory)
	}
	if err == nil && len(o.spans) > 0 {
		if opts.Topic == "" {
			opts.Topic = d.cfg.Source.Kafka.Topic
		}
		opts.Scope, err = scopeOf("--spans", o.spans)
	}
	return live, shadow, opts, err
}

// tableRef reads database.table.
func tableRef(flag, text string) (diff.TableRef, error) {
	database, table, ok := strings.Cut(text, ".")
	if !ok || database == "" || table == "" {
		return diff.TableRef{}, usage(fmt.Errorf("%s %s: write a table as database.table", flag, text))
	}
	return diff.TableRef{Database: database, Table: table}, nil
}

// sizeOf reads a size.
func sizeOf(flag, text string) (int64, error) {
	n, err := config.ParseSize(text)
	if err != nil {
		return 0, usage(fmt.Errorf("%s %q %w", flag, text, err))
	}
	return n, nil
}

// scopeOf reads several PARTITION:FIRST-LAST.
func scopeOf(flag string, texts []string) (map[int32]waybill.OffsetSet, error) {
	out := map[int32]waybill.OffsetSet{}
	for _, text := range texts {
		p, sp, err := parseSpan(text)
		if err != nil {
			return nil, usage(fmt.Errorf("%s %s: %w", flag, text, err))
		}
		set := out[p]
		set.AddSpan(sp)
		out[p] = set
	}
	return out, nil
}

func writePage(file string, page diff.Page) error {
	var b bytes.Buffer
	if err := diff.HTML(&b, page); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644) //nolint:gosec // it is there to be handed on
}

// diffProgress says on standard error how far a long comparison is.
func diffProgress(s Streams) func(diff.Progress) {
	next := time.Now().Add(progressEvery)
	return func(p diff.Progress) {
		if now := time.Now(); now.After(next) {
			next = now.Add(progressEvery)
			tell(s.Err, "waybill: %s: %s of %s\n", p.Step, count(p.Done), count(p.Of))
		}
	}
}

func (r *diffResult) print(w io.Writer) error {
	var b strings.Builder
	printDiff(&b, r.Report)
	printRefusals(&b, r.Refusals)
	_, err := io.WriteString(w, b.String())
	return err
}

func printRefusals(b *strings.Builder, refusals []string) {
	for _, why := range refusals {
		wrap(b, "", "refused: "+why)
	}
}

// printDiff is a comparison for people.
func printDiff(b *strings.Builder, r *diff.Report) {
	what := "they differ"
	if r.Equal() {
		what = "no difference"
	}
	wrap(b, "", fmt.Sprintf("live %s against shadow %s, by %s: %s", r.Live.Table, r.Shadow.Table, strings.Join(r.By, ", "), what))
	for _, sc := range r.Scope {
		wrap(b, "  ", fmt.Sprintf("%s/%d: only offsets %s", r.Topic, sc.Partition, sc.Offsets))
	}
	for _, n := range r.Notes {
		wrap(b, "  ", n)
	}
	printDiffPartitions(b, r)
	x := &r.Rows
	wrap(b, "", fmt.Sprintf("%s rows are in both: %s the same, %s changed (%s)", count(x.Both), count(x.Same), count(x.Changed), shareOf(x.Changed, x.Both)))
	for _, k := range []struct {
		n    int64
		what string
		keys []diff.Key
	}{
		{x.OnlyLive, "missing: only live has", r.Samples.OnlyLive}, {x.OnlyShadow, "extra: only the shadow has", r.Samples.OnlyShadow},
		{x.DoubledLive, "live has several rows of", r.Samples.DoubledLive}, {x.DoubledShadow, "doubled: the shadow has several rows of", r.Samples.DoubledShadow},
	} {
		if k.n > 0 {
			wrap(b, "", fmt.Sprintf("%s %s%s", k.what, count(k.n), asRows(k.keys, k.n)))
		}
	}
	printPending(b, r)
	printDiffColumns(b, r)
}

func shareOf(n, of int64) string {
	if of == 0 {
		return "0%"
	}
	return diff.Share(float64(n) / float64(of)).String()
}

// asRows names some rows.
func asRows(keys []diff.Key, n int64) string {
	if len(keys) == 0 {
		return ""
	}
	var texts []string
	for _, k := range keys {
		texts = append(texts, k.String())
	}
	out := ": " + strings.Join(texts, ", ")
	if int64(len(keys)) < n {
		out += ", ..."
	}
	return out
}

func printDiffPartitions(b *strings.Builder, r *diff.Report) {
	rows := [][]string{{"partition", "live", "shadow", "columns with other values"}}
	shown := r.Partitions[:min(len(r.Partitions), maxShown)]
	for _, p := range shown {
		row := []string{p.Partition, "0", "0", ""}
		var differ []string
		if p.Live != nil {
			row[1] = count(p.Live.Rows)
		}
		if p.Shadow != nil {
			row[2] = count(p.Shadow.Rows)
		}
		for i := range r.Columns {
			if c := &r.Columns[i]; c.State == diff.Compared && p.Checksum(c.Name, true) != p.Checksum(c.Name, false) {
				differ = append(differ, c.Name)
			}
		}
		row[3] = strings.Join(differ, ", ")
		rows = append(rows, row)
	}
	table(b, narrow(rows), 4)
	more(b, len(r.Partitions)-len(shown), "partitions of the tables")
}

// printPending says what was not compared as one of the tables is not there yet.
func printPending(b *strings.Builder, r *diff.Report) {
	for _, k := range []struct {
		of   []diff.Pending
		what string
	}{{r.NotReached, "not reached yet"}, {r.Ahead, "live has not come to yet"}} {
		if len(k.of) == 0 {
			continue
		}
		var total int64
		var parts []string
		for i, p := range k.of {
			total += p.Rows
			if i < maxShown {
				parts = append(parts, fmt.Sprintf("%s/%d from %d", p.Topic, p.Partition, p.From))
			}
		}
		if len(k.of) > maxShown {
			parts = append(parts, "...")
		}
		wrap(b, "", fmt.Sprintf("%s rows: %s: %s", count(total), k.what, strings.Join(parts, ", ")))
	}
}

func printDiffColumns(b *strings.Builder, r *diff.Report) {
	for i := range r.Columns {
		c := &r.Columns[i]
		types := c.Shadow
		if c.Live != "" && c.Live != c.Shadow {
			types = c.Live + " to " + c.Shadow
		}
		if c.As != "" {
			types += ", compared as " + c.As
		}
		switch {
		case c.State == diff.New:
			wrap(b, "", fmt.Sprintf("+ %s %s is new: NULL in %s of the rows", c.Name, c.Shadow, c.Shadows.NullRate))
		case c.State == diff.Gone:
			wrap(b, "", fmt.Sprintf("- %s %s is gone", c.Name, c.Live))
		case c.State == diff.NotCompared && c.Why != diff.ByKey && c.Why != diff.ByEpoch:
			wrap(b, "", fmt.Sprintf("? %s was not compared: %s", c.Name, c.Why))
		case c.Changed > 0:
			text := fmt.Sprintf("~ %s %s: %s rows changed (%s)", c.Name, types, count(c.Changed), shareOf(c.Changed, r.Rows.Both))
			if c.Values.Nulls != c.Shadows.Nulls {
				text += fmt.Sprintf(", NULLs from %s to %s", c.Values.NullRate, c.Shadows.NullRate)
			}
			if c.Varies != "" {
				text += "; the server gives another value each time: " + c.Varies
			}
			wrap(b, "", text)
			printValues(b, c.Samples)
		case c.As != "" && c.Live != c.Shadow:
			wrap(b, "", fmt.Sprintf("= %s %s: no row changed", c.Name, types))
		}
	}
}

// printValues shows both values of rows, on lines of their own where they are long.
func printValues(b *strings.Builder, samples []diff.ValueSample) {
	for _, v := range samples {
		if len(v.Key.String())+len(v.Live)+len(v.Shadow) < lineWidth-10 {
			tell(b, "    %s: %s -> %s\n", v.Key, v.Live, v.Shadow)
			continue
		}
		tell(b, "    %s: %s\n    %*s -> %s\n", v.Key, clip(v.Live, shownValue), max(0, len(v.Key.String())-2), "", clip(v.Shadow, shownValue))
	}
}
