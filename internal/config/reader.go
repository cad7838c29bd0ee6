package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// reader walks the YAML tree of one file and gathers every problem on its way.
type reader struct {
	src      *source
	getenv   func(string) (string, bool)
	problems Problems
	// unresolved are the scalars with a variable that is not set: they are reported once, and whatever
	// else could be said about them would mislead.
	unresolved map[ast.Node]bool
	// hidden are the paths of values that are, or may hold, secrets.
	hidden []string
	// given is what variables and files have stood for.
	given []given
}

// value is a node of the tree with its path. All reading goes through it.
type value struct {
	r    *reader
	node ast.Node
	path string
	// shape is to be filled in instead of anything being read: see Shape. nil: the value is read.
	shape *Shape
}

// field is one key that an object may have.
type field struct {
	key      string
	required bool
	// later makes the key a known word that this version does not have.
	later bool
	// refusal makes the key a known word that there is no such thing for, and says what to write instead.
	refusal string
	read    func(value)
}

func optional(key string, read func(value)) field { return field{key: key, read: read} }
func required(key string, read func(value)) field {
	return field{key: key, read: read, required: true}
}
func later(key string) field { return field{key: key, later: true} }
func refused(key, instead string) field {
	return field{key: key, later: true, refusal: instead}
}

const notAvailable = "is not available in this version"

// position of the node's first character. A block mapping's own token is its first colon, so its
// first key stands for it.
func position(n ast.Node) (line, col int) {
	if n == nil {
		return 1, 1
	}
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	if kv, ok := n.(*ast.MappingValueNode); ok {
		n = kv.Key
	}
	tk := n.GetToken()
	if tk == nil || tk.Position == nil {
		return 1, 1
	}
	return tk.Position.Line, tk.Position.Column
}

func (v value) report(message, hint string) {
	if v.describing() || v.r.unresolved[v.node] {
		return
	}
	line, col := position(v.node)
	v.r.problems = append(v.r.problems, v.r.src.problem(line, col, v.path, message, hint))
}

// reportAtText points at text within the value, if it is on the line where the value begins.
func (v value) reportAtText(text, message, hint string) {
	line, col := position(v.node)
	runes := []rune(v.r.src.line(line))
	if from := col - 1; from >= 0 && from <= len(runes) {
		rest := string(runes[from:])
		if i := strings.Index(rest, text); i >= 0 {
			col += utf8.RuneCountInString(rest[:i])
		}
	}
	v.r.problems = append(v.r.problems, v.r.src.problem(line, col, v.path, message, hint))
}

// expected reports a value of the wrong kind.
func (v value) expected(what string) {
	v.report(fmt.Sprintf("%s must be %s, not %s", v.name(), what, kind(v.node)), "")
}

func (v value) name() string {
	if v.path == "" {
		return "the file"
	}
	return v.path
}

func kind(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "empty"
	case *ast.BoolNode:
		return "a true/false value"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.AnchorNode, *ast.AliasNode:
		return "an anchor or alias (pipeline files have none: write the value out)"
	case *ast.TagNode:
		return "a tagged value (pipeline files have no tags)"
	}
	return "text"
}

// entry is one key of a mapping.
type entry struct {
	key  string
	node ast.Node // of the key
	value
}

// entries are the mapping's keys in file order, duplicates reported and left out.
func (v value) entries() ([]entry, bool) {
	if v.describing() {
		return v.saysEntries()
	}
	var pairs []*ast.MappingValueNode
	switch m := v.node.(type) {
	case *ast.MappingNode:
		pairs = m.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{m}
	default:
		v.expected("a mapping")
		return nil, false
	}
	var out []entry
	for _, kv := range pairs {
		e := entry{node: kv.Key, value: value{r: v.r, node: kv.Value, path: v.path}}
		if _, ok := kv.Key.(*ast.MergeKeyNode); ok {
			e.atKey().report("merge keys (<<) are not part of pipeline files", "write the keys out")
			continue
		}
		key, ok := scalarText(kv.Key)
		if !ok {
			e.atKey().report("a key must be plain text, not "+kind(kv.Key), "")
			continue
		}
		e.key, e.path = key, join(v.path, key)
		if slices.ContainsFunc(out, func(o entry) bool { return o.key == key }) {
			e.atKey().report(fmt.Sprintf("%s is given twice", e.path), "keep one of them")
			continue
		}
		out = append(out, e)
	}
	return out, true
}

