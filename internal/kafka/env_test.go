package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/testenv"
)

const within = 20 * time.Second

// env is one broker to test against, and one group protocol.
type env struct {
	t        *testing.T
	engine   string // "kfake" or "apache"
	protocol Protocol
	brokers  []string
	fake     *kfake.Cluster // nil on Apache Kafka
	adm      *kadm.Client
	topic    string
	group    string
}

var unique atomic.Int64

// topicOf gives the env a fresh topic, and a group of its own.
func (e env) with(t *testing.T, partitions int32, configs map[string]*string) *env {
	t.Helper()
	n := unique.Add(1)
	e.t, e.topic, e.group = t, fmt.Sprintf("facts-%d", n), fmt.Sprintf("group-%d", n)
	cl := e.client()
	e.adm = kadm.NewClient(cl)
	e.create(partitions, configs)
	return &e
}

func (e *env) create(partitions int32, configs map[string]*string) {
	e.t.Helper()
	resp, err := e.adm.CreateTopic(e.t.Context(), partitions, 1, configs, e.topic)
	must(e.t, errors.Join(err, resp.Err))
	testenv.Eventually(e.t, within, "the topic is known", func() bool {
		d, err := e.adm.ListEndOffsets(e.t.Context(), e.topic)
		return err == nil && d.Error() == nil && len(d[e.topic]) == int(partitions)
	})
	if e.protocol == ProtocolConsumer {
		e.setGroupConfig("consumer.heartbeat.interval.ms", "300")
		e.setGroupConfig("consumer.session.timeout.ms", "2000")
	}
}

func (e *env) setGroupConfig(name, value string) {
	e.t.Helper()
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value = name, &value
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, e.group
	r.Configs = append(r.Configs, c)
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(e.t.Context(), e.client())
	must(e.t, err)
	if err := kerr.ErrorForCode(resp.Resources[0].ErrorCode); err != nil {
		e.t.Fatal(err, *resp.Resources[0].ErrorMessage)
	}
}

func (e *env) client(opts ...kgo.Opt) *kgo.Client {
	e.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(e.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.ProducerBatchMaxBytes(8 << 20),
	}, opts...)...)
	must(e.t, err)
	e.t.Cleanup(cl.Close)
	return cl
}

func (e *env) tp(p int32) waybill.TopicPartition {
	return waybill.TopicPartition{Topic: e.topic, Partition: p}
}

// produce writes values to a partition, one batch a call.
func (e *env) produce(p int32, values ...string) {
	e.t.Helper()
	var records []*kgo.Record
	for _, v := range values {
		records = append(records, &kgo.Record{Topic: e.topic, Partition: p, Value: []byte(v)})
	}
	e.produceRecords(records...)
}

func (e *env) produceRecords(records ...*kgo.Record) {
	e.t.Helper()
	cl := e.client()
	defer cl.Close()
	must(e.t, cl.ProduceSync(e.t.Context(), records...).FirstErr())
}

func (e *env) produceN(p int32, n int) {
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprintf("v%d", i)
	}
	e.produce(p, values...)
}

func (e *env) config() Config {
	c := Config{
		Brokers: e.brokers, Topic: e.topic, Group: e.group, Protocol: e.protocol,
		MetadataMaxAge: 300 * time.Millisecond,
	}
	if e.protocol == ProtocolClassic {
		c.SessionTimeout, c.HeartbeatInterval = 2*time.Second, 200*time.Millisecond
	}
	return c
}

// member is a Session with a log of what its callbacks said.
type member struct {
	*Session
	t *testing.T

	mu     sync.Mutex
	held   []waybill.TopicPartition
	events []string
	lost   []waybill.TopicPartition
	onTake func([]waybill.TopicPartition)

	closeOnce sync.Once
}

func (e *env) open(edit ...func(*Config)) *member {
	e.t.Helper()
	return e.openWith(nil, edit...)
}

// openWith calls onTake inside each Assigned callback.
func (e *env) openWith(onTake func([]waybill.TopicPartition), edit ...func(*Config)) *member {
	e.t.Helper()
	c := e.config()
	for _, f := range edit {
		f(&c)
	}
	m := &member{t: e.t, onTake: onTake}
	ctx, cancel := context.WithTimeout(e.t.Context(), within)
	defer cancel()
	s, err := Open(ctx, c, Callbacks{Assigned: m.assigned, Revoked: m.revoked, Lost: m.lostAll})
	must(e.t, err)
	m.Session = s
	e.t.Cleanup(func() { m.close(true) })
	return m
}

func (m *member) close(leave bool) { m.closeOnce.Do(func() { m.Session.Close(leave) }) }

