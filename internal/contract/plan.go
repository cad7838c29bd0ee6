package contract

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
)

// Source says what fills a column.
type Source string

// The sources.
const (
	SourceField     Source = "field"     // the value at a path in the event
	SourceTopic     Source = "topic"     // the record's topic
	SourcePartition Source = "partition" // the record's partition
	SourceOffset    Source = "offset"    // the record's offset
	SourceEpoch     Source = "epoch"     // the pipeline's epoch
	SourceKey       Source = "key"       // the record's key
	SourceHeader    Source = "header"    // the first of the record's headers of a name
	SourceTimestamp Source = "timestamp" // the record's timestamp
	SourceConstant  Source = "constant"  // the same value in every row
	SourceExpr      Source = "expr"      // a computed value
	SourceRescued   Source = "rescued"   // what fits no column of the row, see RescueColumn

	SourceContentRef   Source = "content_ref"   // the name of another column's value, if it is kept elsewhere, see Large
	SourceContentBytes Source = "content_bytes" // the length of another column's value
)

// PlanColumn is one column of the INSERT and where its values come from.
type PlanColumn struct {
	Name   string `json:"name"`
	Type   string `json:"type"` // as the table has it, in DESCRIBE's spelling
	Source Source `json:"source"`
	// Wire is the type that is sent, if it is not Type: Type made Nullable, where NULL asks the server
	// for the column's DEFAULT.
	Wire string `json:"wire,omitempty"`
	// Lineage marks the columns that say where a row came from; they have no policies.
	Lineage bool   `json:"lineage,omitempty"`
	Path    string `json:"path,omitempty"`   // of SourceField, as ParsePath reads it
	Header  string `json:"header,omitempty"` // name, of SourceHeader
	Value   string `json:"value,omitempty"`  // text, of SourceConstant
	Expr    string `json:"expr,omitempty"`   // CEL, of SourceExpr
	As      string `json:"as,omitempty"`
	Format  string `json:"format,omitempty"`
	Zone    string `json:"zone,omitempty"`   // of moments whose format reads none
	Length  int    `json:"length,omitempty"` // of an Array's rows; 0 is any
	// Of is the column that a column of SourceContentRef or SourceContentBytes says something of.
	Of string `json:"of,omitempty"`
	// Large, if not nil, says which values are kept elsewhere; of SourceContentRef and SourceContentBytes it is what Of has.
	Large *Large `json:"large,omitempty"`
	// Default is the text of the contract's default; nil is the type's zero value.
	Default *string `json:"default,omitempty"`
	// NotNull: the table's column can be NULL, the contract's type cannot. The zero value is that of the type without NULL.
	NotNull   bool   `json:"not_null,omitempty"`
	OnMissing Policy `json:"on_missing,omitempty"`
	OnNull    Policy `json:"on_null,omitempty"`
	OnInvalid Policy `json:"on_invalid,omitempty"`
	// Instead is what the column gets where its value is rescued.
	Instead Policy `json:"instead,omitempty"`
	// Evolve: values that do not fit are looked at for a wider type.
	Evolve bool `json:"evolve,omitempty"`
	// Added: the column is not in the contract file, the table says what it takes (see ColumnComment).
	Added bool `json:"added,omitempty"`
}

// Sent is the type of the column in the block.
func (c PlanColumn) Sent() string { return cmp.Or(c.Wire, c.Type) }

// planFormat is the version of the canonical text.
const planFormat = 3

// planText is the canonical text. The order of its fields is part of the format.
type planText struct {
	Format         int          `json:"format"`
	DecoderVersion uint16       `json:"decoder_version"`
	Database       string       `json:"database,omitempty"`
	Table          string       `json:"table,omitempty"`
	Raw            bool         `json:"raw,omitempty"`
	NewFields      Modes        `json:"new_fields,omitzero"`
	Transform      *Transform   `json:"transform,omitempty"`
	EventTime      string       `json:"event_time,omitempty"`
	Lineage        Lineage      `json:"lineage,omitzero"`
	Columns        []PlanColumn `json:"columns,omitempty"`
	LeftToServer   []string     `json:"left_to_server,omitempty"`
	// Routes are of a plan of several tables, which has nothing but them.
	Routes   []routeText `json:"routes,omitempty"`
	Unrouted Unrouted    `json:"unrouted,omitempty"`
}

// Plan is a contract compiled against a table: how one record becomes one row. It is immutable, and
// its ID is the hash of its canonical text, so equal plans have equal IDs wherever they were compiled.
// Slices that it returns are the plan's own: do not write to them.
type Plan struct {
	text      planText
	canonical []byte
	id        waybill.PlanID
	routes    []Route
}

