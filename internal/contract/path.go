package contract

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// StepKind says how a Step goes further into an event.
type StepKind uint8

// The kinds of step.
const (
	Member  StepKind = iota // to the member of that name
	Element                 // to the array element at Index
	Each                    // to every element of the array: the column is an Array with one entry for each
)

// Step is one step of a Path.
type Step struct {
	Kind  StepKind
	Name  string // of a Member
	Index int    // of an Element, from 0
}

// Path leads from an event's root to a value.
type Path []Step

// maxIndex bounds element steps: it is there against typing errors, not for memory.
const maxIndex = 1 << 20

// ParsePath reads a path: names with dots between them, each followed by any number of [0] for one element
// of an array or [*] for all of them. "usage.input_tokens", "messages[0].content", "items[*].price". A name
// that contains a dot, a bracket or a backtick, or is empty, is written in backticks, with backticks in it
// doubled: "attrs.`gen_ai.system`". There is at most one [*].
func ParsePath(text string) (Path, error) {
	var path Path
	for rest, more := text, true; more; {
		name, after, err := cutName(rest)
		if err != nil {
			return nil, err
		}
		path = append(path, Step{Kind: Member, Name: name})
		if path, after, err = appendBrackets(path, after); err != nil {
			return nil, err
		}
		if after != "" && after[0] != '.' {
			return nil, errors.New("a dot must follow a closing backtick or bracket")
		}
		_, rest, more = strings.Cut(after, ".")
	}
	if each := slices.IndexFunc(path, isEach); each >= 0 && slices.ContainsFunc(path[each+1:], isEach) {
		return nil, errors.New("[*] stands twice: a column can collect from one array only")
	}
	return path, nil
}

func isEach(s Step) bool { return s.Kind == Each }

// Each is the index of the [*] step, -1 without one.
func (p Path) Each() int { return slices.IndexFunc(p, isEach) }

// cutName reads the name at the start of s.
func cutName(s string) (name, rest string, err error) {
	if strings.HasPrefix(s, "`") {
		name, rest, ok := cutQuoted(s[1:])
		if !ok {
			return "", "", errors.New("a backtick is not closed")
		}
		return name, rest, nil
	}
	end := strings.IndexAny(s, ".[]`")
	if end < 0 {
		end = len(s)
	}
	switch {
	case end == 0:
		return "", "", errors.New("a name in the path is empty")
	case end < len(s) && s[end] == '`':
		return "", "", errors.New("a backtick in the middle of a name: quote the whole name")
	case end < len(s) && s[end] == ']':
		return "", "", errors.New("a bracket in the middle of a name: quote the whole name in backticks")
	}
	return s[:end], s[end:], nil
}

// appendBrackets reads [n] and [*] at the start of s.
func appendBrackets(path Path, s string) (Path, string, error) {
	for strings.HasPrefix(s, "[") {
		inside, rest, ok := strings.Cut(s[1:], "]")
		if !ok {
			return nil, "", errors.New("a bracket is not closed")
		}
		if inside == "*" {
			path, s = append(path, Step{Kind: Each}), rest
			continue
		}
		n, err := strconv.ParseUint(inside, 10, 32)
		if err != nil || n > maxIndex {
			return nil, "", fmt.Errorf("[%s] is not an element: write [0], [1], ... or [*] for all of them", inside)
		}
		path, s = append(path, Step{Kind: Element, Index: int(n)}), rest
	}
	return path, s, nil
}

// cutQuoted reads up to the closing backtick; two in a row stand for one.
func cutQuoted(s string) (name, rest string, ok bool) {
	var b strings.Builder
	for {
		part, after, found := strings.Cut(s, "`")
		b.WriteString(part)
		if !found {
			return "", "", false
		}
		if !strings.HasPrefix(after, "`") {
			return b.String(), after, true
		}
		b.WriteByte('`')
		s = after[1:]
	}
}

// String writes the path so that ParsePath reads it back. Names that begin like what stands for the path of a value from
// elsewhere (kafka:key, expr:COLUMN) are quoted, so that none is mistaken for it.
func (p Path) String() string {
	var b strings.Builder
	for i, s := range p {
		switch s.Kind {
		case Element:
			fmt.Fprintf(&b, "[%d]", s.Index)
			continue
		case Each:
			b.WriteString("[*]")
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		name := s.Name
		if name == "" || strings.ContainsAny(name, ".[]`") || strings.HasPrefix(name, "kafka:") || strings.HasPrefix(name, "expr:") {
			name = "`" + strings.ReplaceAll(name, "`", "``") + "`"
		}
		b.WriteString(name)
	}
	return b.String()
}

// Names is the path of members of these names.
func Names(names ...string) Path {
	p := make(Path, len(names))
	for i, name := range names {
		p[i] = Step{Kind: Member, Name: name}
	}
	return p
}
