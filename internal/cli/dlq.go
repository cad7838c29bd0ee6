package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/ledger"
)

func newDLQ(s Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Dead letters: look at them, replay them, give them up",
		Long: `Dead letters are records that could not be written. They are kept whole, with
the reason, in waybill.dead_letters. Once the contract or the table is mended,
they are replayed: put into the table by the same rules as all other rows, each
once. What nobody needs is discarded, on record.

A dead letter is waiting, replayed, filtered (a replay found that the filter
leaves it out), failed (a replay could not write it either) or discarded.

After a backfill of a part, dead letters outside of the part are those of the
epochs before: they are listed with their epoch, and can be replayed as well.`,
		Example: `  waybill dlq groups llm-calls.yaml
  waybill dlq show llm-calls.yaml 3:1041
  waybill dlq replay llm-calls.yaml --code out_of_range --dry-run
  waybill dlq replay llm-calls.yaml --code out_of_range
  waybill dlq discard llm-calls.yaml --shape 5d1c02fa --reason "test traffic"`,
	}
	cmd.AddCommand(newDLQList(s), newDLQShow(s), newDLQGroups(s), newDLQReplay(s), newDLQDiscard(s))
	return cmd
}

// letterFlags select dead letters.
type letterFlags struct {
	states, stages, codes, columns, shapes, plans, offsets []string

	contains, from, to string
}

func (o *letterFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&o.states, "state", nil, "`STATE`s: waiting, replayed, filtered, failed, discarded, or all\n(default: waiting and failed)")
	f.StringSliceVar(&o.stages, "stage", nil, "`STAGE`s: decode, transform, contract or insert")
	f.StringSliceVar(&o.codes, "code", nil, "`CODE`s of the reason, as out_of_range")
	f.StringSliceVar(&o.columns, "column", nil, "columns or `PATH`s that the reason is about")
	f.StringSliceVar(&o.shapes, "shape", nil, "groups, by their `ID`s (waybill dlq groups)")
	f.StringSliceVar(&o.plans, "plan", nil, "`PLAN`s that rejected them, by their ids")
	f.StringVar(&o.contains, "contains", "", "`TEXT` that the message holds")
	f.StringVar(&o.from, "from", "", "rejected since: a `TIME` (RFC 3339), or a length of time ago")
	f.StringVar(&o.to, "to", "", "rejected before: likewise")
	f.StringArrayVar(&o.offsets, "offsets", nil, "`PARTITION:FIRST-LAST` or PARTITION:OFFSET; may be given several times")
}

// filter is what the flags say.
func (o *letterFlags) filter(ctx context.Context, d *desk) (ledger.LetterFilter, error) {
	f := ledger.LetterFilter{Pipeline: d.cfg.Name, Epoch: d.cfg.Epoch, Topic: d.cfg.Source.Kafka.Topic,
		Stages: o.stages, Codes: o.codes, Columns: o.columns, Shapes: o.shapes, Contains: o.contains}
	for _, word := range o.states {
		state := ledger.LetterState(word)
		switch {
		case word == "all":
			f.States = append(f.States, ledger.LetterStates()...)
		case slices.Contains(ledger.LetterStates(), state):
			f.States = append(f.States, state)
		default:
			return f, usage(fmt.Errorf("--state %s: choose waiting, replayed, filtered, failed, discarded or all", word))
		}
	}
	if len(o.states) == 0 {
		f.States = []ledger.LetterState{ledger.LetterWaiting, ledger.LetterFailed}
	}
	if err := o.ids(ctx, d, &f); err != nil {
		return f, err
	}
	for _, text := range o.offsets {
		p, sp, err := parseSpan(text)
		if err != nil {
			return f, usage(fmt.Errorf("--offsets %s: %w", text, err))
		}
		if f.Spans == nil {
			f.Spans = map[int32]waybill.OffsetSet{}
		}
		set := f.Spans[p]
		set.AddSpan(sp)
		f.Spans[p] = set
	}
	var err error
	if f.Older, err = d.ledger.OlderLetters(ctx, f.Pipeline, f.Epoch, f.Topic, f.Spans); err != nil {
		return f, unreached(err)
	}
	now := d.client.ServerNow(time.Now())
	if f.From, err = momentOf(o.from, now, time.Time{}); err != nil {
		return f, usage(fmt.Errorf("--from %s: %w", o.from, err))
	}
	if f.To, err = momentOf(o.to, now, time.Time{}); err != nil {
		return f, usage(fmt.Errorf("--to %s: %w", o.to, err))
	}
	return f, nil
}

