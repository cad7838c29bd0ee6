package waybill

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// RecordChecksum is one record's share of a span's order-free checksum: the hash of its offset, key,
// value and headers. The checksum of a span is the wrapping sum over its records, so that it does not
// depend on how the span was fetched.
func RecordChecksum(r *Record) uint64 {
	var n [8]byte
	var d xxhash.Digest
	d.Reset()
	binary.LittleEndian.PutUint64(n[:], uint64(r.Offset))
	d.Write(n[:])
	field := func(b []byte) {
		length := int64(len(b))
		if b == nil {
			length = -1 // a tombstone is not an empty value
		}
		binary.LittleEndian.PutUint64(n[:], uint64(length))
		d.Write(n[:])
		d.Write(b)
	}
	field(r.Key)
	field(r.Value)
	for i := range r.Headers {
		field([]byte(r.Headers[i].Key))
		field(r.Headers[i].Value)
	}
	return d.Sum64()
}
