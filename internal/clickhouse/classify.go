package clickhouse

import (
	"errors"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
)

const errSettingConstraint = proto.Error(452)

// Classify makes a *waybill.Error of whatever ch-go or the network returned for operation op. Errors that are not the server's
// are retryable: a network in any of its moods.
func Classify(op string, err error) *waybill.Error {
	e := &waybill.Error{Op: op, Class: waybill.ClassRetryable, Err: err}
	ex, ok := ch.AsException(err)
	if !ok {
		var stranger *strangerError
		rule, secure := tlsRule(err)
		switch {
		case secure:
			e.Class, e.Hint = rule.class, rule.hint
		case errors.Is(err, errPoolClosed):
			e.Class = waybill.ClassBug
		case errors.As(err, &stranger):
			rule := stranger.rule()
			e.Class, e.Hint = rule.class, rule.hint
		}
		return e
	}
	e.Code = int(ex.Code)
	rule := ruleOf(ex)
	e.Class, e.Hint = rule.class, rule.hint
	e.Err = &serverError{ex}
	if NotSent(err) {
		e.Err = &notSentError{e.Err}
	}
	return e
}

// ruleOf is the code's row of codeRules, refined where one code means two things.
func ruleOf(ex *ch.Exception) codeRule {
	rule := codeRules[int(ex.Code)]
	switch {
	case ex.Code == proto.ErrTooManyParts && strings.Contains(ex.Message, "single INSERT block"):
		// Waiting does not help; fewer rows do, and a single row always fits.
		rule.class = waybill.ClassPoison
		rule.why = "the block spans more table partitions than the server takes"
		rule.hint = "raise max_partitions_per_insert_block or choose a coarser partition key; the block is split"
	case fenced(ex):
		rule.class = waybill.ClassFenced
		rule.why = "the table takes no rows of this epoch"
		rule.hint = "a backfill has put another table in this one's place, or is about to"
	case says(ex, changedMessage):
		rule.class = waybill.ClassRetryable
		rule.why = "the server refused a block that was made for another shape of the table"
		rule.hint = ""
	case says(ex, lateMessage):
		rule.class = waybill.ClassRetryable
		rule.why = "the server refused a late block"
		rule.hint = ""
	}
	return rule
}

// serverError shows an exception in one line, without ch-go's wrapping and without the server's trailing version.
type serverError struct{ ex *ch.Exception }

func (e *serverError) Error() string {
	msg := strings.TrimPrefix(e.ex.Message, "DB::Exception: ")
	if i := strings.LastIndex(msg, " (version "); i > 0 {
		msg = msg[:i]
	}
	name := e.ex.Code.String()
	if !e.ex.Code.IsAError() {
		name = "server error"
	}
	return name + " (" + strconv.Itoa(int(e.ex.Code)) + "): " + msg
}

func (e *serverError) Unwrap() error { return e.ex }

// asWaybill is Classify for errors that may be classified already.
func asWaybill(op string, err error) *waybill.Error {
	var e *waybill.Error
	if errors.As(err, &e) {
		c := *e
		return &c
	}
	return Classify(op, err)
}

const (
	errUnknownTable    = proto.Error(60)
	errUnknownDatabase = proto.Error(81)
)

// NoTable reports whether an error is the server's that a table is not there.
func NoTable(err error) bool { return isServers(err, errUnknownTable) }

// NoDatabase reports whether an error is the server's that a database is not there.
func NoDatabase(err error) bool { return isServers(err, errUnknownDatabase) }

func isServers(err error, code proto.Error) bool {
	var e *waybill.Error
	return errors.As(err, &e) && e.Code == int(code) && e.Class == codeRules[int(code)].class
}
