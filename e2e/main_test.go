package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

// binary is what all tests run; TestMain builds it.
var binary string

// full asks for every case and not just for the short selection.
var full = os.Getenv("WAYBILL_E2E") == "full"

// atOnce is how many cases run side by side: most of a case is waiting for a session or a deadline to
// run out.
const atOnce = "5"

func TestMain(m *testing.M) {
	chserver.MaybeRunChild()
	flag.Parse()
	if !isSet("test.parallel") {
		_ = flag.Set("test.parallel", atOnce)
	}
	os.Exit(build(m))
}

func isSet(name string) (set bool) {
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "waybill-e2e-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	noteCommit()
	binary = filepath.Join(dir, "waybill")
	cmd := exec.Command("go", "build", "-o", binary, "../cmd/waybill")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the binary: %v\n%s", err, out)
		return 1
	}
	code := testenv.Run(m)
	if n := running.Load(); n != 0 {
		fmt.Fprintf(os.Stderr, "e2e: %d workers are still running\n", n)
		code = max(code, 1)
	}
	if err := writeEvidence(code == 0); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: %v\n", err)
		code = max(code, 1)
	}
	return code
}

// fullOnly leaves a case out of the short selection.
func fullOnly(t *testing.T) {
	t.Helper()
	if !full {
		t.Skip("left out of the short selection (WAYBILL_E2E=full)")
	}
}
