package config

import (
	"regexp"
	"strings"
)

// placeholder matches ${NAME}; a dollar before it ($${NAME}) keeps it as text.
var placeholder = regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_]*\}`)

// anyPlaceholder also matches what looks like a placeholder and is not a proper one.
var anyPlaceholder = regexp.MustCompile(`\$?\$\{[^}]*\}?`)

// expand replaces the placeholders of raw. Values pass through escape (nil: as they are), which is
// told where in raw the placeholder begins. Problems are reported at the placeholder.
func (v value) expand(raw string, escape func(at int, s string) string) string {
	if !strings.Contains(raw, "${") {
		return raw
	}
	var b strings.Builder
	last := 0
	for _, m := range anyPlaceholder.FindAllStringIndex(raw, -1) {
		b.WriteString(raw[last:m[0]])
		last = m[1]
		token := raw[m[0]:m[1]]
		if strings.HasPrefix(token, "$$") {
			b.WriteString(token[1:])
			continue
		}
		set, ok := v.lookup(token)
		if ok && escape != nil {
			set = escape(m[0], set)
		}
		b.WriteString(set)
	}
	b.WriteString(raw[last:])
	return b.String()
}

func (v value) lookup(token string) (string, bool) {
	if !placeholder.MatchString(token) {
		v.reportAtText(token, token+" is not a variable", "write ${NAME}, or $${ for the characters as they are")
		v.r.unresolved[v.node] = true
		return "", false
	}
	name := token[2 : len(token)-1]
	set, ok := v.r.getenv(name)
	if !ok {
		v.reportAtText(token, "the environment variable "+name+" is not set", "set it, or write $${"+name+"} if the characters themselves are meant")
		v.r.unresolved[v.node] = true
	}
	return set, ok
}
