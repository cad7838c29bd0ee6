// Command gen writes the reference of all commands to the file that it is given.
package main

import (
	"fmt"
	"os"

	"github.com/waybill-data/waybill/internal/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], []byte(cli.Reference()), 0o644); err != nil { //nolint:gosec // a page that all may read
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
