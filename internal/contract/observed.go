package contract

import (
	"bytes"
	"encoding/json"
	"slices"
	"unicode/utf8"
)

// Observed is what is known of the values at a path: enough to say which type takes them all (see Infer). It is made of any
// number of values in any order, and of parts that were made elsewhere: the same values give the same answer, however
// they are split. The zero value is of none. Its size is bounded, whatever the values are. It is not to be copied
// while either copy is added to.
type Observed struct {
	// Deep: objects are taken apart, for the columns that their members could have. It is set before the first value.
	Deep bool
	// Kinds counts the values by the kind that they have as JSON texts.
	Kinds   Kinds
	scalars scalars
	elems   *flat   // of arrays
	object  *object // of objects
	tree    *tree   // of all objects below, if Deep; only the outermost Observed has one
}

// Kinds counts JSON values by kind. A number is a Decimal if it is written with a fraction or an exponent.
type Kinds struct {
	Null, Bool, Integer, Decimal, String, Array, Object int64
}

// flat is what is known of elements of arrays and of members of objects taken together: arrays and objects among
// them are counted and not looked into.
type flat struct {
	kinds   Kinds
	scalars scalars
}

// object is what is known of objects at one path.
type object struct {
	values flat // of all members, whatever their names
	// odd: some member has a name that no column is made for.
	odd bool
	// members by name; nil if the objects are not taken apart: not Deep, or too deep, or too many members.
	members map[string]*Observed
}

// tree bounds what is kept of the members of objects. Members at depth 1 to levels are kept, and levels is the largest for which
// they are not more than maxMembers: which follows from the values alone, not from their order.
type tree struct {
	levels int
	paths  [maxLevels + 1]int // different paths by depth; beyond levels they are not counted on
}

const (
	maxMembers = 200
	maxLevels  = 8
	maxName    = 128 // bytes
)

// Add takes in one more value, a valid JSON text without blanks around it. It allocates for what it has not seen before: a
// member, the first array, the first object.
func (o *Observed) Add(text []byte) {
	if o.Deep && o.tree == nil {
		o.tree = &tree{levels: maxLevels}
	}
	levels := maxLevels
	if o.tree != nil {
		levels = o.tree.levels
	}
	o.add(text, o.tree, 1)
	if o.tree != nil && o.tree.levels < levels {
		o.cut(o.tree.levels)
	}
}

// add is Add for a value whose members are at a depth of t, which is nil if there is nothing to take apart.
func (o *Observed) add(text []byte, t *tree, depth int) {
	o.Kinds.Count(text)
	switch text[0] {
	case '[':
		o.addArray(text)
	case '{':
		o.addObject(text, t, depth)
	default:
		o.scalars.add(text)
	}
}

func (f *flat) add(text []byte) {
	f.kinds.Count(text)
	f.scalars.add(text)
}

// Count counts a value, a valid JSON text, by its kind.
func (k *Kinds) Count(text []byte) {
	switch text[0] {
	case 'n':
		k.Null++
	case 't', 'f':
		k.Bool++
	case '"':
		k.String++
	case '[':
		k.Array++
	case '{':
		k.Object++
	default:
		if isIntegral(text) {
			k.Integer++
		} else {
			k.Decimal++
		}
	}
}

// isIntegral reports whether a number is written without fraction and exponent.
func isIntegral(text []byte) bool {
	for _, c := range text {
		if c == '.' || c|0x20 == 'e' {
			return false
		}
	}
	return true
}

func (o *Observed) addArray(text []byte) {
	if o.elems == nil {
		o.elems = new(flat)
	}
	for w := (walker{text: text, at: 1}); w.next(); {
		o.elems.add(w.value())
	}
}

func (o *Observed) addObject(text []byte, t *tree, depth int) {
	if o.object == nil {
		o.object = new(object)
	}
	in := o.object
	for w := (walker{text: text, at: 1}); w.next(); {
		name := w.name()
		value := w.value()
		in.values.add(value)
		if t == nil || depth > t.levels {
			continue
		}
		if m := in.member(name, t, depth); m != nil {
			below := t
			if hasFreeKeys(string(name)) {
				below = nil
			}
			m.add(value, below, depth+1)
		}
	}
}

// member is what is known of the member of that name, given as in the text, between its quotes; nil if no column is made for it.
func (in *object) member(name []byte, t *tree, depth int) *Observed {
	if bytes.IndexByte(name, '\\') >= 0 {
		name = unescaped(name)
	}
	if len(name) > maxName || bytes.ContainsRune(name, utf8.RuneError) {
		in.odd = true
		return nil
	}
	return in.named(name, t, depth)
}

// named is member for a name as it is.
func (in *object) named(name []byte, t *tree, depth int) *Observed {
	if depth > t.levels {
		return nil
	}
	m := in.members[string(name)]
	if m == nil {
		if in.members == nil {
			in.members = map[string]*Observed{}
		}
		if t.paths[depth]++; !t.fits(depth) {
			return nil
		}
		m = new(Observed)
		in.members[string(name)] = m
	}
	return m
}

// unescaped is what the text between the quotes of a JSON string stands for.
func unescaped(text []byte) []byte {
	var s string
	if err := json.Unmarshal(slices.Concat([]byte{'"'}, text, []byte{'"'}), &s); err != nil {
		return []byte(string(utf8.RuneError)) // not valid JSON: no column is made for it
	}
	return []byte(s)
}

// fits lowers levels until few enough members are left, and reports whether those at the depth are among them.
func (t *tree) fits(depth int) bool {
	for t.levels > 0 && t.total() > maxMembers {
		t.levels--
	}
	return depth <= t.levels
}

func (t *tree) total() int {
	n := 0
	for _, paths := range t.paths[:t.levels+1] {
		n += paths
	}
	return n
}

// cut gives up members deeper than levels, counted from o's own, which are at depth 1.
func (o *Observed) cut(levels int) {
	switch {
	case o.object == nil:
	case levels == 0:
		o.object.members = nil
	default:
		for _, m := range o.object.members {
			m.cut(levels - 1)
		}
	}
}

// Merge takes in what another has observed, and leaves that as it is. Either both are Deep, or none.
func (o *Observed) Merge(other *Observed) {
	o.Deep = o.Deep || other.Deep
	if other.tree != nil {
		if o.tree == nil {
			o.tree = &tree{levels: maxLevels}
		}
		o.tree.levels = min(o.tree.levels, other.tree.levels)
	}
	o.merge(other, o.tree, 1)
	if o.tree != nil {
		o.cut(o.tree.levels)
	}
}

func (o *Observed) merge(other *Observed, t *tree, depth int) {
	o.Kinds.merge(other.Kinds)
	o.scalars.merge(other.scalars)
	if other.elems != nil {
		if o.elems == nil {
			o.elems = new(flat)
		}
		o.elems.merge(other.elems)
	}
	if other.object == nil {
		return
	}
	if o.object == nil {
		o.object = new(object)
	}
	in, from := o.object, other.object
	in.odd = in.odd || from.odd
	in.values.merge(&from.values)
	if t == nil || depth > t.levels {
		return
	}
	for name, m := range from.members {
		if own := in.named([]byte(name), t, depth); own != nil {
			own.merge(m, t, depth+1)
		}
	}
}

func (f *flat) merge(other *flat) {
	f.kinds.merge(other.kinds)
	f.scalars.merge(other.scalars)
}

func (k *Kinds) merge(m Kinds) {
	k.Null += m.Null
	k.Bool += m.Bool
	k.Integer += m.Integer
	k.Decimal += m.Decimal
	k.String += m.String
	k.Array += m.Array
	k.Object += m.Object
}
