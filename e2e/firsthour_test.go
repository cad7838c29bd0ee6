package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// typical is a consumer as people write them: it reads a batch, writes it, commits. What it has written is counted by partition and offset, apart from any table.
type typical struct {
	*world
	written map[[2]int64]int
	read    map[[2]int64]bool
}

// life is one run of it over some batches: what it does about each, in order.
func (c *typical) life(batches ...string) {
	c.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.kafka.Addr()), kgo.ConsumeTopics(c.topic), kgo.ConsumerGroup("typical-"+c.pipeline), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(time.Second))
	if err != nil {
		c.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(c.Context(), patience)
	defer cancel()
	for _, does := range batches {
		fetches := cl.PollRecords(ctx, 250)
		if err := fetches.Err(); err != nil {
			c.Fatal(err)
		}
		var rows []string
		for _, r := range fetches.Records() {
			at := [2]int64{int64(r.Partition), r.Offset}
			c.read[at] = true
			if does == "swallows an error" {
				continue
			}
			var e struct {
				ID  string `json:"order_id"`
				At  string `json:"at"`
				Qty int    `json:"qty"`
			}
			if err := json.Unmarshal(r.Value, &e); err != nil {
				c.Fatal(err)
			}
			c.written[at]++
			rows = append(rows, fmt.Sprintf("('%s', '%s', %d)", e.ID, strings.NewReplacer("T", " ", "Z", "").Replace(e.At), e.Qty%256)) // its type is too small, and nobody knows
		}
		if len(rows) > 0 {
			c.exec("INSERT INTO " + c.db + ".orders (order_id, at, qty) VALUES " + strings.Join(rows, ","))
		}
		if does == "dies before it commits" {
			return
		}
		if err := cl.CommitRecords(ctx, fetches.Records()...); err != nil {
			c.Fatal(err)
		}
	}
}

// some reports whether there is an event that it has read of which something holds; times is how often it has written it.
func (c *typical) some(is func(times int) bool) bool {
	for at := range c.read {
		if is(c.written[at]) {
			return true
		}
	}
	return false
}

// The first hour of somebody who has a topic with history, and a table that is half wrong, filled by a typical consumer with its holes and doubled rows: three
// commands to a pipeline that is audited by a fourth. What init says of the table is what the consumer has done to it, and nothing is lost or repeated from there on.
func TestFirstHour(t *testing.T) {
	w := newWorld(t, setup{})
	w.exec("CREATE TABLE " + w.db + ".orders (order_id String, at DateTime, qty UInt8, remark String) ENGINE = MergeTree ORDER BY order_id")
	const n = 6000
	var wire []*kgo.Record
	for i := range n {
		text := fmt.Sprintf(`{"order_id":"o-%d","at":"2026-11-%02dT12:00:%02dZ","qty":%d,"color":"c%d"}`, i, 1+i%28, i%60, i%300, i%5)
		wire = append(wire, &kgo.Record{Topic: w.topic, Partition: int32(i) % w.partitions, Value: []byte(text)}) //nolint:gosec // few
	}
	if err := w.client.ProduceSync(t.Context(), wire...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	c := &typical{world: w, written: map[[2]int64]int{}, read: map[[2]int64]bool{}}
	c.life("writes", "writes", "dies before it commits")
	c.life("writes", "writes", "writes", "swallows an error", "writes")
	// Which partition a batch is of is the brokers' choice: so what was written and not committed may not have come again yet, or be what was swallowed.
	for !c.some(func(times int) bool { return times > 1 }) {
		c.life("writes")
	}
	for !c.some(func(times int) bool { return times == 0 }) {
		c.life("swallows an error")
	}
	c.life("writes", "dies before it commits")
	before := integer(w.query("SELECT count() FROM " + w.db + ".orders"))

	began := time.Now()
	file := filepath.Join(t.TempDir(), "orders.yaml")
	command := func(args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), binary, args...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("waybill %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return out
	}
	var r struct {
		Adopted struct {
			Agreement struct{ Events, Missing, Fewer, More int64 }
			Starts    []struct{ Partition, Position, Offset, Repeated int64 }
		}
	}
	out := command("init", "--brokers", w.kafka.Addr(), "--topic", w.topic, "--clickhouse", fmt.Sprintf("clickhouse://default@%s/%s", w.ch.TCPAddr(), w.db), "--table", "orders", "--name", w.pipeline,
		"--adopt-group", "typical-"+w.pipeline, "--key", "order_id", "--file", file, "-o", "json")
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// What is to be said, by what the consumer has done.
	start := map[int64]int64{}
	var events, missing, more, ahead int64
	for _, s := range r.Adopted.Starts {
		start[s.Partition] = s.Offset
		if s.Repeated != 0 {
			t.Errorf("%+v", s)
		}
		for offset := range int64(n) / int64(w.partitions) {
			times := c.written[[2]int64{s.Partition, offset}]
			switch {
			case offset >= s.Position:
				if times > 0 {
					ahead++
					if offset >= s.Offset {
						t.Errorf("%d@%d is written and would be read again", s.Partition, offset)
					}
				} else if offset < s.Offset {
					t.Errorf("%d@%d is not written and would not be read", s.Partition, offset)
				}
			case times == 0:
				events, missing = events+1, missing+1
			default:
				events, more = events+1, more+int64(times)-1
			}
		}
	}
	if a := r.Adopted.Agreement; a.Events != events || a.Missing != missing || a.More != more || a.Fewer != 0 || missing == 0 || more == 0 || ahead == 0 {
		t.Errorf("init says %+v; the consumer left out %d of %d, doubled %d and is %d ahead\n%s", a, missing, events, more, ahead, out)
	}
	command("check", file, "--fix")
	worker := w.startWith("", "run", "--listen", "127.0.0.1:0", "--log-format", "json", file)
	w.eventually("all orders are in", func() bool {
		return integer(w.query("SELECT uniqExact(order_id) FROM "+w.db+".orders")) == n-missing
	})
	worker.stop()
	command("audit", file)
	took := time.Since(began)

	if got, want := integer(w.query("SELECT count() FROM "+w.db+".orders")), n-missing+more; got != want {
		t.Errorf("%d rows, want %d", got, want)
	}
	read := int64(0)
	for _, s := range r.Adopted.Starts {
		read += n/int64(w.partitions) - s.Offset
	}
	if got := integer(w.query("SELECT count() FROM "+w.db+".orders")) - before; got != read {
		t.Errorf("the pipeline wrote %d rows of %d events", got, read)
	}
	// Its own rows are whole: a quantity that the column does not take is kept, and so is the color.
	if got := w.query("SELECT count() FROM " + w.db + ".orders WHERE _rescued != '' AND position(_rescued, 'color') > 0"); integer(got) != read {
		t.Errorf("%s of %d rows have kept the color", got, read)
	}
	quantity := "toUInt32(substring(order_id, 3)) % 300"
	if got := w.query("SELECT count() FROM " + w.db + ".orders WHERE _rescued != '' AND " + quantity + " > 255 AND JSONExtractUInt(_rescued, 'fields', 'qty', 'value') != " + quantity); got != "0" {
		t.Errorf("%s quantities are lost", got)
	}
	w.observe("commands to an audited pipeline: init, check, run, audit", 4)
	w.observe("milliseconds that they took", took.Milliseconds())
	w.observe("events that the consumer before had left out", missing)
	w.observe("rows that it had doubled", more)
	w.observe("events that it had written without committing", ahead)
}
