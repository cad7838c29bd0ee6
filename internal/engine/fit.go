package engine

import (
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
)

// FitBlock is what a table takes of a block that was made under plan p, as it would take it from a worker that carries out an old batch: columns that
// were renamed under their new names, and not those that are gone. schema is the table as it is, and now a plan that was compiled against it. names are
// those that p's columns have in the table, in p's order; empty: the column is gone. The error says that a column no longer takes what p made.
func FitBlock(cfg config.Table, schema contract.TableSchema, now, p *contract.Plan, block *column.Block) (out *column.Block, names []string, err error) {
	t, s := &table{cfg: cfg}, &tableShape{schema: schema, plan: now}
	out, f, err := t.fitBlock(s, p, block)
	if err != nil {
		return nil, nil, err
	}
	gone := map[string]bool{}
	for _, name := range f.gone {
		gone[name] = true
	}
	for _, c := range p.Columns() {
		name := c.Name
		if as, renamed := f.as[name]; renamed {
			name = as
		}
		if gone[c.Name] {
			name = ""
		}
		names = append(names, name)
	}
	return out, names, nil
}
