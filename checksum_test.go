package waybill_test

import (
	"testing"

	"github.com/waybill-data/waybill"
)

func TestRecordChecksum_CoversEveryFieldAndItsPlace(t *testing.T) {
	t.Parallel()
	header := func(k, v string) waybill.Header { return waybill.Header{Key: k, Value: []byte(v)} }
	records := map[string]waybill.Record{
		"plain":               {Offset: 7, Key: []byte("k"), Value: []byte("v")},
		"another offset":      {Offset: 8, Key: []byte("k"), Value: []byte("v")},
		"key and value swap":  {Offset: 7, Key: []byte("v"), Value: []byte("k")},
		"no key":              {Offset: 7, Value: []byte("v")},
		"an empty key":        {Offset: 7, Key: []byte{}, Value: []byte("v")},
		"a tombstone":         {Offset: 7, Key: []byte("k")},
		"an empty value":      {Offset: 7, Key: []byte("k"), Value: []byte{}},
		"a header":            {Offset: 7, Key: []byte("k"), Value: []byte("v"), Headers: []waybill.Header{header("a", "b")}},
		"a header swapped":    {Offset: 7, Key: []byte("k"), Value: []byte("v"), Headers: []waybill.Header{header("b", "a")}},
		"a header of nothing": {Offset: 7, Key: []byte("k"), Value: []byte("v"), Headers: []waybill.Header{{Key: "a"}}},
		"two headers":         {Offset: 7, Key: []byte("k"), Value: []byte("v"), Headers: []waybill.Header{header("a", "b"), header("c", "d")}},
		"in another order":    {Offset: 7, Key: []byte("k"), Value: []byte("v"), Headers: []waybill.Header{header("c", "d"), header("a", "b")}},
	}
	seen := map[uint64]string{}
	for name, r := range records {
		sum := waybill.RecordChecksum(&r)
		if other := seen[sum]; other != "" {
			t.Errorf("%s and %s have the same checksum", name, other)
		}
		seen[sum] = name
	}
}

func BenchmarkRecordChecksum(b *testing.B) {
	r := waybill.Record{Offset: 1, Key: make([]byte, 16), Value: make([]byte, 850)}
	b.SetBytes(int64(len(r.Value)))
	b.ReportAllocs()
	for b.Loop() {
		waybill.RecordChecksum(&r)
	}
}
