package contract

// Observed is what is known of the values at a path: enough to say which type takes them all. It is made of any
// number of values in any order; the zero value is of none. Its size is bounded, whatever the values are.
type Observed struct {
	// Deep: objects are taken apart, for the columns that their members could have.
	Deep bool
	// Kinds counts the values by the kind that they have as JSON texts.
	Kinds Kinds
}

// Kinds counts JSON values by kind.
type Kinds struct {
	Null, Bool, Integer, Decimal, String, Array, Object int64
}

// Add takes in one more value, a valid JSON text without blanks around it.
func (o *Observed) Add(text []byte) {
	switch text[0] {
	case 'n':
		o.Kinds.Null++
	case 't', 'f':
		o.Kinds.Bool++
	case '"':
		o.Kinds.String++
	case '[':
		o.Kinds.Array++
	case '{':
		o.Kinds.Object++
	default:
		o.Kinds.Integer++
	}
}

// Merge takes in what another has observed.
func (o *Observed) Merge(other *Observed) {
	k, m := &o.Kinds, &other.Kinds
	k.Null += m.Null
	k.Bool += m.Bool
	k.Integer += m.Integer
	k.Decimal += m.Decimal
	k.String += m.String
	k.Array += m.Array
	k.Object += m.Object
}
