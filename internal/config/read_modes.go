package config

import "github.com/waybill-data/waybill/internal/contract"

var modeWords = words(contract.ModeEvolve, contract.ModeRescue, contract.ModeFreeze, contract.ModeDiscard)

// intoModes reads one mode for everything, or a mapping of paths to modes, in which `default` is for everything else.
func intoModes(to *contract.Modes) func(value) {
	return func(v value) {
		one := intoWord(&to.Default, modeWords)
		if v.saysEither(one, func(v value) {
			entries, _ := v.entries()
			one(entries[0].value)
		}) {
			return
		}
		if _, ok := scalarText(v.node); ok {
			one(v)
			return
		}
		entries, ok := v.entries()
		if !ok {
			return
		}
		for _, e := range entries {
			if e.key == "default" {
				one(e.value)
				continue
			}
			path, err := contract.ParsePath(e.key)
			if err != nil {
				e.atKey().report(e.path+": "+err.Error(), "the path of a field in the event, or default")
				continue
			}
			var mode contract.Mode
			if intoWord(&mode, modeWords)(e.value); mode != "" {
				*to = to.With(path.String(), mode)
			}
		}
	}
}
