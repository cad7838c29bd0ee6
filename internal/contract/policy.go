package contract

import (
	"cmp"
	"fmt"

	"github.com/waybill-data/waybill/internal/column"
)

// DefaultPolicies are the policies of a column for which the contract names none.
//
// A required column makes the record a dead letter in all three cases. Otherwise a missing field and a
// JSON null take the contract's default if it gives one, else NULL if the type can hold it, else the
// table's own DEFAULT if the column has one, else the type's zero value ("", 0, [], {}): all of these are
// counted per column. What becomes of a value that does not fit is said by the mode for type conflicts. Where that
// is evolve, a null that nothing else takes care of is such a value: the column could become Nullable.
func DefaultPolicies(required, hasDefault, canNull, tableDefault bool, conflicts Mode) (onMissing, onNull, onInvalid Policy) {
	if required {
		return DeadLetter, DeadLetter, DeadLetter
	}
	onMissing = Default
	switch {
	case !hasDefault && canNull:
		onMissing = Null
	case !hasDefault && tableDefault:
		onMissing = TableDefault
	}
	onNull = onMissing
	switch conflicts {
	case ModeEvolve:
		if !hasDefault && onNull == Default {
			onNull = Rescue
		}
		return onMissing, onNull, Rescue
	case ModeRescue:
		return onMissing, onNull, Rescue
	case ModeDiscard:
		return onMissing, onNull, onMissing
	}
	return onMissing, onNull, DeadLetter
}

// policyProblem is what is wrong with a column's policies.
type policyProblem struct {
	message string
	table   bool // the table, not the contract alone, is what does not fit
}

// resolvePolicies fills in the default policies and reports combinations that make no sense. canNull is about the contract's
// type, tableDefault says that the table has a DEFAULT for the column and that NULL can ask for it.
func (out *PlanColumn) resolvePolicies(c Column, canNull, tableDefault bool, conflicts Mode) (problems []policyProblem) {
	missing, null, invalid := DefaultPolicies(c.Required, c.Default != nil, canNull, tableDefault, conflicts)
	out.OnMissing = cmp.Or(c.OnMissing, missing)
	out.OnNull = cmp.Or(c.OnNull, null)
	out.OnInvalid = cmp.Or(c.OnInvalid, invalid)
	for _, p := range []struct {
		key    string
		policy Policy
	}{{"on_missing", out.OnMissing}, {"on_null", out.OnNull}, {"on_invalid", out.OnInvalid}} {
		if problem := p.policy.problem(c, p.key, canNull, tableDefault); problem.message != "" {
			problems = append(problems, problem)
		}
	}
	if out.uses(Rescue) {
		out.Instead, _, _ = DefaultPolicies(false, c.Default != nil, canNull, tableDefault, conflicts)
	}
	out.evolves(c, conflicts)
	if c.Default != nil && !out.uses(Default) {
		problems = append(problems, policyProblem{message: "default: no policy of this column ever uses it"})
	}
	return problems
}

// evolves says whether what is rescued is looked at for a wider type: where the mode says so, not the column's own policies. A null
// that is rescued for want of a Nullable type is NULL once the table's column has become Nullable.
func (out *PlanColumn) evolves(c Column, conflicts Mode) {
	if conflicts != ModeEvolve || out.Source != SourceField {
		return
	}
	if t, err := column.ParseType(out.Type); err == nil && t.CanNull() && out.OnNull == Rescue && c.OnNull == "" {
		out.OnNull = Null
	}
	out.Evolve = out.OnInvalid == Rescue && c.OnInvalid == "" || out.OnNull == Rescue && c.OnNull == ""
}

func (p Policy) problem(c Column, key string, canNull, tableDefault bool) policyProblem {
	switch {
	case p != DeadLetter && p != Null && p != Default && p != TableDefault && p != Rescue:
		return policyProblem{message: fmt.Sprintf("%s: %q is not one of dead_letter, null, default, table_default, rescue", key, p)}
	case p == Rescue && key == "on_missing":
		return policyProblem{message: "on_missing: there is nothing to rescue of a field that is not there"}
	case p == Null && !canNull:
		return policyProblem{message: fmt.Sprintf("%s: null needs a Nullable type, the column is %s", key, c.Type)}
	case p == TableDefault && !tableDefault:
		return policyProblem{fmt.Sprintf("%s: table_default needs a DEFAULT in the table and a type that could be Nullable but is not; the column is %s", key, c.Type), true}
	case c.Required && key != "on_invalid" && p != DeadLetter:
		return policyProblem{message: fmt.Sprintf("%s: %s contradicts required: true", key, p)}
	}
	return policyProblem{}
}

// uses reports whether some policy of the column is p.
func (out *PlanColumn) uses(p Policy) bool {
	return out.OnMissing == p || out.OnNull == p || out.OnInvalid == p || out.Instead == p
}
