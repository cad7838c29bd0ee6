package cli

import (
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newMan(Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write manual pages",
		Long: `Writes a manual page for each command into a directory, which is made if it is
not there. "man -l DIR/waybill.1" shows one.`,
		Example: `  waybill man /usr/local/share/man/man1`,
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, paths []string) error {
			if err := os.MkdirAll(paths[0], 0o755); err != nil { //nolint:gosec // pages are for everybody
				return err
			}
			date := time.Unix(0, 0).UTC() // the same binary writes the same pages
			return doc.GenManTree(cmd.Root(), &doc.GenManHeader{Title: "WAYBILL", Section: "1", Source: "Waybill " + version, Date: &date}, paths[0])
		},
	}
}
