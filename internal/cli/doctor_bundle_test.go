package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/waybill-data/waybill/internal/bundle"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

// unpacked are the files of an archive, in its order.
type unpacked struct {
	names []string
	text  map[string]string
}

func unpack(t *testing.T, path string) (u unpacked) {
	t.Helper()
	f, err := os.Open(path) //nolint:gosec // a file of the test
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	u.text = map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return u
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name, below := strings.CutPrefix(h.Name, bundle.Folder+"/")
		if !below || h.Mode != 0o600 || h.Typeflag != tar.TypeReg {
			t.Errorf("%+v", h)
		}
		u.names = append(u.names, name)
		u.text[name] = string(b)
	}
}

// leaks are the files that a secret is in, in whatever shape.
func (u unpacked) leaks(user, s string) (out []string) {
	for _, name := range u.names {
		if at, n := leak(u.text[name], user, s); at >= 0 {
			out = append(out, fmt.Sprintf("%s: ... %s ...", name, u.text[name][max(0, at-200):min(len(u.text[name]), at+n+100)]))
		}
	}
	return out
}

// Secrets of every kind, in each of the ways in which a file takes them, where they are kept, and events' values in each of the places that quote them: none of them is in any byte of
// an archive, made while all goes well and while nothing can be reached. Names are, which shows that it was looked in the right places.
func TestDoctorBundle_HoldsNoSecretAndNoEvent(t *testing.T) {
	secrets := map[string]string{}
	secret := func(of string) string {
		secrets[of] = "s3cr3t-" + strings.ReplaceAll(of, " ", "-") + `-Zq7/x9"'\`
		return secrets[of]
	}
	events := map[string]string{}
	event := func(of string) string {
		events[of] = "canary-" + strings.ReplaceAll(of, " ", "-") + "-Xw4"
		return events[of]
	}
	const topic, user = "calls", "clickhouse_user"
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topic), kfake.EnableSASL(), kfake.Superuser("PLAIN", "kafka-user", secret("of Kafka")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	broker := k.ListenAddrs()[0]
	// A password of a server under test cannot hold quotes: its users' file is XML.
	secrets["of ClickHouse"] = "s3cr3t-of-ClickHouse-Zq7/x9"
	srv := testenv.ClickHouse(t, func(o *chserver.Options) { o.Users = []chserver.User{{Name: user, Password: secrets["of ClickHouse"]}} })
	db := testenv.Database(t, srv)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secrets["where a password is"] = file("place-of-password", secrets["of ClickHouse"]+"\n")
	secrets["where a key is"] = file("place-of-key.pem", secret("of a key")+"\n")
	secrets["where another is"] = file("place-of-another", secret("in a file in a text"))
	t.Setenv("TEST_KAFKA", secrets["of Kafka"])
	t.Setenv("TEST_HOOK", secret("in the address of a hook"))
	t.Setenv("TEST_HASH", secret("of the hashes"))
	t.Setenv("TEST_TOPIC", topic)
	t.Setenv("TEST_CLIENT", secret("of an OAuth client"))
	t.Setenv("TEST_S3", secret("of S3"))
	text := func(kafka, server, more string) string {
		return fmt.Sprintf(`# once it was %[1]s
name: %[2]s
source: {kafka: {brokers: [%[3]q], topic: "${TEST_TOPIC}", group: %[2]s, %[4]s}}
contract:
  type_conflicts: rescue
  columns: {id: {type: UInt64, required: true}, user: {type: String}, n: {type: UInt32, default: 0}}
sink: {clickhouse: {url: %[5]q, table: calls%[6]s}}
redact: {version: 1, secret: "${TEST_HASH}", rules: [{path: mail, do: hash}]}
alerts:
  - webhook: {url: "http://127.0.0.1:1/hooks/${TEST_HOOK}", headers: {Authorization: "Bearer ${file:place-of-another}", X-Plain: '%[7]s'}}
  - slack: {url: "http://127.0.0.1:1/%[8]s"}
`, secret("in a comment"), strings.ReplaceAll(db, "_", "-"), broker, kafka, server, more, strings.ReplaceAll(secret("in a header"), "'", "''"), "services/T00/"+inAddress(secrets))
	}
	good := file("good.yaml", text(`sasl: {plain: {username: kafka-user, password: "${TEST_KAFKA}"}}`, "clickhouse://"+user+"@"+srv.TCPAddr()+"/"+db, fmt.Sprintf(", password_file: %q", secrets["where a password is"])))
	bad := file("bad.yaml", strings.Replace(text(`tls: {key_file: "`+secrets["where a key is"]+`", cert_file: cert.pem}, sasl: {oauthbearer: {client_credentials: {token_url: "http://127.0.0.1:1/token", client_id: kafka-user, client_secret: "${TEST_CLIENT}"}}}`,
		"clickhouses://"+user+":"+url.PathEscape(secrets["of ClickHouse"])+"@127.0.0.1:1/"+db, fmt.Sprintf(", tls: {cert: cert.pem, key: %q}", secrets["where a key is"])), "redact:", `archive: {s3: {endpoint: "http://127.0.0.1:1", bucket: bucket, access_key: kafka-user, secret_key: "${TEST_S3}"}}`+"\nredact:", 1))
	testenv.Exec(t, srv.HTTPAddr(), "CREATE TABLE "+db+".calls (id UInt64, user String, n UInt32, _rescued String, "+lineageColumns+") ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 10000",
		"CREATE TABLE "+db+".sums (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 10000 COMMENT 'where sums go'",
		"CREATE MATERIALIZED VIEW "+db+".summer TO "+db+".sums AS SELECT n FROM "+db+".calls WHERE user != encrypt('aes-128-ecb', 'x', '"+secretKey(secrets)+"')")

	cl, err := kgo.NewClient(kgo.SeedBrokers(k.ListenAddrs()...), kgo.DefaultProduceTopic(topic), kgo.SASL(plain.Auth{User: "kafka-user", Pass: secrets["of Kafka"]}.AsMechanism()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i := range 20 {
		err := cl.ProduceSync(t.Context(),
			kgo.StringRecord(fmt.Sprintf(`{"id":%d,"user":%q,"n":%d}`, i, event("of a row"), i)),
			kgo.StringRecord(fmt.Sprintf(`{"id":%d,"n":%q,"more":%q}`, 100+i, event("of a value that does not fit"), event("of a new field"))),
			&kgo.Record{Key: []byte(event("of a key")), Value: []byte(event("of a dead letter")), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte(event("of a header"))}}},
			kgo.StringRecord(fmt.Sprintf(`{"id":%q}`, event("of an id"))),
		).FirstErr()
		if err != nil {
			t.Fatal(err)
		}
	}
	var heard said
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		Main(ctx, []string{"run", "--listen", "127.0.0.1:0", "--log-format", "json", "--drain", "5s", good}, Streams{In: strings.NewReader(""), Out: &heard, Err: &heard})
	})
	defer func() {
		stop()
		running.Wait()
		if t.Failed() {
			t.Log(heard.String())
		}
	}()
	testenv.Eventually(t, 2*time.Minute, "all is in", func() bool {
		return testenv.QueryValue(t, srv.HTTPAddr(), "SELECT (SELECT count() FROM "+db+".calls)") == "40" && strings.Contains(heard.String(), "type_conflict") &&
			testenv.QueryValue(t, srv.HTTPAddr(), "SELECT countIf(kind = 'new_field') > 0 AND countIf(kind = 'type_conflict') > 0 FROM waybill.findings") == "1"
	})
	addr := regexp.MustCompile(`"url":"http://(127\.0\.0\.1:\d+)`).FindStringSubmatch(heard.String())
	if addr == nil {
		t.Fatal(heard.String())
	}
	testenv.Exec(t, srv.HTTPAddr(), "ALTER TABLE "+db+".calls DELETE WHERE user = '"+event("that is deleted")+"' SETTINGS mutations_sync = 2")
	// What is quoted is quoted: without this the archive might hold none of it for want of any.
	quoted := testenv.QueryValue(t, srv.HTTPAddr(), "SELECT arrayStringConcat(groupArray(message), ' ') FROM waybill.findings")
	for _, of := range []string{"of a value that does not fit", "of a new field"} {
		if !strings.Contains(quoted, events[of]) {
			t.Errorf("no finding quotes the value %s: %s", of, quoted)
		}
	}

	out := filepath.Join(dir, "good.tar.gz")
	write := func(config, out string, want int) string {
		t.Helper()
		var o, e bytes.Buffer
		code := Main(t.Context(), []string{"doctor", config, "--watch", "100ms", "--bundle", out, "--addr", addr[1]}, Streams{In: strings.NewReader(""), Out: &o, Err: &e})
		if code != want {
			t.Fatalf("exit code %d\n%s%s", code, o.String(), e.String())
		}
		return o.String() + e.String()
	}
	clean := func(u unpacked) {
		t.Helper()
		for of, s := range secrets {
			for _, found := range u.leaks(user, s) {
				t.Errorf("the secret %s is in %s", of, found)
			}
		}
		for of, s := range events {
			for _, found := range u.leaks("", s) {
				t.Errorf("what is %s is in %s", of, found)
			}
		}
	}

	said := write(good, out, ExitFindings) // dead letters
	if !strings.Contains(said, "Look before you send it") || !strings.Contains(said, "pipeline.yaml") || strings.Contains(said, "not in it") {
		t.Errorf("it says\n%s", said)
	}
	info, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %s", info.Mode())
	}
	u := unpack(t, out)
	clean(u)
	for name, words := range map[string][]string{
		"MANIFEST":                             {"all of it is here", "clickhouse/parts.jsonl"},
		"waybill.json":                         {`"go"`, `"platform"`},
		"pipeline.yaml":                        {broker, "kafka-user", "${TEST_TOPIC}", "${TEST_KAFKA}", "${file:***}", "http://127.0.0.1:1/***${TEST_HOOK}", user + "@" + srv.TCPAddr()},
		"doctor.txt":                           {"errors: "},
		"doctor.json":                          {`"causes"`},
		"check.json":                           {`"reports"`},
		"process/status.json":                  {`"type_conflict"`, `"partitions"`},
		"process/metrics.txt":                  {"waybill_pipeline_ready"},
		"waybill/ledger.jsonl":                 {`"written":40`},
		"waybill/findings.jsonl":               {`"kind":"type_conflict"`, `"message":"***"`, `"subject":"more"`},
		"waybill/generations.jsonl":            {},
		"waybill/pipelines.jsonl":              {topic},
		"waybill/plans.jsonl":                  {"UInt64"},
		"waybill/dead_letters.jsonl":           {`"letters":20`, `"stage":"decode"`},
		"clickhouse/server.jsonl":              {`"version":"`},
		"clickhouse/settings.jsonl":            {`"name":"`},
		"clickhouse/merge_tree_settings.jsonl": {},
		"clickhouse/parts.jsonl":               {`"table":"calls"`},
		"clickhouse/merges.jsonl":              {},
		"clickhouse/mutations.jsonl":           {"user = '***'"},
		"clickhouse/replicas.jsonl":            {},
		"clickhouse/tables.sql":                {"CREATE TABLE " + db + ".calls", "CREATE MATERIALIZED VIEW " + db + ".summer", "where sums go", "encrypt('***'"},
		"kafka/brokers.json":                   {`"cluster_id"`, `"host": "127.0.0.1"`},
		"kafka/topics.json":                    {`"calls"`, "retention.ms", `"stable_end"`},
		"kafka/groups.json":                    {`"waybill`, `"lag": 0`, `"offset"`},
	} {
		got, there := u.text[name]
		if !there {
			t.Errorf("%s is not there", name)
		}
		for _, w := range words {
			if !strings.Contains(got, w) {
				t.Errorf("%s lacks %q:\n%.2000s", name, w, got)
			}
		}
		if name != "MANIFEST" && !strings.Contains(u.text["MANIFEST"], "  "+name+" (") {
			t.Errorf("the manifest does not say what %s is", name)
		}
		for n, line := range strings.Split(strings.TrimSpace(got), "\n") {
			if strings.HasSuffix(name, ".jsonl") && line != "" && !json.Valid([]byte(line)) {
				t.Errorf("%s:%d is no JSON: %s", name, n+1, line)
			}
		}
		if strings.HasSuffix(name, ".json") && !json.Valid([]byte(got)) {
			t.Errorf("%s is no JSON: %s", name, got)
		}
	}
	if u.names[0] != bundle.Manifest {
		t.Errorf("the manifest is not the first file: %v", u.names)
	}

	// What is there is not overwritten, and nothing is left beside it.
	before, err := os.ReadFile(out) //nolint:gosec // a file of the test
	if err != nil {
		t.Fatal(err)
	}
	if said := write(good, out, ExitUsage); !strings.Contains(said, "is there already") {
		t.Error(said)
	}
	if after, err := os.ReadFile(out); err != nil || !bytes.Equal(before, after) { //nolint:gosec // a file of the test
		t.Error("it was overwritten")
	}
	again := filepath.Join(dir, "again.tar.gz")
	write(good, again, ExitFindings)
	if names := unpack(t, again).names; !slices.Equal(names, u.names) {
		t.Errorf("another order: %v, and %v", names, u.names)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if said := write(good, filepath.Join(dir, "no", "such.tar.gz"), ExitFatal); !strings.Contains(said, "no such file or directory") {
		t.Error(said)
	}

	// Nothing can be reached: there is an archive all the same, which says what it lacks and why.
	stop()
	running.Wait()
	poor := filepath.Join(dir, "poor.tar.gz")
	if said := write(bad, poor, ExitFindings); !strings.Contains(said, "not in it, or not whole") {
		t.Error(said)
	}
	u = unpack(t, poor)
	clean(u)
	for _, name := range []string{"process/status.json", "process/metrics.txt", "waybill/ledger.jsonl", "clickhouse/tables.sql", "clickhouse/parts.jsonl", "kafka/brokers.json", "kafka/groups.json"} {
		if _, there := u.text[name]; there || !strings.Contains(u.text["MANIFEST"], "  "+name+": ") {
			t.Errorf("%s: there: %t\n%s", name, there, u.text["MANIFEST"])
		}
	}
	for _, name := range []string{"pipeline.yaml", "doctor.txt", "check.json"} {
		if u.text[name] == "" {
			t.Errorf("%s is not there", name)
		}
	}
	for _, w := range []string{user + ":***@127.0.0.1:1", "ca", "cert.pem", "client_id: kafka-user", "${TEST_CLIENT}", "access_key: kafka-user"} {
		if !strings.Contains(u.text["pipeline.yaml"], w) {
			t.Errorf("pipeline.yaml lacks %q:\n%s", w, u.text["pipeline.yaml"])
		}
	}

	// The control: an archive that has them is seen to have them, each in each of its shapes, and a Masker that does not know them lets them through.
	blind := bundle.NewMasker(nil, nil, nil)
	for _, all := range []map[string]string{secrets, events} {
		for of, s := range all {
			for n, shape := range shapes(user, s) {
				pieces := []bundle.Piece{{Name: "a.txt", What: "a leak", Data: []byte("a " + shape + " b")}}
				bundle.Mask(pieces, blind)
				path := filepath.Join(t.TempDir(), fmt.Sprintf("leak-%d.tar.gz", n))
				if err := bundle.Write(path, bundle.Head{Pipeline: "p"}, pieces, blind); err != nil {
					t.Fatal(err)
				}
				if len(unpack(t, path).leaks(user, s)) != 1 {
					t.Errorf("the secret %s as %q would not have been seen", of, shape)
				}
			}
		}
	}
}

// inAddress is a secret that is written into an address in so many words.
func inAddress(secrets map[string]string) string {
	secrets["in an address"] = "B0000SECRETINANADDRESS"
	return secrets["in an address"]
}

// secretKey is one that stands in a view.
func secretKey(secrets map[string]string) string {
	secrets["in a view"] = "key-in-a-view-16"
	return secrets["in a view"]
}
