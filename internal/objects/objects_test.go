package objects_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/raw"
	"github.com/waybill-data/waybill/internal/objects"
)

var batch = &waybill.Batch{ID: waybill.BatchID{1, 2, 3, 15: 255}, Epoch: 4, Time: 1_700_000_000_000}

// block is records as a raw plan has them.
func block(t *testing.T, records []waybill.Record, kept contract.Kept) (*contract.Plan, *column.Block) {
	t.Helper()
	c, l := contract.Contract{Raw: &contract.Raw{}}, contract.DefaultLineage()
	plan, err := contract.Compile(c, contract.Promised(c, l, "", "s3://x"), l, 0)
	if err != nil {
		t.Fatal(err)
	}
	w, err := raw.New(plan)
	if err != nil {
		t.Fatal(err)
	}
	b := w.NewBlock()
	for i := range records {
		w.Append(&records[i], kept, batch.Epoch, b)
	}
	return plan, raw.Stamp(plan, b, batch.Time)
}

func encode(t *testing.T, records []waybill.Record, kept contract.Kept) []objects.Object {
	t.Helper()
	plan, b := block(t, records, kept)
	all, err := objects.Encode(plan, b, batch)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// texts are bytes of every kind.
func texts() [][]byte {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return [][]byte{nil, {}, all, all[:128], []byte(`{"a":"b\n\u0000\"\\"}`), []byte("\x00\x1f\x7f\r\n\t\b"), []byte("äöü 漢字 🙂\u2028"), {0xff}, {0xed, 0xa0, 0x80}, []byte("\ufffd"), bytes.Repeat([]byte("x"), 2_000)}
}

func TestFormat_EveryRecordComesBack(t *testing.T) {
	var records []waybill.Record
	random := rand.New(rand.NewPCG(1, 2))
	all := texts()
	pick := func() []byte { return all[random.IntN(len(all))] }
	for i := range 500 {
		r := waybill.Record{Topic: "t", Partition: int32(i % 3), Offset: objects.GroupOffsets - 300 + int64(i*2), LeaderEpoch: int32(random.IntN(3)) - 1, Time: random.Int64() - random.Int64(), Appended: i%2 == 0,
			Key: pick(), Value: pick()}
		for range random.IntN(4) {
			r.Headers = append(r.Headers, waybill.Header{Key: string(pick()), Value: pick()})
		}
		if i%5 == 0 {
			r.Version = string(pick())
		}
		records = append(records, r)
	}
	random.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	made := encode(t, records, contract.KeptWhole)
	if len(made) != 6 {
		t.Errorf("%d objects of three partitions, each in two folders", len(made))
	}
	want := map[string]waybill.Record{}
	for _, r := range records {
		want[fmt.Sprint(r.Partition, r.Offset)] = r
	}
	for _, o := range made {
		if back, ok := objects.ParseName(o.String()); !ok || back != o.Name {
			t.Errorf("%s comes back as %+v", o.Name, back)
		}
		got, archived, err := objects.Decode(o.Name, o.Body)
		if err != nil || archived != batch.Time/1000 || o.Whole() {
			t.Fatalf("%s, archived at %d: %v", o.Name, archived, err)
		}
		last := int64(-1)
		for _, r := range got {
			k := fmt.Sprint(r.Partition, r.Offset)
			if d := cmp.Diff(want[k], r); d != "" {
				t.Fatalf("offset %d: %s", r.Offset, d)
			}
			if delete(want, k); r.Offset <= last || !o.Records.Contains(r.Offset) {
				t.Errorf("offset %d after %d", r.Offset, last)
			}
			last = r.Offset
		}
	}
	if len(want) > 0 {
		t.Errorf("%d records did not come back", len(want))
	}
	if got, _, err := objects.Decode(encode(t, records[:1], contract.KeptDigest)[0].Name, encode(t, records[:1], contract.KeptDigest)[0].Body); err != nil || !got[0].NotKept {
		t.Errorf("of a digest: %+v, %v", got, err)
	}
}

// Whoever writes the same rows of a batch writes the same bytes under the same name; other rows have another name.
func TestFormat_TheNameFollowsFromWhatIsInIt(t *testing.T) {
	var records []waybill.Record
	for i := range 100 {
		records = append(records, waybill.Record{Topic: "t", Offset: int64(i), Value: fmt.Appendf(nil, "v%d", i)})
	}
	one, two := encode(t, records, contract.KeptWhole)[0], encode(t, records, contract.KeptWhole)[0]
	if one.Name != two.Name || !bytes.Equal(one.Body, two.Body) {
		t.Error("the same rows make two objects")
	}
	// Both have the same first offset, last offset and count.
	a := encode(t, append(append([]waybill.Record{}, records[:50]...), records[51:]...), contract.KeptWhole)[0]
	b := encode(t, append(append([]waybill.Record{}, records[:60]...), records[61:]...), contract.KeptWhole)[0]
	if a.Span != b.Span || a.Count != b.Count || a.String() == b.String() {
		t.Errorf("two sets of rows are called %s and %s", a.Name, b.Name)
	}
}

func TestFormat_DamageIsSeen(t *testing.T) {
	var records []waybill.Record
	for i := range 20 {
		records = append(records, waybill.Record{Topic: "t", Offset: int64(i), Value: fmt.Appendf(nil, "value %d", i*7919)})
	}
	o := encode(t, records, contract.KeptWhole)[0]
	for i := range o.Body { // each bit of damage, in each byte
		body := bytes.Clone(o.Body)
		body[i] ^= 1 << (i % 8)
		if got, _, err := objects.Decode(o.Name, body); err == nil {
			for j := range got {
				if d := cmp.Diff(records[j], got[j]); d != "" {
					t.Fatalf("byte %d is another, and nobody sees it: %s", i, d)
				}
			}
		} else if !errors.Is(err, objects.ErrDamaged) {
			t.Fatal(err)
		}
	}
	for name, damaged := range map[string]func(*objects.Name){"count": func(n *objects.Name) { n.Count-- }, "partition": func(n *objects.Name) { n.Partition++ }, "epoch": func(n *objects.Name) { n.Epoch++ },
		"end": func(n *objects.Name) { n.Next-- }, "beginning": func(n *objects.Name) { n.First++ }, "topic": func(n *objects.Name) { n.Topic = "u" }} {
		n := o.Name
		damaged(&n)
		if _, _, err := objects.Decode(n, o.Body); !errors.Is(err, objects.ErrDamaged) {
			t.Errorf("under the name of another %s: %v", name, err)
		}
	}
	for n := range len(o.Body) {
		if _, _, err := objects.Decode(o.Name, o.Body[:n]); !errors.Is(err, objects.ErrDamaged) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

func TestRewrite_LeavesTheOtherLinesAsTheyAre(t *testing.T) {
	var records []waybill.Record
	for i, b := range texts() {
		records = append(records, waybill.Record{Topic: "t", Offset: int64(i), Value: b, Key: b})
	}
	o := encode(t, records, contract.KeptRedacted)[0]
	left, some, err := objects.Rewrite(o.Name, o.Body, waybill.OffsetsOf(0, 3, 4))
	if err != nil || !some || left.Count != int64(len(records)-3) || left.First != 1 || left.Batch != o.Batch {
		t.Fatalf("%+v, %t, %v", left.Name, some, err)
	}
	got, archived, err := objects.Decode(left.Name, left.Body)
	if err != nil || archived != batch.Time/1000 {
		t.Fatal(err)
	}
	if d := cmp.Diff(append(append([]waybill.Record{}, records[1], records[2]), records[5:]...), got); d != "" {
		t.Error(d)
	}
	if same, _, err := objects.Rewrite(o.Name, o.Body, waybill.OffsetsOf(77)); err != nil || same.Name != o.Name {
		t.Errorf("nothing was taken out: %v, %v", same.Name, err)
	}
	if _, some, err := objects.Rewrite(o.Name, o.Body, waybill.OffsetsIn(waybill.Span{Next: 100})); err != nil || some {
		t.Errorf("all was taken out: %t, %v", some, err)
	}
}

func TestParseName_TakesNoOther(t *testing.T) {
	good := encode(t, []waybill.Record{{Topic: "a.b-c_d", Partition: 7, Offset: 5}}, contract.KeptWhole)[0].String()
	if _, ok := objects.ParseName(good); !ok {
		t.Fatal(good)
	}
	for _, bad := range []string{"", "x", good + "x", "x/" + good, good[1:], good[:len(good)-4], "topic=a/epoch=1/partition=00001/0000000000000/copy.ndjson.zst",
		bytesReplace(good, "epoch=4", "epoch=4294967296"), bytesReplace(good, "partition=00007", "partition=7"), bytesReplace(good, "-1-", "-+1-")} {
		if n, ok := objects.ParseName(bad); ok {
			t.Errorf("%s is taken for %+v", bad, n)
		}
	}
}

func bytesReplace(s, from, to string) string {
	return string(bytes.Replace([]byte(s), []byte(from), []byte(to), 1))
}
