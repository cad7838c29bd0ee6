package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill/internal/failpoint"
)

// newFailpoints lists the places at which a test can have this very binary die, so that the end-to-end
// tests cover all of them, whatever list they were compiled with.
func newFailpoints(s Streams) *cobra.Command {
	replays, repairs, erasures, objects, backfills, contents := false, false, false, false, false, false
	cmd := &cobra.Command{
		Use:    "failpoints",
		Short:  "List the places at which a test can kill a worker",
		Hidden: true,
		Args:   args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			names := failpoint.All()
			switch {
			case replays:
				names = failpoint.Replays()
			case erasures:
				names = failpoint.Erasures()
			case repairs:
				names = failpoint.Repairs()
			case objects:
				names = failpoint.Objects()
			case contents:
				names = failpoint.Contents()
			case backfills:
				names = failpoint.Backfills()
			}
			for _, n := range names {
				if _, err := fmt.Fprintln(s.Out, n); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&replays, "replays", false, "those of a replay of dead letters")
	cmd.Flags().BoolVar(&erasures, "erasures", false, "those of an erasure")
	cmd.Flags().BoolVar(&objects, "objects", false, "those of the worker of an archive of objects")
	cmd.Flags().BoolVar(&contents, "contents", false, "those of a worker whose rows refer to long values")
	cmd.Flags().BoolVar(&repairs, "repairs", false, "those of a repair")
	cmd.Flags().BoolVar(&backfills, "backfills", false, "those of a backfill's job")
	return cmd
}
