package expr

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
)

// CostLimit is what an evaluation may cost, in CEL's units: about one for each operation and each ten characters looked
// at. It takes some hundredths of a second to get there.
const CostLimit = 1_000_000

// boundedCost is what an expression may cost at most, whatever the event, to be evaluated without counting: that takes a third of the time
// of a condition like event.kind == "call". It is so far below CostLimit that even a bad estimate would not get there.
const boundedCost = 1_000

// bounded reports whether an expression cannot come near CostLimit, whatever the event.
func bounded(env *cel.Env, ast *cel.Ast) bool {
	estimate, err := env.EstimateCost(ast, unknownSizes{})
	return err == nil && estimate.Max <= boundedCost
}

// unknownSizes says nothing of how large the values of an event are: they can be as large as they like.
type unknownSizes struct{}

// EstimateSize is not known.
func (unknownSizes) EstimateSize(cost.AstNode) *cost.SizeEstimate { return nil }

// EstimateCallCost is CEL's own.
func (unknownSizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}
