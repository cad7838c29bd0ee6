package waybill

import (
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// RecordChecksum is one record's share of a span's order-free checksum: a hash of its offset, key,
// value and headers. The checksum of a span is the wrapping sum over its records, so that it does not
// depend on how the span was fetched.
func RecordChecksum(r *Record) uint64 {
	h := fold(uint64(r.Offset), field(r.Key))
	h = fold(h, field(r.Value))
	h = fold(h, uint64(len(r.Headers)))
	for i := range r.Headers {
		h = fold(h, xxhash.Sum64String(r.Headers[i].Key))
		h = fold(h, field(r.Headers[i].Value))
	}
	return finish(h)
}

// field hashes one field as a whole, which is several times cheaper than feeding pieces to one hash. A
// tombstone is not an empty value, whose hash is not 0.
func field(b []byte) uint64 {
	if b == nil {
		return 0
	}
	return xxhash.Sum64(b)
}

// The primes of xxHash64, and its steps to take in eight bytes and to finish.
const (
	prime1 = 11400714785074694791
	prime2 = 14029467366897019727
	prime3 = 1609587929392839161
	prime4 = 9650029242287828579
)

// fold takes x into h; the order of folds matters.
func fold(h, x uint64) uint64 {
	h ^= bits.RotateLeft64(x*prime2, 31) * prime1
	return bits.RotateLeft64(h, 27)*prime1 + prime4
}

// finish lets every bit of h reach every bit of the result.
func finish(h uint64) uint64 {
	h = (h ^ h>>33) * prime2
	h = (h ^ h>>29) * prime3
	return h ^ h>>32
}
