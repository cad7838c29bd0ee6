package expr

import (
	"reflect"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// object is an object of an event: a map whose keys are its names, in the order of the text. A name that stands there
// twice is an error once an expression asks for it, as nobody knows what the event says.
type object struct {
	d  *document
	at int32
}

var _ traits.Mapper = object{}

// find is the value of the member of that name.
func (o object) find(name string) (ref.Val, bool) {
	at, ok := o.search(name)
	switch {
	case !ok:
		return nil, false
	case at == twice:
		return types.WrapErr(errTwice), true
	}
	return o.d.val(at), true
}

// twice is in the place of a node for a name that stands there twice.
const twice = -1

// An object of more than manyMembers is indexed when such were searched manySearches times: whoever goes over all the
// names of one and asks for each does not want to search it for each.
const manyMembers, manySearches = 64, 64

// search looks for the node of a member's value.
func (o object) search(name string) (at int32, ok bool) {
	if o.d.nodes[o.at].entries > manyMembers {
		if o.d.finds++; o.d.finds > manySearches {
			at, ok = o.indexed()[name]
			return at, ok
		}
	}
	for i := o.at + 1; i < o.d.nodes[o.at].next; i = o.d.nodes[i+1].next {
		if !o.d.is(i, name) {
			continue
		}
		if ok {
			return twice, true
		}
		at, ok = i+1, true
	}
	return at, ok
}

// indexed is the object's index.
func (o object) indexed() map[string]int32 {
	if members := o.d.index[o.at]; members != nil {
		return members
	}
	members := make(map[string]int32, o.d.nodes[o.at].entries)
	for i := o.at + 1; i < o.d.nodes[o.at].next; i = o.d.nodes[i+1].next {
		name := o.d.string(i)
		if _, again := members[name]; again {
			members[name] = twice
			continue
		}
		members[name] = i + 1
	}
	if o.d.index == nil {
		o.d.index = map[int32]map[string]int32{}
	}
	o.d.index[o.at] = members
	return members
}

// FindStringKey is what selection by a constant name calls.
func (o object) FindStringKey(name string) (any, bool) { return o.find(name) }

// Find is the value of a member.
func (o object) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		if types.IsUnknownOrError(key) {
			return key, false
		}
		return nil, false
	}
	v, ok := o.find(string(name))
	if err, bad := v.(*types.Err); bad {
		return err, false
	}
	return v, ok
}

// Get is the value of a member, or an error.
func (o object) Get(key ref.Val) ref.Val {
	v, ok := o.Find(key)
	if !ok {
		return types.ValOrErr(v, "no such key: %v", key)
	}
	return v
}

// Contains reports whether there is such a member.
func (o object) Contains(key ref.Val) ref.Val {
	v, ok := o.Find(key)
	if !ok && v != nil {
		return v
	}
	return types.Bool(ok)
}

// names of the members, each once.
func (o object) names() []ref.Val {
	var names []ref.Val
	seen := map[string]bool{}
	for i := o.at + 1; i < o.d.nodes[o.at].next; i = o.d.nodes[i+1].next {
		if name := o.d.string(i); !seen[name] {
			seen[name] = true
			names = append(names, types.String(name))
		}
	}
	return names
}

// Size is the number of members.
func (o object) Size() ref.Val { return types.Int(len(o.names())) }

// Iterator goes over the names.
func (o object) Iterator() traits.Iterator { return over(o.names()) }

// Equal compares with another map, whatever the order.
func (o object) Equal(other ref.Val) ref.Val { return equalMaps(o, other) }

// Type is map.
func (object) Type() ref.Type { return types.MapType }

// ConvertToType knows map and type.
func (o object) ConvertToType(t ref.Type) ref.Val { return convertMap(o, t) }

// Value is the object itself.
func (o object) Value() any { return o }

// ConvertToNative is not to be had: events are not turned into Go values.
func (object) ConvertToNative(t reflect.Type) (any, error) { return noNative(t) }

// over goes over values.
func over(vals []ref.Val) traits.Iterator {
	return types.NewRefValList(types.DefaultTypeAdapter, vals).Iterator()
}

func equalMaps(m traits.Mapper, other ref.Val) ref.Val {
	o, ok := other.(traits.Mapper)
	if !ok || m.Size() != o.Size() {
		return types.False
	}
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		theirs, ok := o.Find(key)
		if !ok {
			return types.False
		}
		if same := types.Equal(m.Get(key), theirs); same != types.True {
			return same
		}
	}
	return types.True
}

func convertMap(m traits.Mapper, t ref.Type) ref.Val {
	switch t {
	case types.MapType:
		return m
	case types.TypeType:
		return types.MapType
	}
	return types.NewErr("type conversion error from '%s' to '%s'", types.MapType, t)
}