// ids takes plans by the beginnings of their ids.
func (o *letterFlags) ids(ctx context.Context, d *desk, f *ledger.LetterFilter) error {
	for _, id := range o.plans {
		_, stored, err := d.plan(ctx, id)
		if err != nil {
			return err
		}
		f.Plans = append(f.Plans, stored.ID)
	}
	return nil
}

// letterJSON is a dead letter as `-o json` prints it.
type letterJSON struct {
	Topic      string       `json:"topic"`
	Partition  int32        `json:"partition"`
	Offset     int64        `json:"offset"`
	Epoch      uint32       `json:"epoch"` // that it became one under
	State      string       `json:"state"`
	Stage      string       `json:"stage"`
	Code       string       `json:"code"`
	Column     string       `json:"column,omitempty"`
	Message    string       `json:"message"`
	Shape      string       `json:"shape"`
	Attempt    uint32       `json:"attempt"`
	Plan       string       `json:"plan"`
	Batch      string       `json:"batch"`
	At         time.Time    `json:"at"`          // when it became a dead letter
	RecordTime time.Time    `json:"record_time"` // in Kafka
	Key        *bytesJSON   `json:"key"`         // null: the record has none
	Value      *bytesJSON   `json:"value"`       // null: it could not be kept
	Headers    []headerJSON `json:"headers"`
	StateAt    *time.Time   `json:"state_at,omitempty"`
	Target     string       `json:"target,omitempty"`
	By         string       `json:"by,omitempty"`
	Note       string       `json:"note,omitempty"`
}

// bytesJSON are bytes: as text where they are UTF-8, else in base64.
type bytesJSON struct {
	Text   *string `json:"text,omitempty"`
	Base64 string  `json:"base64,omitempty"`
	Size   int     `json:"size"`
}

type headerJSON struct {
	Key   string     `json:"key"`
	Value *bytesJSON `json:"value"`
}

func bytesOf(b []byte) *bytesJSON {
	if b == nil {
		return nil
	}
	out := &bytesJSON{Size: len(b)}
	if utf8.Valid(b) {
		text := string(b)
		out.Text = &text
	} else {
		out.Base64 = base64.StdEncoding.EncodeToString(b)
	}
	return out
}

func letterOf(l *ledger.Letter) letterJSON {
	out := letterJSON{
		Topic: l.Topic, Partition: l.Partition, Offset: l.Offset, Epoch: uint32(l.Epoch), State: string(l.State), Stage: l.Stage, Code: l.Code, Column: l.Column, Message: l.Message, Shape: l.Shape,
		Attempt: l.Attempt, Plan: l.Plan.String(), Batch: l.Batch.String(), At: l.BatchTime.UTC(), RecordTime: time.UnixMilli(l.Time).UTC(),
		Key: bytesOf(l.Key), Value: bytesOf(l.Value), Headers: []headerJSON{}, Target: l.Target, By: l.By, Note: l.Note,
	}
	for _, h := range l.Headers {
		out.Headers = append(out.Headers, headerJSON{h.Key, bytesOf(h.Value)})
	}
	if l.Sequence > 0 {
		at := l.StateAt.UTC()
		out.StateAt = &at
	}
	return out
}

// parsePlace reads PARTITION:OFFSET.
func parsePlace(text string) (int32, int64, error) {
	partition, offset, ok := strings.Cut(text, ":")
	p, perr := strconv.ParseInt(partition, 10, 32)
	o, oerr := strconv.ParseInt(offset, 10, 64)
	if !ok || perr != nil || oerr != nil || p < 0 || o < 0 {
		return 0, 0, errors.New("write PARTITION:OFFSET, like 3:1041")
	}
	return int32(p), o, nil
}

// stateCounts is how many dead letters are in each state, in words.
func stateCounts(n map[ledger.LetterState]int64) string {
	var out []string
	for _, s := range ledger.LetterStates() {
		if n[s] > 0 {
			out = append(out, fmt.Sprintf("%s %s", count(n[s]), s))
		}
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}
