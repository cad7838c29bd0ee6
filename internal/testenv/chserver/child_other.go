//go:build !linux && !darwin

package chserver

import (
	"fmt"
	"os"
	"runtime"
)

func runChild(orders) int {
	fmt.Fprintf(os.Stderr, "no ClickHouse engine for %s\n", runtime.GOOS)
	return exitBroken
}
