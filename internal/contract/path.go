package contract

import (
	"errors"
	"strings"
)

// ParsePath splits a dotted path into the names it walks through: "usage.input_tokens" is
// ["usage", "input_tokens"]. A name that contains a dot or a backtick, or is empty, is written in
// backticks, with backticks in it doubled: "attrs.`gen_ai.system`".
func ParsePath(text string) ([]string, error) {
	var path []string
	for rest, more := text, true; more; {
		var name string
		if strings.HasPrefix(rest, "`") {
			var ok bool
			if name, rest, ok = cutQuoted(rest[1:]); !ok {
				return nil, errors.New("a backtick is not closed")
			}
			if rest != "" && rest[0] != '.' {
				return nil, errors.New("a dot must follow the closing backtick")
			}
			_, rest, more = strings.Cut(rest, ".")
		} else {
			if name, rest, more = strings.Cut(rest, "."); name == "" {
				return nil, errors.New("a name in the path is empty")
			}
			if strings.Contains(name, "`") {
				return nil, errors.New("a backtick in the middle of a name: quote the whole name")
			}
		}
		path = append(path, name)
	}
	return path, nil
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

// FormatPath writes a path so that ParsePath reads it back.
func FormatPath(path []string) string {
	var b strings.Builder
	for i, name := range path {
		if i > 0 {
			b.WriteByte('.')
		}
		if name == "" || strings.ContainsAny(name, ".`") {
			name = "`" + strings.ReplaceAll(name, "`", "``") + "`"
		}
		b.WriteString(name)
	}
	return b.String()
}
