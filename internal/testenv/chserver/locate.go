package chserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/waybill-data/waybill/internal/testenv/proc"
)

// LibEnv names the variable that points at libchdb directly.
const LibEnv = "WAYBILL_CHDB_LIB"

// Locate finds libchdb: the file that WAYBILL_CHDB_LIB names, else what tools/engines/fetch brought into the folder that WAYBILL_ENGINES_CACHE names, or
// into the module that the working directory or the executable lies in.
func Locate() (libPath string, err error) {
	if !able {
		return "", errors.New("this program was built to run without a system's libraries (-tags nodemo, as images are), or for a system that ClickHouse is not had for: it cannot start one")
	}
	if lib := os.Getenv(LibEnv); lib != "" {
		info, err := os.Stat(lib)
		switch {
		case err != nil:
			return "", fmt.Errorf("%s: %w", LibEnv, err)
		case info.IsDir():
			return "", fmt.Errorf("%s: %s is a folder: name the file libchdb.so in it", LibEnv, lib)
		}
		return lib, nil
	}
	caches := proc.EngineCaches()
	for _, cache := range caches {
		found, err := filepath.Glob(filepath.Join(cache, "clickhouse", "node_modules", "@chdb", "lib-*", "libchdb.*"))
		if err == nil && len(found) > 0 {
			return found[0], nil
		}
	}
	where := "no checkout of Waybill is around here"
	if len(caches) > 0 {
		where = "it is not in " + strings.Join(caches, " or ")
	}
	return "", fmt.Errorf("the ClickHouse engine (libchdb) is not here: %s. Run `tools/engines/fetch clickhouse` in a checkout of Waybill, or set %s to a libchdb.so", where, LibEnv)
}

// WithoutCheckout says how somebody who has a binary and no checkout gets the engine; empty where there is none.
func WithoutCheckout() string {
	library := map[string]string{"linux/amd64": "linux-x64-gnu", "linux/arm64": "linux-arm64-gnu", "darwin/amd64": "darwin-x64", "darwin/arm64": "darwin-arm64"}[runtime.GOOS+"/"+runtime.GOARCH]
	if library == "" || !able {
		return ""
	}
	return fmt.Sprintf("without a checkout: npm install --prefix engine @chdb/lib-%s (180 MB), and set %s to the libchdb.so in it", library, LibEnv)
}
