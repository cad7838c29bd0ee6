package json

// skip steps over the value at i, strictly, which is in depth containers.
func skip(text []byte, i, depth int) int {
	if uint(i) >= uint(len(text)) {
		return -1
	}
	switch text[i] {
	case '"':
		return skipString(text, i)
	case '{', '[':
		return skipContainer(text, i, depth)
	}
	return skipScalar(text, i)
}

// skipScalar steps over a number, true, false or null.
func skipScalar(text []byte, i int) int {
	if uint(i) >= uint(len(text)) {
		return -1
	}
	switch text[i] {
	case 't':
		return literal(text, i, "true")
	case 'f':
		return literal(text, i, "false")
	case 'n':
		return literal(text, i, "null")
	}
	return number(text, i)
}

// skipString steps over the string at i.
func skipString(text []byte, i int) int {
	i = plainEnd(text, i+1)
	for i >= 0 && i+1 < len(text) && text[i] == '\\' {
		if simple[text[i+1]] != 0 {
			i += 2
		} else if _, i = unicode(text, i); i < 0 {
			return -1
		}
		if i = plainEnd(text, i); i < 0 {
			return -1
		}
	}
	if uint(i) >= uint(len(text)) || text[i] != '"' {
		return -1
	}
	return i + 1
}

// number steps over a number.
func number(text []byte, i int) int {
	if i < len(text) && text[i] == '-' {
		i++
	}
	start := i
	i = digits(text, i)
	if i == start || text[start] == '0' && i > start+1 {
		return -1
	}
	if i < len(text) && text[i] == '.' {
		if start, i = i+1, digits(text, i+1); i == start {
			return -1
		}
	}
	if i < len(text) && text[i]|0x20 == 'e' {
		i++
		if i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		if start, i = i, digits(text, i); i == start {
			return -1
		}
	}
	return i
}

func digits(text []byte, i int) int {
	for i < len(text) && text[i]-'0' <= 9 {
		i++
	}
	return i
}

// nesting are the kinds of the containers around a place, innermost last: a bit each, 1 for an object.
type nesting struct {
	bits [MaxDepth / 64]uint64
	n    int
}

func (s *nesting) push(object bool) {
	bit := uint64(1) << (s.n & 63)
	if object {
		s.bits[s.n>>6] |= bit
	} else {
		s.bits[s.n>>6] &^= bit
	}
	s.n++
}

func (s *nesting) object() bool { return s.bits[(s.n-1)>>6]>>((s.n-1)&63)&1 != 0 }

// skipContainer steps over the object or array at i.
func skipContainer(text []byte, i, depth int) int {
	var around nesting
	for {
		// A value begins at i.
		if uint(i) >= uint(len(text)) {
			return -1
		}
		switch c := text[i]; c {
		case '{', '[':
			if depth+around.n >= MaxDepth {
				return -1
			}
			around.push(c == '{')
			if i = blanks(text, i+1); i >= len(text) {
				return -1
			}
			if text[i] == c+2 { // the closing bracket is two on from the opening one
				around.n--
				i++
				break
			}
			if c == '{' {
				i = name(text, i)
			}
			continue
		case '"':
			i = skipString(text, i)
		default:
			i = skipScalar(text, i)
		}
		if i = closing(text, i, &around); i < 0 || around.n == 0 {
			return i
		}
	}
}

// name steps over a member's name and colon.
func name(text []byte, i int) int {
	if i >= len(text) || text[i] != '"' {
		return -1
	}
	return colon(text, skipString(text, i))
}

// closing steps from the end of a value over brackets that close after it to where the next value begins,
// or to the end of the outermost container.
func closing(text []byte, i int, around *nesting) int {
	for around.n > 0 {
		if i = blanks(text, i); i < 0 || i >= len(text) {
			return -1
		}
		object := around.object()
		switch c := text[i]; {
		case c == ',':
			if i = blanks(text, i+1); object {
				return name(text, i)
			}
			return i
		case c == '}' && object, c == ']' && !object:
			around.n--
			i++
		default:
			return -1
		}
	}
	return i
}
