package e2e

import (
	"bufio"
	"context"
	bin "encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// bulk is a case with so many events that none of them is kept: each follows from its number, and its number from its partition and offset.
type bulk struct {
	*world
	rows int64 // events that are there at the beginning
	rate int64 // events a second that come meanwhile
	days int64 // over which those at the beginning spread, in the order of time but for stragglers; what comes later is of the last day
	sent atomic.Int64
	stop func() // what sends events meanwhile
}

const (
	// bulkDay is the unix time at which the first day begins.
	bulkDay = 1_794_960_000
	// A day's length, and how many events there are to one that comes a day late, that is cut off, and that is a tombstone.
	day           = 86_400
	stragglerIn   = 1009
	cutIn         = 997
	tombstoneIn   = 499
	bulkTenants   = 7
	laneBatch     = 1 << 20
	inTheAir      = 200_000
	ticksInSecond = 10
)

// expected is what must become of an event.
type expected struct {
	fate   fate
	n      uint32
	tenant byte // its number
	at     uint32
}

// expect is the event of a number.
func (b *bulk) expect(i int64) expected {
	d := min(i*b.days/b.rows, b.days-1)
	if i%stragglerIn == 0 && d > 0 {
		d--
	}
	e := expected{n: uint32(i*7919%1000 + 1), tenant: byte(i % bulkTenants), at: uint32(bulkDay + d*day + i%day)} //nolint:gosec // all of them are small
	switch {
	case i%cutIn == cutIn-1:
		e.fate = asDead
	case i%tombstoneIn == tombstoneIn-1:
		e.fate = asTombstone
	}
	return e
}

// dayOf is the number of the day that an event is of.
func (b *bulk) dayOf(e expected) int64 { return (int64(e.at) - bulkDay) / day }

// value is the record's.
func (b *bulk) value(i int64) []byte {
	e := b.expect(i)
	if e.fate == asTombstone {
		return nil
	}
	v := make([]byte, 0, 80)
	v = append(v, `{"id":`...)
	v = strconv.AppendInt(v, i, 10)
	v = append(v, `,"tenant":"t`...)
	v = strconv.AppendInt(v, int64(e.tenant), 10)
	v = append(v, `","usage":{"n":`...)
	v = strconv.AppendUint(v, uint64(e.n), 10)
	v = append(v, `},"at":`...)
	v = strconv.AppendUint(v, uint64(e.at), 10)
	v = append(v, `,"body":"b"}`...)
	if e.fate == asDead {
		v = v[:len(v)/2]
	}
	return v
}

// number is that of the event at an offset.
func (b *bulk) number(partition int32, offset int64) int64 {
	return offset*int64(b.partitions) + int64(partition)
}

// upTo is how many of the first n events are in a partition.
func (b *bulk) upTo(partition int32, n int64) int64 {
	return (n + int64(b.partitions) - 1 - int64(partition)) / int64(b.partitions)
}

// load produces the events at the beginning.
func (b *bulk) load() {
	b.Helper()
	began := time.Now()
	if err := b.sendNumbers(b.Context(), b.rows); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d events produced in %.1f s", b.rows, time.Since(began).Seconds())
}

// sendNumbers produces the events up to a number, and waits for the broker's word. An event that is not at the offset that its number says is an error.
func (b *bulk) sendNumbers(ctx context.Context, to int64) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.kafka.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(laneBatch), kgo.MaxBufferedRecords(inTheAir),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.ProducerLinger(10*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	return b.sendBy(ctx, cl, to)
}

func (b *bulk) sendBy(ctx context.Context, cl *kgo.Client, to int64) error {
	var bad atomic.Pointer[error]
	for i := b.sent.Load(); i < to; i++ {
		p := int32(i % int64(b.partitions)) //nolint:gosec // few
		cl.Produce(ctx, &kgo.Record{Topic: b.topic, Partition: p, Value: b.value(i)}, func(r *kgo.Record, err error) {
			if err == nil && b.number(r.Partition, r.Offset) != i {
				err = fmt.Errorf("event %d is at offset %d of partition %d", i, r.Offset, r.Partition)
			}
			if err != nil {
				bad.CompareAndSwap(nil, &err)
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	if err := bad.Load(); err != nil {
		return *err
	}
	b.sent.Store(to)
	return nil
}

// produceOn sends events at the rate until halt is called.
func (b *bulk) produceOn() {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() {
		tick := time.NewTicker(time.Second / ticksInSecond)
		defer tick.Stop()
		for began, before := time.Now(), b.sent.Load(); ctx.Err() == nil; {
			due := before + int64(time.Since(began).Seconds()*float64(b.rate))
			if failed = b.sendBy(context.WithoutCancel(ctx), b.client, due); failed != nil {
				return
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	b.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if failed != nil {
			b.Errorf("produce: %v", failed)
		}
	})
	b.Cleanup(b.stop)
}

// halt ends produceOn, and waits until the live worker has settled all there is.
func (b *bulk) halt() {
	b.Helper()
	b.stop()
	b.quietWithin(patience + time.Duration(b.sent.Load()/20_000)*time.Second)
}

// quietWithin is quiet for those who have much to do.
func (b *bulk) quietWithin(d time.Duration) {
	b.Helper()
	for began := time.Now(); time.Since(began) < d && b.lag() != ""; {
		b.pass(200 * time.Millisecond)
	}
	b.quiet()
}

// made says of an event whether the plan of the backfill has made its row: it must, must not, or may have.
type made func(i int64) (must, may bool)

// What seen keeps of a record.
const (
	isThere = 1 << iota
	isMade
)

// found is what the table has.
type found struct {
	rows, made int64
	bad        []string
	faults     int64
	seen       [][]uint8 // by partition and offset
}

func (f *found) fault(format string, args ...any) {
	if f.faults++; len(f.bad) < 20 {
		f.bad = append(f.bad, fmt.Sprintf(format, args...))
	}
}

// look reads the whole table, and compares each row with the event that its offset says it was made of. What is not there, too.
func (b *bulk) look(want made) *found {
	b.Helper()
	f := &found{seen: make([][]uint8, b.partitions)}
	sent := b.sent.Load()
	for p := range f.seen {
		f.seen[p] = make([]uint8, b.upTo(int32(p), sent)) //nolint:gosec // few
	}
	err := stream(b.ch.HTTPAddr(), "SELECT _partition, _offset, id, n, at, CAST(tenant, 'String') FROM "+b.db+".events WHERE _topic = '"+b.topic+"'", func(r *bufio.Reader) error {
		return b.rowsFrom(r, f, want)
	})
	if err != nil {
		b.Fatal(err)
	}
	for p, seen := range f.seen {
		for offset, is := range seen {
			i := b.number(int32(p), int64(offset)) //nolint:gosec // few
			if e := b.expect(i); is == 0 && e.fate == asRow {
				f.fault("offset %d of partition %d, event %d, has no row", offset, p, i)
			}
		}
	}
	if n := integer(b.query("SELECT count() FROM " + b.db + ".events")); n != f.rows {
		f.fault("%d rows, of which %d were looked at", n, f.rows)
	}
	b.lookAtDead(f)
	return f
}

// rowsFrom reads rows in the server's binary form.
func (b *bulk) rowsFrom(r *bufio.Reader, f *found, want made) error {
	var fixed [4 + 8 + 8 + 4 + 4]byte
	for {
		if _, err := io.ReadFull(r, fixed[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		length, err := bin.ReadUvarint(r)
		if err != nil {
			return err
		}
		tenant, err := r.Peek(int(length)) //nolint:gosec // a few bytes
		if err != nil {
			return err
		}
		p, offset := int32(bin.LittleEndian.Uint32(fixed[:])), int64(bin.LittleEndian.Uint64(fixed[4:])) //nolint:gosec // the columns' types
		id, n, at := bin.LittleEndian.Uint64(fixed[12:]), bin.LittleEndian.Uint32(fixed[20:]), bin.LittleEndian.Uint32(fixed[24:])
		b.lookAt(f, want, p, offset, expected{n: n, at: at}, id, tenant)
		if _, err := r.Discard(len(tenant)); err != nil {
			return err
		}
	}
}

func (b *bulk) lookAt(f *found, want made, p int32, offset int64, got expected, id uint64, tenant []byte) {
	f.rows++
	if p < 0 || p >= b.partitions || offset < 0 || offset >= int64(len(f.seen[p])) {
		f.fault("offset %d of partition %d has a row, and was not produced", offset, p)
		return
	}
	i := b.number(p, offset)
	e := b.expect(i)
	is := strings.HasPrefix(string(tenant), marked)
	plain := tenant
	if is {
		plain = tenant[len(marked):]
		f.made++
	}
	switch seen := &f.seen[p][offset]; {
	case *seen&isThere != 0:
		f.fault("offset %d of partition %d has two rows", offset, p)
	case e.fate != asRow:
		f.fault("offset %d of partition %d has a row, and is none", offset, p)
	case id != uint64(i) || got.n != e.n || got.at != e.at || len(plain) != 2 || plain[0] != 't' || plain[1] != '0'+e.tenant: //nolint:gosec // not negative
		f.fault("offset %d of partition %d, event %d: id %d, n %d, at %d, tenant %s", offset, p, i, id, got.n, got.at, tenant)
	default:
		*seen |= isThere
		if is {
			*seen |= isMade
		}
		if must, may := want(i); must && !is || !may && is {
			f.fault("event %d: its row was made by the plan of the backfill: %v", i, is)
		}
	}
}

// lookAtDead: each event that is cut off is a dead letter, and nothing else is; under one epoch once.
func (b *bulk) lookAtDead(f *found) {
	b.Helper()
	got := map[[2]int64]bool{}
	for _, row := range b.rowsOf(fmt.Sprintf("SELECT partition, offset, count() - uniqExact(epoch) FROM waybill.dead_letters WHERE pipeline = '%s' AND topic = '%s' GROUP BY partition, offset", b.pipeline, b.topic)) {
		p, offset := integer(row[0]), integer(row[1])
		got[[2]int64{p, offset}] = true
		if i := b.number(int32(p), offset); b.expect(i).fate != asDead { //nolint:gosec // few
			f.fault("event %d is a dead letter", i)
		}
		if row[2] != "0" {
			f.fault("offset %d of partition %d is a dead letter twice", offset, p)
		}
	}
	for i := range b.sent.Load() {
		if b.expect(i).fate == asDead && !got[[2]int64{i % int64(b.partitions), i / int64(b.partitions)}] {
			f.fault("event %d is no dead letter", i)
		}
	}
}

// exactly fails unless everything is as it must be.
func (b *bulk) exactly(when string, want made) *found {
	b.Helper()
	f := b.look(want)
	if f.faults > 0 {
		b.Fatalf("%s: %d faults:\n  %s", when, f.faults, strings.Join(f.bad, "\n  "))
	}
	b.Logf("%s: %d rows are right, %d of them by the plan of the backfill", when, f.rows, f.made)
	return f
}

// stream gives a query's rows to fn, in the server's binary form.
func stream(addr, sql string, fn func(*bufio.Reader) error) error {
	resp, err := http.Post("http://"+addr+"/", "text/plain", strings.NewReader(sql+" FORMAT RowBinary")) //nolint:noctx // it ends with the server
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	r := bufio.NewReaderSize(resp.Body, 1<<20)
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(r)
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	return fn(r)
}
