package expr

import (
	"reflect"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// list is an array of an event.
type list struct {
	d     *document
	at    int32
	elems traits.Lister // all, once they were asked for
}

var _ traits.Lister = (*list)(nil)

// GetInt64Index is what selection by a constant index calls.
func (l *list) GetInt64Index(index int64) (any, bool) {
	n := int64(0)
	for i := l.at + 1; i < l.d.nodes[l.at].next; i = l.d.nodes[i].next {
		if n == index {
			return l.d.val(i), true
		}
		n++
	}
	return nil, false
}

// all is a list of all elements.
func (l *list) all() traits.Lister {
	if l.elems != nil {
		return l.elems
	}
	var elems []ref.Val
	for i := l.at + 1; i < l.d.nodes[l.at].next; i = l.d.nodes[i].next {
		elems = append(elems, l.d.val(i))
	}
	l.elems = types.NewRefValList(types.DefaultTypeAdapter, elems)
	return l.elems
}

// Get is one element.
func (l *list) Get(index ref.Val) ref.Val { return l.all().Get(index) }

// Size is the number of elements.
func (l *list) Size() ref.Val {
	n := 0
	for i := l.at + 1; i < l.d.nodes[l.at].next; i = l.d.nodes[i].next {
		n++
	}
	return types.Int(n)
}

// Iterator goes over the elements.
func (l *list) Iterator() traits.Iterator { return l.all().Iterator() }

// Add is this list with another after it.
func (l *list) Add(other ref.Val) ref.Val { return l.all().Add(other) }

// Contains looks for an element.
func (l *list) Contains(elem ref.Val) ref.Val { return l.all().Contains(elem) }

// Equal compares with another list.
func (l *list) Equal(other ref.Val) ref.Val { return l.all().Equal(other) }

// Type is list.
func (*list) Type() ref.Type { return types.ListType }

// ConvertToType knows list and type.
func (l *list) ConvertToType(t ref.Type) ref.Val { return l.all().ConvertToType(t) }

// Value is the list itself.
func (l *list) Value() any { return l }

// ConvertToNative is for functions of the standard library that take lists of strings.
func (l *list) ConvertToNative(t reflect.Type) (any, error) { return l.all().ConvertToNative(t) }
