package engine_test

import (
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/testenv"
)

// What the README shows is what a stranger tries first: its table and its pipeline file must fit each other.
func TestReadme_TableAndPipelineFileWork(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, 1)
	table := strings.ReplaceAll(fenced(t, string(text), "sql", "CREATE TABLE"), "ai.llm_calls", w.db+".llm_calls")
	w.exec(table)
	file := strings.NewReplacer("localhost:9092", w.kafka.ListenAddrs()[0], "topic: llm.calls", "topic: "+topic, "name: llm-calls", "name: "+w.name,
		"ingest:${CH_PASSWORD}@localhost:9000/ai", "default@"+w.ch.TCPAddr()+"/"+w.db).Replace(fenced(t, string(text), "yaml", "name:"))
	p, err := config.Parse("README.md", []byte(file), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	event := `{"trace_id":"6f1c2a34-0000-4000-8000-0123456789ab","timestamp":"2026-11-22T14:44:47.123Z","request":{"model":"m"},"usage":{"input_tokens":12},` +
		`"messages":[{"role":"user","content":"hi"}],"metadata":{"team":"search"}}`
	cl := w.client()
	defer cl.Close()
	if err := cl.ProduceSync(t.Context(), kgo.StringRecord(event)).FirstErr(); err != nil {
		t.Fatal(err)
	}
	a := w.start(p)
	testenv.Eventually(t, soon, "the row is there", func() bool {
		return w.query("SELECT any(concat(model, ' ', toString(tokens_in), ' ', prompt, ' ', attributes['team'], ' ', toString(_offset))) FROM "+w.db+".llm_calls") ==
			`m 12 [{"role":"user","content":"hi"}] search 0`
	})
	a.stop()
	if a.found("no_offset_projection") || a.found("small_window") {
		t.Error("the README's table is not what preflight asks for")
	}
}

// fenced is the first block of a language that begins with the given words.
func fenced(t *testing.T, text, language, begins string) string {
	t.Helper()
	for _, part := range strings.Split(text, "```"+language+"\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		if strings.HasPrefix(block, begins) {
			return block
		}
	}
	t.Fatalf("the README has no %s block that begins with %q", language, begins)
	return ""
}
