// Package oracle is the JSON decoder once more, written to be obviously right and nothing else: it
// says what a record must become under a plan, and tests compare the decoder with it.
//
// It shares no code with the decoder and none with package column. The text is judged by jsontext and
// parsed into a tree; values are computed by the standard library (math/big, time, strconv, encoding/json)
// as texts; what the decoder made is read back from the bytes that would go over the wire.
//
// What is reported of a record with several problems: problems of the text come first, as a whole (bytes
// that are no UTF-8, then syntax, then what follows the value, then depth, then a value that is no object).
// Then duplicate names in objects that are walked and problems of fields, in the order of the text; what is
// missing comes last. What no path leads to and what no column takes is noted, see package contract. A name is a duplicate only where somebody would have to choose: in the objects that
// paths lead through and in objects that become values of a column. Subtrees that are kept as text or
// that no column takes are not looked into, but are strict RFC 8259 all the same.
package oracle

import (
	"strconv"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

// Verdict is what must become of a record.
type Verdict struct {
	Reject    *Reject             // nil if the record becomes a row
	Row       []Value             // one value per column of the plan, lineage included
	Rounded   map[string]int      // moments that lost digits, by column
	Defaulted map[string]Defaults // values that the event did not have, by column
	Nulls     map[string]int      // nulls that became NULL, by column
	Drift     map[DriftKey]Drift
	Rescued   int  // values in the rescue column
	Blank     bool // no column has what the event says
}

// Reject is why a record must not become a row. Codes are the decoder's.
type Reject struct {
	Code, Column, Path string
	Offset             int // -1 if the problem has no place
}

// Defaults counts substitutions in one column.
type Defaults struct{ Missing, Null, Invalid int }

// Oracle judges records under one plan.
type Oracle struct {
	plan    *contract.Plan
	columns []planColumn    // those that are filled from the event
	modes   []contract.Path // those that have a mode of their own
}

// planColumn is a column of the plan with its type parsed.
type planColumn struct {
	contract.PlanColumn
	path  contract.Path
	each  int // the step of the path that is [*], -1 without one
	index int // in the plan
	typ   Type
}

// New makes the oracle of a plan.
func New(p *contract.Plan) *Oracle {
	o := &Oracle{plan: p}
	for i, c := range p.Columns() {
		if c.Source == contract.SourceField {
			path, err := contract.ParsePath(c.Path)
			if err != nil {
				panic("oracle: " + err.Error())
			}
			o.columns = append(o.columns, planColumn{c, path, path.Each(), i, ParseType(c.Type)})
		}
	}
	for _, m := range p.NewFields().Paths {
		path, err := contract.ParsePath(m.Path)
		if err != nil {
			panic("oracle: " + err.Error())
		}
		o.modes = append(o.modes, path)
	}
	return o
}

// Judge says what must become of a record, which must not be a tombstone.
func (o *Oracle) Judge(rec *waybill.Record, epoch waybill.Epoch) Verdict {
	if r := judgeText(rec.Value); r != nil {
		return Verdict{Reject: r}
	}
	w := walker{
		oracle: o,
		row:    make([]*Value, len(o.plan.Columns())),
		verdict: Verdict{
			Rounded: map[string]int{}, Defaulted: map[string]Defaults{}, Nulls: map[string]int{}, Drift: map[DriftKey]Drift{},
		},
		collected: map[int]*Value{},
	}
	event := parseTree(rec.Value)
	w.around = append(w.around, event)
	w.object(event, nil, false)
	w.missing()
	w.verdict.Blank = w.filled == 0 && len(o.columns) > 0
	w.lineage(rec, epoch)
	if w.verdict.Reject != nil {
		return Verdict{Reject: w.verdict.Reject}
	}
	for _, v := range w.row {
		w.verdict.Row = append(w.verdict.Row, *v)
	}
	return w.verdict
}

// lineage fills the columns that say where the record is from.
func (w *walker) lineage(rec *waybill.Record, epoch waybill.Epoch) {
	for i, c := range w.oracle.plan.Columns() {
		var v Value
		switch c.Source {
		case contract.SourceTopic:
			v = Scalar(rec.Topic)
		case contract.SourcePartition:
			if c.Type == "UInt16" && rec.Partition > 65535 {
				w.reject(Reject{Code: "out_of_range", Column: c.Name, Offset: -1})
			}
			v = Scalar(strconv.Itoa(int(rec.Partition)))
		case contract.SourceOffset:
			v = Scalar(strconv.FormatInt(rec.Offset, 10))
		case contract.SourceEpoch:
			v = Scalar(strconv.FormatUint(uint64(epoch), 10))
		case contract.SourceRescued:
			var text string
			text, w.verdict.Rescued = w.rescueText()
			if v = Scalar(text); text == "" && c.Type != "String" {
				v = Null()
			}
		default:
			continue
		}
		w.row[i] = &v
	}
}
