package config

import (
	"fmt"
	"math"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/waybill-data/waybill/internal/contract"
)

// readVersions reads which shape events have, and how old shapes become the current one.
func readVersions(v value, t *contract.Transform) {
	out := &contract.Versions{Unknown: contract.UnknownDeadLetter}
	v.object(
		optional("from", intoText(&out.From, notEmpty, aMember)),
		optional("header", intoText(&out.Header, notEmpty)),
		required("current", intoVersion(&out.Current)),
		optional("missing", intoVersion(&out.Missing)),
		optional("unknown", intoWord(&out.Unknown, words(contract.UnknownDeadLetter, contract.UnknownCurrent))),
		optional("upcast", func(v value) {
			v.list(func(v value) { out.Upcast = append(out.Upcast, readUpcast(v)) })
		}),
	)
	if v.has("from") == v.has("header") {
		v.report(v.path+" needs one of from and header", "from: the path of the version in the event; header: the name of the header that holds it")
	}
	v.chains(out)
	t.Version = out
}

// has reports whether a mapping has the key. What at gives for one that is not there is where it looked.
func (v value) has(key string) bool { return v.at(key).node != v.node }

// chains checks that every version has one way to the current one.
func (v value) chains(out *contract.Versions) {
	next := map[string]string{}
	for i, u := range out.Upcast {
		at := v.at("upcast").item(i)
		switch {
		case u.From == "" || u.To == "": // said already
		case u.From == out.Current:
			at.report(v.path+".upcast: "+u.From+" is the current version, nothing leads away from it", "")
		case next[u.From] != "":
			at.report(v.path+".upcast: two ways lead away from version "+u.From, "keep one of them")
		default:
			next[u.From] = u.To
		}
	}
	for i, u := range out.Upcast {
		if next[u.From] == u.To && u.From != "" && u.To != "" && !arrives(next, u.From, out.Current) {
			v.at("upcast").item(i).report(v.path+".upcast: version "+u.From+" never becomes version "+out.Current, "each chain must end at the current version")
		}
	}
	if m := out.Missing; m != "" && m != out.Current && next[m] == "" {
		v.at("missing").report(v.path+".missing: there is no version "+m, "it is the current version, or one that an upcaster begins with")
	}
}

// arrives reports whether a chain gets to the current version.
func arrives(next map[string]string, version, current string) bool {
	for range next {
		if version = next[version]; version == current {
			return true
		}
	}
	return false
}

// item is one item of a list, or the list if there is none.
func (v value) item(i int) value {
	if seq, ok := v.node.(*ast.SequenceNode); ok && i < len(seq.Values) {
		return value{r: v.r, node: seq.Values[i], path: v.path}
	}
	return v
}

// intoVersion reads the name of a version: text, or a number as it is written.
func intoVersion(to *string) func(value) {
	return func(v value) {
		switch v.node.(type) {
		case *ast.NullNode, *ast.BoolNode:
			v.expected("the name of a version")
			return
		}
		intoText(to, notEmpty)(v)
	}
}

// aMember is a path that ends at a member of an object, which can be taken out and put in without moving others.
func aMember(s string) (message, hint string) {
	p, err := contract.ParsePath(s)
	switch {
	case err != nil:
		return "is no path: " + err.Error(), ""
	case p.Each() >= 0:
		return "must lead to one value, without [*]", ""
	case p[len(p)-1].Kind != contract.Member:
		return "is an element of an array, which cannot be taken out or put in by itself", "name a member: a.b"
	}
	return "", ""
}

func readUpcast(v value) (u contract.Upcast) {
	v.object(
		required("from", intoVersion(&u.From)),
		required("to", intoVersion(&u.To)),
		required("steps", func(v value) {
			v.list(func(v value) { u.Steps = append(u.Steps, readStep(v)) })
		}),
	)
	return u
}

// readRedact reads the redaction policy.
func readRedact(v value, t *contract.Transform, secret *Secret) {
	out := &contract.Redact{}
	var key string
	v.object(
		required("version", intoInt(&out.Version, 0, math.MaxInt32)),
		optional("secret", func(v value) { key = v.secret() }),
		optional("keep_raw", intoBool(&out.KeepRaw)),
		required("rules", func(v value) {
			v.list(func(v value) { out.Rules = append(out.Rules, readRule(v)) })
		}),
	)
	if key != "" {
		*secret = NewSecret(key)
		out.SecretID = contract.SecretID([]byte(key))
	}
	for i, r := range out.Rules {
		if r.Do == contract.RedactHash && !v.has("secret") {
			v.at("rules").item(i).at("do").report(fmt.Sprintf("%s.rules[%d]: hash needs a secret", v.path, i),
				"give "+v.path+".secret, from a variable: secret: ${REDACT_SECRET}")
		}
	}
	t.Redact = out
}

// minSecret is the least length of a secret: a shorter one can be guessed, and with it every value.
const minSecret = 16

// secret reads a secret, which no message quotes.
func (v value) secret() string {
	v.hidden()
	s, ok := v.text()
	if ok && len(s) < minSecret {
		v.report(fmt.Sprintf("%s is shorter than %d bytes", v.path, minSecret), "")
	}
	return s
}

// detectors find what they are called in texts.
var detectors = words("email", "phone", "card", "api_key")

func readRule(v value) (r contract.RedactRule) {
	r.Line, r.Col = position(v.node)
	v.object(
		optional("path", intoText(&r.Path, notEmpty, anyPath)),
		optional("kafka", intoText(&r.Kafka, notEmpty, ofRecord)),
		optional("detect", func(v value) {
			v.list(func(v value) {
				var d string
				if intoWord(&d, detectors)(v); d == "" {
					return
				}
				if slices.Contains(r.Detect, d) {
					v.report(fmt.Sprintf("%s: %s is listed twice", v.path, d), "")
				}
				r.Detect = append(r.Detect, d)
			})
		}),
		required("do", intoWord(&r.Do, words(contract.RedactDrop, contract.RedactHash, contract.RedactMask))),
	)
	if r.Path != "" && r.Kafka != "" {
		v.report(v.path+": path and kafka are two places", "write a rule for each")
	}
	return r
}

func anyPath(s string) (message, hint string) {
	if _, err := contract.ParsePath(s); err != nil {
		return "is no path: " + err.Error(), ""
	}
	return "", ""
}

// ofRecord checks where a rule looks outside of the event.
func ofRecord(s string) (message, hint string) {
	if name, ok := cutHeader(s); s == "key" || ok && name != "" {
		return "", ""
	}
	return "is neither key nor header.NAME", ""
}
