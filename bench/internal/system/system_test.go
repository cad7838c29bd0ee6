package system

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestProcess_CostIsTheChilds(t *testing.T) {
	p, err := Start("spinner", exec.Command("sh", "-c", `trap 'exit 0' TERM; i=0; while :; do i=$((i+1)); done`))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	deadline := time.Now().Add(30 * time.Second)
	var seen time.Duration
	for seen < 300*time.Millisecond {
		if seen, err = CPU(p.PID()); err != nil || time.Now().After(deadline) {
			t.Fatalf("CPU %s, %v", seen, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	rss, err := PeakRSS(p.PID())
	if err != nil || rss < 100<<10 || rss > 50<<20 {
		t.Errorf("a shell has %d bytes resident, %v", rss, err)
	}
	cpu, err := p.Stop(t.Context())
	if err != nil || cpu < seen || cpu > seen+5*time.Second {
		t.Errorf("%s in all, %s before the stop, %v", cpu, seen, err)
	}
}

func TestProcess_FailuresSayWhatItSaid(t *testing.T) {
	p, err := Start("failer", exec.Command("sh", "-c", "echo no such topic; exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	err = p.Ended()
	if !strings.Contains(err.Error(), "no such topic") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v", err)
	}
	if _, err := p.Stop(t.Context()); err == nil {
		t.Error("it cannot be stopped any more")
	}
}

func TestMachine(t *testing.T) {
	if CPUModel() == "unknown" || Memory() == 0 || Load() < 0 {
		t.Errorf("%q, %d GiB, load %g", CPUModel(), Memory(), Load())
	}
	if _, err := CPU(os.Getpid()); err != nil {
		t.Error(err)
	}
}
