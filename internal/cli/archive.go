package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/archive"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
)

func newArchive(s Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "archive",
		Short: "What a pipeline keeps of its records",
		Long: `What a pipeline keeps of its records, if its file has an archive: a table with
the records themselves, or objects on storage that speaks S3, so that a
backfill can read what Kafka no longer has.

The archive is written by a pipeline of its own in the same process, called
NAME.archive, with its own consumer group and its own account in the ledger.`,
		Example: `  waybill archive status llm-calls.yaml
  waybill archive verify llm-calls.yaml --all`,
	}
	cmd.AddCommand(newArchiveStatus(s), newArchiveVerify(s))
	return cmd
}

// keeper is the archive of the file.
func (d *desk) keeper(ctx context.Context) (*archive.Reader, *config.Pipeline, error) {
	of := d.cfg.Archiver()
	if of == nil {
		return nil, nil, usage(fmt.Errorf("%s keeps no records: its file has no archive", d.cfg.Name))
	}
	if err := d.recorded(ctx); err != nil {
		return nil, nil, err
	}
	r, err := engine.OpenArchive(d.client, d.ledger, d.cfg)
	return r, of, err
}

// auditArchive makes the desk that of the archive's pipeline.
func (d *desk) auditArchive(o auditOptions) error {
	of := d.cfg.Archiver()
	switch {
	case of == nil:
		return usage(fmt.Errorf("%s keeps no records: its file has no archive", d.cfg.Name))
	case o.content:
		return usage(errors.New("--content is about values of columns: `waybill archive verify` compares records"))
	}
	d.cfg = of
	return nil
}

func newArchiveStatus(s Streams) *cobra.Command {
	var offline bool
	cmd := &cobra.Command{
		Use:   "status FILE",
		Short: "Which records the archive holds",
		Long: `Which records the archive holds, by partition: from where to where, how many,
what it lacks in between, and how many of them the topic no longer has.

An offset without a record is no gap where the archive knows that there is none
to be had: a transaction marker, a record that compaction had removed before, or
one that was erased.

It ends with 1 if there is a gap.`,
		Example: `  waybill archive status llm-calls.yaml
  waybill archive status llm-calls.yaml -o json`,
		Args: args(cobra.ExactArgs(1)),
	}
	cmd.Flags().BoolVar(&offline, "without-kafka", false, "do not ask the brokers")
	o := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error { return archiveStatus(ctx, s, *o, d, offline) })
	return cmd
}

// ttlOfBucket says for how long objects are kept.
const ttlOfBucket = "as long as the bucket keeps them"

// archiveReport is what `archive status -o json` prints.
type archiveReport struct {
	Pipeline   string             `json:"pipeline"` // that writes it
	Table      string             `json:"table"`
	TTL        string             `json:"ttl"` // "" is for ever
	Size       archive.Size       `json:"size"`
	Partitions []archivePartition `json:"partitions"`
}

type archivePartition struct {
	Partition int32          `json:"partition"`
	First     int64          `json:"first"`
	Next      int64          `json:"next"`
	Records   int64          `json:"records"`
	Gaps      []waybill.Span `json:"gaps"`
	Erased    int64          `json:"erased"` // offsets
	// LogStart and End are the topic's; -1: not asked.
	LogStart int64 `json:"log_start"`
	End      int64 `json:"end"`
	// OnlyHere are the offsets that the archive holds and the topic does not any more.
	OnlyHere int64 `json:"only_in_archive"`
}

func archiveStatus(ctx context.Context, s Streams, o output, d *desk, offline bool) error {
	r, of, err := d.keeper(ctx)
	if err != nil {
		return err
	}
	rep, err := archiveReportOf(ctx, r, of, offline)
	if err != nil {
		return unreached(err)
	}
	if o == outputJSON {
		err = printJSON(s.Out, rep)
	} else {
		err = rep.print(s.Out)
	}
	if err == nil && slices.ContainsFunc(rep.Partitions, func(p archivePartition) bool { return len(p.Gaps) > 0 }) {
		err = &exitError{code: ExitFindings, said: true, err: errors.New("the archive has gaps")}
	}
	return err
}

