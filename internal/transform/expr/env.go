package expr

import (
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
)

// The variables.
const (
	varEvent     = "event"
	varTopic     = "kafka.topic"
	varPartition = "kafka.partition"
	varOffset    = "kafka.offset"
	varTimestamp = "kafka.timestamp"
	varKey       = "kafka.key"
	varHeaders   = "kafka.headers"
)

// environment is what all expressions are compiled in.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	text := types.NewNullableType(cel.StringType)
	arithmetic := arithmetic()
	std := &env.LibrarySubset{}
	for _, op := range mixed {
		std.AddExcludedFunctions(env.NewFunction(op.name))
	}
	options := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(std)),
		cel.OptionalTypes(),
		ext.Strings(ext.StringsVersion(4)),
		ext.Math(ext.MathVersion(2)),
		ext.Encoders(ext.EncodersVersion(0)),
		ext.Sets(),
		ext.Bindings(),
		cel.CrossTypeNumericComparisons(true),
		cel.EnableIdentifierEscapeSyntax(),
		cel.Macros(cel.GlobalMacro(operators.Has, 1, expandHas)),
		cel.Variable(varEvent, cel.DynType),
		cel.Variable(varTopic, cel.StringType),
		cel.Variable(varPartition, cel.IntType),
		cel.Variable(varOffset, cel.IntType),
		cel.Variable(varTimestamp, cel.TimestampType),
		cel.Variable(varKey, text),
		cel.Variable(varHeaders, cel.MapType(cel.StringType, text)),
	}
	return cel.NewCustomEnv(append(options, arithmetic...)...)
})

// expandHas makes has(event.a.b) of has(event.a) && has(event.a.b).
func expandHas(h cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	if args[0].Kind() != ast.SelectKind {
		return nil, h.NewError(args[0].ID(), "has() takes a field, like has(event.a.b)")
	}
	field := args[0].AsSelect()
	present := h.NewPresenceTest(field.Operand(), field.FieldName())
	if operand := field.Operand(); operand.Kind() == ast.SelectKind && ofEvent(operand) {
		above, err := expandHas(h, nil, []ast.Expr{h.Copy(operand)})
		if err != nil {
			return nil, err
		}
		return h.NewCall(operators.LogicalAnd, above, present), nil
	}
	return present, nil
}

// ofEvent reports whether e is a field of the event, by names alone.
func ofEvent(e ast.Expr) bool {
	for e.Kind() == ast.SelectKind {
		e = e.AsSelect().Operand()
	}
	return e.Kind() == ast.IdentKind && e.AsIdent() == varEvent
}
