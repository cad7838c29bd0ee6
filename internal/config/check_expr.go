package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/transform/expr"
)

// intoExpr reads a CEL expression and compiles it; check looks at what came of it, and may be nil.
func intoExpr(to *string, compile func(string) (*expr.Expr, error), check func(value, *expr.Expr)) func(value) {
	return func(v value) {
		intoText(to, notEmpty)(v)
		if *to == "" {
			return
		}
		e, err := compile(*to)
		if err != nil {
			v.reportExpr(*to, err)
		} else if check != nil {
			check(v, e)
		}
	}
}

// reportExpr reports why an expression does not compile, at the very character. Values of variables are not quoted.
func (v value) reportExpr(text string, err error) {
	var problems expr.Problems
	if text != v.shown() || !errors.As(err, &problems) {
		v.report(v.path+" is no valid expression once its variables are replaced", "")
		return
	}
	for _, p := range problems {
		line, col := v.place(offsetOf(text, p.Line, p.Col))
		v.r.problems = append(v.r.problems, v.r.src.problem(line, col, v.path, v.path+": "+p.Message, p.Hint))
	}
}

// offsetOf is the number of characters before a place in a text.
func offsetOf(text string, line, col int) int {
	lines := strings.SplitAfter(text, "\n")
	n := 0
	for _, l := range lines[:min(line-1, len(lines))] {
		n += utf8.RuneCountInString(l)
	}
	return min(n+col-1, utf8.RuneCountInString(text))
}

// fitsColumn checks that the result of a column's expression can be a value of its type, for some event at least.
func fitsColumn(c *contract.Column) func(value, *expr.Expr) {
	return func(v value, e *expr.Expr) {
		typ, err := column.ParseType(c.Type)
		if err != nil {
			return // reported with the column
		}
		takes := typ.Takes()
		if f, err := column.ParseTimeFormat(c.Format, c.Zone); err == nil && typ.HasTime() && takes&column.TakesArray == 0 {
			takes &= f.Takes()
		}
		unix := c.Format != "" && c.Format != "rfc3339"
		switch {
		case e.Gives() == 0 && typ.CanNull():
		case e.Gives()&takes == 0:
			v.report(fmt.Sprintf("%s gives %s, which a column of %s never takes", v.path, e.Type(), c.Type),
				"convert it: int(), double(), string()")
		case e.IsTimestamp() && typ.HasTime() && unix:
			v.report(fmt.Sprintf("%s gives a timestamp, which is written as RFC 3339, and format says %s", v.path, c.Format),
				"leave format out")
		}
	}
}
