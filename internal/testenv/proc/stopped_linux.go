package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// allStopped reports whether no thread of the process runs any more: the signal stops them one by one. A process that is
// gone has none.
func allStopped(pid int) bool {
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return true
	}
	for _, stat := range stats {
		line, err := os.ReadFile(stat)
		if err != nil {
			continue // that thread has ended
		}
		// "pid (name) state ...", where the name may hold anything.
		end := bytes.LastIndexByte(line, ')')
		if end < 0 || end+2 >= len(line) || !bytes.ContainsRune([]byte("TtZX"), rune(line[end+2])) {
			return false
		}
	}
	return true
}
