package cli

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/ledger"
)

// shownLetters is how many dead letters `dlq list` shows unless asked for more.
const shownLetters = 20

func newDLQList(s Streams) *cobra.Command {
	var flags letterFlags
	limit := 0
	cmd := &cobra.Command{
		Use:   "list FILE",
		Short: "List dead letters, the newest first",
		Long: `Lists dead letters, the newest first, and says how many there are in each
state. The reason is the latest: that of the last replay, if one has failed.`,
		Example: `  waybill dlq list llm-calls.yaml
  waybill dlq list llm-calls.yaml --code out_of_range --from 24h --limit 100
  waybill dlq list llm-calls.yaml --state all --offsets 3:1000-1999 -o json`,
		Args: args(cobra.ExactArgs(1)),
	}
	flags.add(cmd)
	cmd.Flags().IntVar(&limit, "limit", shownLetters, "how many to list at most; 0: all")
	o := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		if limit < 0 {
			return usage(fmt.Errorf("--limit %d: a number of dead letters, or 0", limit))
		}
		return dlqList(ctx, s, *o, d, &flags, limit)
	})
	return cmd
}

// letterList is what `dlq list -o json` prints.
type letterList struct {
	Pipeline string                       `json:"pipeline"`
	Epoch    uint32                       `json:"epoch"`
	Counts   map[ledger.LetterState]int64 `json:"counts"` // of all that the filter selects, whatever the limit
	Letters  []letterJSON                 `json:"letters"`
}

func dlqList(ctx context.Context, s Streams, o output, d *desk, flags *letterFlags, limit int) error {
	if err := d.recorded(ctx); err != nil {
		return err
	}
	f, err := flags.filter(ctx, d)
	if err != nil {
		return err
	}
	out := letterList{Pipeline: d.cfg.Name, Epoch: uint32(d.cfg.Epoch), Letters: []letterJSON{}}
	if out.Counts, err = d.ledger.CountLetters(ctx, &f); err != nil {
		return unreached(err)
	}
	err = d.ledger.Letters(ctx, &f, ledger.NewestFirst, limit, func(l *ledger.Letter) error {
		out.Letters = append(out.Letters, letterOf(l))
		return nil
	})
	if err != nil {
		return unreached(err)
	}
	if o == outputJSON {
		return printJSON(s.Out, out)
	}
	return out.print(s.Out)
}

func (x *letterList) print(w io.Writer) error {
	var b strings.Builder
	wrap(&b, "", fmt.Sprintf("%s, epoch %d: %s", x.Pipeline, x.Epoch, stateCounts(x.Counts)))
	for i := range x.Letters {
		l := &x.Letters[i]
		about := ""
		if l.Column != "" {
			about = ", column " + l.Column
		}
		if l.Epoch != x.Epoch {
			about += fmt.Sprintf(", of epoch %d", l.Epoch)
		}
		wrap(&b, "", fmt.Sprintf("%d:%d  %s  %s  %s%s", l.Partition, l.Offset, moment(l.At), l.State, l.Code, about))
		b.WriteString("  " + clip(l.Value.line(), lineWidth-2) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// line is bytes on one line, for people: what is not printable is escaped.
func (b *bytesJSON) line() string {
	switch {
	case b == nil:
		return "(not kept)"
	case b.Text == nil:
		return fmt.Sprintf("(%s bytes that are no text)", count(int64(b.Size)))
	}
	var out strings.Builder
	for _, r := range *b.Text {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			out.WriteByte(' ')
		case unicode.IsPrint(r):
			out.WriteRune(r)
		default:
			out.WriteString(strings.Trim(fmt.Sprintf("%q", r), "'"))
		}
	}
	return out.String()
}

func newDLQShow(s Streams) *cobra.Command {
	var raw, inHex bool
	cmd := &cobra.Command{
		Use:   "show FILE PARTITION:OFFSET",
		Short: "Show one dead letter, whole",
		Long: `Shows one dead letter with all that is known of it. Its bytes are those of the
record in Kafka, unless redaction has changed them (help pipeline-file).

--raw writes the value to standard output and nothing else, byte for byte.`,
		Example: `  waybill dlq show llm-calls.yaml 3:1041
  waybill dlq show llm-calls.yaml 3:1041 --raw | jq .`,
		Args: args(cobra.ExactArgs(2)),
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "write the value alone, byte for byte")
	cmd.Flags().BoolVar(&inHex, "hex", false, "show key, value and headers in hexadecimal")
	o := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, places []string) error {
		if raw && (inHex || *o == outputJSON) {
			return usage(errors.New("--raw writes the value alone: leave out --hex and -o"))
		}
		l, err := d.letter(ctx, places[0])
		switch {
		case err != nil:
			return err
		case raw && l.Value == nil:
			return &exitError{code: ExitFindings, err: fmt.Errorf("the dead letter %s holds no value: the record was gone from the topic when it was to be kept", places[0])}
		case raw:
			_, err = s.Out.Write(l.Value)
			return err
		case *o == outputJSON:
			return printJSON(s.Out, letterOf(l))
		}
		return printLetter(s.Out, l, inHex)
	})
	return cmd
}

