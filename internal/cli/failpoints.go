package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill/internal/failpoint"
)

// newFailpoints lists the places at which a test can have this very binary die, so that the end-to-end
// tests cover all of them, whatever list they were compiled with.
func newFailpoints(s Streams) *cobra.Command {
	return &cobra.Command{
		Use:    "failpoints",
		Short:  "List the places at which a test can kill a worker",
		Hidden: true,
		Args:   args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			for _, n := range failpoint.All() {
				if _, err := fmt.Fprintln(s.Out, n); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
