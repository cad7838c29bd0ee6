// Package expr evaluates CEL expressions on records: filters, computed columns and steps of upcasters.
//
// An expression sees these variables:
//
//	event            the JSON object, as it is after upcasting and redaction
//	kafka.topic      string
//	kafka.partition  int
//	kafka.offset     int
//	kafka.timestamp  timestamp, the record's own
//	kafka.key        string, or null without one; a key that is not UTF-8 is an error
//	kafka.headers    map of string to string, or null for a header without a value; of several headers of one name the
//	                 first; a value that is not UTF-8 is an error
//
// There is neither a clock nor chance, and maps are gone through in one order only: what an expression gives is a
// function of the record.
//
// Numbers are exact or an error. Integers of an event are int, those beyond int64 are uint, those beyond uint64 are an
// error as soon as they are asked for. Other numbers are double. Arithmetic takes any two numbers: an int beside a double
// becomes one, unless it has no exact double; int and uint give whichever of both holds the result. Division of integers
// drops the remainder, as CEL says.
//
// A name that CEL cannot spell is written in backticks, as in paths: event.`gen_ai.system`, event.usage.`in`.
//
// A field that is not there is an error. has(event.a.b) is false if event.a is missing, too (standard CEL makes that an
// error), and event.?a.?b.orValue(0) is a value in either case.
//
// The standard library of CEL is there, optional values, and the extensions strings, math, encoders (base64), sets and bind.
package expr