// atKey is the entry as a thing to report at its key.
func (e entry) atKey() value { return value{r: e.r, node: e.node, path: e.path, shape: e.shape} }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// object reads a mapping with the given keys. Keys are read in file order.
func (v value) object(fields ...field) {
	if v.describing() {
		v.saysObject(fields)
		return
	}
	entries, ok := v.entries()
	if !ok {
		return
	}
	seen := map[string]bool{}
	for _, e := range entries {
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == e.key })
		switch {
		case i < 0:
			e.atKey().unknown(e.key, fields)
		case fields[i].refusal != "":
			e.atKey().report("there is no "+e.path, fields[i].refusal)
		case fields[i].later:
			e.atKey().report(e.path+" "+notAvailable, "remove it")
		default:
			seen[e.key] = true
			fields[i].read(e.value)
		}
	}
	for _, f := range fields {
		if f.required && !seen[f.key] {
			v.report(fmt.Sprintf("%s is missing", join(v.path, f.key)), "")
		}
	}
}

func (v value) unknown(key string, fields []field) {
	var words []string
	for _, f := range fields {
		if !f.later {
			words = append(words, f.key)
		}
	}
	hint := "known here: " + strings.Join(words, ", ")
	if near := Closest(key, words); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	} else if strings.HasSuffix(key, ")") {
		hint = `a type that contains a comma must be quoted: {type: "Map(String, String)"}`
	}
	v.report(fmt.Sprintf("unknown key %q", key), hint)
}

// scalarText is a scalar's text as it is meant: a string's value, anything else as written.
func scalarText(n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// text reads a string, its variables replaced. Numbers are taken as they are written; an empty
// value and true/false are refused, for whoever wrote those bare did not mean text.
func (v value) text() (string, bool) {
	if v.says(Shape{Type: anyText}) {
		return "", false
	}
	switch v.node.(type) {
	case *ast.NullNode, *ast.BoolNode:
		v.expected("text")
		return "", false
	}
	raw, ok := scalarText(v.node)
	if !ok {
		v.expected("text")
		return "", false
	}
	if _, isString := v.node.(ast.ScalarNode); isString {
		raw = v.expand(raw, nil)
	}
	return raw, !v.r.unresolved[v.node]
}

// check says what is wrong with a text, "" if nothing. The message goes behind the text as the file
// has it: what a variable stands for is not quoted, it may be a secret.
type check func(string) (message, hint string)

// shown is the text as the file has it, for messages.
func (v value) shown() string {
	s, _ := scalarText(v.node)
	return s
}

func intoText(to *string, checks ...check) func(value) {
	return func(v value) {
		s, ok := v.text()
		if !ok {
			return
		}
		for _, c := range checks {
			if message, hint := c(s); message != "" {
				v.report(fmt.Sprintf("%s: %q %s", v.path, v.shown(), message), hint)
				return
			}
		}
		*to = s
	}
}

// word is one value of a closed choice; later words are known and not available.
type word[T ~string] struct {
	text  T
	later bool
}

func words[T ~string](ts ...T) []word[T] {
	out := make([]word[T], len(ts))
	for i, t := range ts {
		out[i] = word[T]{text: t}
	}
	return out
}

func planned[T ~string](ts ...T) []word[T] {
	out := words(ts...)
	for i := range out {
		out[i].later = true
	}
	return out
}

func intoWord[T ~string](to *T, choice ...[]word[T]) func(value) {
	all := slices.Concat(choice...)
	return func(v value) {
		if saysWords(v, all) {
			return
		}
		s, ok := v.wordText()
		if !ok {
			return
		}
		var known []string
		for _, w := range all {
			if string(w.text) == s && w.later {
				v.report(fmt.Sprintf("%s: %q %s", v.path, v.shown(), notAvailable), "available: "+available(all))
				return
			}
			if string(w.text) == s {
				*to = w.text
				return
			}
			if !w.later {
				known = append(known, string(w.text))
			}
		}
		hint := "one of: " + available(all)
		if near := Closest(s, known); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		v.report(fmt.Sprintf("%s: %q is not a choice", v.path, v.shown()), hint)
	}
}

func available[T ~string](all []word[T]) string {
	var out []string
	for _, w := range all {
		if !w.later {
			out = append(out, string(w.text))
		}
	}
	return strings.Join(out, ", ")
}

// wordText is text that also takes a bare null: the policy of that name needs no quotes.
func (v value) wordText() (string, bool) {
	if n, ok := v.node.(*ast.NullNode); ok && n.GetToken().Value == "null" && !v.implicitNull() {
		return "null", true
	}
	return v.text()
}

// implicitNull tells "key:" from "key: null": the parser gives both the same token, but the first
// one is not in the file.
func (v value) implicitNull() bool {
	line, col := position(v.node)
	runes := []rune(v.r.src.line(line))
	return col-1 > len(runes) || !strings.HasPrefix(string(runes[max(0, col-1):]), "null")
}

func intoInt[T ~int | ~int64 | ~uint32](to *T, low, high int64) func(value) {
	return func(v value) {
		if v.saysInt(low, high) {
			return
		}
		s, ok := scalarText(v.node)
		if _, isInt := v.node.(*ast.IntegerNode); !ok || !isInt {
			v.expected("a whole number")
			return
		}
		n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 10, 64)
		if err != nil || n < low || n > high {
			v.report(fmt.Sprintf("%s: %s is outside of %d to %d", v.path, s, low, high), "")
			return
		}
		*to = T(n)
	}
}