func newPlan(t planText) (*Plan, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(t); err != nil {
		return nil, err
	}
	canonical := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	sum := sha256.Sum256(canonical)
	p := &Plan{text: t, canonical: canonical, id: waybill.PlanID(binary.BigEndian.Uint64(sum[:8]))}
	return p, p.split()
}

// ParsePlan reads a plan back from its canonical text, so that a batch is rebuilt under the plan that
// was recorded for it. Text that is not exactly what Canonical writes is an error.
func ParsePlan(canonical []byte) (*Plan, error) {
	var t planText
	dec := json.NewDecoder(bytes.NewReader(canonical))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&t); err != nil {
		return nil, parseError(err)
	}
	if t.Format != planFormat {
		return nil, parseError(fmt.Errorf("format %d is not known, this version writes %d", t.Format, planFormat))
	}
	if err := t.checkTypes(); err != nil {
		return nil, parseError(err)
	}
	p, err := newPlan(t)
	if err != nil {
		return nil, parseError(err)
	}
	if !bytes.Equal(p.canonical, canonical) {
		return nil, parseError(errors.New("the text is not in canonical form, it was changed or cut"))
	}
	return p, nil
}

func parseError(err error) error {
	return &waybill.Error{
		Op:    "contract.parse_plan",
		Class: waybill.ClassConfig,
		Hint:  "run the version of Waybill that stored this plan, or look for damage in its row of waybill.plans",
		Err:   err,
	}
}

// ID is the hash of the canonical text.
func (p *Plan) ID() waybill.PlanID { return p.id }

// Canonical is the plan as JSON text, the same bytes for the same plan on every machine.
func (p *Plan) Canonical() []byte { return slices.Clone(p.canonical) }

// DecoderVersion is the version of the decoder that the plan was compiled for.
func (p *Plan) DecoderVersion() uint16 { return p.text.DecoderVersion }

// For is the same plan for another version of the decoder, which may make other rows of the same records.
func (p *Plan) For(decoder uint16) (*Plan, error) {
	t := p.text
	t.DecoderVersion = decoder
	t.Routes = slices.Clone(t.Routes)
	for i := range t.Routes {
		t.Routes[i].Plan.DecoderVersion = decoder
	}
	return newPlan(t)
}

// Database of the target table.
func (p *Plan) Database() string { return p.text.Database }

// Table is the target table's name within its database.
func (p *Plan) Table() string { return p.text.Table }

// NewFields says what becomes of fields that no column takes. Under ModeEvolve they are rescued like under
// ModeRescue; it is before a batch is closed that the table is changed, and the batch gathered anew.
func (p *Plan) NewFields() Modes { return p.text.NewFields }

// Transform is what happens to events before their fields go to columns; nil if nothing does. The routes of a plan have the same.
func (p *Plan) Transform() *Transform {
	if p.Routed() {
		return p.routes[0].Plan.Transform()
	}
	return p.text.Transform
}

// Redacts reports whether something is taken out of records before they are stored.
func (p *Plan) Redacts() bool {
	t := p.Transform()
	return t != nil && t.Redact != nil
}

// RescueColumn is the column for values that fit no other; ok is false if there is none.
func (p *Plan) RescueColumn() (c PlanColumn, ok bool) {
	i := slices.IndexFunc(p.text.Columns, func(c PlanColumn) bool { return c.Source == SourceRescued })
	if i < 0 {
		return PlanColumn{}, false
	}
	return p.text.Columns[i], true
}

// EventTime is the column that says when an event happened; empty: its record's timestamp does.
func (p *Plan) EventTime() string { return p.text.EventTime }

// Lineage names the lineage columns.
func (p *Plan) Lineage() Lineage { return p.text.Lineage }

// Columns of the INSERT, in order, the lineage columns last.
func (p *Plan) Columns() []PlanColumn { return p.text.Columns }

// LeftToServer are the table's columns that the INSERT does not name: the server fills them.
func (p *Plan) LeftToServer() []string { return p.text.LeftToServer }

// ColumnNames of the INSERT's column list.
func (p *Plan) ColumnNames() []string {
	names := make([]string, len(p.text.Columns))
	for i, c := range p.text.Columns {
		names[i] = c.Name
	}
	return names
}

// NewBlock is an empty block with the plan's columns.
func (p *Plan) NewBlock() (*column.Block, error) {
	types := make([]string, len(p.text.Columns))
	for i, c := range p.text.Columns {
		types[i] = c.Sent()
	}
	return column.NewBlock(p.ColumnNames(), types)
}
