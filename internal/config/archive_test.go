package config_test

import (
	"reflect"
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

const s3 = "{endpoint: 'https://h:9000', bucket: my-bucket, prefix: a/b, access_key: key, secret_key: secret-secret, object_bytes: 8MiB, object_age: 2m}"

func TestArchive_OfObjects(t *testing.T) {
	file := parse(t, minimal+"\narchive: {s3: "+s3+"}\n")
	got := file.Archiver()
	want := config.S3{Endpoint: "https://h:9000", Bucket: "my-bucket", Prefix: "a/b/", Region: "us-east-1", AccessKey: "key", PathStyle: true, Bytes: 8 << 20, Age: 2 * time.Minute}
	have := *got.Sink.Objects
	if have.SecretKey.Reveal() != "secret-secret" {
		t.Error("the secret is another one")
	}
	if have.SecretKey = (config.Secret{}); !reflect.DeepEqual(have, want) {
		t.Errorf("%+v", have)
	}
	if got.Batch.Bytes != 8<<20 || got.Batch.Age != 2*time.Minute || got.Sink.ClickHouse.Place() != "s3://h:9000/my-bucket/a/b" || got.Audit.Continuous {
		t.Errorf("batch %+v, place %s, audit %+v", got.Batch, got.Sink.ClickHouse.Place(), got.Audit)
	}
}

func TestArchive_RefusesWhatCannotBe(t *testing.T) {
	for _, tt := range []struct{ yaml, want string }{
		{"archive: {}", "archive names neither a table nor s3"},
		{"archive: {table: k, s3: " + s3 + "}", "archive names a table and s3"},
		{"archive: {ttl: 3d, s3: " + s3 + "}", "archive.ttl is about a table"},
		{"archive: {s3: {endpoint: 'http://h', access_key: a, secret_key: b}}", "archive.s3.bucket is missing"},
		{"archive: {s3: {endpoint: 'ftp://h', bucket: bbb, access_key: a, secret_key: b}}", "archive.s3.endpoint is not a URL of http or https"},
		{"archive: {s3: {endpoint: 'http://h/path', bucket: bbb, access_key: a, secret_key: b}}", "archive.s3.endpoint has more in it than a host"},
		{"archive: {s3: {endpoint: 'http://h', bucket: B, access_key: a, secret_key: b}}", "is not a bucket's name"},
		{"archive: {s3: {endpoint: 'http://h', bucket: bbb, prefix: a/../b, access_key: a, secret_key: b}}", "is no beginning of an object's name"},
		{"archive: {s3: {endpoint: 'http://h', bucket: bbb, access_key: a, secret_key: ''}}", "archive.s3.secret_key must not be empty"},
		{"archive: {s3: {endpoint: 'http://h', bucket: bbb, access_key: a, secret_key: '${NOT_SET}'}}", "NOT_SET is not set"},
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
