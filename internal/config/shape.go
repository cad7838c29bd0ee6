package config

import (
	"encoding/json"
	"math"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/waybill-data/waybill/internal/contract"
)

// Shape is what a value of a pipeline file may be, as a JSON Schema (draft 2020-12) for editors.
//
// It is not written down anywhere: the reader describes itself. A value that has a shape and no node is read as any other, by the same functions, and each of them puts into
// the shape what it would take, reads nothing and reports nothing. So a key that the reader knows is in the schema, and one that it does not know is not.
type Shape struct {
	Schema               string            `json:"$schema,omitempty"`
	Title                string            `json:"title,omitempty"`
	Description          string            `json:"description,omitempty"`
	Type                 kinds             `json:"type,omitempty"`
	Enum                 []any             `json:"enum,omitempty"`
	Pattern              string            `json:"pattern,omitempty"`
	MinLength            int               `json:"minLength,omitempty"`
	Minimum              *int64            `json:"minimum,omitempty"`
	Maximum              *int64            `json:"maximum,omitempty"`
	Required             []string          `json:"required,omitempty"`
	Properties           map[string]*Shape `json:"properties,omitempty"`
	AdditionalProperties *rest             `json:"additionalProperties,omitempty"`
	MinProperties        int               `json:"minProperties,omitempty"`
	MaxProperties        int               `json:"maxProperties,omitempty"`
	Items                *Shape            `json:"items,omitempty"`
	MinItems             int               `json:"minItems,omitempty"`
	AnyOf                []*Shape          `json:"anyOf,omitempty"`
	If                   *Shape            `json:"if,omitempty"`
	Then                 *Shape            `json:"then,omitempty"`
	Else                 *Shape            `json:"else,omitempty"`
	// WriteOnly: it is, or may hold, a secret.
	WriteOnly bool `json:"writeOnly,omitempty"`

	said bool // what it may be: also if that is anything
}

// kinds are JSON's names of types; one stands by itself.
type kinds []string

// MarshalJSON writes one kind as a text, several as a list.
func (k kinds) MarshalJSON() ([]byte, error) {
	if len(k) == 1 {
		return json.Marshal(k[0])
	}
	return json.Marshal([]string(k))
}

// rest is what other keys of a mapping may hold; nil: there are none.
type rest struct{ *Shape }

// MarshalJSON writes false if there are no other keys.
func (r rest) MarshalJSON() ([]byte, error) {
	if r.Shape == nil {
		return []byte("false"), nil
	}
	return json.Marshal(r.Shape)
}

// Other is what a mapping's keys may hold that have no name of their own; nil: there are none.
func (s *Shape) Other() *Shape {
	if s.AdditionalProperties == nil {
		return nil
	}
	return s.AdditionalProperties.Shape
}

// Said reports whether the reader has said what the value may be.
func (s *Shape) Said() bool { return s.said }

// Describe is the shape of a pipeline file.
func Describe() *Shape {
	s := &Shape{Schema: "https://json-schema.org/draft/2020-12/schema", Title: "A pipeline of Waybill"}
	r := &reader{unresolved: map[ast.Node]bool{}}
	p := defaults()
	r.pipeline(value{r: r, shape: s}, &p)
	return s
}

// Kinds of values. What stands bare for a number is taken as text wherever text is.
var (
	anyText  = kinds{"string", "number"}
	anyScale = kinds{"string", "number", "boolean"}
)

// variable is in a text whose value nobody knows before it is read.
const variable = `\$\{`

// says takes the value's shape; it reports false if the value is to be read.
func (v value) says(s Shape) bool {
	if v.shape == nil {
		return false
	}
	s.said, s.Description, s.WriteOnly = true, v.shape.Description, v.shape.WriteOnly
	s.Schema, s.Title = v.shape.Schema, v.shape.Title
	*v.shape = s
	return true
}

// saysText is a text that matches a pattern, or that a variable is in.
func (v value) saysText(pattern string) bool {
	if v.shape == nil {
		return false
	}
	return v.says(Shape{Type: kinds{"string"}, Pattern: pattern + "|" + variable})
}

// describing: the value is described, not read.
func (v value) describing() bool { return v.shape != nil }

// given: there is a value, or one that is described.
func (v value) given() bool { return v.node != nil || v.shape != nil }

// hidden says that the value is a secret, or may hold one: no message quotes it.
func (v value) hidden() {
	if v.shape != nil {
		v.shape.WriteOnly = true
		return
	}
	v.r.hidden = append(v.r.hidden, v.path)
}

// saysObject describes a mapping with the given keys.
func (v value) saysObject(fields []field) {
	v.says(Shape{Type: kinds{"object"}, Properties: map[string]*Shape{}, AdditionalProperties: &rest{}})
	for _, f := range fields {
		if f.later {
			continue
		}
		child := &Shape{}
		v.shape.Properties[f.key] = child
		f.read(value{r: v.r, shape: child, path: join(v.path, f.key)})
		if f.required {
			v.shape.Required = append(v.shape.Required, f.key)
		}
	}
	slices.Sort(v.shape.Required)
}

// saysEntries describes a mapping of any keys, which is one entry that stands for all. A mapping of given keys has none beside them.
func (v value) saysEntries() ([]entry, bool) {
	if v.shape.Properties != nil {
		return nil, false
	}
	child := &Shape{}
	v.says(Shape{Type: kinds{"object"}, AdditionalProperties: &rest{child}})
	return []entry{{key: "*", value: value{r: v.r, shape: child, path: join(v.path, "*")}}}, true
}

// saysList describes a list.
func (v value) saysList(item func(value)) {
	child := &Shape{}
	v.says(Shape{Type: kinds{"array"}, MinItems: 1, Items: child})
	item(value{r: v.r, shape: child, path: v.path + "[]"})
}

// saysEither describes a value that may be read in two ways.
func (v value) saysEither(ways ...func(value)) bool {
	if v.shape == nil {
		return false
	}
	var all []*Shape
	for _, way := range ways {
		one := &Shape{}
		way(value{r: v.r, shape: one, path: v.path})
		all = append(all, one)
	}
	return v.says(Shape{AnyOf: all})
}

func saysWords[T ~string](v value, choice []word[T]) bool {
	if v.shape == nil {
		return false
	}
	known := &Shape{}
	for _, w := range choice {
		if w.later {
			continue
		}
		known.Enum = append(known.Enum, string(w.text))
		if w.text == "null" {
			known.Enum = append(known.Enum, nil)
		}
	}
	return v.says(Shape{AnyOf: []*Shape{known, {Type: kinds{"string"}, Pattern: variable}}})
}

func (v value) saysInt(low, high int64) bool {
	s := Shape{Type: kinds{"integer"}, Minimum: &low}
	if high < math.MaxInt64 {
		s.Maximum = &high
	}
	return v.says(s)
}

// saysRoutes describes what a file must have, which depends on whether it has routes.
func (v value) saysRoutes(routes value) {
	routes.list(func(v value) { readRoute(v, contract.Contract{}) })
	sink := &Shape{Properties: map[string]*Shape{"clickhouse": {Required: []string{"table"}}}}
	v.shape.If = &Shape{Required: []string{"routes"}}
	v.shape.Else = &Shape{Required: []string{"contract"}, Properties: map[string]*Shape{"sink": sink, "contract": {Required: []string{"columns"}}}}
}
