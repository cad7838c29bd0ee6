package objects

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/waybill-data/waybill"
)

// GroupOffsets is how many offsets of a partition share a folder. No object holds records of two folders, so that whoever looks for an offset
// lists one.
const GroupOffsets = 1 << 20

// suffix of every object's name.
const suffix = ".ndjson.zst"

// Name is an object's name. It says which records the object holds, so that a list of names is a list of what is there; and it follows from
// what the object holds, so that whoever puts an object again puts the same one.
type Name struct {
	waybill.TopicPartition
	Epoch waybill.Epoch
	// Span is from the first record to behind the last one. Both are in one folder.
	waybill.Span
	// Count is the number of records; if it is less than the span's length, only the object says which offsets have one.
	Count int64
	Batch waybill.BatchID
	// Set is a hash of the records' offsets: two objects of one batch with the same span and count are the same one only if it is the same.
	Set uint64
}

// nameOf names an object that holds a batch's records at these offsets, which are of one folder.
func nameOf(tp waybill.TopicPartition, epoch waybill.Epoch, batch waybill.BatchID, offsets waybill.OffsetSet) Name {
	h := fnv.New64a()
	for _, sp := range offsets.Spans() {
		_, _ = fmt.Fprintf(h, "%d-%d,", sp.First, sp.Next) // a hash takes everything
	}
	return Name{TopicPartition: tp, Epoch: epoch, Span: offsets.Bounds(), Count: offsets.Len(), Batch: batch, Set: h.Sum64()}
}

// Whole: every offset of the span has a record.
func (n Name) Whole() bool { return n.Count == n.Len() }

// Folder of the names of a partition's objects under an epoch.
func Folder(tp waybill.TopicPartition, epoch waybill.Epoch) string {
	return fmt.Sprintf("topic=%s/epoch=%d/partition=%05d/", tp.Topic, epoch, tp.Partition)
}

// group is the part of the folder that an offset is in.
func group(offset int64) string { return fmt.Sprintf("%013d/", offset/GroupOffsets) }

// String is the name without the prefix of the store. Names of a partition are in the order of their first offsets.
func (n Name) String() string {
	return fmt.Sprintf("%s%s%019d-%019d-%d-%s-%016x%s", Folder(n.TopicPartition, n.Epoch), group(n.First), n.First, n.Next, n.Count, n.Batch, n.Set, suffix)
}

// ParseName reads a name back. ok is false for the name of anything else.
func ParseName(s string) (n Name, ok bool) {
	parts := strings.Split(s, "/")
	if len(parts) != 5 || !strings.HasSuffix(s, suffix) {
		return n, false
	}
	fields := strings.Split(strings.TrimSuffix(parts[4], suffix), "-")
	topic, isTopic := strings.CutPrefix(parts[0], "topic=")
	epoch, isEpoch := strings.CutPrefix(parts[1], "epoch=")
	partition, isPartition := strings.CutPrefix(parts[2], "partition=")
	if len(fields) != 5 || !isTopic || !isEpoch || !isPartition {
		return n, false
	}
	number := func(s string, bits int) int64 {
		v, err := strconv.ParseInt(s, 10, bits)
		if err != nil || v < 0 {
			return -1
		}
		return v
	}
	n.Topic, n.Partition = topic, int32(number(partition, 32)) //nolint:gosec // of 32 bits
	n.Epoch = waybill.Epoch(number(epoch, 33))                 //nolint:gosec // compared below
	n.First, n.Next, n.Count = number(fields[0], 64), number(fields[1], 64), number(fields[2], 64)
	id, err := hex.DecodeString(fields[3])
	if err != nil || len(id) != len(n.Batch) {
		return n, false
	}
	copy(n.Batch[:], id)
	if n.Set, err = strconv.ParseUint(fields[4], 16, 64); err != nil {
		return n, false
	}
	return n, n.String() == s
}
