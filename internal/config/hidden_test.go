package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const secretFile = `
name: m
source: {kafka: {brokers: ["k:9092"], topic: t, sasl: %s}}
sink: {clickhouse: {url: "clickhouse://u:${A}@h/d", table: t}}
contract: {columns: {id: {type: UInt64}, a: {type: String, large: {}}}}
archive: {s3: {endpoint: "http://h:1", bucket: abc, access_key: a, secret_key: "${A}"}}
content: {s3: {endpoint: "http://h:1", bucket: abc, access_key: a, secret_key: "${A}"}}
alerts:
  - {webhook: {url: "http://h/${A}", headers: {a: "${A}"}}}
  - {slack: {url: "http://h/${A}", headers: {a: "${A}"}}}
  - {alertmanager: {url: "http://h/${A}", headers: {a: "${A}"}}}
redact: {version: 1, secret: "${A}", rules: [{path: a, do: hash}]}
`

// With a secret in every key that may hold one, and one thing after the other wrong beside it, no message has the secret in it, and nothing that is printed of a file that is right.
func TestHidden_NoMessageShowsASecret(t *testing.T) {
	const secret = "hunter2-hunter2-hunter2"
	getenv := func(string) (string, bool) { return secret, true }
	covered, files := map[string]bool{}, []any{}
	full, err := os.ReadFile(filepath.Join("..", "cli", "pipeline-file.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, asJSON(t, full))
	for _, sasl := range []string{`{plain: {username: u, password: "${A}"}}`, `{scram-sha-256: {username: u, password: "${A}"}}`, `{scram-sha-512: {username: u, password: "${A}"}}`,
		`{oauthbearer: {token: "${A}"}}`, `{oauthbearer: {client_credentials: {token_url: "https://h/t", client_id: i, client_secret: "${A}"}}}`} {
		files = append(files, asJSON(t, fmt.Appendf(nil, secretFile, sasl)))
	}
	for i, file := range files {
		secrets(Describe(), file, "", covered)
		look := func(what string) {
			text, err := json.MarshalIndent(file, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			p, err := Parse("p.yaml", text, getenv)
			shown, jsonErr := json.Marshal(err)
			if jsonErr != nil {
				t.Fatal(jsonErr)
			}
			if what == "" && err != nil {
				t.Fatalf("file %d: %v", i, err)
			}
			if out := fmt.Sprintf("%v %+v %#v %s", err, p, p, shown); strings.Contains(out, "hunter2") {
				t.Errorf("file %d, %s: shown in %s", i, what, out[max(0, strings.Index(out, "hunter2")-200):])
			}
		}
		look("")
		if i <= 1 {
			mutate(file, look)
			continue
		}
		mutate(file.(map[string]any)["source"], look) //nolint:forcetypeassert // it is a pipeline file; in the rest they are alike
	}
	for path, found := range covered {
		if !found {
			t.Errorf("%s may hold a secret, and no file of this test has one there", path)
		}
	}
}

// secrets notes which keys that may hold a secret hold a variable.
func secrets(s *Shape, node any, path string, into map[string]bool) {
	if s == nil {
		return
	}
	if s.WriteOnly {
		into[path] = into[path] || strings.Contains(fmt.Sprint(node), "${")
	}
	object, _ := node.(map[string]any)
	for key, one := range s.Properties {
		secrets(one, object[key], path+"."+key, into)
	}
	list, _ := node.([]any)
	for _, item := range append(list, nil) {
		secrets(s.Items, item, path+"[]", into)
	}
}
