package contract

import (
	"cmp"
	"fmt"
	"slices"
)

// DefaultPolicies are the policies of a column for which the contract names none.
//
// A required column makes the record a dead letter in all three cases. Otherwise a missing field and a
// JSON null take the contract's default if it gives one, else NULL if the type can hold it, else the type's
// zero value ("", 0, [], {}): all of these are counted per column. A value that does not fit is always
// a dead letter unless the contract says otherwise: it is the event's author who must hear of it.
func DefaultPolicies(required, hasDefault, canNull bool) (onMissing, onNull, onInvalid Policy) {
	switch {
	case required:
		return DeadLetter, DeadLetter, DeadLetter
	case !hasDefault && canNull:
		return Null, Null, DeadLetter
	}
	return Default, Default, DeadLetter
}

// resolvePolicies fills in the default policies and reports combinations that make no sense.
func resolvePolicies(c Column, canNull bool) (onMissing, onNull, onInvalid Policy, problems []string) {
	missing, null, invalid := DefaultPolicies(c.Required, c.Default != nil, canNull)
	onMissing = cmp.Or(c.OnMissing, missing)
	onNull = cmp.Or(c.OnNull, null)
	onInvalid = cmp.Or(c.OnInvalid, invalid)
	for _, p := range []struct {
		key    string
		policy Policy
	}{{"on_missing", onMissing}, {"on_null", onNull}, {"on_invalid", onInvalid}} {
		switch {
		case p.policy != DeadLetter && p.policy != Null && p.policy != Default:
			problems = append(problems, fmt.Sprintf("%s: %q is not one of dead_letter, null, default", p.key, p.policy))
		case p.policy == Null && !canNull:
			problems = append(problems, fmt.Sprintf("%s: null needs a Nullable type, the column is %s", p.key, c.Type))
		case c.Required && p.key != "on_invalid" && p.policy != DeadLetter:
			problems = append(problems, fmt.Sprintf("%s: %s contradicts required: true", p.key, p.policy))
		}
	}
	if c.Default != nil && !slices.Contains([]Policy{onMissing, onNull, onInvalid}, Default) {
		problems = append(problems, "default: no policy of this column ever uses it")
	}
	return onMissing, onNull, onInvalid, problems
}
