package promote

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
)

// Line is the column as a line of a pipeline file, without its indent.
func Line(c contract.Column) string {
	text := quoted(c.Name) + ": {type: " + quoted(c.Type)
	for _, part := range []struct{ key, value string }{{"from", c.From}, {"as", c.As}, {"format", c.Format}, {"timezone", c.Zone}} {
		if part.value != "" {
			text += ", " + part.key + ": " + quoted(part.value)
		}
	}
	return text + "}"
}

var plainScalar = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.()]*$`)

// yamlWords are plain scalars that are no strings.
var yamlWords = []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}

// quoted is a YAML scalar within flow style. A JSON string is one.
func quoted(s string) string {
	if plainScalar.MatchString(s) && !slices.Contains(yamlWords, strings.ToLower(s)) {
		return s
	}
	return jsonQuoted(s)
}

// jsonQuoted is s as a JSON string.
func jsonQuoted(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // strings always encode
	return strings.TrimSuffix(b.String(), "\n")
}

// Patch adds the column to the contract in a pipeline file's text, of a route if it is not empty, and changes nothing else of it:
// comments and layout stay. An error means that a person must add the line; it says which.
func Patch(file string, text []byte, route string, c contract.Column, getenv func(string) (string, bool)) ([]byte, error) {
	refuse := func(err error) ([]byte, error) {
		of := "contract.columns"
		if route != "" {
			of += " of route " + route
		}
		return nil, &waybill.Error{
			Op: "promote.patch", Class: waybill.ClassConfig, Err: fmt.Errorf("%s: %w", file, err),
			Hint: "add this line under " + of + " by hand, and run it again: " + Line(c),
		}
	}
	columns, err := columnsNode(text, route)
	if err != nil {
		return refuse(err)
	}
	out, err := insert(text, columns, Line(c))
	if err != nil {
		return refuse(err)
	}
	if err := onlyAdds(file, text, out, route, c, getenv); err != nil {
		return refuse(err)
	}
	return out, nil
}

// columnsNode finds contract.columns, of a route if it is not empty.
func columnsNode(text []byte, route string) (*ast.MappingNode, error) {
	f, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, err
	}
	if len(f.Docs) == 0 {
		return nil, errors.New("the file is empty")
	}
	node := ast.Node(f.Docs[0].Body)
	if route != "" {
		if node, err = routeNode(node, route); err != nil {
			return nil, err
		}
	}
	for _, key := range []string{"contract", "columns"} {
		if node, err = member(node, key); err != nil {
			return nil, err
		}
	}
	m, ok := node.(*ast.MappingNode)
	if !ok || len(m.Values) == 0 {
		return nil, errors.New("contract.columns is not a list of columns as one writes it")
	}
	return m, nil
}

// routeNode finds a route.
func routeNode(node ast.Node, name string) (ast.Node, error) {
	node, err := member(node, "routes")
	if err != nil {
		return nil, err
	}
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		return nil, errors.New("routes is not a list")
	}
	for _, route := range list.Values {
		if is, err := member(route, "name"); err == nil && is.GetToken().Value == name {
			return route, nil
		}
	}
	return nil, fmt.Errorf("there is no route %s", name)
}

func member(node ast.Node, key string) (ast.Node, error) {
	m, ok := node.(*ast.MappingNode)
	if !ok {
		return nil, fmt.Errorf("%s is not where it is looked for", key)
	}
	i := slices.IndexFunc(m.Values, func(v *ast.MappingValueNode) bool { return v.Key.String() == key })
	if i < 0 {
		return nil, fmt.Errorf("there is no %s", key)
	}
	return m.Values[i].Value, nil
}

func insert(text []byte, columns *ast.MappingNode, line string) ([]byte, error) {
	if columns.IsFlowStyle {
		at, err := offset(text, columns.End.Position.Line, columns.End.Position.Column)
		if err != nil || at >= len(text) || text[at] != '}' {
			return nil, errors.New("the end of contract.columns is not found")
		}
		if before := bytes.TrimRight(text[:at], " \t\r\n"); bytes.HasSuffix(before, []byte(",")) {
			return splice(text, at, line), nil
		}
		return splice(text, at, ", "+line), nil
	}
	key := columns.Values[len(columns.Values)-1].Key.GetToken().Position
	indent := key.Column - 1
	lines := bytes.SplitAfter(text, []byte("\n"))
	if key.Line > len(lines) {
		return nil, errors.New("the end of contract.columns is not found")
	}
	end := key.Line // lines up to the last one that belongs to the last column: those that are indented further
	for i := key.Line; i < len(lines); i++ {
		plain := bytes.TrimLeft(lines[i], " ")
		if len(bytes.TrimSpace(plain)) == 0 {
			continue
		}
		if len(lines[i])-len(plain) <= indent {
			break
		}
		end = i + 1
	}
	head := bytes.Join(lines[:end], nil)
	eol := "\n"
	if bytes.Contains(text, []byte("\r\n")) {
		eol = "\r\n"
	}
	added := strings.Repeat(" ", indent) + line + eol
	if !bytes.HasSuffix(head, []byte("\n")) {
		added = eol + strings.TrimSuffix(added, eol)
	}
	return splice(text, len(head), added), nil
}

func splice(text []byte, at int, added string) []byte {
	return slices.Concat(text[:at], []byte(added), text[at:])
}

// offset is where a line and a column, in characters, are.
func offset(text []byte, line, col int) (int, error) {
	at := 0
	for range line - 1 {
		i := bytes.IndexByte(text[at:], '\n')
		if i < 0 {
			return 0, errors.New("no such line")
		}
		at += i + 1
	}
	for range col - 1 {
		_, n := utf8.DecodeRune(text[at:])
		at += n
	}
	return at, nil
}

// onlyAdds compares what the file said with what it says now.
func onlyAdds(file string, before, after []byte, route string, c contract.Column, getenv func(string) (string, bool)) error {
	was, err := config.Parse(file, before, getenv)
	if err != nil {
		return err
	}
	is, err := config.Parse(file, after, getenv)
	if err != nil {
		return fmt.Errorf("with the line added it cannot be read: %w", err)
	}
	old, err := was.Table(route)
	if err != nil {
		return err
	}
	now, err := is.Table(route)
	if err != nil {
		return err
	}
	added := now.Contract
	n := len(added.Columns)
	if n != len(old.Contract.Columns)+1 {
		return errors.New("the line did not add one column")
	}
	last := added.Columns[n-1]
	added.Columns = unplaced(added.Columns[:n-1])
	last.Line, last.Col, c.Line, c.Col, c.Added = 0, 0, 0, 0, false
	want := old.Contract
	want.Columns = unplaced(want.Columns)
	if !reflect.DeepEqual(last, c) || !reflect.DeepEqual(added.Columns, want.Columns) {
		return errors.New("the line did not add the column as it is meant")
	}
	return nil
}

// unplaced are columns without their positions.
func unplaced(columns []contract.Column) []contract.Column {
	out := slices.Clone(columns)
	for i := range out {
		out[i].Line, out[i].Col = 0, 0
	}
	return out
}

// replace writes a file in one step, under the name that it has.
func replace(file string, text []byte) error {
	path, err := filepath.EvalSymlinks(file)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".waybill-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Chmod(info.Mode().Perm()), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
