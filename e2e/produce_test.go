package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// fate is what must become of a record.
type fate uint8

const (
	asRow       fate = iota
	asDead           // a dead letter, with these very bytes
	asTombstone      // on the account, and nowhere else
	asNothing        // of an aborted transaction: not even on the account
)

// record is one that the broker has acknowledged, or had before it was aborted.
type record struct {
	place
	fate       fate
	replayed   bool   // a dead letter that was replayed since, and so has a row as well
	class      string // of a case that tells its records apart
	id         uint64
	n          uint64
	tenant     string
	key, value []byte
	headers    []kgo.RecordHeader
}

// mix says what is among the records: every so many records one of a kind, 0 for none.
type mix struct {
	truncated, missing, tombstones, garbage int
	poisoned                                int    // rows that the table's CHECK refuses
	wide                                    int    // rows whose n takes 64 bits
	unit                                    uint64 // that n is multiplied by, if it is not 0
	body                                    int    // bytes of padding in each event
	days                                    int    // days over which the events spread, 0 and 1 are one
	partition                               *int32 // all into this one
}

// usual is what most cases produce.
var usual = mix{truncated: 97, missing: 131, tombstones: 61}

const tenants = 7

// firstDay is the unix time of the first event, so that nothing depends on the day of the run.
const firstDay = 1_795_000_000

// event draws the i-th event of the case; the same i is always the same event.
func (w *world) event(i uint64, m mix) record {
	r := record{id: i, n: i*7919%1000 + 1, tenant: fmt.Sprintf("t%d", i%tenants), fate: asRow}
	r.key = fmt.Appendf(nil, "key-%d", i)
	if i%5 == 0 {
		r.key = nil
	}
	if i%11 == 0 {
		r.headers = []kgo.RecordHeader{{Key: "trace", Value: fmt.Appendf(nil, "%x", i)}}
	}
	every := func(n int) bool { return n > 0 && i%uint64(n) == uint64(n)-1 }
	if every(m.poisoned) {
		r.tenant, r.fate = "cursed", asDead
	}
	if every(m.wide) {
		r.n += 1 << 33
	}
	r.n *= max(m.unit, 1)
	at := firstDay + int(i)%max(m.days, 1)*86_400
	id := fmt.Sprintf(`"id":%d,`, i)
	if every(m.missing) {
		id, r.fate = "", asDead
	}
	r.value = fmt.Appendf(nil, `{%s"tenant":%q,"usage":{"n":%d},"at":%d,"body":"b%d%s","unknown":{"x":1}}`, id, r.tenant, r.n, at, i, strings.Repeat("x", m.body))
	switch {
	case every(m.truncated):
		r.value, r.fate = r.value[:len(r.value)/2], asDead
	case every(m.garbage):
		r.value, r.fate = []byte{0xff, 0x00, 0xfe, byte(i), '{', 0x80, '\n', '\t', '\\', '\''}, asDead
	case every(m.tombstones):
		r.value, r.fate = nil, asTombstone
	}
	return r
}

// produce sends n more events over all partitions and waits for the broker's word.
func (w *world) produce(n int, m mix) {
	w.Helper()
	w.produceBy(w.client, n, m)
}

func (w *world) produceBy(cl *kgo.Client, n int, m mix) []record {
	w.Helper()
	w.mu.Lock()
	first := w.nextID
	w.nextID += uint64(n) //nolint:gosec // not negative
	w.mu.Unlock()
	sent := make([]record, n)
	wire := make([]*kgo.Record, n)
	for i := range sent {
		sent[i] = w.event(first+uint64(i), m) //nolint:gosec // not negative
		p := int32(i) % w.partitions          //nolint:gosec // few
		if m.partition != nil {
			p = *m.partition
		}
		wire[i] = &kgo.Record{Topic: w.topic, Partition: p, Key: sent[i].key, Value: sent[i].value, Headers: sent[i].headers}
	}
	// In slices, so that the broker gets more than one batch a partition.
	at := 0
	for part := range slices.Chunk(wire, 500) {
		if err := cl.ProduceSync(w.Context(), part...).FirstErr(); err != nil {
			w.Fatalf("produce: %v", err)
		}
		for range part {
			sent[at].place = place{position{w.topic, w.epoch, wire[at].Partition}, wire[at].Offset}
			at++
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records = append(w.records, sent...)
	return w.records[len(w.records)-n:]
}

// send produces records that were made elsewhere, over all partitions.
func (w *world) send(records []record) {
	w.Helper()
	if err := w.sendUntil(w.Context(), records); err != nil {
		w.Fatalf("produce: %v", err)
	}
}

// sendUntil is send for a goroutine that is not the case's own.
func (w *world) sendUntil(ctx context.Context, records []record) error {
	wire := make([]*kgo.Record, len(records))
	for i := range records {
		r := &records[i]
		wire[i] = &kgo.Record{Topic: w.topic, Partition: int32(i) % w.partitions, Key: r.key, Value: r.value, Headers: r.headers} //nolint:gosec // few
	}
	if err := w.client.ProduceSync(ctx, wire...).FirstErr(); err != nil {
		return err
	}
	for i := range records {
		records[i].place = place{position{w.topic, w.epoch, wire[i].Partition}, wire[i].Offset}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records = append(w.records, records...)
	return nil
}
