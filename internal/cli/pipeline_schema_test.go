package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/waybill-data/waybill/internal/config"
)

// The schema that is kept for editors is that of this reader.
func TestPipelineSchema_IsAsGenerated(t *testing.T) {
	var now bytes.Buffer
	if err := printSchema(&now); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(filepath.Join("..", "..", "docs", "reference", "pipeline-file.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(now.Bytes(), kept) {
		t.Error("docs/reference/pipeline-file.schema.json is stale: make generate")
	}
}

// What the example says of a key is what an editor shows of it.
func TestPipelineSchema_SaysWhatTheExampleSays(t *testing.T) {
	s := config.Describe()
	explain(s, nil, comments(pipelineFile))
	kafka := s.Properties["source"].Properties["kafka"]
	columns := s.Properties["contract"].Properties["columns"]
	for what, x := range map[string]struct{ got, want string }{
		"beside, on two lines":  {kafka.Properties["when_moved"].Description, "if the group's position disagrees with the ledger: ledger (go on where it ends) or stop"},
		"above":                 {s.Properties["sink"].Properties["clickhouse"].Properties["url"].Description[:36], "clickhouse:// is the native protocol"},
		"of any column":         {columns.Other().Properties["on_null"].Description, "JSON null: likewise"},
		"in a list":             {s.Properties["alerts"].Items.Properties["kinds"].Description, "default: all"},
		"not of what is behind": {s.Properties["sink"].Properties["clickhouse"].Properties["insert_deadline"].Description, "the server refuses an insert older than this"},
	} {
		if x.got != x.want {
			t.Errorf("%s: %q, want %q", what, x.got, x.want)
		}
	}
}