func archiveReportOf(ctx context.Context, r *archive.Reader, of *config.Pipeline, offline bool) (*archiveReport, error) {
	rep := &archiveReport{Pipeline: of.Name, Table: of.Sink.ClickHouse.Place(), Partitions: []archivePartition{}}
	if of.Sink.Objects != nil {
		rep.TTL = ttlOfBucket
	}
	if ttl := of.Contract.Raw.TTL; ttl > 0 {
		rep.TTL = fmt.Sprintf("%dd", int(ttl/(24*time.Hour)))
	}
	var err error
	if rep.Size, err = r.Size(ctx); err != nil {
		return nil, err
	}
	held, err := r.Held(ctx, of.Source.Kafka.Topic)
	if err != nil {
		return nil, err
	}
	extents := map[int32]kafka.PartitionInfo{}
	if !offline {
		if extents, err = extentsOf(ctx, of); err != nil {
			return nil, err
		}
	}
	for _, n := range slices.Sorted(maps.Keys(held)) {
		h := held[n]
		p := archivePartition{Partition: n, First: h.First, Next: h.Next, Records: h.Records, Gaps: h.Gaps.Spans(), Erased: h.Erased.Len(), LogStart: -1, End: -1}
		if p.Gaps == nil {
			p.Gaps = []waybill.Span{}
		}
		if e, ok := extents[n]; ok {
			p.LogStart, p.End = e.LogStart, e.StableEnd
			p.OnlyHere = max(0, min(e.LogStart, h.Next)-h.First) - h.Gaps.Within(waybill.Span{First: h.First, Next: max(h.First, e.LogStart)}).Len()
		}
		rep.Partitions = append(rep.Partitions, p)
	}
	return rep, nil
}

