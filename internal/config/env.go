package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"
)

// placeholder matches ${NAME}; a dollar before it ($${NAME}) keeps it as text.
var placeholder = regexp.MustCompile(`^\$\{[A-Za-z_][A-Za-z0-9_]*\}$`)

// filePlaceholder matches ${file:PATH}, which stands for what the file holds.
var filePlaceholder = regexp.MustCompile(`^\$\{file:([^}]+)\}$`)

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
		if ok {
			v.r.given = append(v.r.given, given{path: v.path, token: token, value: NewSecret(set)})
		}
		if ok && escape != nil {
			set = escape(m[0], set)
		}
		b.WriteString(set)
	}
	b.WriteString(raw[last:])
	return b.String()
}

func (v value) lookup(token string) (string, bool) {
	if m := filePlaceholder.FindStringSubmatch(token); m != nil {
		return v.content(token, m[1])
	}
	if !placeholder.MatchString(token) {
		v.reportAtText(token, token+" is not a variable", "write ${NAME} or ${file:PATH}, or $${ for the characters as they are")
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

// maxContent is how much a file may hold that a text is taken from: what is larger is no password.
const maxContent = 64 << 10

// content is what a file holds, without the end of its line. A relative path is from where the pipeline file is. Each file is read once, when the pipeline file is.
func (v value) content(token, path string) (string, bool) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(v.r.src.name), path)
	}
	data, err := os.ReadFile(path)
	message := ""
	switch {
	case err != nil:
		message = fmt.Sprintf("%s: %s", path, unreadable(err))
	case len(data) > maxContent:
		message = fmt.Sprintf("%s has %d bytes, and a text has at most %d", path, len(data), maxContent)
	case !utf8.Valid(data):
		message = path + " does not hold text in UTF-8"
	}
	if message != "" {
		v.reportAtText(token, message, "the file must be there, and readable, when the pipeline starts")
		v.r.unresolved[v.node] = true
		return "", false
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), true
}
