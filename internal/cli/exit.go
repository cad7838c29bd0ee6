package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/codes"
	"github.com/waybill-data/waybill/internal/config"
)

// Exit codes of every command.
const (
	ExitOK       = 0 // all is well
	ExitFindings = 1 // the command ran, and what it checked does not hold
	ExitUsage    = 2 // wrong flags or arguments, or a file that is refused
	ExitUnclear  = 2 // `waybill audit`: something could not be told; `waybill findings`: there is no journal; `waybill wait`: not within the time
	ExitConnect  = 3 // a process, broker or server could not be reached
	ExitFatal    = 4 // stopped by an error that waiting does not mend
	ExitBug      = 5 // a broken invariant of Waybill itself; please report it
)

func exitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: `Every command ends with one of these exit codes:

  0  all is well
  1  the command ran, and what it checked does not hold: findings, a broken law,
     a difference to a golden file, a pipeline that would not start
  2  wrong flags or arguments, or a pipeline file that is refused; of an audit,
     that nothing is known to be wrong and something could not be told; of
     findings, that there is no journal to look into; of wait, that what it
     waits for has not come in time
  3  a process, broker or server could not be reached
  4  stopped by an error that waiting does not mend; the message says what to do
  5  a bug in Waybill: a broken invariant; please report it with the message

The error itself is printed once, to standard error.`,
	}
}

// exitError is an error whose exit code is known where it is made. said is true if all there is to
// say has been printed.
type exitError struct {
	code int
	said bool
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usage(err error) error { return &exitError{code: ExitUsage, err: err} }

// args makes a wrong number of arguments a usage error.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, a []string) error {
		if err := check(cmd, a); err != nil {
			return usage(err)
		}
		return nil
	}
}

// exitCode is the exit code for err.
func exitCode(err error) int {
	var coded *exitError
	var problems config.Problems
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &problems):
		return ExitUsage
	}
	return codes.Exit(waybill.ClassOf(err))
}

// report prints err for a person and returns its exit code.
func report(s Streams, cmd *cobra.Command, err error) int {
	code := exitCode(err)
	// The root runs nothing of its own: an error of the root itself is an unknown command.
	if !cmd.HasParent() {
		code = ExitUsage
	}
	var coded *exitError
	var problems config.Problems
	switch {
	case errors.As(err, &coded) && coded.said:
	case errors.As(err, &problems):
		_ = problems.Render(s.Err, s.ErrTTY) // as in tell
	default:
		printError(s.Err, err)
		if code == ExitUsage {
			tell(s.Err, "  see: %s --help\n", cmd.CommandPath())
		}
	}
	return code
}

// tell writes to standard error. If that fails there is nobody left to tell.
func tell(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// printError puts the hint on a line of its own.
func printError(w io.Writer, err error) {
	for {
		coded, ok := err.(*exitError) //nolint:errorlint // only the outermost wrapping is taken off
		if !ok {
			break
		}
		err = coded.err
	}
	e, ok := err.(*waybill.Error) //nolint:errorlint // a wrapped one is part of a longer message, hint and all
	if !ok {
		tell(w, "waybill: %v\n", err)
		return
	}
	bare := *e
	bare.Hint = ""
	tell(w, "waybill: %v\n", &bare)
	if e.Hint != "" {
		tell(w, "  hint: %s\n", e.Hint)
	}
}

// output is the value of -o.
type output string

const (
	outputText output = "text"
	outputJSON output = "json"
)

func (o *output) String() string { return string(*o) }

// Type names the flag's values in help texts.
func (o *output) Type() string { return "text|json" }

// Set implements pflag.Value.
func (o *output) Set(v string) error {
	switch output(v) {
	case outputText, outputJSON:
		*o = output(v)
		return nil
	}
	return errors.New("choose text or json")
}

func outputFlag(cmd *cobra.Command) *output {
	o := outputText
	cmd.Flags().VarP(&o, "output", "o", "how to print the result")
	return &o
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
