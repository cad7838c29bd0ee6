package json

import (
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

// field is one column that is filled by a value, under its policies.
type field struct {
	index                        int // of the column in the block
	name                         string
	escaped                      string        // the name as JSON writes it
	path                         contract.Path // in the event; nil if the value comes from elsewhere
	asJSON                       bool
	each                         bool // the path collects from an array: values go into the column's elements
	length                       int  // of an Array's rows, 0 is any
	format                       column.TimeFormat
	onMissing, onNull, onInvalid contract.Policy
	instead                      contract.Policy // what the column gets where the value is rescued
	evolve                       bool
	// node is where the column's values lie: the array, if each.
	node      *node
	conflicts []*conflict
	// fallback is a column of the same type with one row: what policy default writes.
	fallback column.Column
	filled   Defaults
	nulls    int64 // nulls that became NULL
	rounded  int64 // values that lost digits

	// mark is the number of the record that has filled the column last.
	mark uint64
	// before is the number of elements before the one at hand, if each.
	before int
	op     op
	// short is op.kind if values may take the short way, see take.
	short opKind
	col   column.Column // of the block at hand
	list  *column.Array // col, if each or length
}

// compile adds a column of the plan.
func (d *Decoder) compile(index int, c contract.PlanColumn) error {
	if c.Source == contract.SourceRescued || c.Of != "" {
		return nil
	}
	if c.Lineage {
		d.others = append(d.others, &source{field: field{index: index, name: c.Name}, source: c.Source, lineage: true})
		return nil
	}
	f, err := newField(index, c, d.block.Columns[index])
	if err != nil {
		return err
	}
	if c.Source != contract.SourceField {
		s := &source{field: *f, source: c.Source, header: c.Header, where: recordPath(c)}
		s.place = placeNamed(s.where)
		if c.Source == contract.SourceExpr {
			s.expr = d.exprs
			d.exprs++
		}
		d.others, d.counted = append(d.others, s), append(d.counted, &s.field)
		return nil
	}
	path, err := contract.ParsePath(c.Path)
	if err != nil {
		return err
	}
	f.path, f.each = path, path.Each() >= 0
	d.fields, d.counted = append(d.fields, f), append(d.counted, f)
	d.root.add(f)
	return nil
}

func newField(index int, c contract.PlanColumn, col column.Column) (*field, error) {
	format, err := column.ParseTimeFormat(c.Format, c.Zone)
	if err != nil {
		return nil, err
	}
	if c.Source == contract.SourceTimestamp {
		format = column.UnixMilli
	}
	fallback, text := col.Fresh(), c.Default
	if c.Source == contract.SourceConstant {
		text = &c.Value
	}
	if text == nil {
		appendZero(fallback, c.NotNull)
	} else if _, err := column.AppendText(fallback, []byte(*text), format); err != nil {
		return nil, err
	}
	return &field{
		index: index, name: c.Name, escaped: string(appendEscaped(nil, c.Name)), asJSON: c.As == "json", length: c.Length, format: format, fallback: fallback,
		onMissing: c.OnMissing, onNull: c.OnNull, onInvalid: c.OnInvalid, instead: c.Instead, evolve: c.Evolve,
	}, nil
}

// appendZero appends a column's zero value, with notNull that of the type without NULL.
func appendZero(c column.Column, notNull bool) {
	switch n := c.(type) {
	case *column.Nullable:
		if notNull {
			n.Inner().AppendZero()
			n.EndRow()
			return
		}
	case *column.LowCardinality:
		if notNull {
			n.Append(nil)
			return
		}
	}
	c.AppendZero()
}

// bind makes b the block that rows go to.
func (d *Decoder) bind(b *column.Block) {
	d.into = b
	for _, f := range d.fields {
		f.bind(b)
	}
	for _, s := range d.others {
		s.bind(b)
	}
	for _, l := range d.larges {
		l.bind(b)
	}
	if d.rescue.index >= 0 {
		d.rescue.column = b.Columns[d.rescue.index]
	}
}

func (f *field) bind(b *column.Block) {
	f.col = b.Columns[f.index]
	f.list, _ = f.col.(*column.Array)
	f.op = bindOp(f.col, f.format)
	if f.asJSON {
		f.op.kind = opRaw
	}
	if f.short = f.op.kind; f.each || f.op.null != nil || f.length > 0 {
		f.short = opOther
	}
}
