package json

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/waybill-data/waybill/internal/contract"
)

// place is a path as it is written in the rescue column, where elements have their index: its text, JSON-escaped, is
// cut where the indices come.
type place struct{ parts []string }

func placeOf(path contract.Path) place {
	parts := []string{""}
	for i, step := range path {
		if step.Kind != contract.Member {
			parts = append(parts, "")
			continue
		}
		parts[len(parts)-1] += string(appendMember(nil, step.Name, i == 0))
	}
	return place{parts}
}

// placeNamed is a place that is not in the event.
func placeNamed(text string) place { return place{[]string{string(appendEscaped(nil, text))}} }

// appendMember appends a path's step to a member, JSON-escaped.
func appendMember(dst []byte, name string, first bool) []byte {
	if !first {
		dst = append(dst, '.')
	}
	return appendEscaped(dst, contract.Names(name).String())
}

// appendEscaped appends what stands between the quotes of a JSON string.
func appendEscaped(dst []byte, s string) []byte {
	at := len(dst)
	dst, err := jsontext.AppendQuote(dst, s)
	if err != nil {
		panic("json: a name of a valid text is no string: " + err.Error())
	}
	return append(dst[:at], dst[at+1:len(dst)-1]...)
}

// isRoot: the place is the event itself.
func (p place) isRoot() bool { return len(p.parts) == 1 && p.parts[0] == "" }

// append writes the place with the indices of its elements.
func (p place) append(dst []byte, indices []int) []byte {
	dst = append(dst, p.parts[0]...)
	for i, part := range p.parts[1:] {
		dst = append(dst, '[')
		dst = strconv.AppendInt(dst, int64(indices[i]), 10)
		dst = append(dst, ']')
		dst = append(dst, part...)
	}
	return dst
}

// general is the path with [*] for every element: drift is counted by it.
func general(path contract.Path) contract.Path {
	out := make(contract.Path, len(path))
	for i, step := range path {
		if out[i] = step; step.Kind == contract.Element {
			out[i] = contract.Step{Kind: contract.Each}
		}
	}
	return out
}
