package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

// said gathers what a process says.
type said struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

// Secrets of every kind that a pipeline file takes, in each of the ways, while all goes well and while everything that they are for refuses them: none of
// them is in the logs at their most talkative, in what is served over HTTP, in what any command prints, or in Waybill's tables. Names of users are, which
// shows that it was looked in the right places.
func TestSecrets_AreInNothingThatIsSaid(t *testing.T) {
	secrets := map[string]string{}
	secret := func(of string) string {
		secrets[of] = "s3cr3t-" + strings.ReplaceAll(of, " ", "-") + "-Zq7/x9" // what is escaped in a URL is a secret in either shape
		return secrets[of]
	}
	const topic = "calls"
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topic), kfake.EnableSASL(), kfake.Superuser("PLAIN", "kafka-user", secret("of Kafka")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	const user = "clickhouse_user"
	srv := testenv.ClickHouse(t, func(o *chserver.Options) { o.Users = []chserver.User{{Name: user, Password: secret("of ClickHouse")}} })
	db := testenv.Database(t, srv)
	exec := func(sql ...string) { t.Helper(); testenv.Exec(t, srv.HTTPAddr(), sql...) }
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no such hook", http.StatusForbidden) }))
	t.Cleanup(refuses.Close)

	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	kafkaFile := file("kafka-password", secrets["of Kafka"]+"\n")
	clickhouseFile := file("clickhouse-password", secrets["of ClickHouse"]+"\n")
	t.Setenv("TEST_HOOK", secret("in the address of a hook"))
	t.Setenv("TEST_BEARER", secret("in a header"))
	t.Setenv("TEST_HASH", secret("of the hashes"))
	plainAs := func(password string) string { return "sasl: {plain: {username: kafka-user, " + password + "}}" }
	pipeline := func(name, kafkaAs, url, more, top string) string {
		return file(name+".yaml", fmt.Sprintf(`name: %[1]s-%[2]s
source: {kafka: {brokers: [%[3]q], topic: %[4]s, group: %[1]s-%[2]s, %[5]s}}
contract: {columns: {id: {type: UInt64, required: true}, user: {type: String}}}
sink: {clickhouse: {url: %[6]q, table: %[7]s%[8]s}}
redact: {version: 1, secret: "${TEST_HASH}", rules: [{path: user, do: hash}]}
alerts:
  - webhook: {url: "%[9]s/${TEST_HOOK}", headers: {Authorization: "Bearer ${TEST_BEARER}"}}
    severity: info
  - slack: {url: "http://127.0.0.1:1/${TEST_HOOK}"}
    severity: info
%[10]s`, name, strings.ReplaceAll(db, "_", "-"), k.ListenAddrs()[0], topic, kafkaAs, url, name, more, refuses.URL, top))
	}
	t.Setenv("TEST_KAFKA", secrets["of Kafka"])
	t.Setenv("TEST_CLICKHOUSE", secrets["of ClickHouse"])
	t.Setenv("TEST_CLIENT", secret("of an OAuth client"))
	t.Setenv("TEST_S3", secret("of S3"))
	native := "clickhouse://" + user + ":${TEST_CLICKHOUSE}@" + srv.TCPAddr() + "/" + db
	good := []string{
		pipeline("env", plainAs(`password: "${TEST_KAFKA}"`), native, "", ""),
		pipeline("files", plainAs(fmt.Sprintf("password_file: %q", kafkaFile)), "http://"+user+"@"+srv.HTTPAddr()+"/"+db, fmt.Sprintf(", password_file: %q", clickhouseFile), ""),
		pipeline("texts", plainAs(fmt.Sprintf("password: \"${file:%s}\"", kafkaFile)), "http://"+user+":${TEST_CLICKHOUSE}@"+srv.HTTPAddr()+"/"+db, "", ""),
	}
	bad := []string{
		pipeline("oauth", `sasl: {oauthbearer: {client_credentials: {token_url: "http://127.0.0.1:1/token", client_id: kafka-user, client_secret: "${TEST_CLIENT}"}}}`, native, "", ""),
		pipeline("objects", plainAs(`password: "${TEST_KAFKA}"`), native, "", "archive: {s3: {endpoint: \"http://127.0.0.1:1\", bucket: bucket, access_key: kafka-user, secret_key: \"${TEST_S3}\"}}\n"),
	}
	for _, name := range []string{"env", "files", "texts", "oauth", "objects"} {
		exec("CREATE TABLE " + db + "." + name + " (id UInt64, user String, _rescued String, " + lineageColumns + ") ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 10000")
	}

	heard := &said{}
	t.Cleanup(func() {
		if dir := os.Getenv("WAYBILL_SECRETS_HEARD"); dir != "" { // for who wants to read it
			_ = os.WriteFile(filepath.Join(dir, "heard.txt"), []byte(heard.String()), 0o600)
		}
	})
	ask := func(args ...string) {
		_, _ = fmt.Fprintf(heard, "\n$ waybill %s\n", strings.Join(args, " "))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		code := Main(ctx, args, Streams{In: strings.NewReader(""), Out: heard, Err: heard})
		_, _ = fmt.Fprintf(heard, "exit status %d\n", code)
	}
	commands := func(path string) {
		for _, args := range [][]string{{"validate"}, {"plan"}, {"check"}, {"audit"}, {"dlq", "list"}, {"schema", "show"}, {"completeness"}, {"findings"}, {"receipt"}, {"backfill", "plan", "--scope", "all"}} {
			ask(append(args, path)...)
		}
		ask("check", "-o", "json", path)
		ask("plan", "-o", "json", path)
	}
	start := func(paths ...string) (get func(path string) string, stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() {
			args := append([]string{"run", "--listen", "127.0.0.1:0", "--log-format", "json", "--log-level", "debug", "--drain", "5s"}, paths...)
			Main(ctx, args, Streams{In: strings.NewReader(""), Out: heard, Err: heard})
		})
		get = func(path string) string {
			at := regexp.MustCompile(`"url":"http://(127\.0\.0\.1:\d+)`).FindAllStringSubmatch(heard.String(), -1)
			if at == nil {
				return ""
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at[len(at)-1][1]+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return ""
			}
			defer func() { _ = resp.Body.Close() }()
			b, _ := io.ReadAll(resp.Body)
			_, _ = heard.Write(b)
			return string(b)
		}
		return get, func() { cancel(); done.Wait() }
	}

	cl, err := kgo.NewClient(kgo.SeedBrokers(k.ListenAddrs()...), kgo.DefaultProduceTopic(topic), kgo.SASL(plain.Auth{User: "kafka-user", Pass: secrets["of Kafka"]}.AsMechanism()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i := range 50 {
		if err := cl.ProduceSync(t.Context(), kgo.StringRecord(fmt.Sprintf(`{"id":%d,"user":"u","more":%d}`, i, i)), kgo.StringRecord("garbage")).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	get, stop := start(append(slices.Clone(good), bad...)...)
	testenv.Eventually(t, time.Minute, "the rows are in, and the hooks have refused", func() bool {
		return testenv.QueryValue(t, srv.HTTPAddr(), "SELECT (SELECT count() FROM "+db+".env) + (SELECT count() FROM "+db+".files) + (SELECT count() FROM "+db+".texts)") == "150" &&
			strings.Contains(heard.String(), `"receiver":"slack-2"`) && strings.Contains(heard.String(), `"receiver":"webhook-1"`)
	})
	for _, path := range append(slices.Clone(good), bad...) {
		commands(path)
	}
	get("/metrics")
	get("/status")
	stop()
	// All that they are for refuses them. One that is wrong is a secret too: it may be right elsewhere.
	k.ControlKey(kmsg.SASLAuthenticate.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		k.KeepControl()
		req, _ := r.(*kmsg.SASLAuthenticateRequest)
		resp, _ := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return resp, nil, true
	})
	refused := func(code, env, path, value string) {
		t.Helper()
		was, err := os.ReadFile(path) //nolint:gosec // a file of the test
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(env, value)
		file(filepath.Base(path), value)
		before := strings.Count(heard.String(), code)
		_, stop := start(good...)
		testenv.Eventually(t, time.Minute, code+" is heard of each pipeline", func() bool { return strings.Count(heard.String(), code) >= before+len(good) })
		for _, path := range good {
			ask("check", path)
			ask("plan", path)
			ask("audit", path)
		}
		stop()
		t.Setenv(env, strings.TrimSpace(string(was)))
		file(filepath.Base(path), string(was))
	}
	refused("AUTHENTICATION_FAILED (516)", "TEST_CLICKHOUSE", clickhouseFile, secret("that is wrong of ClickHouse"))
	refused("SASL_AUTHENTICATION_FAILED", "TEST_KAFKA", kafkaFile, secret("that is wrong of Kafka"))

	tables := strings.Fields(testenv.QueryValue(t, srv.HTTPAddr(), "SELECT arrayStringConcat(groupArray(name), ' ') FROM system.tables WHERE database = 'waybill'"))
	if len(tables) < 10 {
		t.Fatalf("Waybill's tables: %v", tables)
	}
	for _, table := range tables {
		text, err := testenv.Query(srv.HTTPAddr(), "SELECT * FROM waybill."+table+" FORMAT JSONEachRow")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(heard, text)
	}
	all := heard.String()
	for _, name := range []string{user, "garbage", `"receiver":"slack-2"`, `"receiver":"webhook-1"`} {
		if !strings.Contains(all, name) {
			t.Errorf("%q, which is no secret, was never said: it was not looked in the right places", name)
		}
	}
	for of, s := range secrets {
		if at, n := leak(all, user, s); at >= 0 {
			t.Errorf("the secret %s is in what was said: ... %s ...", of, all[max(0, at-200):min(len(all), at+n+100)])
		}
		for _, shape := range shapes(user, s) {
			if at, _ := leak("a "+shape+" b", user, s); at < 0 {
				t.Errorf("the secret %s as %q would not have been seen", of, shape)
			}
		}
	}
}

// shapes are how a secret may look: as it is, in a URL, and as an Authorization header has it.
func shapes(user, s string) []string {
	return []string{s, url.QueryEscape(s), url.PathEscape(s), base64.StdEncoding.EncodeToString([]byte(s)), base64.StdEncoding.EncodeToString([]byte(user + ":" + s))}
}

// leak is where in a text the secret is, and how long; -1 if it is not.
func leak(text, user, s string) (at, n int) {
	for _, shape := range shapes(user, s) {
		if at := strings.Index(text, shape); at >= 0 {
			return at, len(shape)
		}
	}
	return -1, 0
}

const lineageColumns = "_topic LowCardinality(String), _partition UInt32, _offset UInt64, _epoch UInt32"
