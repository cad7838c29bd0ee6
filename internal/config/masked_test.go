package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// With a secret in every key that may hold one, written out and as a variable, the masked file has none of them, and Secrets has each. What is no secret stays.
func TestMasked_HasNoSecretAndKeepsTheRest(t *testing.T) {
	const secret = "hunter2-hunter2-hunter2"
	getenv := func(string) (string, bool) { return secret, true }
	for _, sasl := range []string{`{plain: {username: u, password: "${A}"}}`, `{scram-sha-256: {username: u, password: "${A}"}}`, `{oauthbearer: {token: "${A}"}}`,
		`{oauthbearer: {client_credentials: {token_url: "https://h/t", client_id: i, client_secret: "${A}"}}}`} {
		file := fmt.Sprintf(secretFile, sasl)
		for what, text := range map[string]string{"variables": file, "written out": strings.ReplaceAll(file, "${A}", secret), "in part": strings.ReplaceAll(file, "${A}", secret+"${A}")} {
			text = "# " + secret + "\n" + text
			p, err := Parse("p.yaml", []byte(text), getenv)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			masked, err := p.Masked()
			if err != nil || strings.Contains(masked, "hunter2") {
				t.Errorf("%s: %v\n%s", what, err, masked)
			}
			for _, want := range []string{"k:9092", "topic: t", "clickhouse://u:", "@h/d", "table: t", "access_key: a", "http://h/***"} {
				if want == "http://h/***" && what == "variables" {
					want = "http://h/${A}"
				}
				if !strings.Contains(masked, want) {
					t.Errorf("%s: %q is not in\n%s", what, want, masked)
				}
			}
			if strings.Contains(masked, "${A}") != (what != "written out") {
				t.Errorf("%s:\n%s", what, masked)
			}
			// It is a file that can be read, if somebody gives it secrets.
			if _, err := Parse("masked.yaml", []byte(strings.ReplaceAll(masked, redacted, strings.Repeat("x", 20))), getenv); err != nil {
				t.Errorf("%s: %v\n%s", what, err, masked)
			}
			if !slices.ContainsFunc(p.Secrets(), func(s string) bool { return strings.Contains(s, secret) }) {
				t.Errorf("%s: not among the secrets: %q", what, p.Secrets())
			}
		}
	}
}

// Every key that may hold a secret is masked, and every key that names a file is either known to name a secret's or known not to: a new one has to be told which.
func TestMasked_KnowsEveryKey(t *testing.T) {
	shown := []string{
		"source.kafka.tls.ca_file", "source.kafka.tls.cert_file",
		"source.kafka.sasl.oauthbearer.client_credentials.ca_file",
	}
	var hidden, seen []string
	var walk func(s *Shape, path string)
	walk = func(s *Shape, path string) {
		if s == nil {
			return
		}
		for key, one := range s.Properties {
			walk(one, join(path, key))
		}
		walk(s.Items, path+"[]")
		for _, one := range s.AnyOf {
			walk(one, path)
		}
		switch key := path[strings.LastIndex(path, ".")+1:]; {
		case namesSecretFile(path):
			hidden = append(hidden, path)
		case slices.Contains(shown, path):
			seen = append(seen, path)
		case strings.HasSuffix(key, "_file") || key == "file" || strings.Contains(path, ".tls.") && !slices.Contains([]string{"server_name", "ca", "cert"}, key) || strings.Contains(key, "password") || strings.Contains(key, "secret") || strings.Contains(key, "token"):
			if !s.WriteOnly && !slices.Contains([]string{"source.kafka.sasl.oauthbearer.client_credentials.token_url"}, path) {
				t.Errorf("%s: does it hold a secret, name a file that does, or neither?", path)
			}
		}
	}
	walk(Describe(), "")
	if len(hidden) < 7 || len(seen) != len(shown) {
		t.Errorf("hidden: %v\nshown: %v", hidden, seen)
	}
}

// What files hold and where they are is secret; names and hosts that come from variables are not.
func TestSecrets_FilesAndNames(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	password, key, aws := put("pw", "of-a-file\n"), put("key.pem", "-----BEGIN KEY-----\nbGluZSBvZiBhIGtleQ==\n-----END KEY-----\n"), put("in-text", "of-a-text")
	env := map[string]string{"TOPIC": "events", "HOST": "kafka-1", "ROWS": "10m", "HOOK": "1234", "PW": "events", "LABEL": "team-blue"}
	p, err := Parse(filepath.Join(dir, "p.yaml"), fmt.Appendf(nil, `
name: m
source: {kafka: {brokers: ["${HOST}:9092"], topic: "${TOPIC}", tls: {cert_file: c.pem, key_file: %q}, sasl: {plain: {username: u, password_file: %q}}}}
sink: {clickhouse: {url: "clickhouse://u:${PW}@h/d", table: t}}
contract: {columns: {id: {type: UInt64}}}
allowed_lateness: "${ROWS}"
alerts: [{alertmanager: {url: "http://h/${HOOK}", headers: {Authorization: "Bearer ${file:%s}"}, labels: {team: "${LABEL}"}}}]
`, key, password, aws), func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	got := p.Secrets()
	for _, want := range []string{"of-a-file", password, key, aws, "of-a-text", "Bearer of-a-text", "bGluZSBvZiBhIGtleQ==", "1234", "events", "team-blue"} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is not among the secrets: %q", want, got)
		}
	}
	for _, name := range []string{"kafka-1", "10m", "u", "h", "c.pem", ""} {
		if slices.Contains(got, name) {
			t.Errorf("%q is among the secrets", name)
		}
	}
}
