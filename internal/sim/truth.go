package sim

import (
	"encoding/binary"

	"github.com/waybill-data/waybill"
)

// kind is what a record should become.
type kind uint8

const (
	kindRow       kind = iota // a row of the target
	kindDead                  // does not decode: a dead letter
	kindFiltered              // dropped by the filter
	kindTombstone             // no value
	kindPoison                // decodes, but the server refuses its row: a dead letter
	kindMarker                // a transaction marker: an offset without a record
	kindAborted               // of an aborted transaction: never delivered
)

var kindNames = [...]string{"row", "dead", "filtered", "tombstone", "poison", "marker", "aborted"}

func (k kind) String() string { return kindNames[k] }

// delivered says that consumers get to see such a record.
func (k kind) delivered() bool { return k < kindMarker }

// A record's value carries its kind in the low three bits and a number that no other record has.
func valueOf(k kind, n uint64) uint64 { return n<<3 | uint64(k) }
func kindOf(value uint64) kind        { return kind(value & 7) }

// fact is what was produced at one offset.
type fact struct {
	value   uint64
	kind    kind
	removed bool // by retention or compaction, or with its topic
	hole    bool // by compaction: who reads later than that never hears of it
}

// truth is the simulator's own account of what was produced; the product never reads it.
type truth struct {
	// logs: one per life of the topic, by partition, by offset.
	logs  []map[int32][]fact
	epoch []waybill.Epoch // under which each life of the topic was consumed
	count uint64
}

func (t *truth) log(p int32) []fact { return t.logs[len(t.logs)-1][p] }

func (t *truth) add(p int32, f fact) { t.logs[len(t.logs)-1][p] = append(t.log(p), f) }

// produce appends some records to a partition.
func (w *world) produce(p int32) {
	t := &w.truth
	n := int(w.between(1, 8))
	switch r := w.rng.IntN(100); {
	case r < 8:
		w.broker.ProduceAborted(p, n)
		for range n {
			t.add(p, fact{kind: kindAborted})
		}
		t.add(p, fact{kind: kindMarker})
	case r < 16:
		w.broker.ProduceCommitted(p, w.values(p, n)...)
		t.add(p, fact{kind: kindMarker})
	default:
		w.broker.Produce(p, w.values(p, n)...)
	}
}

func (w *world) values(p int32, n int) []uint64 {
	out := make([]uint64, n)
	for i := range out {
		k := kindRow
		switch r := w.rng.IntN(100); {
		case r < 8:
			k = kindDead
		case r < 16:
			k = kindFiltered
		case r < 20:
			k = kindTombstone
		case r < 20+w.opt.poison:
			k = kindPoison
		}
		w.truth.count++
		out[i] = valueOf(k, w.truth.count)
		w.truth.add(p, fact{value: out[i], kind: k})
	}
	return out
}

// checksum is a record's share of its span's checksum.
func checksum(topic string, p int32, offset int64, value uint64) uint64 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], value)
	r := waybill.Record{Topic: topic, Partition: p, Offset: offset, Value: b[:]}
	if kindOf(value) == kindTombstone {
		r.Key, r.Value = b[:], nil
	}
	return waybill.RecordChecksum(&r)
}
