package json

import (
	"cmp"
	"testing"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

// newDecoder compiles a contract against a table that has just its columns and the lineage columns.
func newDecoder(t testing.TB, c contract.Contract) *Decoder {
	t.Helper()
	// What a test does not say is not rescued: most are about single columns.
	c.NewFields.Default = cmp.Or(c.NewFields.Default, contract.ModeDiscard)
	c.TypeConflicts.Default = cmp.Or(c.TypeConflicts.Default, contract.ModeFreeze)
	schema := contract.TableSchema{Database: "d", Table: "t", Columns: []contract.TableColumn{
		{Name: "_topic", Type: "LowCardinality(String)"}, {Name: "_partition", Type: "UInt16"},
		{Name: "_offset", Type: "UInt64"}, {Name: "_epoch", Type: "UInt32"}, {Name: "_rescued", Type: "String"},
	}}
	for _, col := range c.Columns {
		schema.Columns = append(schema.Columns, contract.TableColumn{Name: col.Name, Type: col.Type})
	}
	p, err := contract.Compile(c, schema, contract.DefaultLineage(), Version)
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// columnsDecoder is newDecoder for columns alone.
func columnsDecoder(t testing.TB, columns ...contract.Column) *Decoder {
	t.Helper()
	return newDecoder(t, contract.Contract{Columns: columns})
}

// decode decodes one text into a new block.
func decode(d *Decoder, text string) (Outcome, *column.Block) {
	b := d.NewBlock()
	return d.Decode(&waybill.Record{Topic: "t", Offset: 7, Value: []byte(text)}, 1, b), b
}

// wire is a block as it would be sent.
func wire(t testing.TB, b *column.Block) string {
	t.Helper()
	var buf proto.Buffer
	block := proto.Block{Columns: len(b.Columns), Rows: b.Rows()}
	if err := block.EncodeRawBlock(&buf, 54451, b.Input()); err != nil {
		t.Fatal(err)
	}
	return string(buf.Buf)
}

// unmapped are the new fields that a decoder has counted, by path; it drains them.
func unmapped(d *Decoder) map[string]int64 {
	out := map[string]int64{}
	for _, f := range d.Drift() {
		if f.Kind == contract.DriftNewField {
			out[f.Path] += f.Count
		}
	}
	return out
}
