package json

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

// largeDecoder has a column in each of the types that can have long values, and one that is required and comes behind them.
func largeDecoder(t *testing.T) *Decoder {
	t.Helper()
	c := contract.Contract{NewFields: contract.Modes{Default: contract.ModeDiscard}, TypeConflicts: contract.Modes{Default: contract.ModeFreeze}, Columns: []contract.Column{
		{Name: "prompt", Type: "String", Large: &contract.Large{Inline: 64, Preview: 10, Ref: "prompt_ref", Bytes: "prompt_bytes"}},
		{Name: "answer", Type: "Nullable(String)", As: "json", Large: &contract.Large{Inline: 64, Preview: 0, Ref: "answer_ref", Bytes: "answer_bytes"}},
		{Name: "id", Type: "UInt64", Required: true},
	}}
	l := contract.DefaultLineage()
	p, err := contract.Compile(c, contract.Promised(c, l, "d", "t"), l, Version)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Larges(); len(got) != 2 || got[0].Name != "prompt" || got[1].Name != "answer" {
		t.Fatalf("the plan's columns of long values: %+v", got)
	}
	if again, err := contract.ParsePlan(p.Canonical()); err != nil || again.ID() != p.ID() {
		t.Fatalf("the plan is not what its text says: %v", err)
	}
	d, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// namedRow is what a row says, by column.
func namedRow(b *column.Block, row int) map[string]string {
	out := map[string]string{}
	for i, name := range b.Names {
		out[name] = show(b.Columns[i], row)
	}
	return out
}

func TestLarge_ARowKeepsTheBeginningNameAndLengthOfALongValue(t *testing.T) {
	d := largeDecoder(t)
	long := strings.Repeat("prompt ", 20)
	umlauts := strings.Repeat("ä", 40)          // 80 bytes; the tenth ends a character
	odd := "x" + strings.Repeat("€", 30)        // 91 bytes; 1 + 3 + 3 + 3 fit ten, 1 + 3*3 = 10
	object := `{"a": "` + long + `", "b": [1]}` // taken as its text
	for _, c := range []struct{ prompt, answer, preview string }{
		{`"short"`, `null`, "short"},
		{`"` + strings.Repeat("x", 64) + `"`, `"y"`, strings.Repeat("x", 64)},
		{`"` + long + `"`, object, "prompt pro"},
		{`"` + umlauts + `"`, object, "äääää"},
		{`"` + odd + `"`, `{}`, "x€€€"},
		{`"\u0061` + long + `"`, `[` + strings.Repeat("1,", 40) + `1]`, "aprompt pr"},
	} {
		text := fmt.Sprintf(`{"prompt":%s,"answer":%s,"id":1}`, c.prompt, c.answer)
		out, b := decode(d, text)
		if out.Kind != Written || b.Rows() != 1 {
			t.Fatalf("%s: %+v", text, out)
		}
		row := namedRow(b, 0)
		prompt := strings.ReplaceAll(strings.Trim(c.prompt, `"`), `\u0061`, "a")
		checkLarge(t, b, row, "prompt", prompt, 64, c.preview)
		if c.answer == "null" {
			if row["answer"] != "NULL" || row["answer_ref"] != "" || row["answer_bytes"] != "0" {
				t.Errorf("of a null: %v", row)
			}
			continue
		}
		preview := ""
		if len(c.answer) <= 64 {
			preview = c.answer
		}
		checkLarge(t, b, row, "answer", c.answer, 64, preview)
	}
	moved := d.Moved()
	if got := moved["prompt"]; got.Values != 4 || got.Bytes != int64(len(long)+len(umlauts)+len(odd)+len(long)+1) {
		t.Errorf("counted %+v", moved)
	}
	if again := d.Moved(); len(again) != 0 {
		t.Errorf("counted twice: %v", again)
	}
}

// checkLarge compares a row with a value that it has, or refers to.
func checkLarge(t *testing.T, b *column.Block, row map[string]string, name, value string, inline int, preview string) {
	t.Helper()
	hash := sha256.Sum256([]byte(value))
	ref := ""
	if len(value) > inline {
		ref = hex.EncodeToString(hash[:])
	}
	if row[name] != preview || row[name+"_ref"] != ref || row[name+"_bytes"] != fmt.Sprint(len(value)) {
		t.Errorf("%s of %d bytes: %q, %q, %s, want %q, %q", name, len(value), row[name], row[name+"_ref"], row[name+"_bytes"], preview, ref)
	}
	found := 0
	for _, c := range b.Contents {
		if c.Hash == hash && string(c.Value) == value && b.Names[c.Column] == name && c.Row == 0 {
			found++
		}
	}
	if want := min(len(ref), 1); found != want {
		t.Errorf("%s: the block has the value %d times, want %d", name, found, want)
	}
}

func TestLarge_WhatIsNoRowLeavesNoValue(t *testing.T) {
	d := largeDecoder(t)
	long := strings.Repeat("x", 1000)
	b := d.NewBlock()
	for i, text := range []string{
		fmt.Sprintf(`{"prompt":%q,"id":1}`, long),
		fmt.Sprintf(`{"prompt":%q}`, long),               // the required one is missing
		fmt.Sprintf(`{"prompt":%q,"id":1`, long),         // cut off
		fmt.Sprintf(`{"prompt":%q,"id":2,"id":3}`, long), // named twice
		fmt.Sprintf(`{"id":4, "prompt":%q}`, long+"4"),
	} {
		d.Decode(&waybill.Record{Topic: "t", Offset: int64(i), Value: []byte(text)}, 1, b)
	}
	if b.Rows() != 2 || len(b.Contents) != 2 || b.Contents[1].Row != 1 || string(b.Contents[1].Value) != long+"4" {
		t.Fatalf("%d rows and %d values", b.Rows(), len(b.Contents))
	}
	if size := b.Size(); size < 2*len(long) {
		t.Errorf("values are not counted: the block says %d bytes", size)
	}
	b.Truncate(1)
	if len(b.Contents) != 1 {
		t.Errorf("a row was dropped, and its value is there")
	}
	b.Reset()
	if len(b.Contents) != 0 || b.Size() != 0 {
		t.Errorf("a block that was emptied has %d values and %d bytes", len(b.Contents), b.Size())
	}
}

// What long values cost beside the reading of their text: a hash and a copy.
func BenchmarkLarge(b *testing.B) {
	text := []byte(fmt.Sprintf(`{"prompt":%q,"id":1}`, strings.Repeat("You are a careful assistant. ", 4000)))
	for _, of := range []struct {
		name  string
		large *contract.Large
	}{{"inline", nil}, {"elsewhere", &contract.Large{Inline: 8 << 10, Preview: 200, Ref: "prompt_ref", Bytes: "prompt_bytes"}}} {
		b.Run(of.name, func(b *testing.B) {
			c := contract.Contract{Columns: []contract.Column{{Name: "prompt", Type: "String", Large: of.large}, {Name: "id", Type: "UInt64", Required: true}}}
			l := contract.DefaultLineage()
			p, err := contract.Compile(c, contract.Promised(c, l, "d", "t"), l, Version)
			if err != nil {
				b.Fatal(err)
			}
			d, err := New(p)
			if err != nil {
				b.Fatal(err)
			}
			block, rec := d.NewBlock(), &waybill.Record{Topic: "t", Value: text}
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if block.Rows() == 100 {
					block.Reset()
				}
				d.Decode(rec, 1, block)
			}
		})
	}
}
