package config

import (
	"github.com/go-json-experiment/json/jsontext"
	"github.com/goccy/go-yaml/ast"
)

// jsonText is the value as JSON text: numbers as they are written, members in the file's order.
func (v value) jsonText() string {
	if v.says(Shape{}) { // anything
		return ""
	}
	out := v.appendJSON(nil)
	if out == nil {
		return ""
	}
	return string(out)
}

func (v value) appendJSON(dst []byte) []byte {
	switch n := v.node.(type) {
	case *ast.NullNode:
		if v.implicitNull() {
			v.expected("a value")
		}
		return append(dst, "null"...)
	case *ast.BoolNode:
		if n.Value {
			return append(dst, "true"...)
		}
		return append(dst, "false"...)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return v.appendNumber(dst)
	case *ast.SequenceNode:
		return v.appendList(dst, n)
	case *ast.MappingNode, *ast.MappingValueNode:
		return v.appendObject(dst)
	}
	s, _ := v.text()
	return v.appendText(dst, s)
}

func (v value) appendText(dst []byte, s string) []byte {
	out, err := jsontext.AppendQuote(dst, s)
	if err != nil {
		v.report(v.path+" is not valid UTF-8", "")
	}
	return out
}

// appendNumber takes only what JSON writes the same way: YAML has more numbers, and who reads 0o17 has a guess to make.
func (v value) appendNumber(dst []byte) []byte {
	text, _ := scalarText(v.node)
	if !jsontext.Value(text).IsValid() {
		v.report(v.path+": "+text+" is no number that JSON has", "write it in digits, like 17 or 0.5e3, or in quotes for a text")
	}
	return append(dst, text...)
}

func (v value) appendList(dst []byte, seq *ast.SequenceNode) []byte {
	dst = append(dst, '[')
	for i, n := range seq.Values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = value{r: v.r, node: unbroken(n), path: v.path}.appendJSON(dst)
	}
	return append(dst, ']')
}

func (v value) appendObject(dst []byte) []byte {
	entries, _ := v.entries()
	dst = append(dst, '{')
	for i, e := range entries {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(v.appendText(dst, e.key), ':')
		dst = e.appendJSON(dst)
	}
	return append(dst, '}')
}
