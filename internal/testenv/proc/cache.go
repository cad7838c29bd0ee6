package proc

import (
	"bytes"
	"os"
	"path/filepath"
)

// CacheEnv names the variable that moves the folder of tools/engines/fetch.
const CacheEnv = "WAYBILL_ENGINES_CACHE"

// EngineCaches lists the folders that tools/engines/fetch may have filled, the likeliest first: CacheEnv's, then that of
// the module around the working directory, then that of the module around the executable.
func EngineCaches() []string {
	if dir := os.Getenv(CacheEnv); dir != "" {
		return []string{dir}
	}
	var caches []string
	if wd, err := os.Getwd(); err == nil {
		caches = appendCache(caches, wd)
	}
	if exe, err := os.Executable(); err == nil {
		caches = appendCache(caches, filepath.Dir(exe))
	}
	return caches
}

func appendCache(caches []string, dir string) []string {
	if root, ok := moduleRoot(dir); ok {
		return append(caches, filepath.Join(root, "tools", "engines", ".cache"))
	}
	return caches
}

func moduleRoot(dir string) (string, bool) {
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(mod, []byte("module github.com/waybill-data/waybill\n")) {
			return dir, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}
