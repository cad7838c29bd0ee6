package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/check"
	"github.com/waybill-data/waybill/internal/check/inspect"
	"github.com/waybill-data/waybill/internal/config"
)

// checkOptions are the flags of `waybill check`.
type checkOptions struct {
	fix, create bool
}

func newCheck(s Streams) *cobra.Command {
	var opts checkOptions
	cmd := &cobra.Command{
		Use:   "check FILE|DIRECTORY...",
		Short: "Connect, and check everything before the first row",
		Long: `Connects to a pipeline's brokers and server and checks all that it rests on:
topic, rights, sizes and retention; server, settings, database and clocks; the
table's engine, columns, deduplication window and projection; the materialized
views that it feeds. All faults are shown at once, the worst in the first line,
each with why it matters and what mends it. Nothing is changed.

--fix runs the statements that are safe: they add lineage columns, the
projection and settings of the table; no row is changed. Each is shown before
it runs, and everything is checked again after. --create makes the database
and the table, too, if they are not there.

Of a directory its files *.yaml and *.yml are checked.

The exit code is 0 if the pipelines could run, 1 if something would keep one of
them from it, and 2 if a file is refused. Warnings are no errors.`,
		Example: `  waybill check llm-calls.yaml
  waybill check pipelines/ -o json
  waybill check llm-calls.yaml --fix`,
		Args: args(cobra.MinimumNArgs(1)),
	}
	f := cmd.Flags()
	f.BoolVar(&opts.fix, "fix", false, "run the statements that are safe, then check again")
	f.BoolVar(&opts.create, "create", false, "with --fix: make the database and the table, too")
	o := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, paths []string) error { return checkAll(cmd.Context(), s, *o, paths, opts) }
	return cmd
}

// checkReport is what `check -o json` prints.
type checkReport struct {
	OK      bool            `json:"ok"`
	Fixed   []fix           `json:"fixed"`
	Reports []*check.Report `json:"reports"`
}

// fix is a statement that was run.
type fix struct {
	Pipeline  string `json:"pipeline"`
	Statement string `json:"statement"`
	Error     string `json:"error,omitempty"`
}

func checkAll(ctx context.Context, s Streams, o output, paths []string, opts checkOptions) error {
	if opts.create && !opts.fix {
		return usage(errors.New("--create goes with --fix"))
	}
	files, err := pipelineFiles(paths)
	if err != nil {
		return err
	}
	pipelines, err := config.LoadAll(files, os.LookupEnv)
	var problems config.Problems
	if err != nil && !errors.As(err, &problems) {
		return err
	}
	r := &checkReport{Fixed: []fix{}, Reports: []*check.Report{}}
	for _, file := range files {
		if bad := ofFile(problems, file); len(bad) > 0 {
			r.Reports = append(r.Reports, check.FileReport(file, bad))
		}
	}
	for _, cfg := range pipelines {
		if len(ofFile(problems, cfg.File)) == 0 {
			r.check(ctx, s, o, cfg, opts)
		}
	}
	return r.end(s, o, len(problems) > 0)
}

func ofFile(problems config.Problems, file string) (out config.Problems) {
	for _, p := range problems {
		if p.File == file {
			out = append(out, p)
		}
	}
	return out
}

// pipelineFiles are the files of paths, those in directories included.
func pipelineFiles(paths []string) (files []string, err error) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || !info.IsDir() {
			files = append(files, path) // what cannot be read is said where it is read
			continue
		}
		var in []string
		for _, pattern := range []string{"*.yaml", "*.yml"} {
			found, err := filepath.Glob(filepath.Join(path, pattern))
			if err != nil {
				return nil, err
			}
			in = append(in, found...)
		}
		if len(in) == 0 {
			return nil, usage(errors.New(path + " holds no pipeline file (*.yaml, *.yml)"))
		}
		slices.Sort(in)
		files = append(files, in...)
	}
	return files, nil
}

// check checks a pipeline and its archive, and mends what may be mended.
func (r *checkReport) check(ctx context.Context, s Streams, o output, file *config.Pipeline, opts checkOptions) {
	for _, cfg := range config.Running([]*config.Pipeline{file}) {
		report := look(ctx, cfg, cfg.Name != file.Name)
		// Some statements can only be known when others have been run: a projection goes over lineage columns.
		for tried := []string(nil); opts.fix; report = look(ctx, cfg, cfg.Name != file.Name) {
			todo := slices.DeleteFunc(report.Fixes(opts.create), func(s string) bool { return slices.Contains(tried, s) })
			if len(todo) == 0 {
				break
			}
			tried = append(tried, todo...)
			r.fix(ctx, s, o, cfg, todo)
		}
		r.Reports = append(r.Reports, report)
	}
}

func look(ctx context.Context, cfg *config.Pipeline, archive bool) *check.Report {
	report := check.Run(inspect.Look(ctx, cfg, time.Now()))
	if archive {
		report.Archive()
	}
	return report
}

func (r *checkReport) fix(ctx context.Context, s Streams, o output, cfg *config.Pipeline, statements []string) {
	said := s.Err // standard output is JSON
	if o == outputText {
		said = s.Out
	}
	err := inspect.Fix(ctx, cfg, statements, func(statement string) {
		tell(said, "fix: %s\n", statement)
		r.Fixed = append(r.Fixed, fix{Pipeline: cfg.Name, Statement: statement})
	}, func(err error) {
		if err != nil {
			r.Fixed[len(r.Fixed)-1].Error = err.Error()
			tell(said, "fix: failed: %v\n", err)
		}
	})
	if err != nil {
		tell(said, "fix: failed: %v\n", err)
	}
}

// end prints the reports, and says how it ended.
func (r *checkReport) end(s Streams, o output, refused bool) error {
	r.OK = !slices.ContainsFunc(r.Reports, func(r *check.Report) bool { return !r.OK() })
	var err error
	if o == outputJSON {
		err = printJSON(s.Out, r)
	} else {
		err = r.print(s)
	}
	switch {
	case err != nil:
		return err
	case refused:
		return &exitError{code: ExitUsage, said: true, err: errors.New("a file is refused")}
	case !r.OK:
		return &exitError{code: ExitFindings, said: true, err: errors.New("something would keep a pipeline from running")}
	}
	return nil
}

// worst is the report with the most severe finding, the first of them.
func (r *checkReport) worst() *check.Report {
	return slices.MaxFunc(r.Reports, func(a, b *check.Report) int { return severityOf(a) - severityOf(b) })
}

func severityOf(r *check.Report) int {
	worst := r.Worst()
	switch {
	case worst == nil:
		return 0
	case worst.Severity == waybill.SeverityError:
		return 3
	case worst.Severity == waybill.SeverityWarning:
		return 2
	}
	return 1
}
