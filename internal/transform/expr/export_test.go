package expr

import "cel.dev/cel-go/cel"

// CostOf is what an evaluation costs as CEL counts, and whether Compile has taken the expression for one that is not worth counting.
func CostOf(text string, r *Record) (cost uint64, uncounted bool, err error) {
	env, err := environment()
	if err != nil {
		return 0, false, err
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return 0, false, issues.Err()
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost), cel.CostLimit(CostLimit), cel.CustomDecoratorV2(orderMaps))
	if err != nil {
		return 0, false, err
	}
	_, details, _ := program.Eval(r) // what it gives is not the question, nor whether it fails
	return *details.ActualCost(), bounded(env, ast), nil
}

// BoundedCost is boundedCost.
const BoundedCost = boundedCost
