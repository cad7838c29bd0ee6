package drift

import "github.com/waybill-data/waybill/internal/contract"

// typeOf is the type of the column that would take the values; empty while they decide nothing.
func typeOf(o *contract.Observed) string {
	in := o.Infer()
	if in.As != "" {
		return in.Type + " as " + in.As
	}
	return in.Type
}
