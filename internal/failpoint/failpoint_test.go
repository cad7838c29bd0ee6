package failpoint

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func arm(t *testing.T, spec string) error {
	t.Helper()
	t.Cleanup(func() { armed, stops = "", false; left.Store(0) })
	return Arm(func(name string) string {
		if name != Env {
			t.Errorf("asked for %s", name)
		}
		return spec
	})
}

func TestArm(t *testing.T) {
	for spec, want := range map[string]struct {
		name Name
		n    int64
	}{"": {"", 0}, "assigned": {Assigned, 1}, "backfill-step/held:2": {BackfillStep + "/held", 2}, "backfill-step:stop": {BackfillStep, 1}, "after-target:3": {AfterTarget, 3}, "drained:1": {Drained, 1}} {
		t.Run(spec, func(t *testing.T) {
			if err := arm(t, spec); err != nil || armed != want.name || left.Load() != want.n {
				t.Errorf("%v, armed %q, %d left", err, armed, left.Load())
			}
		})
	}
}

func TestArm_RefusesWhatWouldNeverFire(t *testing.T) {
	for _, spec := range []string{"nowhere", "nowhere:1", "assigned:0", "assigned:-1", "assigned:x", "assigned:", ":1", "backfill-step/nowhere", "backfill-step/", "assigned/held"} {
		t.Run(spec, func(t *testing.T) {
			if err := arm(t, spec); err == nil || !strings.Contains(err.Error(), spec) || armed != "" {
				t.Errorf("%v, armed %q", err, armed)
			}
		})
	}
}

func TestAll_NamesAreDistinct(t *testing.T) {
	seen := map[Name]bool{}
	for _, n := range slices.Concat(All(), Backfills()) {
		if seen[n] || n == "" {
			t.Errorf("%q twice or empty", n)
		}
		seen[n] = true
	}
}

func TestHit_IsHarmlessUntilDue(t *testing.T) {
	Hit(Assigned)
	During(Assigned)
	if err := arm(t, "assigned:3"); err != nil {
		t.Fatal(err)
	}
	Hit(Drained)
	Hit(Assigned)
	Hit(Assigned)
	if left.Load() != 1 {
		t.Errorf("%d left", left.Load())
	}
}

// childEnv says which kind of failpoint the test binary is to die at.
const childEnv = "FAILPOINT_TEST_CHILD"

func TestHit_KillsTheProcessTheNthTime(t *testing.T) {
	if kind := os.Getenv(childEnv); kind != "" {
		die(kind)
	}
	for _, kind := range []string{"hit", "during"} {
		t.Run(kind, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHit_KillsTheProcessTheNthTime$")
			cmd.Env = append(os.Environ(), childEnv+"="+kind, Env+"=assigned:2")
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				t.Fatalf("survived: %v\n%s", err, out)
			}
			if ws, ok := exit.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
				t.Errorf("ended by %v\n%s", err, out)
			}
			if got := strings.Count(string(out), "passed\n"); got != 1 {
				t.Errorf("passed %d times before, want 1\n%s", got, out)
			}
		})
	}
}

// die passes the failpoint twice; the second time is the last.
func die(kind string) {
	if err := Arm(os.Getenv); err != nil {
		panic(err)
	}
	pass := Hit
	if kind == "during" {
		pass = During
	}
	pass(Assigned)
	_, _ = os.Stdout.WriteString("passed\n")
	pass(Assigned)
	select {}
}
