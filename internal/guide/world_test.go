package guide

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill/internal/cli"
	"github.com/waybill-data/waybill/internal/kafka/auth"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/pki"
)

const topic = "llm.calls"

// patience is how long a page waits for what should come.
const patience = 60 * time.Second

// world is what a page runs in: a directory, a broker and a server.
type world struct {
	broker   *kfake.Cluster
	producer *kgo.Client
	http     string // of the server
	outside  *strings.Replacer
	inside   *strings.Replacer

	pipelines map[string][]string // of the last run, by topic
	worker    *process
}

// securedPage is the page whose broker is reached over TLS, with an authority whose certificate is in ca.pem, by a user with a password.
const securedPage = "kafka-auth"

func newWorld(t *testing.T, page string) *world {
	t.Helper()
	srv, s3 := testenv.SharedClickHouse(t), bucket(t) // found from where the test begins
	t.Chdir(t.TempDir())
	opts, clientOpts := []kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(1, topic), kfake.AllowAutoTopicCreation(), kfake.DefaultNumPartitions(1)}, []kgo.Opt{kgo.AllowAutoTopicCreation()}
	if page == securedPage {
		more, its := secured(t)
		opts, clientOpts = append(opts, more...), append(clientOpts, its...)
	}
	broker, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	at := broker.ListenAddrs()[0]
	producer, err := kgo.NewClient(append(clientOpts, kgo.SeedBrokers(at))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(producer.Close)
	testenv.Exec(t, srv.HTTPAddr(), "DROP DATABASE IF EXISTS ai SYNC", "DROP DATABASE IF EXISTS waybill SYNC", "CREATE DATABASE ai ENGINE = Atomic")
	w := &world{broker: broker, producer: producer, http: srv.HTTPAddr()}
	hook := httptest.NewServer(http.HandlerFunc(receive))
	t.Cleanup(hook.Close)
	w.inside = strings.NewReplacer("localhost:7070", s3, "localhost:9092", local(at), "localhost:9000", local(srv.TCPAddr()), "localhost:8123", local(srv.HTTPAddr()),
		"localhost:8080", local(hook.Listener.Addr().String()))
	w.outside = strings.NewReplacer(s3, "localhost:7070", at, "localhost:9092", local(at), "localhost:9092", srv.TCPAddr(), "localhost:9000", local(srv.TCPAddr()), "localhost:9000")
	t.Cleanup(func() {
		if w.worker != nil {
			w.worker.interrupt()
		}
	})
	return w
}

// bucket is the address of storage that speaks S3, with a bucket llm-archive.
func bucket(t *testing.T) string {
	t.Helper()
	s3 := testenv.SharedS3(t)
	client, err := s3.Client()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.MakeBucket(t.Context(), "llm-archive", minio.MakeBucketOptions{}); err != nil && minio.ToErrorResponse(err).Code != minio.BucketAlreadyOwnedByYou {
		t.Fatal(err)
	}
	return local(strings.TrimPrefix(s3.URL(), "http://"))
}

// secured are the options of a broker that has TLS and SCRAM, and of clients that know it.
func secured(t *testing.T) ([]kfake.Opt, []kgo.Opt) {
	t.Helper()
	ca := pki.New(t, ".", "ca")
	own := ca.Issue("broker", nil)
	pair, err := tls.LoadX509KeyPair(own.Cert, own.Key)
	if err != nil {
		t.Fatal(err)
	}
	client, err := auth.TLS{CAFile: ca.File}.Config()
	if err != nil {
		t.Fatal(err)
	}
	return []kfake.Opt{kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "waybill", "s3cret")},
		[]kgo.Opt{kgo.DialTLSConfig(client), kgo.SASL(auth.Scram("waybill", auth.Fixed("s3cret"), auth.ScramSHA512))}
}

// receive is a web server that puts each body that it is sent at /NAME into the file NAME.ndjson, as a line.
func receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = appendTo(filepath.Base(r.URL.Path)+".ndjson", append(body, '\n'))
	}
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

func appendTo(file string, line []byte) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(line)
	return errors.Join(err, f.Close())
}

// sql sends one statement and returns the answer as clickhouse-client shows it.
func (w *world) sql(statement string) (string, error) {
	settings := url.Values{"default_format": {"PrettyCompactMonoBlock"}, "output_format_pretty_row_numbers": {"0"}, "output_format_pretty_color": {"0"},
		"output_format_pretty_single_large_number_tip_threshold": {"0"},
		"output_format_pretty_named_tuples_as_json":              {"0"}}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post("http://"+w.http+"/?"+settings.Encode(), "text/plain", strings.NewReader(statement))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(strings.TrimSpace(string(body)))
	}
	return string(body), err
}

