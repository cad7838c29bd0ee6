package e2e

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// outcome is what one case has shown.
type outcome struct {
	name     string
	observed []string
	verdict  string
	took     time.Duration
}

var evidence struct {
	mu      sync.Mutex
	cases   []outcome
	engines map[string]bool
}

// record notes a case once it is over.
func (w *world) record(started time.Time) {
	verdict := "exact"
	switch {
	case w.Failed():
		verdict = "FAILED"
	case w.Skipped():
		return
	}
	w.mu.Lock()
	observed := slices.Clone(w.observed)
	w.mu.Unlock()
	evidence.mu.Lock()
	defer evidence.mu.Unlock()
	evidence.cases = append(evidence.cases, outcome{strings.TrimPrefix(w.Name(), "Test"), observed, verdict, time.Since(started)})
}

// observe notes that a fault was really there, n times; a fault that was not there fails the case.
func (w *world) observe(what string, n int64) {
	w.Helper()
	if n <= 0 {
		w.Fatalf("not observed: %s", what)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.observed = append(w.observed, fmt.Sprintf("%s: %d", what, n))
}

func noteEngine(what string) {
	evidence.mu.Lock()
	defer evidence.mu.Unlock()
	if evidence.engines == nil {
		evidence.engines = map[string]bool{}
	}
	evidence.engines[what] = true
}

// evidenceFile is relative to this package.
const evidenceFile = "../docs/evidence/e2e.txt"

func writeEvidence(passed bool) error {
	if os.Getenv("WAYBILL_EVIDENCE") != "1" {
		return nil
	}
	evidence.mu.Lock()
	defer evidence.mu.Unlock()
	var b strings.Builder
	verdict := "all cases passed"
	if !passed {
		verdict = "NOT ALL CASES PASSED"
	}
	selection := "short selection"
	if full {
		selection = "full run"
	}
	fmt.Fprintf(&b, "End-to-end runs of the whole binary against real engines: %s, %s.\n\n", selection, verdict)
	fmt.Fprintf(&b, "commit   %s\ndate     %s\n", builtFrom, time.Now().UTC().Format(time.RFC3339))
	for _, e := range slices.Sorted(mapKeys(evidence.engines)) {
		fmt.Fprintf(&b, "engine   %s\n", e)
	}
	fmt.Fprintf(&b, "cases    %d\n\n", len(evidence.cases))
	b.WriteString("\"exact\": each record produced is in the table once, or a dead letter once, byte for byte, or is\nneither by right; the ledger tiles and adds up; the group stands at the end; no finding beside those named.\n\n")
	slices.SortFunc(evidence.cases, func(a, b outcome) int { return cmp.Compare(a.name, b.name) })
	for _, c := range evidence.cases {
		fmt.Fprintf(&b, "%-52s %-7s %5.1f s  %s\n", c.name, c.verdict, c.took.Seconds(), strings.Join(c.observed, "; "))
	}
	if err := os.MkdirAll(filepath.Dir(evidenceFile), 0o755); err != nil {
		return err
	}
	return os.WriteFile(evidenceFile, []byte(b.String()), 0o644) //nolint:gosec // a document
}

// builtFrom is the commit at the moment when the binary was built: the tree may move on during the run.
var builtFrom = "unknown"

func noteCommit() {
	out, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if err != nil {
		return
	}
	builtFrom = strings.TrimSpace(string(out))
	if dirty, err := exec.Command("git", "status", "--porcelain", "--untracked-files=no", "--", "..").Output(); err != nil || len(dirty) > 0 {
		builtFrom += " and changes that are not in it"
	}
}

// track puts the case into the table once it is over.
func track(t *testing.T, w *world) {
	started := time.Now()
	t.Cleanup(func() {
		if !w.Failed() && !w.Skipped() && len(w.observed) == 0 {
			w.Errorf("no fault was observed: the case has shown nothing")
		}
		w.record(started)
	})
}
