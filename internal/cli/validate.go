package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill/internal/config"
)

func newValidate(s Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check pipeline files without any server",
		Long: `Check pipeline files without any server: syntax, keys, values, the contract's
types, paths, policies and defaults, and whether the pipelines can run in one
process. All problems are shown at once, each with its line.

Variables (${NAME}) are taken from the environment, ${file:PATH} is what a file
holds; one that is not set, or not there, is a problem. Whether the table fits
the contract is for the server to say: that is checked when the pipeline starts.

--json-schema prints the JSON Schema of pipeline files, by which editors check
them and complete their keys.`,
		Example: `  waybill validate llm-calls.yaml
  CH_PASSWORD=x waybill validate -o json pipelines/*.yaml
  waybill validate --json-schema > pipeline-file.schema.json`,
	}
	o := outputFlag(cmd)
	schema := cmd.Flags().Bool("json-schema", false, "print the JSON Schema of pipeline files, and check nothing")
	cmd.Args = args(func(cmd *cobra.Command, files []string) error {
		if *schema {
			return cobra.NoArgs(cmd, files)
		}
		return cobra.MinimumNArgs(1)(cmd, files)
	})
	cmd.RunE = func(_ *cobra.Command, files []string) error {
		if *schema {
			return printSchema(s.Out)
		}
		return validate(s, *o, files)
	}
	return cmd
}

// validation is what `validate -o json` prints.
type validation struct {
	OK    bool             `json:"ok"`
	Files []fileValidation `json:"files"` // in the order given
}

type fileValidation struct {
	File     string           `json:"file"`
	OK       bool             `json:"ok"`
	Pipeline *pipelineSummary `json:"pipeline,omitempty"`
	Problems config.Problems  `json:"problems"`
}

type pipelineSummary struct {
	Name     string         `json:"name"`
	Epoch    uint32         `json:"epoch"`
	Topic    string         `json:"topic"`
	Group    string         `json:"group"`
	Tables   []tableSummary `json:"tables"`
	Delivery string         `json:"delivery"`
}

type tableSummary struct {
	Route   string `json:"route,omitempty"`
	Table   string `json:"table"` // database.table
	Columns int    `json:"columns"`
}

func summarize(p *config.Pipeline) *pipelineSummary {
	sum := &pipelineSummary{Name: p.Name, Epoch: uint32(p.Epoch), Topic: p.Source.Kafka.Topic, Group: p.Source.Kafka.Group, Delivery: string(p.Delivery)}
	for _, t := range p.Tables() {
		sum.Tables = append(sum.Tables, tableSummary{t.Route, t.Sink.ClickHouse.Place(), len(t.Contract.Columns)})
	}
	return sum
}

func validate(s Streams, o output, files []string) error {
	pipelines, err := config.LoadAll(files, os.LookupEnv)
	var problems config.Problems
	if err != nil && !errors.As(err, &problems) {
		return err
	}
	if o == outputJSON {
		if err := printJSON(s.Out, byFile(files, pipelines, problems)); err != nil {
			return err
		}
		if len(problems) > 0 {
			return &exitError{code: ExitUsage, said: true, err: problems}
		}
		return nil
	}
	for _, p := range pipelines {
		if err := printSummary(s, p); err != nil {
			return err
		}
	}
	return err
}

func printSummary(s Streams, p *config.Pipeline) error {
	sum := summarize(p)
	var tables []string
	for _, t := range sum.Tables {
		tables = append(tables, fmt.Sprintf("%s, %d columns", t.Table, t.Columns))
	}
	_, err := fmt.Fprintf(s.Out, "%s: ok: %s reads %s into %s, %s\n", p.File, sum.Name, sum.Topic, strings.Join(tables, "; "), sum.Delivery)
	return err
}

func byFile(files []string, pipelines []*config.Pipeline, problems config.Problems) validation {
	v := validation{OK: len(problems) == 0}
	for _, file := range files {
		f := fileValidation{File: file, Problems: config.Problems{}}
		for _, p := range problems {
			if p.File == file {
				f.Problems = append(f.Problems, p)
			}
		}
		f.OK = len(f.Problems) == 0
		for _, p := range pipelines {
			if p.File == file && f.OK {
				f.Pipeline = summarize(p)
			}
		}
		v.Files = append(v.Files, f)
	}
	return v
}
