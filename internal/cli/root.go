// Package cli is Waybill's command line: it reads flags and files, calls the packages that do the
// work, and shows what they say. Every command prints its result to standard output, as text or (-o json)
// as JSON, and its error once to standard error; how it ended is its exit code (see exit.go).
package cli

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// Streams are the process's standard streams, and whether people read them.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// OutTTY and ErrTTY say that the stream is a terminal that shows colours, InTTY that somebody types.
	OutTTY, ErrTTY, InTTY bool
}

// Main runs the command line args (without the program's name) and returns the exit code. Commands that
// last end when ctx does.
func Main(ctx context.Context, args []string, s Streams) (code int) {
	defer func() {
		if r := recover(); r != nil {
			tell(s.Err, "waybill: bug: %v\n\n%s", r, debug.Stack())
			code = ExitBug
		}
	}()
	root := New(s)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	return report(s, cmd, err)
}

// New is the root command with all others in it.
func New(s Streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "waybill",
		Short: "Every event accounted for: Kafka to ClickHouse, exactly once",
		Long: `Waybill reads events from Kafka topics and puts each of them into ClickHouse
tables exactly once, or says on record why it did not.

A pipeline is one file: where records come from, the columns that the table
promises, where rows go. "waybill help pipeline-file" shows one with every key.

"waybill completion bash" (zsh, fish, powershell) prints what makes a shell offer
commands, files and topics; "waybill man DIR" writes manual pages.`,
		Example: `  waybill validate llm-calls.yaml    check a file; needs no server
  waybill run llm-calls.yaml         run it
  waybill status                     what a running process is doing`,
		SilenceErrors: true, // report prints them, once
		SilenceUsage:  true,
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", lineWidth)))
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	addCommands(root, s)
	complete(root)
	return root
}

// addCommands is the list of commands; each has a file of its own.
func addCommands(root *cobra.Command, s Streams) {
	root.AddCommand(
		newRun(s),
		newValidate(s),
		newTest(s),
		newInit(s), newPlan(s),
		newCheck(s),
		newStatus(s), newTop(s), newDoctor(s),
		newSchema(s), newAudit(s), newFindings(s), newDLQ(s), newRepair(s), newErase(s), newCompleteness(s), newWait(s), newReceipt(s), newBackfill(s),
		newArchive(s), newContent(s),
		newPause(s), newResume(s), newRename(s), newDelete(s), newUninstall(s),
		newDemo(s),
		newVersion(s), newMan(s),
		newFailpoints(s),
		exitCodesTopic(),
		pipelineFileTopic(),
	)
}

//go:embed pipeline-file.yaml
var pipelineFile string

// pipelineFileTopic is help without a command: the file that users write, with every key.
func pipelineFileTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "pipeline-file",
		Short: "A pipeline file with every key explained",
		Long:  pipelineFile,
	}
}