// record is how `waybill test --records` writes one.
type record struct {
	Value     json.RawMessage
	Key       json.RawMessage
	Headers   map[string]json.RawMessage
	Timestamp string
}

// produce puts a record into the topic.
func (w *world) produce(topic, line string, whole bool) error {
	r := &kgo.Record{Topic: topic, Value: []byte(line)}
	if whole {
		var in record
		dec := json.NewDecoder(strings.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&in); err != nil {
			return err
		}
		r.Value, r.Key = bytesOf(in.Value), bytesOf(in.Key)
		for name, value := range in.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: bytesOf(value)})
		}
		if in.Timestamp != "" {
			at, err := time.Parse(time.RFC3339, in.Timestamp)
			if err != nil {
				return err
			}
			r.Timestamp = at
		}
	}
	return w.producer.ProduceSync(context.Background(), r).FirstErr()
}

// bytesOf is what a JSON text stands for: a string for its bytes, null for none, anything else for itself.
func bytesOf(text json.RawMessage) []byte {
	var s string
	switch {
	case text == nil || string(text) == "null":
		return nil
	case json.Unmarshal(text, &s) == nil:
		return []byte(s)
	}
	return text
}

// settled waits until the ledger accounts for every record of the topics, or the worker has ended.
func (w *world) settled(p *process) error {
	for topic, pipelines := range w.pipelines {
		if err := w.settledOf(p, topic, pipelines); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) settledOf(p *process, topic string, pipelines []string) error {
	ends, err := kadm.NewClient(w.producer).ListEndOffsets(context.Background(), topic)
	if err != nil {
		return err
	}
	end, _ := ends.Lookup(topic, 0)
	if end.Offset == 0 {
		return nil
	}
	query := fmt.Sprintf("SELECT min(n) FROM (SELECT max(next) AS n FROM waybill.ledger WHERE pipeline IN ('%s') AND topic = '%s' GROUP BY pipeline) HAVING count() = %d FORMAT TSV",
		strings.Join(pipelines, "', '"), topic, len(pipelines))
	for deadline := time.Now().Add(patience); ; {
		got, err := w.sql(query) // an error before there is a ledger
		if err == nil && strings.TrimSpace(got) == fmt.Sprint(end.Offset) {
			return nil
		}
		select {
		case <-p.done:
			return errors.New("the worker has ended by itself")
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %s the ledger of topic %s ends at %s, not at %d", patience, topic, strings.TrimSpace(got), end.Offset)
		}
	}
}

// process is a command of waybill that runs.
type process struct {
	out  output
	stop context.CancelFunc
	done chan struct{}
	code int
}

func start(args ...string) *process {
	p := &process{done: make(chan struct{})}
	var ctx context.Context
	ctx, p.stop = context.WithCancel(context.Background())
	go func() {
		defer close(p.done)
		p.code = cli.Main(ctx, args, cli.Streams{In: strings.NewReader(""), Out: &p.out, Err: unhurried{&p.out}})
	}()
	return p
}

func (p *process) interrupt() {
	p.stop()
	<-p.done
}

// unhurried leaves out what commands say while something takes long: how often they do depends on the machine.
type unhurried struct{ to io.Writer }

var progress = regexp.MustCompile(`^waybill: (the laws on the shadow|figures of |checksums of |rows side by side|partition \d+: |read [0-9,]+ of about|[0-9,]+ records left|workers stood still)`)

func (u unhurried) Write(p []byte) (int, error) {
	if progress.Match(p) {
		return len(p), nil
	}
	return u.to.Write(p)
}

// output is what a command prints, to both of its streams.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

// lines are what was printed, and apart from it what was logged.
func (o *output) lines() (printed, logged []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.text.Len() == 0 {
		return nil, nil
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(o.text.String(), "\n"), "\n") {
		if strings.HasPrefix(line, `{"time":`) {
			logged = append(logged, line)
		} else {
			printed = append(printed, line)
		}
	}
	return printed, logged
}

// local is an address on this machine by name, as the pages have it.
func local(addr string) string { return strings.Replace(addr, "127.0.0.1", "localhost", 1) }
