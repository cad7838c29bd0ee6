package cli

import (
	"fmt"
	"io/fs"
	"math"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/waybill-data/waybill/internal/config"
)

const (
	// firstMemory is what one pipeline does well with: two large batches and a half, its fetches, and room for the
	// garbage collector. Each further one gets nextMemory, if the machine has it.
	firstMemory = 400 << 20
	nextMemory  = 32 << 20
	// gcPercent: nearly all of the heap is columns and fetch buffers, which hold no pointers. It is not the size of the
	// heap that a collection costs here but the number of collections; the memory limit bounds the size.
	gcPercent = 200
)

// memory is how many bytes the process is to stay within: --memory, else GOMEMLIMIT, else by the number of pipelines,
// but at most half of what the machine or the container has.
func memory(flag string, files fs.FS, pipelines int) (int64, error) {
	if flag != "" {
		n, err := config.ParseSize(flag)
		if err == nil && n < minMemory {
			err = fmt.Errorf("less than %d MiB is not enough", minMemory>>20)
		}
		if err != nil {
			return 0, fmt.Errorf("--memory %s: %w", flag, err)
		}
		return n, nil
	}
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return limit, nil
	}
	return max(minMemory, min(firstMemory+int64(pipelines-1)*nextMemory, installed(files)/2)), nil
}

// minMemory is the least that a process can be told to stay within.
const minMemory = 64 << 20

// budgetOf is the part of it that batches may take. The other half is for what their memory has beyond its rows
// (columns grow ahead of them), the fetches, and the garbage collector.
func budgetOf(memory int64) int64 { return memory / 2 }

// fetchOf is how many bytes each pipeline may ask a broker for at once. Compressed batches unfold to several times
// that, and one fetch waits while another is decoded.
func fetchOf(memory int64, pipelines int) int32 {
	return int32(min(max(memory/32/int64(pipelines), 1<<20), 8<<20)) //nolint:gosec // at most 8 MiB
}

// limitMemory tells the garbage collector, where the environment has not.
func limitMemory(memory int64, getenv func(string) string) {
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory)
	}
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// installed is the memory of the container, else of the machine; very much if neither says. files is the root of the
// file system.
func installed(files fs.FS) int64 {
	least := int64(math.MaxInt64)
	for _, name := range []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if text, err := fs.ReadFile(files, name); err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
				least = min(least, n)
			}
		}
	}
	text, _ := fs.ReadFile(files, "proc/meminfo") // empty elsewhere than on Linux
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "MemTotal:" {
			if n, err := strconv.ParseInt(f[1], 10, 53); err == nil {
				least = min(least, n<<10)
			}
		}
	}
	return least
}
