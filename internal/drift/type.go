package drift

import (
	"strings"

	"github.com/waybill-data/waybill/internal/contract"
)

// typeOf says which type would take the values; for now, of which kinds they are.
func typeOf(o *contract.Observed) string {
	k := o.Kinds
	var names []string
	for _, kind := range []struct {
		name string
		n    int64
	}{
		{"null", k.Null}, {"bool", k.Bool}, {"integer", k.Integer}, {"decimal", k.Decimal}, {"string", k.String}, {"array", k.Array}, {"object", k.Object},
	} {
		if kind.n > 0 {
			names = append(names, kind.name)
		}
	}
	return strings.Join(names, " | ")
}
