package guide

import (
	"flag"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/waybill-data/waybill/internal/testenv"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(exit{m}, goleak.IgnoreTopFunction("os/exec.(*Cmd).Wait"))
}

// exit lets testenv stop its shared servers before goroutines are counted.
type exit struct{ m *testing.M }

func (e exit) Run() int { return testenv.Run(e.m) }

var update = flag.Bool("update", false, "write into the pages what was printed")

// TestGuide runs every page of the guide as it reads.
func TestGuide(t *testing.T) {
	paths, err := filepath.Glob("../../docs/guide/*.md")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d pages: %v", len(paths), err)
	}
	for _, path := range paths {
		path, err := filepath.Abs(path) // pages run in directories of their own
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			p, err := readPage(path)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.blocks) == 0 {
				return
			}
			r := newRunner(t, p)
			r.update = *update
			if err := r.run(); err != nil {
				t.Error(err)
			}
			if *update {
				if err := p.save(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
