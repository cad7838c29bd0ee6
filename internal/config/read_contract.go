package config

import (
	"fmt"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/transform/expr"
)

func readContract(v value, c *contract.Contract) {
	v.object(
		optional("new_fields", intoModes(&c.NewFields)),
		optional("type_conflicts", intoModes(&c.TypeConflicts)),
		optional("tables", intoWord(&c.Tables, words(contract.ModeEvolve, contract.ModeFreeze))),
		optional("max_columns", intoInt(&c.MaxColumns, 1, 10_000)),
		optional("rescue_column", intoText(&c.RescueColumn, notEmpty)),
		optional("event_time", intoText(&c.EventTime, notEmpty)),
		optional("columns", func(v value) { c.Columns = append(c.Columns, readColumns(v, c.Columns)...) }),
	)
}

// readColumns reads columns beside those that the contract has already.
func readColumns(v value, shared []contract.Column) []contract.Column {
	entries, ok := v.entries()
	if !ok {
		return nil
	}
	if len(entries) == 0 {
		v.report(v.path+" is empty", "name at least one column")
	}
	var out []contract.Column
	for _, e := range entries {
		if slices.ContainsFunc(shared, func(c contract.Column) bool { return c.Name == e.key }) {
			e.atKey().report(fmt.Sprintf("%s: all routes have a column %s, by the contract above", e.path, e.key), "keep one of them")
			continue
		}
		out = append(out, readColumn(e))
	}
	return out
}

// asWords are a column's ways to be taken as text.
var asWords = words("json")

// maxLength is the most elements that a contract may demand of an array.
const maxLength = 1 << 20

func readColumn(e entry) contract.Column {
	line, col := position(e.node)
	c := contract.Column{Name: e.key, Line: line, Col: col}
	if e.key == "" {
		e.atKey().report("a column's name is empty", "")
	}
	var expression value
	policies := words(contract.DeadLetter, contract.Null, contract.Default, contract.TableDefault, contract.Rescue)
	e.object(
		required("type", intoText(&c.Type, notEmpty)),
		optional("from", intoText(&c.From, notEmpty)),
		optional("kafka", intoText(&c.Kafka, notEmpty)),
		optional("value", func(v value) { c.Value = readDefault(v) }),
		optional("expr", func(v value) { expression = v }),
		optional("as", intoWord(&c.As, asWords)),
		optional("format", intoText(&c.Format, notEmpty)),
		optional("timezone", intoText(&c.Zone, notEmpty)),
		optional("length", intoInt(&c.Length, 1, maxLength)),
		optional("large", func(v value) { c.Large = readLarge(v, e.key) }),
		optional("required", intoBool(&c.Required)),
		optional("default", func(v value) { c.Default = readDefault(v) }),
		optional("on_missing", intoWord(&c.OnMissing, policies)),
		optional("on_null", intoWord(&c.OnNull, policies)),
		optional("on_invalid", intoWord(&c.OnInvalid, policies)),
	)
	if expression.given() { // once the type is known
		intoExpr(&c.Expr, expr.Compile, fitsColumn(&c))(expression)
	}
	e.contradictions(c)
	return c
}

func readDefault(v value) *string {
	if v.says(Shape{Type: anyScale}) {
		return nil
	}
	if _, isNull := v.node.(*ast.NullNode); isNull {
		v.report(v.path+" has no value", "to write NULL, leave it out and say on_missing: null and on_null: null")
		return nil
	}
	s, ok := scalarText(v.node)
	if !ok {
		v.expected("a single value")
		return nil
	}
	if s = v.expand(s, nil); v.r.unresolved[v.node] {
		return nil
	}
	return &s
}

// contradictions are the combinations that are wrong whatever the table looks like.
func (e entry) contradictions(c contract.Column) {
	if !c.Required {
		return
	}
	if c.Default != nil {
		e.at("default").report(fmt.Sprintf("%s is required and has a default", e.path),
			"a required column makes a record without a value a dead letter: keep one of the two")
	}
	for _, p := range []struct {
		key   string
		value contract.Policy
	}{{"on_missing", c.OnMissing}, {"on_null", c.OnNull}} {
		if p.value != "" && p.value != contract.DeadLetter {
			e.at(p.key).report(fmt.Sprintf("%s is required, but %s says %s", e.path, p.key, p.value),
				"required means on_missing: dead_letter and on_null: dead_letter: keep one of the two")
		}
	}
}
