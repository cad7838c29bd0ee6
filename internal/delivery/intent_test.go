package delivery_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/delivery"
)

func drawMetadata(t *rapid.T) delivery.Metadata {
	m := delivery.Metadata{Epoch: waybill.Epoch(rapid.Uint32().Draw(t, "epoch"))}
	copy(m.TopicID[:], rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "topic"))
	at := rapid.Int64Range(0, 1<<50).Draw(t, "first")
	for range rapid.IntRange(0, 5).Draw(t, "intents") {
		in := delivery.Intent{
			Plan: waybill.PlanID(rapid.Uint64Range(1, 3).Draw(t, "plan")), Decoder: rapid.Uint16Range(0, 2).Draw(t, "decoder"), Table: waybill.TableID(rapid.Uint32Range(0, 2).Draw(t, "table")),
			Time: rapid.Int64().Draw(t, "time"), Spans: rapid.IntRange(1, 5000).Draw(t, "spans"), Count: rapid.Int64Range(0, 1<<40).Draw(t, "count"), Checksum: rapid.Uint64().Draw(t, "checksum"),
			Span: waybill.Span{First: at, Next: at + rapid.Int64Range(1, 1<<30).Draw(t, "length")},
		}
		copy(in.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		at = in.Span.Next
		m.Intents = append(m.Intents, in)
	}
	return m
}

func TestMetadata_RoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawMetadata(t)
		got, err := delivery.ParseMetadata(want.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestMetadata_NoticesEveryDamage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := drawMetadata(t).Encode()
		i := rapid.IntRange(len("wb1."), len(text)-1).Draw(t, "at")
		c := rapid.SampledFrom([]byte("ABCDwxyz0189-_")).Draw(t, "char")
		if text[i] == c || i == len(text)-1 { // the last character may carry bits of padding
			return
		}
		if _, err := delivery.ParseMetadata(text[:i] + string(c) + text[i+1:]); !errors.Is(err, delivery.ErrBrokenMetadata) {
			t.Fatalf("damage at %d of %q: %v", i, text, err)
		}
		if _, err := delivery.ParseMetadata(text[:i]); !errors.Is(err, delivery.ErrBrokenMetadata) {
			t.Fatalf("cut at %d of %q: %v", i, text, err)
		}
	})
}

func TestParseMetadata_KnowsWhoseItIs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		"": delivery.ErrForeignMetadata, "NONE": delivery.ErrForeignMetadata, "flink.1": delivery.ErrForeignMetadata,
		"wb2.AAAA": delivery.ErrNewerMetadata, "wb1.": delivery.ErrBrokenMetadata, "wb1.AAAAAAAA": delivery.ErrBrokenMetadata, "wb1.!!!": delivery.ErrBrokenMetadata,
	} {
		if _, err := delivery.ParseMetadata(text); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}

// A worker of 50 partitions has to fit its strings into the broker's default of 4096 bytes.
func TestMetadata_SizeOfOneIntent(t *testing.T) {
	t.Parallel()
	m := delivery.Metadata{Epoch: 3}
	at := int64(1 << 40)
	for range 10 {
		m.Intents = append(m.Intents, delivery.Intent{Plan: 1 << 60, Time: 1_800_000_000_000, Spans: 50, Count: 100_000, Checksum: 1 << 63, Span: waybill.Span{First: at, Next: at + 100_000}})
		at += 100_000
	}
	if n := len(m.Encode()); n > 700 {
		t.Errorf("ten intents take %d bytes", n)
	}
}

func FuzzParseMetadata(f *testing.F) {
	f.Add("")
	f.Add("wb1.AQEAAAAAAAAAAAsXMxs")
	f.Add(delivery.Metadata{Epoch: 1, Intents: []delivery.Intent{{Time: -1, Spans: 2, Span: waybill.Span{First: 5, Next: 9}, Count: 4}}}.Encode())
	f.Fuzz(func(t *testing.T, text string) {
		m, err := delivery.ParseMetadata(text)
		if err != nil {
			return
		}
		again, err := delivery.ParseMetadata(m.Encode())
		if err != nil {
			t.Fatalf("%q parses, but what it says does not: %v", text, err)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Fatal(diff)
		}
		if !strings.HasPrefix(text, delivery.IntentVersion+".") {
			t.Fatalf("%q was taken for ours", text)
		}
	})
}
