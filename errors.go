package waybill

import (
	"errors"
	"strings"
)

// Class says what an error means for the one who must act on it; it alone decides the route, see Action.
type Class uint8

const (
	// ClassUnknown is an error that no classifier has seen; it is treated as retryable and counted.
	ClassUnknown Class = iota
	// ClassRetryable may heal by itself: network, server start, lost session, read-only table.
	ClassRetryable
	// ClassThrottled is a server under pressure: too many parts, memory limit, too many queries.
	ClassThrottled
	// ClassPoison is a refusal caused by some row of the block.
	ClassPoison
	// ClassSchema is a table that no longer accepts the plan: column or table missing, type mismatch.
	ClassSchema
	// ClassFenced means that this worker must stop acting on what it holds: lost group, newer epoch.
	ClassFenced
	// ClassDenied is a server or broker that turns us away, which a person mends there, without touching the pipeline: a password
	// that has changed, a missing grant, a user's limits, a certificate.
	ClassDenied
	// ClassConfig needs a person: bad file, unsupported server, a table that cannot hold what is asked for.
	ClassConfig
	// ClassBug is a broken invariant of Waybill itself.
	ClassBug
)

var classNames = [...]string{"unknown", "retryable", "throttled", "poison", "schema", "fenced", "denied", "config", "bug"}

func (c Class) String() string { return classNames[c] }

// Heals reports whether waiting can mend an error of this class.
func (c Class) Heals() bool { return c.Action() == ActionRetry }

// NeedsPerson reports whether only a person can mend an error of this class, on this side or on the other.
func (c Class) NeedsPerson() bool { return c == ClassDenied || c == ClassConfig }

// Action is what a pipeline does about an error.
type Action uint8

const (
	// ActionRetry tries again, later and later, without an end; from the second failure on the pipeline is stalled.
	ActionRetry Action = iota
	// ActionProbe is ActionRetry while the pipeline runs: what it meets again may have been mended meanwhile. A pipeline that
	// meets it at its start, where it is most likely a mistake of the file, stops.
	ActionProbe
	// ActionBisect looks for the rows that are to blame, by halves. They become dead letters; too many of them stop the pipeline.
	ActionBisect
	// ActionReplan reads the table anew and goes on with what it is now; if it is as it was, the pipeline stops.
	ActionReplan
	// ActionRejoin leaves the group and begins again from what the broker and the tables hold.
	ActionRejoin
	// ActionStop ends the pipeline.
	ActionStop
)

var actionNames = [...]string{"retry", "probe", "bisect", "replan", "rejoin", "stop"}

func (a Action) String() string { return actionNames[a] }

var actions = [...]Action{
	ClassUnknown: ActionRetry, ClassRetryable: ActionRetry, ClassThrottled: ActionRetry, ClassPoison: ActionBisect, ClassSchema: ActionReplan,
	ClassFenced: ActionRejoin, ClassDenied: ActionProbe, ClassConfig: ActionStop, ClassBug: ActionStop,
}

// Action of an error of this class, when it is met in what a pipeline does all the time: writing, reading back, committing, fetching.
func (c Class) Action() Action { return actions[c] }

// Error is an error with its place, its class and a hint for whoever operates the pipeline.
type Error struct {
	Op       string   // what was being done, as in "clickhouse.insert"
	Pipeline string   // empty if not about one pipeline
	Position Position // where in the source, if known
	Token    Token    // the insert's token, if one was sent
	Code     int      // the server's or broker's own code, 0 if none
	Class    Class
	Hint     string // what to do about it; one sentence
	Err      error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Pipeline != "" {
		b.WriteString(" [" + e.Pipeline + "]")
	}
	if at := e.Position.String(); at != "" {
		b.WriteString(" at " + at)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// ClassOf is the class of the first *Error in err's tree; ClassUnknown if there is none.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return ClassUnknown
}
