package cli

import "github.com/spf13/cobra"

func newBackfill(s Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backfill",
		Short: "Make rows anew: plan, compare, verify, promote, roll back",
		Long: `Makes rows of a pipeline anew, in a table of their own, while it goes on; and
lets that table take the place of the pipeline's once it is known to be right.`,
	}
	cmd.AddCommand(newBackfillDiff(s), newBackfillTry(s))
	return cmd
}
