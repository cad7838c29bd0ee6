// Package upcast brings events of older shapes to the current one, step by step. A step loses no value: where two would
// have one place, or a value is not what the step works on, the event is refused.
package upcast

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/transform/expr"
)

// Upcaster applies the upcasters of a plan. It belongs to one goroutine at a time.
type Upcaster struct {
	versions contract.Versions
	path     contract.Path // of the version in the event; nil: it is in a header
	chains   map[string][]step
	known    string // all versions, for messages

	scratch []byte
	record  expr.Record // what computing steps see
	out     []byte
}

// New compiles what a plan says of versions.
func New(v contract.Versions) (*Upcaster, error) {
	u := &Upcaster{versions: v, chains: map[string][]step{}}
	if (v.From == "") == (v.Header == "") {
		return nil, errors.New("the version has no place, or two")
	}
	if v.From != "" {
		p, err := paths([]string{v.From}, 1)
		if err != nil {
			return nil, fmt.Errorf("version.from: %w", err)
		}
		u.path = p[0]
	}
	known := []string{v.Current}
	for _, up := range v.Upcast {
		chain, err := chainFrom(v, up.From)
		if err != nil {
			return nil, err
		}
		if u.chains[up.From] != nil || up.From == v.Current {
			return nil, fmt.Errorf("upcast: two ways lead away from version %s", up.From)
		}
		u.chains[up.From] = chain
		known = append(known, up.From)
	}
	slices.Sort(known)
	u.known = strings.Join(known, ", ")
	return u, nil
}

// chainFrom compiles all steps from a version to the current one.
func chainFrom(v contract.Versions, version string) ([]step, error) {
	out := []step{}
	for range v.Upcast {
		i := slices.IndexFunc(v.Upcast, func(u contract.Upcast) bool { return u.From == version })
		if i < 0 {
			break
		}
		up := v.Upcast[i]
		for n, s := range up.Steps {
			c, err := compileStep(fmt.Sprintf("upcast %s -> %s, step %d: %s", up.From, up.To, n+1, s.Op), s)
			if err != nil {
				return nil, err
			}
			out = append(out, c)
		}
		if version = up.To; version == v.Current {
			return out, nil
		}
	}
	return nil, fmt.Errorf("upcast: version %s never becomes version %s", version, v.Current)
}

// Outcome is what became of an event.
type Outcome uint8

// The outcomes.
const (
	Current Outcome = iota // it is of the current version, or taken for it: nothing was changed
	Assumed                // likewise, but its version is not known
	Upcast                 // it was brought to the current version
	Unknown                // its version is not known, and that is a dead letter
	Failed                 // a step could not be done: see Problem
)

// Problem is why an event could not be brought to the current version. It does not quote the event.
type Problem struct {
	Step       string // "upcast 1 -> 2, step 3: move"
	Path       string // concerned, if one
	Message    string
	Expression bool // it is the step's expression that failed
}

// Apply brings an event to the current version. seen holds the record and its event. Text is nil unless the outcome is
// Upcast; it is valid until the next Apply.
func (u *Upcaster) Apply(seen *expr.Record, r *waybill.Record) (o Outcome, text []byte, problem *Problem) {
	version, raw := u.version(seen, r)
	if version == u.versions.Current {
		return Current, nil, nil
	}
	chain, ok := u.chains[version]
	switch {
	case !ok && u.versions.Unknown == contract.UnknownCurrent:
		return Assumed, nil, nil
	case !ok:
		return Unknown, nil, &Problem{Step: "version", Path: u.versions.From, Message: "the event's version is none of " + u.known}
	}
	return u.run(chain, raw, seen, r)
}

// version is the version that an event names, and its text in the event, nil if it is not there. An empty version is
// not known: nothing is called that.
func (u *Upcaster) version(seen *expr.Record, r *waybill.Record) (version string, raw []byte) {
	if u.path == nil {
		i := slices.IndexFunc(r.Headers, func(h waybill.Header) bool { return h.Key == u.versions.Header })
		if i < 0 || r.Headers[i].Value == nil {
			return cmp.Or(r.Version, u.versions.Missing), nil
		}
		return string(r.Headers[i].Value), nil
	}
	raw = seen.Find(u.path)
	switch {
	case raw == nil, string(raw) == "null":
		return cmp.Or(r.Version, u.versions.Missing), nil
	case raw[0] == '"':
		text, _ := jsontext.AppendUnquote(nil, raw)
		return string(text), raw
	case raw[0] == '-' || '0' <= raw[0] && raw[0] <= '9':
		return string(raw), raw
	}
	return "", raw
}

func (u *Upcaster) run(chain []step, raw []byte, seen *expr.Record, r *waybill.Record) (Outcome, []byte, *Problem) {
	event := &value{text: seen.Event()}
	for i := range chain {
		at, err := chain[i].do(event, u, r)
		if err == nil {
			continue
		}
		p := &Problem{Step: chain[i].name, Path: at.String(), Message: err.Error()}
		var e expressionError
		p.Expression = errors.As(err, &e)
		return Failed, nil, p
	}
	if raw != nil {
		if err := event.put(u.path, &value{text: u.current(raw)}, true); err != nil {
			return Failed, nil, &Problem{Step: "version", Path: u.versions.From, Message: err.Error()}
		}
	}
	u.out = event.append(u.out[:0])
	return Upcast, u.out, nil
}

// current is the current version as the event wrote its own: a number stays a number, if the current version is one.
func (u *Upcaster) current(raw []byte) []byte {
	if current := []byte(u.versions.Current); raw[0] != '"' && isNumber(current) {
		return current
	}
	return quote(nil, u.versions.Current)
}

func isNumber(text []byte) bool {
	return valid(text) && (text[0] == '-' || '0' <= text[0] && text[0] <= '9')
}

// valid reports whether text is one JSON value without blanks around it.
func valid(text []byte) bool {
	return jsontext.Value(text).IsValid() && len(bytes.TrimSpace(text)) == len(text)
}