// letter finds one dead letter.
func (d *desk) letter(ctx context.Context, place string) (*ledger.Letter, error) {
	p, offset, err := parsePlace(place)
	if err != nil {
		return nil, usage(fmt.Errorf("%s: %w", place, err))
	}
	if err := d.recorded(ctx); err != nil {
		return nil, err
	}
	f := ledger.LetterFilter{Pipeline: d.cfg.Name, Epoch: d.cfg.Epoch, Topic: d.cfg.Source.Kafka.Topic, Spans: map[int32]waybill.OffsetSet{p: waybill.OffsetsOf(offset)}}
	if f.Older, err = d.ledger.OlderLetters(ctx, f.Pipeline, f.Epoch, f.Topic, f.Spans); err != nil {
		return nil, unreached(err)
	}
	var found *ledger.Letter
	err = d.ledger.Letters(ctx, &f, ledger.ByOffset, 1, func(l *ledger.Letter) error {
		found = l
		return nil
	})
	if err == nil && found == nil {
		err = usage(&waybill.Error{Op: "dlq", Pipeline: d.cfg.Name, Class: waybill.ClassConfig,
			Err: fmt.Errorf("there is no dead letter %s of topic %s in the table of epoch %d", place, f.Topic, f.Epoch), Hint: "`waybill dlq list` lists them"})
	}
	return found, unreached(err)
}

func printLetter(w io.Writer, l *ledger.Letter, inHex bool) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		wrap(&b, "  ", name+": "+fmt.Sprintf(format, args...))
	}
	wrap(&b, "", fmt.Sprintf("%s/%d offset %d: %s", l.Topic, l.Partition, l.Offset, l.State))
	line("reason", "%s", l.Message)
	line("code", "%s, stage %s", l.Code, l.Stage)
	if l.Column != "" {
		line("column", "%s", l.Column)
	}
	line("group", "%s", l.Shape)
	line("rejected", "%s, batch %s, plan %s, epoch %d", moment(l.BatchTime), l.Batch, l.Plan, l.Epoch)
	line("record", "%s", moment(time.UnixMilli(l.Time)))
	if l.Sequence > 0 {
		line("then", "%s at %s by %s, %d replays so far", l.State, moment(l.StateAt), l.By, l.Attempt)
	}
	if l.Target != "" {
		line("row", "in %s", l.Target)
	}
	if l.Note != "" {
		line("why", "%s", l.Note)
	}
	b.WriteString(part("key", l.Key, inHex))
	for _, h := range l.Headers {
		b.WriteString(part("header "+h.Key, h.Value, inHex))
	}
	b.WriteString(part("value", l.Value, inHex))
	_, err := io.WriteString(w, b.String())
	return err
}

