package oracle

import "strings"

// Type is a ClickHouse type: a name and its arguments.
type Type struct {
	Name string
	Args []Type // types, and other arguments (numbers, 'zones', 'names' = 1) as types of that name
}

// ParseType reads a type text as DESCRIBE TABLE writes it.
func ParseType(text string) Type {
	name, args, ok := strings.Cut(text, "(")
	if !ok || strings.HasPrefix(text, "'") {
		return Type{Name: text}
	}
	t := Type{Name: name}
	for _, arg := range splitArgs(strings.TrimSuffix(args, ")")) {
		t.Args = append(t.Args, ParseType(strings.TrimSpace(arg)))
	}
	return t
}

// splitArgs splits at commas outside of parentheses and quotes.
func splitArgs(s string) []string {
	var args []string
	depth, quoted, from := 0, false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '\'':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			args, from = append(args, s[from:i]), i+1
		}
	}
	return append(args, s[from:])
}

// enum are the names of an Enum8 or Enum16 with the texts of their numbers, in the type's order.
func (t Type) enum() (names, numbers []string) {
	for _, a := range t.Args {
		end := strings.LastIndexByte(a.Name, '\'')
		name := strings.NewReplacer(`\'`, `'`, `\\`, `\`).Replace(a.Name[1:end])
		names = append(names, name)
		numbers = append(numbers, strings.Trim(a.Name[end+1:], " ="))
	}
	return names, numbers
}

// canNull reports whether NULL is a value of the type.
func (t Type) canNull() bool {
	return t.Name == "Nullable" || t.Name == "LowCardinality" && t.Args[0].canNull()
}
