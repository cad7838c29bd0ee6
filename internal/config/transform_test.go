package config_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/waybill-data/waybill/internal/contract"
)

// everyTransform is what TestParse_ReadsEveryKey's file says.
func everyTransform() contract.Transform {
	step := func(line int, s contract.UpcastStep) contract.UpcastStep { s.Line, s.Col = line, 11; return s }
	return contract.Transform{
		Filter: `event.status != "debug"`,
		Version: &contract.Versions{From: "v", Current: "3", Missing: "1", Unknown: contract.UnknownCurrent, Upcast: []contract.Upcast{
			{From: "1", To: "2", Steps: []contract.UpcastStep{
				step(52, contract.UpcastStep{Op: contract.OpRename, From: []string{"usage.prompt"}, To: []string{"usage.input"}}),
				step(53, contract.UpcastStep{Op: contract.OpMove, From: []string{"`a.b`"}, To: []string{"c.d"}}),
				step(54, contract.UpcastStep{Op: contract.OpSplit, From: []string{"name"}, By: " ", To: []string{"first", "last"}}),
				step(55, contract.UpcastStep{Op: contract.OpMerge, From: []string{"x", "y"}, By: "-", To: []string{"z"}}),
				step(56, contract.UpcastStep{Op: contract.OpDefault, To: []string{"p"}, Value: `{"b":1.50,"a":[true,null,"t"]}`}),
				step(57, contract.UpcastStep{Op: contract.OpConstant, To: []string{"q"}, Value: "0.10"}),
				step(58, contract.UpcastStep{Op: contract.OpCompute, To: []string{"r"}, Expr: "event.n + 1"}),
			}},
			{From: "2", To: "3", Steps: []contract.UpcastStep{
				{Op: contract.OpRename, From: []string{"s"}, To: []string{"t"}, Line: 59, Col: 32},
			}},
		}},
		Redact: &contract.Redact{Version: 4, KeepRaw: true, SecretID: contract.SecretID([]byte("0123456789abcdef")), Rules: []contract.RedactRule{
			{Path: "messages[*].content", Detect: []string{"email", "card"}, Do: contract.RedactMask, Line: 65, Col: 7},
			{Kafka: "header.auth", Do: contract.RedactDrop, Line: 66, Col: 7},
			{Path: "user", Do: contract.RedactHash, Line: 67, Col: 7},
		}},
	}
}

// An error in an expression is shown where it stands in the file, however YAML writes the expression.
func TestParse_ExpressionsHavePlaces(t *testing.T) {
	for name, tt := range map[string]struct{ text, at string }{
		"plain":           {`filter: event.n > evnt.n`, "5:19"},
		"plain, bytes":    {`filter: "'é' == event.a && evnt.n"`, "5:28"},
		"single quotes":   {`filter: 'event.a == "it''s" && evnt.n'`, "5:32"},
		"double quotes":   {`filter: "event.a == \"x\" && evnt.n"`, "5:30"},
		"escapes":         {`filter: "event.a == '\u00e9\x41' && evnt.n"`, "5:37"},
		"newline escape":  {`filter: "event.a\n  == evnt.n"`, "5:24"},
		"literal block":   {"filter: |\n  event.a ==\n    1\n\n  && evnt.n", "9:6"},
		"blank at first":  {"filter: |\n\n\n    event.a ==\n    evnt.n", "9:5"},
		"folded block":    {"filter: >-\n   event.a ==\n   1 &&\n\n   evnt.n", "9:4"},
		"chomped block":   {"filter: |-   # why\n  event.a == 1 &&\n  evnt.n", "7:3"},
		"indented block":  {"filter: |2\n    event.a == 1 &&\n   evnt.n", "7:4"},
		"plain, lines":    {"filter: event.a ==\n    1 &&\n      evnt.n", "7:7"},
		"quoted, lines":   {"filter: 'event.a ==\n    1 &&\n      evnt.n'", "7:7"},
		"at the end":      {"filter: event.a ==", "5:19"},
		"in a step":       {"version: {from: v, current: 2, upcast: [{from: 1, to: 2, steps: [{compute: {path: a, expr: evnt.n}}]}]}", "5:92"},
		"with a variable": {`filter: event.a == "${X}" && evnt.n`, "5:9"},
	} {
		t.Run(name, func(t *testing.T) {
			ps := problems(t, minimal+tt.text+"\n", "X", "hunter2")
			if got := ps[0].String(); !strings.HasPrefix(got, "p.yaml:"+tt.at+": ") || strings.Contains(got, "hunter2") {
				t.Errorf("got %s, want it at %s", got, tt.at)
			}
		})
	}
	ps := problems(t, with("UInt64", "UInt64, expr: size(evnt)"))
	if got := ps[0].String(); !strings.HasPrefix(got, "p.yaml:3:52: contract.columns.id.expr: undeclared reference to 'evnt'") {
		t.Error(got)
	}
}

