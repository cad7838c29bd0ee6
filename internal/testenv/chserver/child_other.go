//go:build (!linux && !darwin) || nodemo

package chserver

import (
	"fmt"
	"os"
	"runtime"
)

const able = false

func runChild(orders) int {
	fmt.Fprintf(os.Stderr, "no ClickHouse engine for %s\n", runtime.GOOS)
	return exitBroken
}
