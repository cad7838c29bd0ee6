package expr

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

var errNotBool = errors.New("the result is not true or false")

// Bool evaluates an expression of a bool. The error's text does not quote the record.
func (e *Expr) Bool(r *Record) (bool, error) {
	v, err := e.eval(r)
	if err != nil {
		return false, err
	}
	b, ok := v.(types.Bool)
	if !ok {
		return false, errNotBool
	}
	return bool(b), nil
}

// AppendJSON evaluates an expression and appends its result as JSON text. ok is false if it has none, which is for
// optional.none() to say; dst is as it was then. The error's text does not quote the record.
func (e *Expr) AppendJSON(dst []byte, r *Record) (out []byte, ok bool, err error) {
	v, err := e.eval(r)
	if err != nil {
		return dst, false, err
	}
	if o, is := v.(*types.Optional); is {
		if !o.HasValue() {
			return dst, false, nil
		}
		v = o.GetValue()
	}
	if out, err = appendJSON(dst, v); err != nil {
		return dst, false, e.quiet(err)
	}
	return out, true, nil
}

func (e *Expr) eval(r *Record) (ref.Val, error) {
	v, _, err := e.program.Eval(r)
	if err != nil {
		return nil, e.quiet(err)
	}
	return v, nil
}

// own are errors of this package: they quote nothing.
var own = []error{
	errBigInteger, errBigDouble, errTwice, errInexact, errOverflow, errZero, errOperands, errKey, errHeader, errNotFinite, errNoJSON, errNoName,
}

// known are how the interpreter's errors begin that say what is wrong without a value of the record, and what we say.
var known = []struct{ prefix, message string }{
	{"index out of bounds", "a list has no element of that index"},
	{"invalid argument", "a function does not take this argument"},
	{"no such overload", "an operator or a function does not take values of these types: look at them with has() and type(), or convert"},
	{"no matching overload", "an operator or a function does not take values of these types: look at them with has() and type(), or convert"},
	{"division by zero", "division by zero"},
	{"modulus by zero", "division by zero"},
	{"integer overflow", "integer overflow"},
	{"unsigned integer overflow", "integer overflow"},
	{"index '", "a list has no element of that index"},
	{"timestamp overflow", "a timestamp is out of range"},
	{"duration overflow", "a duration is out of range"},
	{"optional.none() dereference", "an optional value is not there: use orValue()"},
}

// quiet is an error in words that do not depend on the values of the record, except for names that the expression
// itself mentions: what it says is stored with the dead letter.
func (e *Expr) quiet(err error) error {
	for _, o := range own {
		if errors.Is(err, o) {
			return o
		}
	}
	var cancelled interpreter.EvalCancelledError
	if errors.As(err, &cancelled) && cancelled.Cause == interpreter.CostLimitExceeded {
		return fmt.Errorf("the evaluation went beyond its cost limit of %d", CostLimit)
	}
	text := err.Error()
	if key, ok := strings.CutPrefix(text, "no such key: "); ok {
		if strings.Contains(e.text, key) {
			return fmt.Errorf("no such field: %s", key)
		}
		return errors.New("no such field")
	}
	for _, k := range known {
		if strings.HasPrefix(text, k.prefix) {
			return errors.New(k.message)
		}
	}
	return errors.New("a conversion or a function failed on the value it was given")
}

// The interpreter labels its shared errors with the place where they were met first. That is done here, so that
// goroutines only read them later.
func init() {
	types.LabelErrNode(1, types.NoSuchOverloadErr())
}
