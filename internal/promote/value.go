package promote

import (
	"fmt"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json"
)

// maker makes the column's values of rescued texts, by the very decoder that would have made them of events: what fits here
// is what fits there, digit by digit.
type maker struct {
	decoder *json.Decoder
	block   *column.Block // lineage and value of each row that fits
	limit   int           // how long a text may be; 0: any length
}

// newMaker is for one column. lineage are the table's lineage columns.
func newMaker(col contract.Column, lineage contract.Lineage, t contract.TableSchema) (*maker, error) {
	schema := contract.TableSchema{Database: t.Database, Table: t.Table, Columns: []contract.TableColumn{{Name: col.Name, Type: col.Type}}}
	for _, c := range t.Columns {
		if c.Name == lineage.Topic || c.Name == lineage.Partition || c.Name == lineage.Offset || c.Name == lineage.Epoch {
			schema.Columns = append(schema.Columns, contract.TableColumn{Name: c.Name, Type: c.Type})
		}
	}
	one := contract.Column{
		Name: col.Name, Type: col.Type, From: "v", As: col.As, Format: col.Format, Zone: col.Zone, Length: col.Length,
		OnInvalid: contract.DeadLetter, OnMissing: contract.DeadLetter,
	}
	if typ, err := column.ParseType(col.Type); err != nil || !typ.CanNull() {
		one.OnNull = contract.DeadLetter
	}
	plan, err := contract.Compile(contract.Contract{
		NewFields: contract.Modes{Default: contract.ModeDiscard}, TypeConflicts: contract.Modes{Default: contract.ModeFreeze}, Columns: []contract.Column{one},
	}, schema, lineage, json.Version)
	if err != nil {
		return nil, err
	}
	d, err := json.New(plan)
	if err != nil {
		return nil, err
	}
	return &maker{decoder: d, block: d.NewBlock()}, nil
}

// add appends the value that the text gives. A text that does not fit the column, or only with fewer digits, is an error.
func (m *maker) add(at place, text []byte) error {
	if m.limit > 0 && len(text) > m.limit {
		return fmt.Errorf("it has %d bytes, too many for a statement that every replica carries out", len(text))
	}
	event := append(append([]byte(`{"v":`), text...), '}')
	rows := m.block.Rows()
	out := m.decoder.Decode(&waybill.Record{Topic: at.topic, Partition: at.partition, Offset: at.offset, Value: event}, at.epoch, m.block)
	switch {
	case out.Kind == json.Rejected:
		return fmt.Errorf("%s: %s", out.Reject.Code, out.Reject.Message)
	case out.Rounded > 0:
		m.block.Truncate(rows)
		return fmt.Errorf("it has more digits than the column keeps")
	}
	return nil
}
