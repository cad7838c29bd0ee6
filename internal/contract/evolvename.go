package contract

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// nameFor is the name of a new column for a path: its names with underscores between them, and everything but letters,
// digits and underscores of ASCII replaced by an underscore. If a column that Waybill added for another path has that name,
// a hash of the path is added. why says what stands in the way, if the name is taken nevertheless.
func (e *evolver) nameFor(path Path) (name, why string) {
	name = plainName(path)
	in, taken := e.taken(name)
	if taken && in.ours {
		sum := sha256.Sum256([]byte(path.String()))
		name += "_" + hex.EncodeToString(sum[:4])
		in, taken = e.taken(name)
	}
	if taken {
		return name, in.why
	}
	return name, ""
}

// longestName keeps names short enough for the file names that ClickHouse makes of them.
const longestName = 100

func plainName(path Path) string {
	var b strings.Builder
	for i, s := range path {
		if i > 0 {
			b.WriteByte('_')
		}
		for _, r := range s.Name {
			if r != '_' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z') {
				r = '_'
			}
			b.WriteRune(r)
		}
	}
	name := b.String()
	if name == "" || name[0] <= '9' {
		name = "_" + name
	}
	if len(name) > longestName {
		sum := sha256.Sum256([]byte(path.String()))
		name = name[:longestName] + "_" + hex.EncodeToString(sum[:4])
	}
	return name
}

// holder is who has a name.
type holder struct {
	ours bool // a column that Waybill added or is about to
	why  string
}

// taken says who has the name, in upper or lower case.
func (e *evolver) taken(name string) (holder, bool) {
	for _, c := range e.out.Changes {
		if c.Kind == AddColumn && strings.EqualFold(c.Column, name) {
			return holder{true, fmt.Sprintf("a column %s is added for %s already: map the field by hand under another name", c.Column, c.Path)}, true
		}
	}
	for _, in := range e.table.Columns {
		if strings.EqualFold(in.Name, name) {
			return e.holderOf(in), true
		}
	}
	l := e.plan.Lineage()
	if slices.ContainsFunc([]string{l.Topic, l.Partition, l.Offset, l.Epoch, e.contract.rescueColumn()}, func(own string) bool { return strings.EqualFold(own, name) }) {
		return holder{why: fmt.Sprintf("the name %s is Waybill's own: map the field by hand under another name", name)}, true
	}
	return holder{}, false
}

// holderOf says whose a column of the table is.
func (e *evolver) holderOf(in TableColumn) holder {
	if c, ok := ParseColumnComment(in.Comment); ok {
		return holder{true, fmt.Sprintf("the table's column %s takes %s: map the field by hand under another name", in.Name, c.From)}
	}
	if strings.HasPrefix(in.Comment, commentPrefix) {
		return holder{why: fmt.Sprintf("the comment on the table's column %s cannot be read: mend it (%s), or map the field by hand", in.Name, in.Comment)}
	}
	return holder{why: fmt.Sprintf("the table has a column %s that Waybill did not add: map the field by hand if that is where it belongs, or under another name", in.Name)}
}
