package kafka

import (
	"cmp"
	"slices"

	"github.com/waybill-data/waybill"
)

// Code is a row of the table of the brokers' error codes.
type Code struct {
	Code      int16
	Name      string
	Class     waybill.Class
	Refused   bool // an OffsetCommit answered so has not been written
	Why, Hint string
}

// Codes are all that this package knows, by number. Any other is ClassUnknown.
func Codes() []Code {
	out := make([]Code, 0, len(rules))
	for ke, r := range rules {
		out = append(out, Code{ke.Code, ke.Message, r.class, r.refused, r.why, r.hint})
	}
	slices.SortFunc(out, func(a, b Code) int { return cmp.Compare(a.Code, b.Code) })
	return out
}