// upcast is the minimal file with an upcaster of one step.
func upcast(step string) string {
	return minimal + "version: {from: v, current: 2, upcast: [{from: 1, to: 2, steps: [" + step + "]}]}\n"
}

func TestParse_TransformProblem(t *testing.T) {
	const versions, redact = minimal + "version: ", minimal + "redact: "
	for name, tt := range map[string]struct{ text, at, want string }{
		"filter of no bool":     {minimal + "filter: event.n + 1.0\n", "5:9", "filter: the expression gives double, not true or false"},
		"no mix of types":       {minimal + "filter: '\"a\" * 2 == 3'\n", "5:14", "found no matching overload for '_*_' applied to '(string, int)'"},
		"result never fits":     {with("UInt64", "UInt64, expr: '[1]'"), "3:47", "gives list(int), which a column of UInt64 never takes"},
		"text for a number":     {with("UInt64", "UInt8, expr: kafka.topic"), "3:46", "gives string, which a column of UInt8 never takes"},
		"number for a time":     {with("UInt64", "DateTime, expr: '1'"), "3:49", "gives int, which a column of DateTime never takes"},
		"null for no Nullable":  {with("UInt64", "UInt8, expr: 'null'"), "3:46", "gives null_type, which a column of UInt8 never takes"},
		"timestamp in unix":     {with("UInt64", "DateTime, format: unix, expr: kafka.timestamp"), "3:63", "written as RFC 3339, and format says unix"},
		"expr and from":         {with("UInt64", "UInt64, from: a, expr: event.a"), "3:22", "from, kafka, value and expr are four sources"},
		"no place of version":   {versions + "{current: 1}\n", "5:10", "version needs one of from and header"},
		"two places of version": {versions + "{from: v, header: v, current: 1}\n", "5:10", "version needs one of from and header"},
		"version of elements":   {versions + "{from: 'a[*]', current: 1}\n", "5:17", "must lead to one value"},
		"version of an element": {versions + "{from: 'a[0]', current: 1}\n", "5:17", "is an element of an array"},
		"missing is unknown":    {versions + "{from: v, current: 2, missing: 1}\n", "5:41", "version.missing: there is no version 1"},
		"version true":          {versions + "{from: v, current: true}\n", "5:29", "must be the name of a version, not a true/false value"},
		"away from current":     {versions + "{from: v, current: 1, upcast: [{from: 1, to: 2, steps: [{rename: {from: a, to: b}}]}]}\n", "5:41", "1 is the current version, nothing leads away"},
		"two ways":              {versions + "{from: v, current: 2, upcast: [{from: 1, to: 2, steps: [{rename: {from: a, to: b}}]}, {from: 1, to: 2, steps: [{rename: {from: a, to: c}}]}]}\n", "5:96", "two ways lead away from version 1"},
		"circle":                {versions + "{from: v, current: 9, upcast: [{from: 1, to: 1, steps: [{rename: {from: a, to: b}}]}]}\n", "5:41", "version 1 never becomes version 9"},
		"no way":                {versions + "{from: v, current: 9, upcast: [{from: 1, to: 2, steps: [{rename: {from: a, to: b}}]}]}\n", "5:41", "version 1 never becomes version 9"},
		"no such step":          {upcast("{renam: {from: a, to: b}}"), "5:67", `unknown key "renam" (did you mean "rename"?)`},
		"two steps in one":      {upcast("{rename: {from: a, to: b}, move: {from: c, to: d.e}}"), "5:66", "a step is one operation"},
		"step without target":   {upcast("{rename: {from: a}}"), "5:75", "rename.to is missing"},
		"step of elements":      {upcast("{move: {from: 'a[*].b', to: c}}"), "5:80", "must lead to one value"},
		"step of an element":    {upcast("{move: {from: 'a[0]', to: c}}"), "5:80", "is an element of an array"},
		"broken path":           {upcast("{move: {from: a..b, to: c}}"), "5:80", "a name in the path is empty"},
		"rename elsewhere":      {upcast("{rename: {from: a.b, to: c}}"), "5:75", "a rename stays within one object (write move"},
		"rename to itself":      {upcast("{rename: {from: a.b, to: '`a`.b'}}"), "5:75", "from and to are the same"},
		"split into one":        {upcast("{split: {from: a, by: '-', into: [b]}}"), "5:74", "a split makes at least two values"},
		"split into each other": {upcast("{split: {from: a, by: '-', into: [b, b.c]}}"), "5:74", "b and b.c lie within one another"},
		"merge of one":          {upcast("{merge: {from: [a], by: '-', into: b}}"), "5:74", "a merge takes at least two values"},
		"merge twice":           {upcast("{merge: {from: [a, a], by: '-', into: b}}"), "5:74", "a and a lie within one another"},
		"cut at nothing":        {upcast("{split: {from: a, by: '', into: [b, c]}}"), "5:88", "must not be empty"},
		"no JSON number":        {upcast("{constant: {path: a, value: 0x1F}}"), "5:94", "0x1F is no number that JSON has"},
		"no value":              {upcast("{constant: {path: a, value: }}"), "5:93", "must be a value, not empty"},
		"no rules":              {redact + "{version: 1, rules: []}\n", "5:29", "redact.rules is empty"},
		"no such detector":      {redact + "{version: 1, rules: [{detect: [emial], do: mask}]}\n", "5:40", `"emial" is not a choice (did you mean "email"?)`},
		"detector twice":        {redact + "{version: 1, rules: [{detect: [email, email], do: mask}]}\n", "5:47", "email is listed twice"},
		"no such action":        {redact + "{version: 1, rules: [{path: a, do: remove}]}\n", "5:44", `"remove" is not a choice`},
		"no path":               {redact + "{version: 1, rules: [{path: 'a[', do: drop}]}\n", "5:37", "is no path"},
		"no part of a record":   {redact + "{version: 1, rules: [{kafka: header, do: drop}]}\n", "5:38", `"header" is neither key nor header.NAME`},
		"path and kafka":        {redact + "{version: 1, rules: [{path: a, kafka: key, do: drop}]}\n", "5:30", "path and kafka are two places"},
		"hash without secret":   {redact + "{version: 1, rules: [{path: a, do: hash}]}\n", "5:44", "redact.rules[0]: hash needs a secret"},
		"short secret":          {redact + "{version: 1, secret: hunter2, rules: [{path: a, do: hash}]}\n", "5:30", "redact.secret is shorter than 16 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			ps := problems(t, tt.text)
			if len(ps) != 1 {
				t.Errorf("want one problem, got:\n%v", ps)
			}
			if got := ps[0].String(); !strings.HasPrefix(got, "p.yaml:"+tt.at+": ") || !strings.Contains(got, tt.want) {
				t.Errorf("got  %s\nwant %s: ... %s", got, tt.at, tt.want)
			}
		})
	}
}

