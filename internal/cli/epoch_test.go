package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/waybill-data/waybill/internal/ledger"
)

// Every command that asks for what is on record asks for the epoch that the table is of.
func TestCommands_AskForTheEpochOfTheTable(t *testing.T) {
	w := newSchemaWorld(t)
	if err := w.store.Migrate(t.Context(), schemaNow); err != nil {
		t.Fatal(err)
	}
	w.record(schemaNow)
	id, err := w.client.TableUUID(t.Context(), w.db, "calls")
	if err != nil {
		t.Fatal(err)
	}
	epochs := func(want float64) {
		t.Helper()
		for _, command := range [][]string{
			{"audit", w.file, "--without-kafka"}, {"completeness", w.file}, {"receipt", w.file}, {"dlq", "list", w.file}, {"dlq", "groups", w.file},
			{"schema", "history", w.file}, {"schema", "drift", w.file},
		} {
			var o, e bytes.Buffer
			Main(context.Background(), append(command, "-o", "json"), Streams{In: strings.NewReader(""), Out: &o, Err: &e})
			var out map[string]any
			if err := json.Unmarshal(o.Bytes(), &out); err != nil {
				t.Errorf("%v: %v\n%s%s", command, err, o.String(), e.String())
				continue
			}
			if inner, ok := out["receipt"].(map[string]any); ok {
				out = inner
			}
			if out["epoch"] != want {
				t.Errorf("%v is about epoch %v, want %v", command, out["epoch"], want)
			}
		}
	}
	epochs(0)
	if err := w.store.PutGeneration(t.Context(), ledger.Generation{Pipeline: w.name, Table: id, Epoch: 3, Job: "j"}); err != nil {
		t.Fatal(err)
	}
	epochs(3)
	text, err := os.ReadFile(w.file)
	if err != nil {
		t.Fatal(err)
	}
	w.write("epoch: 3\n" + string(text)) // one that is taken
	var o, e bytes.Buffer
	if code := Main(context.Background(), []string{"dlq", "list", w.file}, Streams{In: strings.NewReader(""), Out: &o, Err: &e}); code == ExitOK || !strings.Contains(e.String(), "raise `epoch` to 4") {
		t.Errorf("exit code %d: %s", code, e.String())
	}
}
