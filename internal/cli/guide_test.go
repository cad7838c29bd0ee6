package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The example in the guide does what the guide says.
func TestGuide_PlanAndTest(t *testing.T) {
	guide, err := os.ReadFile("../../docs/guide/plan-and-test.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```(yaml|json)\n(.*?)```").FindAllSubmatch(guide, -1)
	if len(blocks) != 3 {
		t.Fatalf("%d blocks of YAML and JSON, want 3", len(blocks))
	}
	dir := t.TempDir()
	names := []string{"calls.yaml", "events.ndjson", "rows.ndjson"}
	for i, name := range names {
		names[i] = filepath.Join(dir, name)
		if err := os.WriteFile(names[i], blocks[i][2], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want int) string {
		var o, e bytes.Buffer
		code := Main(context.Background(), []string{"test", names[0], "--events", names[1], "--golden", names[2]}, Streams{In: strings.NewReader(""), Out: &o, Err: &e})
		if code != want {
			t.Errorf("exit code %d, want %d\n%s%s", code, want, o.String(), e.String())
		}
		return strings.ReplaceAll(o.String(), dir+string(filepath.Separator), "")
	}
	if out := check(ExitOK); out != "" {
		t.Error(out)
	}
	wider := bytes.Replace(blocks[0][2], []byte("tokens: {type: UInt32"), []byte("tokens: {type: Int32"), 1)
	if err := os.WriteFile(names[0], wider, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := check(ExitFindings); !strings.Contains(out, "rows.ndjson line 3: row.tokens: want 0, got -1\n") || !bytes.Contains(guide, []byte("rows.ndjson line 3: row.tokens: want 0, got -1\n")) {
		t.Error(out)
	}
}
