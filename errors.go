package waybill

import (
	"errors"
	"strings"
)

// Class says what an error means for the one who must act on it; it alone decides the route.
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
	// ClassConfig needs a person: wrong credentials, missing grant, bad file, unsupported server.
	ClassConfig
	// ClassBug is a broken invariant of Waybill itself.
	ClassBug
)

var classNames = [...]string{"unknown", "retryable", "throttled", "poison", "schema", "fenced", "config", "bug"}

func (c Class) String() string { return classNames[c] }

// Heals reports whether waiting can mend an error of this class.
func (c Class) Heals() bool { return c == ClassUnknown || c == ClassRetryable || c == ClassThrottled }

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
