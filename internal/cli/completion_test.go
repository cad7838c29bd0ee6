package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// offered is what a shell would offer for a command line that ends in what was begun.
func offered(t *testing.T, line ...string) string {
	t.Helper()
	var o bytes.Buffer
	if code := Main(t.Context(), append([]string{"__complete"}, line...), Streams{In: strings.NewReader(""), Out: &o, Err: &bytes.Buffer{}}); code != ExitOK {
		t.Fatalf("%v: exit code %d", line, code)
	}
	return o.String()
}

func TestCompletion(t *testing.T) {
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "llm.calls", "llm.scores", "orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	for _, c := range []struct {
		line []string
		want string // with the directive that ends it
	}{
		{[]string{"run", ""}, "yaml\nyml\n:8\n"}, // files by their extension
		{[]string{"audit", "x", "--output", "j"}, "json\n:4\n"},
		{[]string{"findings", "x", "--kind", "group_a"}, "group_adopted\n:4\n"},
		{[]string{"init", "--template", "tok"}, "token-costs\ttokens by kind, and what they cost by the prices of their time\n:4\n"},
		{[]string{"init", "--brokers", k.ListenAddrs()[0], "--topic", "llm"}, "llm.calls\nllm.scores\n:4\n"},
		{[]string{"init", "--brokers", "127.0.0.1:1", "--topic", ""}, ":4\n"},
		{[]string{"doc"}, "doctor\tSay why a pipeline does not move, or does not look right\n:4\n"},
	} {
		if got := offered(t, c.line...); got != c.want {
			t.Errorf("%v: %q, want %q", c.line, got, c.want)
		}
	}
}

// A page for each command that is shown, with its flags.
func TestMan(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	if code := Main(t.Context(), []string{"man", dir}, Streams{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}); code != ExitOK {
		t.Fatalf("exit code %d", code)
	}
	for page, want := range map[string]string{"waybill.1": "pipeline-file", "waybill-run.1": "--memory", "waybill-backfill-promote.1": "places", "waybill-init.1": "--adopt-group"} {
		text, err := os.ReadFile(filepath.Join(dir, page))
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s does not say %q: %v", page, want, err)
		}
	}
}
