package expr

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/waybill-data/waybill/internal/column"
)

// Problem is one thing that keeps an expression from being compiled.
type Problem struct {
	Line, Col int // within the expression, from 1; Col counts characters
	Message   string
	Hint      string // what to write instead, if known
}

// Error is the problem on one line.
func (p *Problem) Error() string { return fmt.Sprintf("%d:%d: %s", p.Line, p.Col, p.Message) }

// Problems are all that was found, at least one.
type Problems []*Problem

// Error lists the problems.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "; ")
}

// Expr is a compiled expression. It may be used by several goroutines.
type Expr struct {
	text    string
	result  *cel.Type
	program cel.Program
}

// Compile compiles an expression whose result is of any type. The error is Problems.
func Compile(text string) (*Expr, error) {
	env, err := environment()
	if err != nil {
		return nil, Problems{{1, 1, err.Error(), ""}}
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, problemsOf(issues)
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize), cel.CustomDecoratorV2(orderMaps)}
	if !bounded(env, ast) {
		options = append(options, cel.CostLimit(CostLimit))
	}
	program, err := env.Program(ast, options...)
	if err != nil {
		return nil, Problems{{1, 1, err.Error(), ""}}
	}
	return &Expr{text, ast.OutputType(), program}, nil
}

// CompileBool compiles an expression whose result is, or may be, a bool.
func CompileBool(text string) (*Expr, error) {
	e, err := Compile(text)
	if err == nil && e.result.Kind() != types.BoolKind && e.result.Kind() != types.DynKind {
		return nil, Problems{{1, 1, "the expression gives " + e.Type() + ", not true or false", "compare it with something: event.status != \"debug\""}}
	}
	return e, err
}

func problemsOf(issues *cel.Issues) Problems {
	var out Problems
	for _, e := range issues.Errors() {
		message, hint := explain(e.Message)
		out = append(out, &Problem{max(1, e.Location.Line()), max(0, e.Location.Column()) + 1, message, hint})
	}
	return out
}

const variables = "there are event, kafka.topic, kafka.partition, kafka.offset, kafka.timestamp, kafka.key and kafka.headers"

// explain puts a message of the compiler in our words.
func explain(message string) (string, string) {
	message = strings.ReplaceAll(message, " (in container '')", "")
	message, _ = strings.CutPrefix(message, "Syntax error: ")
	switch {
	case strings.HasPrefix(message, "undeclared reference"):
		return message, variables
	case strings.HasPrefix(message, "no viable alternative at input '."):
		return message, "a name that is a word of CEL's own, or no word, is written in backticks: event.usage.`in`"
	case strings.HasPrefix(message, "found no matching overload"):
		return message, "convert one of them: int(), double(), string()"
	}
	return message, ""
}

// Type is the name of the result's type: int, string, list(dyn), ...; dyn if that depends on the event.
func (e *Expr) Type() string { return e.result.String() }

// Gives are the kinds of JSON values that the result can have.
func (e *Expr) Gives() column.Kinds { return kindsOf(e.result) }

const anyKind = column.TakesString | column.TakesNumber | column.TakesBool | column.TakesArray | column.TakesObject

func kindsOf(t *cel.Type) column.Kinds {
	if t.Kind() == types.OpaqueKind && t.TypeName() == "optional_type" {
		return kindsOf(t.Parameters()[0])
	}
	switch t.Kind() {
	case types.BoolKind:
		return column.TakesBool
	case types.IntKind, types.UintKind, types.DoubleKind:
		return column.TakesNumber
	case types.StringKind, types.BytesKind, types.TimestampKind, types.DurationKind:
		return column.TakesString
	case types.ListKind:
		return column.TakesArray
	case types.MapKind:
		return column.TakesObject
	case types.NullTypeKind, types.TypeKind:
		return 0
	}
	return anyKind
}

// IsTimestamp reports whether the result is a moment, which is written as RFC 3339 has it.
func (e *Expr) IsTimestamp() bool { return e.result.Kind() == types.TimestampKind }
