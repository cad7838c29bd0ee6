package kafka

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill"
)

func TestClasses_HaveRoomAndNotMuchMore(t *testing.T) {
	for n := 1; n < 100_000; n++ {
		class := classOf(n-1) + 1
		if c := capacity(class); c < n || n > leastClass && c > n+n/3 {
			t.Fatalf("%d elements get room for %d", n, c)
		}
		if below := classOf(n); below >= 0 && (capacity(below) > n || capacity(below+1) <= n) {
			t.Fatalf("a slice of capacity %d goes into class %d, which is of %d", n, below, capacity(below))
		}
	}
}

// What is recycled is overwritten: to keep a record beyond that shows at once, here and in every test that counts rows.
func TestFetched_RecycleTakesTheMemoryBack(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(0))
	must(t, err)
	t.Cleanup(fake.Close)
	e := env{engine: "kfake", protocol: ProtocolClassic, brokers: fake.ListenAddrs(), fake: fake}.with(t, 1, nil)
	value := bytes.Repeat([]byte("waybill "), 1000)
	cl := e.client(kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for range 10 {
		must(t, cl.ProduceSync(t.Context(), &kgo.Record{Topic: e.topic, Value: value, Headers: []kgo.RecordHeader{{Key: "h", Value: value}}}).FirstErr())
	}
	m := e.open()
	m.waitHeld(1)
	m.startAll(0)
	for seen := 0; seen < 10; {
		f, err := m.Poll(t.Context(), 3)
		must(t, err)
		var kept []waybill.Record
		for _, p := range f.Partitions {
			seen += len(p.Records)
			kept = append(kept, p.Records...)
		}
		for _, r := range kept {
			if !bytes.Equal(r.Value, value) || !bytes.Equal(r.Headers[0].Value, value) {
				t.Fatalf("record %d is spoilt before it is recycled", r.Offset)
			}
		}
		alias := f.Partitions[0].Records
		f.Recycle()
		if len(f.Partitions) != 0 || alias[0].Value != nil {
			t.Error("the records are still there")
		}
		for _, r := range kept {
			if bytes.Equal(r.Value, value) {
				t.Errorf("the bytes of record %d have not been given back", r.Offset)
			}
		}
	}
}
