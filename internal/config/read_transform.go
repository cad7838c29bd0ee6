package config

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/waybill-data/waybill/internal/contract"
)

// readVersions reads which shape events have, and how old shapes become the current one.
func readVersions(v value, t *contract.Transform) {
	out := &contract.Versions{Unknown: contract.UnknownDeadLetter}
	v.object(
		optional("from", intoText(&out.From, notEmpty, aPath)),
		optional("header", intoText(&out.Header, notEmpty)),
		required("current", intoVersion(&out.Current)),
		optional("missing", intoVersion(&out.Missing)),
		optional("unknown", intoWord(&out.Unknown, words(contract.UnknownDeadLetter, contract.UnknownCurrent))),
		optional("upcast", func(v value) {
			v.list(func(v value) { out.Upcast = append(out.Upcast, readUpcast(v)) })
		}),
	)
	if (out.From == "") == (out.Header == "") {
		v.report(v.path+" needs one of from and header", "from: the path of the version in the event; header: the name of the header that holds it")
	}
	v.chains(out)
	t.Version = out
}

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
	for from := range next {
		version := from
		for range next {
			if version == out.Current || next[version] == "" {
				break
			}
			version = next[version]
		}
		if version != out.Current {
			v.at("upcast").report(v.path+".upcast: version "+from+" never becomes version "+out.Current, "each chain must end at the current version")
		}
	}
}

// item is one item of a list, or the list if there is none.
func (v value) item(i int) value {
	if seq, ok := v.node.(*ast.SequenceNode); ok && i < len(seq.Values) {
		return value{v.r, seq.Values[i], v.path}
	}
	return v
}

// intoVersion reads the name of a version: text, or a number as it is written.
func intoVersion(to *string) func(value) {
	return func(v value) {
		if s, ok := scalarText(v.node); ok && s != "" {
			*to = s
			return
		}
		v.expected("the name of a version")
	}
}

func aPath(s string) (message, hint string) {
	p, err := contract.ParsePath(s)
	switch {
	case err != nil:
		return "is no path: " + err.Error(), ""
	case p.Each() >= 0:
		return "must lead to one value, without [*]", ""
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

// readStep reads one step of an upcaster: a mapping of one key, the operation.
func readStep(v value) (s contract.UpcastStep) {
	s.Line, s.Col = position(v.node)
	from := func(v value) { s.From = append(s.From, v.onePath()) }
	to := func(v value) { s.To = append(s.To, v.onePath()) }
	many := func(each func(value)) func(value) { return func(v value) { v.list(each) } }
	by := intoText(&s.By, notEmpty)
	literal := func(v value) { s.Value = v.jsonText() }
	op := func(op contract.UpcastOp, fields ...field) field {
		return optional(string(op), func(v value) { s.Op = op; v.object(fields...) })
	}
	v.object(
		op(contract.OpRename, required("from", from), required("to", to)),
		op(contract.OpMove, required("from", from), required("to", to)),
		op(contract.OpSplit, required("from", from), required("by", by), required("into", many(to))),
		op(contract.OpMerge, required("from", many(from)), required("by", by), required("into", to)),
		op(contract.OpDefault, required("path", to), required("value", literal)),
		op(contract.OpConstant, required("path", to), required("value", literal)),
		op(contract.OpCompute, required("path", to), required("expr", intoText(&s.Expr, notEmpty))),
	)
	if entries, ok := v.entries(); ok && len(entries) != 1 {
		v.report(v.path+": a step is one operation", "write each as an item of its own: - rename: {from: a, to: b}")
	}
	return s
}

// jsonText is the value as JSON.
func (v value) jsonText() string {
	var x any
	if err := yaml.NodeToValue(v.node, &x); err != nil {
		v.report(v.path+": "+err.Error(), "")
		return ""
	}
	text, err := json.Marshal(x)
	if err != nil {
		v.report(v.path+": "+err.Error(), "write a value that JSON has")
	}
	return string(text)
}

func (v value) onePath() string {
	s := ""
	intoText(&s, notEmpty, aPath)(v)
	return s
}

// readRedact reads the redaction policy.
func readRedact(v value, t *contract.Transform, secret *Secret) {
	out := &contract.Redact{}
	var key string
	v.object(
		required("version", intoInt(&out.Version, 0, math.MaxInt32)),
		optional("secret", intoText(&key, atLeast(minSecret))),
		optional("keep_raw", intoBool(&out.KeepRaw)),
		required("rules", func(v value) {
			v.list(func(v value) { out.Rules = append(out.Rules, readRule(v, key != "")) })
		}),
	)
	if key != "" {
		*secret = NewSecret(key)
		out.SecretID = contract.SecretID([]byte(key))
	}
	t.Redact = out
}

// minSecret is the least length of a secret: a shorter one can be guessed, and with it every value.
const minSecret = 16

func atLeast(n int) check {
	return func(s string) (message, hint string) {
		if len(s) < n {
			return fmt.Sprintf("is shorter than %d bytes", n), ""
		}
		return "", ""
	}
}

func readRule(v value, hasSecret bool) (r contract.RedactRule) {
	r.Line, r.Col = position(v.node)
	v.object(
		optional("path", intoText(&r.Path, notEmpty)),
		optional("kafka", intoText(&r.Kafka, notEmpty)),
		optional("detect", func(v value) {
			v.list(func(v value) {
				var d string
				intoText(&d, notEmpty)(v)
				r.Detect = append(r.Detect, d)
			})
		}),
		required("do", intoWord(&r.Do, words(contract.RedactDrop, contract.RedactHash, contract.RedactMask))),
	)
	if r.Do == contract.RedactHash && !hasSecret {
		v.report(v.path+": hash needs a secret", "give redact.secret, above the rules, from a variable: secret: ${REDACT_SECRET}")
	}
	return r
}
