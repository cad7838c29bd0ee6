package expr

import (
	"errors"
	"math/big"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/decls"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/stdlib"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

var (
	errInexact  = errors.New("arithmetic of an integer and a double, and the integer is too large to be one exactly: convert the double with int()")
	errOverflow = errors.New("integer overflow")
	errZero     = errors.New("division by zero")
	errOperands = errors.New("no such overload: numbers take part in arithmetic, texts do not: convert with int() or double()")
)

// mixedOp is an operator that also takes numbers of two types, which standard CEL does not.
type mixedOp struct {
	name, id string
	trait    int
	apply    func(a, b ref.Val) ref.Val
	exact    func(z, a, b *big.Int) *big.Int
}

var mixed = []mixedOp{
	{operators.Add, "add", traits.AdderType, func(a, b ref.Val) ref.Val { return a.(traits.Adder).Add(b) }, (*big.Int).Add},
	{operators.Subtract, "subtract", traits.SubtractorType, func(a, b ref.Val) ref.Val { return a.(traits.Subtractor).Subtract(b) }, (*big.Int).Sub},
	{operators.Multiply, "multiply", traits.MultiplierType, func(a, b ref.Val) ref.Val { return a.(traits.Multiplier).Multiply(b) }, (*big.Int).Mul},
	{operators.Divide, "divide", traits.DividerType, func(a, b ref.Val) ref.Val { return a.(traits.Divider).Divide(b) }, (*big.Int).Quo},
}

// arithmetic declares the operators: what the standard library says of them, and every pair of numbers.
func arithmetic() []cel.EnvOption {
	var out []cel.EnvOption
	for _, op := range mixed {
		out = append(out, cel.Function(op.name, op.overloads()...))
	}
	return out
}

func (op mixedOp) overloads() []cel.FunctionOpt {
	var out []cel.FunctionOpt
	all := stdlib.Functions()
	for _, o := range all[slices.IndexFunc(all, func(f *decls.FunctionDecl) bool { return f.Name() == op.name })].OverloadDecls() {
		out = append(out, cel.Overload(o.ID(), o.ArgTypes(), o.ResultType()))
	}
	numbers := []*cel.Type{cel.IntType, cel.UintType, cel.DoubleType}
	for _, a := range numbers {
		for _, b := range numbers {
			result := cel.DoubleType
			if a != cel.DoubleType && b != cel.DoubleType {
				result = cel.DynType // whichever holds it
			}
			if a != b {
				id := op.id + "_" + a.String() + "_" + b.String()
				out = append(out, cel.Overload(id, []*cel.Type{a, b}, result))
			}
		}
	}
	return append(out, cel.SingletonBinaryBinding(op.eval))
}

// eval applies the operator.
func (op mixedOp) eval(a, b ref.Val) ref.Val {
	if isNumber(a) && isNumber(b) && a.Type() != b.Type() {
		return op.mix(a, b)
	}
	if !a.Type().HasTrait(op.trait) {
		return types.WrapErr(errOperands)
	}
	return op.apply(a, b)
}

func isNumber(v ref.Val) bool {
	switch v.(type) {
	case types.Int, types.Uint, types.Double:
		return true
	}
	return false
}

// mix applies the operator to numbers of two types.
func (op mixedOp) mix(a, b ref.Val) ref.Val {
	if a.Type() != types.DoubleType && b.Type() != types.DoubleType {
		return op.integers(a, b)
	}
	x, okA := exactDouble(a)
	y, okB := exactDouble(b)
	if !okA || !okB {
		return types.WrapErr(errInexact)
	}
	return op.apply(x, y)
}

// integers applies the operator to an int and a uint.
func (op mixedOp) integers(a, b ref.Val) ref.Val {
	x, y := bigInt(a), bigInt(b)
	if op.name == operators.Divide && y.Sign() == 0 {
		return types.WrapErr(errZero)
	}
	switch z := op.exact(new(big.Int), x, y); {
	case z.IsInt64():
		return types.Int(z.Int64())
	case z.IsUint64():
		return types.Uint(z.Uint64())
	}
	return types.WrapErr(errOverflow)
}

func bigInt(v ref.Val) *big.Int {
	if u, ok := v.(types.Uint); ok {
		return new(big.Int).SetUint64(uint64(u))
	}
	n, _ := v.(types.Int)
	return big.NewInt(int64(n))
}
