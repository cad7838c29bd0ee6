package expr

import (
	"errors"
	"reflect"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/waybill-data/waybill"
)

var (
	errKey    = errors.New("the record's key is not UTF-8")
	errHeader = errors.New("the header's value is not UTF-8")
)

// Record is what an expression is evaluated on. It belongs to one goroutine, and is not copied once it has been set.
type Record struct {
	record *waybill.Record
	event  document
	root   any // event as an object, made once
}

var _ cel.Activation = (*Record)(nil)

// Set makes a record the one that expressions see, with text as its event. It reports false if text is not one JSON object;
// expressions are not for such records. Both must stay as they are until the next Set.
func (r *Record) Set(record *waybill.Record, text []byte) bool {
	r.record = record
	if r.root == nil {
		r.root = object{&r.event, 0}
	}
	return r.event.parse(text)
}

// Parent is nil: there are no variables but these.
func (r *Record) Parent() cel.Activation { return nil }

// ResolveName is the value of a variable.
func (r *Record) ResolveName(name string) (any, bool) {
	switch name {
	case varEvent:
		return r.root, true
	case varTopic:
		return types.String(r.record.Topic), true
	case varPartition:
		return types.Int(r.record.Partition), true
	case varOffset:
		return types.Int(r.record.Offset), true
	case varTimestamp:
		return types.Timestamp{Time: time.UnixMilli(r.record.Time).UTC()}, true
	case varKey:
		return text(r.record.Key, errKey), true
	case varHeaders:
		return headers(r.record.Headers), true
	}
	return nil, false
}

// text is bytes of the record as a string, null without any.
func text(b []byte, notUTF8 error) ref.Val {
	switch {
	case b == nil:
		return types.NullValue
	case !utf8.Valid(b):
		return types.WrapErr(notUTF8)
	}
	return types.String(b)
}

// headers are a record's headers as a map: of several of one name, the first.
type headers []waybill.Header

var _ traits.Mapper = headers{}

// Find is the value of a header.
func (h headers) Find(key ref.Val) (ref.Val, bool) {
	name, _ := key.(types.String)
	for i := range h {
		if h[i].Key == string(name) {
			v := text(h[i].Value, errHeader)
			return v, !types.IsError(v)
		}
	}
	return nil, false
}

// Get is the value of a header, or an error.
func (h headers) Get(key ref.Val) ref.Val {
	v, ok := h.Find(key)
	if !ok {
		return types.ValOrErr(v, "no such key: %v", key)
	}
	return v
}

// Contains reports whether there is such a header.
func (h headers) Contains(key ref.Val) ref.Val {
	v, _ := h.Find(key)
	return types.Bool(v != nil)
}

// names of the headers, each once.
func (h headers) names() []ref.Val {
	var names []ref.Val
	seen := map[string]bool{}
	for i := range h {
		if name := h[i].Key; !seen[name] {
			seen[name] = true
			names = append(names, types.String(name))
		}
	}
	return names
}

// Size is the number of names.
func (h headers) Size() ref.Val { return types.Int(len(h.names())) }

// Iterator goes over the names.
func (h headers) Iterator() traits.Iterator { return over(h.names()) }

// Equal compares with another map.
func (h headers) Equal(other ref.Val) ref.Val { return equalMaps(h, other) }

// Type is map.
func (headers) Type() ref.Type { return types.MapType }

// ConvertToType knows map and type.
func (h headers) ConvertToType(t ref.Type) ref.Val { return convertMap(h, t) }

// Value is the map itself.
func (h headers) Value() any { return h }

// ConvertToNative is not to be had.
func (headers) ConvertToNative(t reflect.Type) (any, error) { return noNative(t) }