func (m *member) assigned(tps []waybill.TopicPartition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = append(m.held, tps...)
	m.events = append(m.events, fmt.Sprint("assigned ", tps))
	if m.onTake != nil {
		m.onTake(tps)
	}
}

func (m *member) revoked(tps []waybill.TopicPartition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = slices.DeleteFunc(m.held, func(tp waybill.TopicPartition) bool { return slices.Contains(tps, tp) })
	m.events = append(m.events, fmt.Sprint("revoked ", tps))
}

func (m *member) lostAll(tps []waybill.TopicPartition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = slices.DeleteFunc(m.held, func(tp waybill.TopicPartition) bool { return slices.Contains(tps, tp) })
	m.lost = append(m.lost, tps...)
	m.events = append(m.events, fmt.Sprint("lost ", tps))
}

func (m *member) holds() []waybill.TopicPartition {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := slices.Clone(m.held)
	slices.SortFunc(out, waybill.TopicPartition.Compare)
	return out
}

func (m *member) waitHeld(n int) []waybill.TopicPartition {
	m.t.Helper()
	testenv.Eventually(m.t, within, fmt.Sprintf("%d partitions held", n), func() bool { return len(m.holds()) == n })
	return m.holds()
}

func (m *member) startAll(offset int64) {
	var at []StartAt
	for _, tp := range m.holds() {
		at = append(at, StartAt{tp, offset, -1})
	}
	m.Start(at...)
}

// collect polls until cond is true of what has come so far.
func (m *member) collect(cond func([]waybill.Record, []PartitionError) bool) ([]waybill.Record, []PartitionError) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), within)
	defer cancel()
	var records []waybill.Record
	var errs []PartitionError
	for !cond(records, errs) {
		f, err := m.Poll(ctx, 0)
		if err != nil {
			m.t.Fatalf("poll after %d records and %v: %v", len(records), errs, err)
		}
		for _, p := range f.Partitions {
			records = append(records, p.Records...)
		}
		errs = append(errs, f.Errors...)
	}
	return records, errs
}

func (m *member) collectN(n int) []waybill.Record {
	m.t.Helper()
	records, _ := m.collect(func(r []waybill.Record, errs []PartitionError) bool {
		if len(errs) > 0 {
			m.t.Fatalf("unexpected: %v", errs[0].Err)
		}
		return len(r) >= n
	})
	return records
}

func (m *member) nothingFor(d time.Duration) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), d)
	defer cancel()
	f, err := m.Poll(ctx, 0)
	if !errors.Is(err, context.DeadlineExceeded) {
		m.t.Fatalf("got %+v, %v instead of nothing", f, err)
	}
}

func (m *member) commitAll(entry CommitEntry, tps ...waybill.TopicPartition) (map[waybill.TopicPartition]error, error) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), within)
	defer cancel()
	return m.Commit(ctx, func() map[waybill.TopicPartition]CommitEntry {
		out := make(map[waybill.TopicPartition]CommitEntry)
		for _, tp := range tps {
			out[tp] = entry
		}
		return out
	})
}

func offsets(records []waybill.Record) []int64 {
	var out []int64
	for _, r := range records {
		out = append(out, r.Offset)
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wire is a dialer whose connections can be held still, and can lose the answer to a kind of request. It counts requests
// by their key, as they are written.
type wire struct {
	mu       sync.Mutex
	cond     *sync.Cond
	frozen   bool
	dropKey  int16 // -1: none
	requests map[int16]int
}

func newWire() *wire {
	w := &wire{dropKey: -1, requests: make(map[int16]int)}
	w.cond = sync.NewCond(&w.mu)
	return w
}

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &wireConn{Conn: c, w: w}, nil
}

func (w *wire) freeze(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frozen = on
	w.cond.Broadcast()
}

// dropAnswers delivers requests of a key and cuts the connection instead of answering them.
func (w *wire) dropAnswers(key kmsg.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropKey = key.Int16()
}

func (w *wire) count(key kmsg.Key) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requests[key.Int16()]
}

type wireConn struct {
	net.Conn
	w    *wire
	drop atomic.Bool
}

// Write gets one request whole: that is how the client writes.
func (c *wireConn) Write(b []byte) (int, error) {
	c.w.mu.Lock()
	for c.w.frozen {
		c.w.cond.Wait()
	}
	if len(b) >= 6 {
		key := int16(binary.BigEndian.Uint16(b[4:]))
		c.w.requests[key]++
		if key == c.w.dropKey {
			c.drop.Store(true)
		}
	}
	c.w.mu.Unlock()
	return c.Conn.Write(b)
}

func (c *wireConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.w.mu.Lock()
	for c.w.frozen {
		c.w.cond.Wait()
	}
	c.w.mu.Unlock()
	if c.drop.Load() {
		_ = c.Conn.Close()
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	}
	return n, err
}