// part is one part of a record.
func part(name string, bytes []byte, inHex bool) string {
	switch {
	case bytes == nil:
		return fmt.Sprintf("  %s: none\n", name)
	case inHex:
		return fmt.Sprintf("  %s, %s bytes:\n%s", name, count(int64(len(bytes))), indent(hex.Dump(bytes)))
	case utf8.Valid(bytes):
		return fmt.Sprintf("  %s, %s bytes:\n%s", name, count(int64(len(bytes))), indent(printable(string(bytes))+"\n"))
	}
	return fmt.Sprintf("  %s, %s bytes that are no text:\n%s", name, count(int64(len(bytes))), indent(hex.Dump(bytes)))
}

// printable escapes what a terminal would act on.
func printable(s string) string {
	var out strings.Builder
	for _, r := range s {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			out.WriteRune(r)
		} else {
			out.WriteString(strings.Trim(fmt.Sprintf("%q", r), "'"))
		}
	}
	return out.String()
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ") + "\n"
}

func newDLQGroups(s Streams) *cobra.Command {
	var flags letterFlags
	cmd := &cobra.Command{
		Use:   "groups FILE",
		Short: "Group dead letters by the shape of their error",
		Long: `Groups dead letters by the shape of their error: code, column, and the message
with all values taken out. The largest group comes first, with an example.

The id of a group selects its dead letters in the other commands: --shape ID.`,
		Example: `  waybill dlq groups llm-calls.yaml
  waybill dlq groups llm-calls.yaml --from 24h -o json`,
		Args: args(cobra.ExactArgs(1)),
	}
	flags.add(cmd)
	o := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error { return dlqGroups(ctx, s, *o, d, &flags) })
	return cmd
}

// groupList is what `dlq groups -o json` prints.
type groupList struct {
	Pipeline string      `json:"pipeline"`
	Epoch    uint32      `json:"epoch"`
	Groups   []groupJSON `json:"groups"`
}

type groupJSON struct {
	Shape   string    `json:"shape"`
	State   string    `json:"state"`
	Stage   string    `json:"stage"`
	Code    string    `json:"code"`
	Column  string    `json:"column,omitempty"`
	Message string    `json:"message"` // without values
	Count   int64     `json:"count"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Example string    `json:"example"` // PARTITION:OFFSET
	Says    string    `json:"says"`    // the example's message
}

func dlqGroups(ctx context.Context, s Streams, o output, d *desk, flags *letterFlags) error {
	if err := d.recorded(ctx); err != nil {
		return err
	}
	f, err := flags.filter(ctx, d)
	if err != nil {
		return err
	}
	groups, err := d.ledger.LetterGroups(ctx, &f)
	if err != nil {
		return unreached(err)
	}
	out := groupList{Pipeline: d.cfg.Name, Epoch: uint32(d.cfg.Epoch), Groups: []groupJSON{}}
	for _, g := range groups {
		out.Groups = append(out.Groups, groupJSON{g.Shape, string(g.State), g.Stage, g.Code, g.Column, g.Message, g.Count, g.First.UTC(), g.Last.UTC(),
			fmt.Sprintf("%d:%d", g.Example.Partition, g.Example.Offset), g.Says})
	}
	if o == outputJSON {
		return printJSON(s.Out, out)
	}
	return out.print(s.Out)
}

func (x *groupList) print(w io.Writer) error {
	var b strings.Builder
	wrap(&b, "", fmt.Sprintf("%s, epoch %d: %s groups", x.Pipeline, x.Epoch, count(int64(len(x.Groups)))))
	for i := range x.Groups {
		g := &x.Groups[i]
		wrap(&b, "", fmt.Sprintf("%s: %s %s, %s", g.Shape, count(g.Count), g.State, g.Message))
		wrap(&b, "  ", fmt.Sprintf("stage %s, code %s, column %s", g.Stage, g.Code, cmp.Or(g.Column, "-")))
		wrap(&b, "  ", fmt.Sprintf("from %s to %s", moment(g.First), moment(g.Last)))
		wrap(&b, "  ", fmt.Sprintf("as %s: %s", g.Example, g.Says))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
