package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/trial"
)

// testOptions are the flags of `waybill test`.
type testOptions struct {
	events, golden           string
	records, lineage, update bool
}

func newTest(s Streams) *cobra.Command {
	var opts testOptions
	cmd := &cobra.Command{
		Use:   "test FILE --events EVENTS",
		Short: "Run a pipeline file over a file of events, without any server",
		Long: `Runs the events of a file through a pipeline: versions, redaction, filter,
computed columns, decoding. No server is asked; the table is taken to be exactly
as the contract says, and where that says evolve it is changed in memory for all
events as one batch. Prints a line for each event, in order:

  {"row":{...}}          the columns of its row; _rescued if it is not empty
  {"dead_letter":{...}}  why there is none: code, column, message, byte
  {"filtered":true}      the pipeline's filter said so
  {"tombstone":true}     a record without a value

With --golden it compares these lines with those of a file instead, and names
each line and field that differ: exit code 1. --update writes the file anew.
What there was of each kind is counted on standard error.

Each line of EVENTS is an event; an empty one is skipped. With --records it is a
record: {"value": ..., "key": ..., "headers": {"name": ...}, "timestamp": ...,
"topic": ..., "partition": ..., "offset": ...}, each of them optional. A string
stands for its bytes, null for none, anything else for its JSON text.`,
		Example: `  waybill test llm-calls.yaml --events calls.ndjson
  waybill test llm-calls.yaml --events calls.ndjson --golden rows.ndjson
  waybill test llm-calls.yaml --events calls.ndjson --golden rows.ndjson \
      --update
  tail -1000 calls.log | waybill test llm-calls.yaml --events -`,
		Args: args(cobra.ExactArgs(1)),
	}
	f := cmd.Flags()
	f.StringVar(&opts.events, "events", "", "file of events, one a line; - is standard input")
	f.StringVar(&opts.golden, "golden", "", "file of what should become of them, one a line")
	f.BoolVar(&opts.update, "update", false, "write the golden file")
	f.BoolVar(&opts.records, "records", false, "lines are records with key, headers and so on")
	f.BoolVar(&opts.lineage, "lineage", false, "show the lineage columns too")
	o := outputFlag(cmd)
	cmd.RunE = func(_ *cobra.Command, files []string) error { return runTest(s, *o, files[0], opts) }
	return cmd
}

// testResult is what `test -o json` prints.
type testResult struct {
	OK          bool               `json:"ok"` // no golden file, or no difference to it
	Outcomes    []json.RawMessage  `json:"outcomes,omitempty"`
	Differences []trial.Difference `json:"differences,omitempty"`
	Empty       int                `json:"empty_lines"`
	Summary     trial.Summary      `json:"summary"`

	lines []int // of the events
}

func runTest(s Streams, o output, file string, opts testOptions) error {
	switch {
	case opts.events == "":
		return usage(errors.New("--events is missing: a file with an event on each line"))
	case opts.update && opts.golden == "":
		return usage(errors.New("--update needs --golden: the file to write"))
	}
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	result, err := tryFile(s.In, cfg, opts)
	if err != nil {
		return err
	}
	if err := result.against(opts); err != nil {
		return err
	}
	if err := result.print(s, o, opts); err != nil {
		return err
	}
	if !result.OK {
		return &exitError{code: ExitFindings, said: true, err: errors.New("differences to " + opts.golden)}
	}
	return nil
}

// tryFile runs the events through the pipeline.
func tryFile(stdin io.Reader, cfg *config.Pipeline, opts testOptions) (*testResult, error) {
	in := stdin
	if opts.events != "-" {
		f, err := os.Open(opts.events)
		if err != nil {
			return nil, usage(err)
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	result := &testResult{OK: true}
	events := trial.ReadEvents(in, cfg.Source.Kafka.Topic, opts.records)
	var records []waybill.Record
	for {
		r, err := events.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, usage(fmt.Errorf("%s: %w", opts.events, err))
		}
		records, result.lines = append(records, r), append(result.lines, events.Line)
	}
	result.Empty = events.Empty
	lines, sum, err := trial.Batch(cfg, records, opts.lineage)
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		result.Outcomes = append(result.Outcomes, line)
	}
	result.Summary = sum
	return result, nil
}

// against compares with the golden file, or writes it.
func (r *testResult) against(opts testOptions) error {
	if opts.golden == "" {
		return nil
	}
	if opts.update {
		return os.WriteFile(opts.golden, r.text(), 0o644) //nolint:gosec // a file for a repository, like those beside it
	}
	golden, err := os.ReadFile(opts.golden)
	if errors.Is(err, os.ErrNotExist) {
		return usage(fmt.Errorf("%w: --update writes it", err))
	}
	if err != nil {
		return usage(err)
	}
	r.Differences, err = r.differences(golden)
	if err != nil {
		return usage(fmt.Errorf("%s: %w", opts.golden, err))
	}
	r.OK = len(r.Differences) == 0
	r.Outcomes = nil
	return nil
}

// text is a line for each outcome.
func (r *testResult) text() []byte {
	var b bytes.Buffer
	for _, line := range r.Outcomes {
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// differences to a golden file, whose n-th line is about the n-th event. Empty lines are not counted.
func (r *testResult) differences(golden []byte) (all []trial.Difference, err error) {
	number, at := 0, 0
	for line := range bytes.Lines(golden) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if at >= len(r.Outcomes) {
			all = append(all, trial.Difference{Line: number, Want: string(line)})
			continue
		}
		found, err := trial.Compare(line, r.Outcomes[at])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		for _, d := range found {
			d.Line, d.Event = number, r.lines[at]
			all = append(all, d)
		}
		at++
	}
	for ; at < len(r.Outcomes); at++ {
		number++
		all = append(all, trial.Difference{Line: number, Event: r.lines[at], Got: string(r.Outcomes[at])})
	}
	return all, nil
}
