package cli

import (
	"math"
	"runtime/debug"
	"testing"
	"testing/fstest"
)

func TestMemory_FlagThenLimitThenMachine(t *testing.T) {
	const meminfo = "MemTotal:        4194304 kB\nMemFree:          100 kB\n"
	text := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	machine := fstest.MapFS{"proc/meminfo": text(meminfo)}
	container := fstest.MapFS{"proc/meminfo": text(meminfo), "sys/fs/cgroup/memory.max": text("536870912\n")}
	unbounded := fstest.MapFS{"proc/meminfo": text(meminfo), "sys/fs/cgroup/memory.max": text("max\n")}
	for name, c := range map[string]struct {
		flag      string
		limit     int64 // GOMEMLIMIT; 0: none
		files     fstest.MapFS
		pipelines int
		want      int64 // MiB
	}{
		"flag":               {"1GiB", 512 << 20, container, 1, 1024},
		"limit":              {"", 512 << 20, container, 1, 512},
		"machine":            {"", 0, machine, 1, 400},
		"many pipelines":     {"", 0, machine, 11, 720},
		"too many pipelines": {"", 0, machine, 100, 2048},
		"container":          {"", 0, container, 1, 256},
		"no container":       {"", 0, unbounded, 100, 2048},
		"nothing known":      {"", 0, fstest.MapFS{}, 1, 400},
		"tiny container":     {"", 0, fstest.MapFS{"sys/fs/cgroup/memory.max": text("33554432")}, 1, 64},
	} {
		if c.limit == 0 {
			c.limit = math.MaxInt64
		}
		before := debug.SetMemoryLimit(c.limit)
		got, err := memory(c.flag, c.files, c.pipelines)
		debug.SetMemoryLimit(before)
		if err != nil || got != c.want<<20 {
			t.Errorf("%s: %d MiB (%v), want %d", name, got>>20, err, c.want)
		}
	}
	if _, err := memory("1MiB", machine, 1); err == nil {
		t.Error("1 MiB is accepted")
	}
}
