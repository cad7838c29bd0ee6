package config_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
)

// withLarge is minimal, with a column that has long values.
func withLarge(large string) string {
	return strings.Replace(minimal, "{id: {type: UInt64}}", "{id: {type: UInt64}, a: {type: String, large: "+large+"}}", 1)
}

func TestContent_FillsDefaults(t *testing.T) {
	for _, c := range []struct {
		large string
		want  contract.Large
	}{
		{"{}", contract.Large{Inline: 8 << 10, Preview: 200, Ref: "a_ref", Bytes: "a_bytes"}},
		{"{inline: 100B}", contract.Large{Inline: 100, Preview: 100, Ref: "a_ref", Bytes: "a_bytes"}},
		{"{inline: 1MiB, preview: 0, ref: name, bytes: length}", contract.Large{Inline: 1 << 20, Ref: "name", Bytes: "length"}},
	} {
		p := parse(t, withLarge(c.large)+"content: {table: kept}\n")
		if got := p.Contract.Columns[1].Large; !reflect.DeepEqual(*got, c.want) || p.Content.Table != "kept" {
			t.Errorf("%s: %+v in %+v", c.large, *got, p.Content)
		}
		if shadow := p.Shadow(config.Shadow{Job: "j", Epoch: 1, Group: "g", Table: "s"}); !reflect.DeepEqual(shadow.Content, p.Content) {
			t.Error("a backfill keeps long values elsewhere")
		}
	}
	p := parse(t, withLarge("{}")+"content: {s3: {endpoint: 'https://h', bucket: bbb, prefix: a, access_key: k, secret_key: s}}\narchive: {table: kept}\n")
	if p.Content.S3.Place() != "s3://h/bbb/a" || p.Archiver().Content != nil {
		t.Errorf("%+v; of the archive %+v", p.Content.S3, p.Archiver().Content)
	}
}

func TestContent_RefusesWhatCannotBe(t *testing.T) {
	for _, tt := range []struct{ yaml, want string }{
		{withLarge("{}"), "column a has long values kept elsewhere, and nothing says where"},
		{minimal + "content: {table: k}", "content says where long values are kept, and no column has any"},
		{withLarge("{}") + "content: {}", "content names neither a table nor s3"},
		{withLarge("{}") + "content: {table: k, s3: {endpoint: 'http://h', bucket: bbb, access_key: a, secret_key: b}}", "content names a table and s3"},
		{withLarge("{}") + "content: {table: t}", "content.table: t is where the pipeline's rows go"},
		{withLarge("{}") + "content: {table: k}\narchive: {table: k}", "content.table: k is the archive's"},
		{withLarge("{}") + "content: {s3: {endpoint: 'http://h', bucket: bbb, access_key: a, secret_key: b, object_age: 1m}}", "object_age"},
		{withLarge("{inline: 8KiB, preview: 9KiB}") + "content: {table: k}", "the preview of 9216 bytes is longer than what stays in the row, 8192"},
		{withLarge("{inline: 1B}") + "content: {table: k}", "is outside of 64B to 64MiB"},
		{withLarge("{ref: id}") + "content: {table: k}", "there is another column id already"},
		{strings.Replace(withLarge("{}"), "type: String", "type: UInt64", 1) + "content: {table: k}", "large: only for a column of String"},
		{withLarge("{size: 3}") + "content: {table: k}", `unknown key "size" (known here: inline, preview, ref, bytes)`},
	} {
		_, err := config.Parse("x.yaml", []byte(tt.yaml+"\n"), func(string) (string, bool) { return "", false })
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "x.yaml:") {
			t.Errorf("%s: %v, want %q with its place", tt.yaml, err, tt.want)
		}
	}
}
