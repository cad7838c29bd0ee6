package chserver

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/waybill-data/waybill/internal/testenv/proc"
)

// LibEnv names the variable that points at libchdb directly.
const LibEnv = "WAYBILL_CHDB_LIB"

// Locate finds libchdb: the file that WAYBILL_CHDB_LIB names, else what tools/engines/fetch brought into the module that
// the working directory or the executable lies in.
func Locate() (libPath string, err error) {
	if lib := os.Getenv(LibEnv); lib != "" {
		if _, err := os.Stat(lib); err != nil {
			return "", fmt.Errorf("%s: %w", LibEnv, err)
		}
		return lib, nil
	}
	for _, cache := range proc.EngineCaches() {
		found, err := filepath.Glob(filepath.Join(cache, "clickhouse", "node_modules", "@chdb", "lib-*", "libchdb.*"))
		if err == nil && len(found) > 0 {
			return found[0], nil
		}
	}
	return "", fmt.Errorf("the ClickHouse engine (libchdb) is not here: run `tools/engines/fetch clickhouse` in a checkout "+
		"of Waybill, or set %s to a libchdb.so", LibEnv)
}