// extentsOf are those of the pipeline's topic.
func extentsOf(ctx context.Context, cfg *config.Pipeline) (map[int32]kafka.PartitionInfo, error) {
	reader, err := openTopic(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	info, err := reader.Describe(ctx)
	out := map[int32]kafka.PartitionInfo{}
	for _, p := range info.Partitions {
		out[p.Partition] = p
	}
	return out, err
}

// tellingRows are needed for their size to say anything: that of a few is mostly that of the files around them.
const tellingRows = 10_000

func (rep *archiveReport) print(w io.Writer) error {
	var b strings.Builder
	keep := "for ever"
	switch rep.TTL {
	case "":
	case ttlOfBucket:
		keep = rep.TTL
	default:
		keep = "for " + rep.TTL
	}
	fmt.Fprintf(&b, "%s keeps records in %s %s\n", rep.Pipeline, rep.Table, keep)
	if rep.Size.Rows == 0 {
		fmt.Fprintf(&b, "it holds nothing yet\n")
		_, err := io.WriteString(w, b.String())
		return err
	}
	fmt.Fprintf(&b, "%s records", count(rep.Size.Rows))
	switch {
	case rep.Size.Objects > 0:
		fmt.Fprintf(&b, " in %s objects", count(rep.Size.Objects))
		if rep.Size.Rows >= tellingRows {
			fmt.Fprintf(&b, ", %s (%.0f bytes a record)", size(rep.Size.OnDisk), float64(rep.Size.OnDisk)/float64(rep.Size.Rows))
		}
	case rep.Size.Rows >= tellingRows:
		fmt.Fprintf(&b, ", %s on disk (%.0f bytes a record, %.1f times less than raw)", size(rep.Size.OnDisk),
			float64(rep.Size.OnDisk)/float64(rep.Size.Rows), float64(rep.Size.Uncompressed)/float64(max(rep.Size.OnDisk, 1)))
	}
	fmt.Fprintf(&b, ", since %s\n\n", moment(rep.Size.Oldest))
	rows := [][]string{{"PARTITION", "FIRST", "NEXT", "RECORDS", "GAPS", "ERASED", "TOPIC FROM", "TOPIC TO", "ONLY HERE"}}
	for _, p := range rep.Partitions {
		gaps := waybill.OffsetsIn(p.Gaps...)
		rows = append(rows, []string{strconv.Itoa(int(p.Partition)), offset(p.First), offset(p.Next), count(p.Records), count(gaps.Len()), count(p.Erased), offset(p.LogStart), offset(p.End), count(p.OnlyHere)})
	}
	table(&b, rows, 0)
	for _, p := range rep.Partitions {
		for i, g := range p.Gaps {
			if i == 5 {
				fmt.Fprintf(&b, "partition %d lacks more: -o json names all\n", p.Partition)
				break
			}
			fmt.Fprintf(&b, "partition %d lacks %s\n", p.Partition, g)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func newArchiveVerify(s Streams) *cobra.Command {
	var records int64
	var all bool
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Compare archived records with the topic's",
		Long: `Compares archived records with the topic's, while both are there: key, value,
headers and timestamp, byte for byte. Where the pipeline redacts, it compares
with what the plan that archived a record leaves of it.

An archive of objects is read as a whole first, whatever the topic still has:
each object must be what its name says, and the records of each row of the
ledger must have the row's checksum. What is damaged or missing is named.

Without --all it takes about --records of them, from the beginning and the end
of what both hold of each partition.

It ends with 1 if a record is missing from the archive, or is another one.`,
		Example: `  waybill archive verify llm-calls.yaml
  waybill archive verify llm-calls.yaml --all -o json`,
		Args: args(cobra.ExactArgs(1)),
	}
	cmd.Flags().Int64Var(&records, "records", defaultSample, "about how many records to compare, over all partitions")
	cmd.Flags().BoolVar(&all, "all", false, "compare all that both have")
	o := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		if all {
			records = 0
		}
		return archiveVerify(ctx, s, *o, d, records)
	})
	return cmd
}

// archiveVerification is what `archive verify -o json` prints.
type archiveVerification struct {
	OK       bool   `json:"ok"`
	Pipeline string `json:"pipeline"`
	archive.Verification
	// Inventory is that of an archive of objects.
	Inventory *archive.Inventory `json:"inventory,omitempty"`
}

func archiveVerify(ctx context.Context, s Streams, o output, d *desk, records int64) error {
	r, of, err := d.keeper(ctx)
	if err != nil {
		return err
	}
	v, err := verifyArchive(ctx, d, r, of, records)
	if err != nil {
		return unreached(err)
	}
	v.OK = v.Missing == 0 && v.Differ == 0 && (v.Inventory == nil || v.Inventory.OK())
	if o == outputJSON {
		err = printJSON(s.Out, v)
	} else {
		err = v.print(s.Out)
	}
	if err == nil && !v.OK {
		err = &exitError{code: ExitFindings, said: true, err: errors.New("the archive is not what the topic holds")}
	}
	return err
}

func (v *archiveVerification) print(w io.Writer) error {
	var b strings.Builder
	if v.Inventory != nil {
		printInventory(&b, v.Pipeline, v.Inventory)
	}
	switch {
	case v.Inventory != nil && !v.Inventory.OK():
	case v.OK:
		fmt.Fprintf(&b, "%s: %s records compared, all as in the topic\n", v.Pipeline, count(v.Compared))
	default:
		fmt.Fprintf(&b, "%s: %s records compared, %s missing, %s differ\n", v.Pipeline, count(v.Compared), count(v.Missing), count(v.Differ))
	}
	if v.OnlyHere > 0 {
		fmt.Fprintf(&b, "%s more are in the archive alone\n", count(v.OnlyHere))
	}
	for _, e := range v.Examples {
		fmt.Fprintf(&b, "  %s\n", e)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printInventory says what is damaged or missing.
func printInventory(b *strings.Builder, pipeline string, v *archive.Inventory) {
	fmt.Fprintf(b, "%s: %s records in %s objects read", pipeline, count(v.Records), count(v.Objects))
	if v.OK() {
		fmt.Fprintf(b, ", all as the account says\n")
	} else {
		fmt.Fprintf(b, "; %s objects are damaged, %s spans lack records, %s are another's\n", count(int64(len(v.Damaged))), count(int64(len(v.Missing))), count(int64(len(v.Differ))))
	}
	for _, d := range v.Damaged {
		fmt.Fprintf(b, "  %s: %s\n", d.Object, d.Error)
	}
	for _, l := range v.Missing {
		fmt.Fprintf(b, "  partition %d, offsets %d-%d: missing\n", l.Partition, l.First, l.Next-1)
	}
	for _, l := range v.Differ {
		fmt.Fprintf(b, "  partition %d, offsets %d-%d: not the checksum of what was archived\n", l.Partition, l.First, l.Next-1)
	}
	if v.Unsummed > 0 {
		fmt.Fprintf(b, "%s rows of the account were compared by offsets alone: some of their records were erased\n", count(v.Unsummed))
	}
}

// verifyArchive compares about so many records; 0: all.
func verifyArchive(ctx context.Context, d *desk, r *archive.Reader, of *config.Pipeline, records int64) (*archiveVerification, error) {
	v := &archiveVerification{Pipeline: of.Name, Verification: archive.Verification{Examples: []archive.Example{}}}
	var err error
	if v.Inventory, _, err = r.TakeInventory(ctx, of.Source.Kafka.Topic); err != nil || v.Inventory != nil && !v.Inventory.OK() {
		return v, err // what is damaged cannot be compared
	}
	topic, err := openTopic(ctx, of)
	if err != nil {
		return nil, err
	}
	defer topic.Close()
	info, err := topic.Describe(ctx)
	if err != nil {
		return nil, err
	}
	held, err := r.Held(ctx, of.Source.Kafka.Topic)
	if err != nil {
		return nil, err
	}
	k := &leaver{d: d, of: of, procs: map[waybill.PlanID]*engine.Processor{}, blocks: map[waybill.PlanID]engine.Blocks{}}
	for _, p := range info.Partitions {
		h, ok := held[p.Partition]
		if !ok {
			continue
		}
		both := waybill.OffsetsIn(waybill.Span{First: max(h.First, p.LogStart), Next: min(h.Next, p.StableEnd)}).Minus(h.Gaps)
		if records > 0 {
			both = ends(both, max(records/int64(len(info.Partitions)), 1))
		}
		for _, sp := range both.Spans() {
			if err := k.verify(ctx, r, topic, waybill.TopicPartition{Topic: of.Source.Kafka.Topic, Partition: p.Partition}, sp, &v.Verification); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// ends is n offsets of a set, half from its beginning and half from its end; all if there are no more.
func ends(s waybill.OffsetSet, n int64) (out waybill.OffsetSet) {
	if s.Len() <= n {
		return s
	}
	left := n / 2
	for _, sp := range s.Spans() {
		sp.Next = min(sp.Next, sp.First+left)
		out.AddSpan(sp)
		left -= sp.Len()
	}
	left = n - n/2
	spans := s.Spans()
	for i := len(spans) - 1; i >= 0 && left > 0; i-- {
		sp := spans[i]
		sp.First = max(sp.First, sp.Next-left)
		out.AddSpan(sp)
		left -= sp.Len()
	}
	return out
}

// leaver says what was to be left of a record by the plan that archived it.
type leaver struct {
	d      *desk
	of     *config.Pipeline
	procs  map[waybill.PlanID]*engine.Processor
	blocks map[waybill.PlanID]engine.Blocks
}

// verifyAtOnce is how many offsets of the ledger's rows are joined, where one plan wrote them.
const verifyAtOnce = 100_000

// verify compares a span, by the rows of the ledger: each says which plan wrote it.
func (k *leaver) verify(ctx context.Context, r *archive.Reader, topic archive.Topic, tp waybill.TopicPartition, span waybill.Span, v *archive.Verification) error {
	type piece struct {
		waybill.Span
		plan waybill.PlanID
	}
	var pieces []piece
	err := k.d.ledger.Accounts(ctx, k.of.Name, k.of.Epoch, tp.Topic, map[int32]waybill.Span{tp.Partition: span}, func(a *ledger.Account) error {
		for i, p := range a.Plans {
			first, next := max(p.First, span.First), a.Next
			if i == 0 {
				first = max(a.First, span.First)
			}
			if i+1 < len(a.Plans) {
				next = a.Plans[i+1].First
			}
			sp := waybill.Span{First: first, Next: min(next, span.Next)}
			if n := len(pieces); n > 0 && pieces[n-1].plan == p.Plan && pieces[n-1].Next == sp.First && sp.Next-pieces[n-1].First <= verifyAtOnce {
				pieces[n-1].Next = sp.Next
			} else if sp.Len() > 0 {
				pieces = append(pieces, piece{sp, p.Plan})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range pieces {
		proc, err := k.processor(ctx, p.plan)
		if err != nil {
			return err
		}
		blocks := k.blocks[p.plan]
		err = r.Verify(ctx, topic, tp, p.Span, func(rec *waybill.Record) (waybill.Record, error) {
			blocks.Reset()
			proc.Process(rec, k.of.Epoch, blocks)
			return proc.Keep(rec), nil
		}, v)
		if err != nil {
			return err
		}
	}
	return nil
}

func (k *leaver) processor(ctx context.Context, id waybill.PlanID) (*engine.Processor, error) {
	if p := k.procs[id]; p != nil {
		return p, nil
	}
	stored, found, err := k.d.ledger.Plan(ctx, k.of.Name, id)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, &waybill.Error{Op: "archive.verify", Pipeline: k.of.Name, Class: waybill.ClassConfig, Err: fmt.Errorf("plan %s, which archived some of these records, is not on record", id)}
	}
	plan, err := contract.ParsePlan([]byte(stored.Text))
	if err != nil {
		return nil, err
	}
	p, err := engine.NewProcessor(plan, []byte(k.of.RedactSecret.Reveal()))
	if err != nil {
		return nil, err
	}
	k.procs[id], k.blocks[id] = p, p.NewBlocks()
	return p, nil
}