func TestParse_GoodTransforms(t *testing.T) {
	for _, text := range []string{
		with("UInt64", "Nullable(UInt8), expr: 'null'"), with("UInt64", "Array(DateTime), expr: '[kafka.timestamp]'"), with("UInt64", "DateTime, expr: kafka.timestamp"),
		with("UInt64", "DateTime, expr: event.a, format: unix"), with("UInt64", "UInt8, expr: event.a"), with("UInt64", "UInt64, expr: string(event.a)"),
		with("UInt64", "JSON, expr: '{\"a\": 1}'"), with("UInt64", "UInt8, expr: event.?a"), minimal + "redact: {version: 1, rules: [{path: a, do: hash}], secret: 0123456789abcdef}\n",
		minimal + "redact: {version: 0, rules: [{kafka: key, do: mask}, {do: drop}]}\n", minimal + "version: {header: v, current: v2, missing: v2}\n",
	} {
		parse(t, text)
	}
}

// A secret in so many words is not shown, whatever else is wrong on its line.
func TestProblems_MaskLiteralSecret(t *testing.T) {
	for _, line := range []string{
		"redact: {version: one, secret: hunter2, rules: [{path: a, do: hash}]}", `redact: {version: one, "secret": "hunter2", rules: [{path: a, do: hash}]}`,
		"redact:\n  version: 1\n  secret: hunter2\n  rules: [{do: drop}]",
	} {
		ps := problems(t, minimal+line+"\n")
		var out bytes.Buffer
		if err := ps.Render(&out, false); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String()+ps.Error(), "hunter2") || !strings.Contains(out.String(), "***") {
			t.Errorf("shown: %s", out.String())
		}
	}
}
