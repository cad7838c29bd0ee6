package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
)

// node is a JSON value as the tokens of encoding/json tell it, with its own text. What the oracle knows of events it knows from here.
type node struct {
	raw   string
	kind  nodeKind
	text  string // of a string, without quotes and escapes; of a number, as it is written
	names []string
	subs  []*node // members, or elements
}

type nodeKind byte

const (
	isNull   nodeKind = 'n'
	isBool   nodeKind = 'b'
	isNumber nodeKind = '0'
	isString nodeKind = '"'
	isArray  nodeKind = '['
	isObject nodeKind = '{'
)

// parseTree reads one JSON value and nothing after it.
func parseTree(text []byte) (*node, error) {
	r := treeReader{text: text, dec: json.NewDecoder(bytes.NewReader(text))}
	r.dec.UseNumber()
	n, err := r.value()
	if err != nil {
		return nil, err
	}
	if _, err := r.dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("something after the value: %w", err)
	}
	return n, nil
}

type treeReader struct {
	text []byte
	dec  *json.Decoder
}

func (r *treeReader) value() (*node, error) {
	from := r.dec.InputOffset()
	tok, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	for strings.ContainsRune(" \t\r\n,:", rune(r.text[from])) {
		from++
	}
	n := &node{}
	switch v := tok.(type) {
	case nil:
		n.kind = isNull
	case bool:
		n.kind, n.text = isBool, fmt.Sprint(v)
	case json.Number:
		n.kind, n.text = isNumber, v.String()
	case string:
		n.kind, n.text = isString, v
	case json.Delim:
		if err := r.inside(n, v); err != nil {
			return nil, err
		}
	}
	n.raw = string(r.text[from:r.dec.InputOffset()])
	return n, nil
}

// inside reads what an array or object holds, up to its end.
func (r *treeReader) inside(n *node, open json.Delim) error {
	n.kind = nodeKind(open) //nolint:gosec // one of two
	for r.dec.More() {
		if n.kind == isObject {
			name, err := r.dec.Token()
			if err != nil {
				return err
			}
			n.names = append(n.names, name.(string))
		}
		sub, err := r.value()
		if err != nil {
			return err
		}
		n.subs = append(n.subs, sub)
	}
	_, err := r.dec.Token()
	return err
}

// member of an object, nil if there is none.
func (n *node) member(name string) *node {
	for i, own := range n.names {
		if own == name {
			return n.subs[i]
		}
	}
	return nil
}

// isLeaf: there is nothing in it.
func (n *node) isLeaf() bool { return len(n.subs) == 0 }

// within is the path of a node's i-th part, as pipeline files, comments and the rescue column write it.
func (n *node) within(path string, i int) string {
	if n.kind == isArray {
		return fmt.Sprintf("%s[%d]", path, i)
	}
	name := n.names[i]
	if name == "" || strings.ContainsAny(name, ".[]`") || strings.HasPrefix(name, "kafka:") || strings.HasPrefix(name, "expr:") {
		name = "`" + strings.ReplaceAll(name, "`", "``") + "`"
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// chain is a node with those around it, outermost first; the event itself is left out.
type chain []located

type located struct {
	path string
	*node
}

// leaves calls for each leaf of an event, with the chain that leads to it. The chain is lent.
func (n *node) leaves(call func(chain)) { n.walk(nil, "", call) }

func (n *node) walk(around chain, path string, call func(chain)) {
	for i, sub := range n.subs {
		here := n.within(path, i)
		around = append(around, located{here, sub})
		if sub.isLeaf() {
			call(around)
		} else {
			sub.walk(around, here, call)
		}
		around = around[:len(around)-1]
	}
}

// byPath are all nodes of an event but itself.
func (n *node) byPath() map[string]*node {
	out := map[string]*node{}
	n.leaves(func(c chain) {
		for _, at := range c {
			out[at.path] = at.node
		}
	})
	return out
}

func TestTree_KeepsTextsAndPaths(t *testing.T) {
	n, err := parseTree([]byte(` {"a" : 1.50, "b.c":[ {"d":"\u0041"}, [ ] ,-0 ],"e":{}, "f":null } `))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	n.leaves(func(c chain) { got = append(got, c[len(c)-1].path+"="+c[len(c)-1].raw) })
	want := "a=1.50 `b.c`[0].d=\"\\u0041\" `b.c`[1]=[ ] `b.c`[2]=-0 e={} f=null"
	if strings.Join(got, " ") != want {
		t.Errorf("got %s\nwant %s", strings.Join(got, " "), want)
	}
	if d := n.byPath()["`b.c`[0].d"]; d == nil || d.text != "A" {
		t.Errorf("the string is %+v", d)
	}
	for _, bad := range []string{"", "{", `{"a":1}x`, `{"a":1}{}`, "[1,]"} {
		if _, err := parseTree([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// leadsTo reports whether a path is another one or begins it.
func leadsTo(path, other string) bool {
	rest, ok := strings.CutPrefix(other, path)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
