package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
)

func TestArchive_IsAPipelineOfItsOwn(t *testing.T) {
	file := parse(t, minimal+`
epoch: 3
filter: event.a == 1
alerts: [{webhook: {url: "http://h/"}}]
dead_letters: {max_count: 3, mirror: {topic: dead}}
delivery: at-least-once
archive: {table: kept, ttl: 365d}
`)
	got := file.Archiver()
	if got.Name != file.Name+".archive" || got.Source.Kafka.Group != file.Source.Kafka.Group+".archive" || got.Epoch != 3 || got.Sink.ClickHouse.Table != "kept" {
		t.Errorf("%s, group %s, epoch %d, table %s", got.Name, got.Source.Kafka.Group, got.Epoch, got.Sink.ClickHouse.Table)
	}
	if got.Contract.Raw == nil || got.Contract.Raw.TTL != 365*24*time.Hour || len(got.Contract.Columns) > 0 || got.Contract.Tables != contract.ModeEvolve {
		t.Errorf("contract %+v", got.Contract)
	}
	if got.Contract.Transform.Filter != "" || got.DeadLetters.MaxCount != 0 || got.DeadLetters.Mirror != "" || got.Delivery != config.ExactlyOnce || got.Archive != nil || len(got.Alerts) != 1 {
		t.Errorf("it filters by %q, has a budget of %d, %s, alerts %v", got.Contract.Transform.Filter, got.DeadLetters.MaxCount, got.Delivery, got.Alerts)
	}
	if all := config.Running([]*config.Pipeline{file}); len(all) != 2 || all[0] != file || all[1].Name != got.Name {
		t.Errorf("a process runs %v", all)
	}
	if plain := parse(t, minimal); plain.Archiver() != nil || len(config.Running([]*config.Pipeline{plain})) != 1 {
		t.Error("a file without an archive has one")
	}
}

// Whatever redaction needs comes along, and nothing else of what happens to events.
func TestArchive_Redacts(t *testing.T) {
	const version = "\nversion: {from: v, current: 2, missing: 1, upcast: [{from: 1, to: 2, steps: [{rename: {from: b, to: c}}]}]}\narchive: {table: kept}\n"
	if got := parse(t, minimal+version).Archiver().Contract.Transform; got.Version != nil {
		t.Errorf("without redaction it changes events: %+v", got)
	}
	got := parse(t, minimal+version+"redact: {version: 1, secret: 0123456789abcdef, rules: [{path: c, do: hash}]}\n").Archiver()
	if tr := got.Contract.Transform; tr.Version == nil || tr.Redact == nil || got.RedactSecret.Reveal() == "" {
		t.Errorf("%+v", tr)
	}
}

func TestArchive_RefusesWhatCannotBe(t *testing.T) {
	for _, tt := range []struct{ yaml, want string }{
		{"archive: {}", "archive names neither a table nor s3"},
		{"archive: {table: t}", "archive.table: t is where the pipeline's rows go"},
		{"archive: {table: k, ttl: 12h}", "archive.ttl"},
		{"archive: {table: a.b}", "has a dot in it"},
		{"archive: {tabel: k}", `did you mean "table"?`},
		{"archive: kept", "archive must be"},
	} {
		_, err := config.Parse("x.yaml", []byte(minimal+"\n"+tt.yaml+"\n"), func(string) (string, bool) { return "", false })
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "x.yaml:") {
			t.Errorf("%s: %v, want %q with its place", tt.yaml, err, tt.want)
		}
	}
}
