package clickhouse

import (
	"maps"
	"slices"

	waybill "github.com/waybill-data/waybill"
)

// Code is a row of the table of the server's error codes.
type Code struct {
	Code      int
	Name      string
	Class     waybill.Class
	Why, Hint string
}

// Codes are all that Classify knows, by number. Any other is ClassUnknown.
func Codes() []Code {
	out := make([]Code, 0, len(codeRules))
	for _, code := range slices.Sorted(maps.Keys(codeRules)) {
		r := codeRules[code]
		out = append(out, Code{code, r.name, r.class, r.why, r.hint})
	}
	return out
}
