package oracle

import (
	"bytes"
	"encoding/json"

	"github.com/go-json-experiment/json/jsontext"
)

// node is a JSON value and where it lies.
type node struct {
	kind    byte   // as jsontext has it: n f t " 0 { [
	start   int    // offset of its first byte
	raw     []byte // its text
	text    string // of a string, unquoted
	members []member
	elems   []node
}

// member is a member of an object.
type member struct {
	name  string
	start int // offset of the name's quote
	node
}

// parseTree parses a text that is known to be valid.
func parseTree(text []byte) node {
	dec := jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true))
	return parseNode(dec, text)
}

func parseNode(dec *jsontext.Decoder, text []byte) node {
	n := node{kind: byte(dec.PeekKind())}
	switch n.kind {
	case '{':
		n.start = open(dec)
		for dec.PeekKind() != '}' {
			name := parseNode(dec, text)
			n.members = append(n.members, member{name.text, name.start, parseNode(dec, text)})
		}
		must(dec.ReadToken())
	case '[':
		n.start = open(dec)
		for dec.PeekKind() != ']' {
			n.elems = append(n.elems, parseNode(dec, text))
		}
		must(dec.ReadToken())
	default:
		raw := must(dec.ReadValue())
		n.start = int(dec.InputOffset()) - len(raw)
		if n.kind == '"' {
			n.text = unquote(raw)
		}
	}
	n.raw = text[n.start:dec.InputOffset()]
	return n
}

// open reads the token that opens a container and says where it is.
func open(dec *jsontext.Decoder) int {
	must(dec.ReadToken())
	return int(dec.InputOffset()) - 1
}

// unquote is another library's opinion of what a string says.
func unquote(raw []byte) (s string) {
	if err := json.Unmarshal(raw, &s); err != nil {
		panic("oracle: " + err.Error())
	}
	return s
}

func must[T any](v T, err error) T {
	if err != nil {
		panic("oracle: a text that was valid no longer is: " + err.Error())
	}
	return v
}

// Member is a member of an object: its name, unescaped, and its value's text.
type Member struct{ Name, Raw string }

// Members are the members of a valid object's text, in order.
func Members(object []byte) []Member {
	var members []Member
	for _, m := range parseTree(object).members {
		members = append(members, Member{m.name, string(m.raw)})
	}
	return members
}