func intoSize(to *int64, low, high int64) func(value) {
	return func(v value) {
		if v.saysEither(func(v value) { v.saysText(`^\s*[0-9]+\s*([KMG]i?B|B)?\s*$`) }, func(v value) { v.saysInt(low, high) }) {
			return
		}
		s, ok := v.text()
		if !ok {
			return
		}
		n, err := ParseSize(s)
		switch {
		case err != nil:
			v.report(fmt.Sprintf("%s: %q %s", v.path, v.shown(), err), "")
		case n < low || n > high:
			v.report(fmt.Sprintf("%s: %s is outside of %s to %s", v.path, v.shown(), FormatSize(low), FormatSize(high)), "")
		default:
			*to = n
		}
	}
}

func intoDuration(to *time.Duration, low, high time.Duration) func(value) {
	return func(v value) {
		if v.saysText(`^\s*\+?([0-9.]+(ns|us|µs|μs|ms|s|m|h))+\s*$`) {
			return
		}
		s, ok := v.text()
		if !ok {
			return
		}
		d, err := ParseDuration(s)
		switch {
		case err != nil:
			v.report(fmt.Sprintf("%s: %q %s", v.path, v.shown(), err), "")
		case d < low || d > high:
			v.report(fmt.Sprintf("%s: %s is outside of %s to %s", v.path, v.shown(), low, high), "")
		default:
			*to = d
		}
	}
}

// intoDays reads whole days, like 90d.
func intoDays(to *time.Duration, low, high int64) func(value) {
	return func(v value) {
		if v.saysText(`^\s*[0-9]+d\s*$`) {
			return
		}
		s, ok := v.text()
		if !ok {
			return
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(s), "d"), 10, 64)
		switch {
		case err != nil || !strings.HasSuffix(strings.TrimSpace(s), "d"):
			v.report(fmt.Sprintf("%s: %q is not a number of days: write a whole number and d, like 90d", v.path, v.shown()), "")
		case n < low || n > high:
			v.report(fmt.Sprintf("%s: %s is outside of %dd to %dd", v.path, v.shown(), low, high), "")
		default:
			*to = time.Duration(n) * 24 * time.Hour
		}
	}
}

// intoShare reads a share of a whole, like 5%.
func intoShare(to *float64) func(value) {
	return func(v value) {
		if v.saysText(`^\s*[0-9.]+%\s*$`) {
			return
		}
		s, ok := v.text()
		if !ok {
			return
		}
		digits, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
		x, err := strconv.ParseFloat(digits, 64)
		switch {
		case err != nil || !percent || math.IsNaN(x):
			v.report(fmt.Sprintf("%s: %q is not a share: write a number and a percent sign, like 5%%", v.path, v.shown()), "")
		case x <= 0 || x > 100:
			v.report(fmt.Sprintf("%s: %s is outside of 0%% to 100%%", v.path, v.shown()), "")
		default:
			*to = x / 100
		}
	}
}

func intoBool(to *bool) func(value) {
	return func(v value) {
		if v.says(Shape{Type: kinds{"boolean"}}) {
			return
		}
		b, ok := v.node.(*ast.BoolNode)
		if !ok {
			v.expected("true or false")
			return
		}
		*to = b.Value
	}
}

// list reads a list of at least one item.
func (v value) list(item func(value)) {
	if v.describing() {
		v.saysList(item)
		return
	}
	seq, ok := v.node.(*ast.SequenceNode)
	if !ok {
		v.report(fmt.Sprintf("%s must be a list, not %s", v.path, kind(v.node)), "write [a, b], or one item a line after a dash")
		return
	}
	if len(seq.Values) == 0 {
		v.report(v.path+" is empty", "")
	}
	for i, n := range seq.Values {
		item(value{r: v.r, node: unbroken(n), path: fmt.Sprintf("%s[%d]", v.path, i)})
	}
}

// unbroken is the text that a plain a:b is in YAML, which the parser takes for a mapping in a list within braces: {brokers: [host:9092]}.
// A mapping has a blank behind its colon.
func unbroken(n ast.Node) ast.Node {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) == 1 && !m.IsFlowStyle {
		n = m.Values[0]
	}
	pair, ok := n.(*ast.MappingValueNode)
	if !ok {
		return n
	}
	key, isText := pair.Key.(*ast.StringNode)
	value, isScalar := scalarText(pair.Value)
	if !isText || !isScalar || key.Token.Type != token.StringType {
		return n
	}
	line, col := position(key)
	if l, c := position(pair.Value); l != line || c != col+utf8.RuneCountInString(key.Value)+1 {
		return n
	}
	tk := *key.Token
	tk.Value = key.Value + ":" + value
	return ast.String(&tk)
}
