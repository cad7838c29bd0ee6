package json

// skip steps over the value at i, strictly, which is in depth containers.
func skip(t input, i, depth int) int {
	switch t.at(i) {
	case '"':
		return skipString(t, i)
	case '{', '[':
		return skipContainer(t, i, depth)
	}
	return skipScalar(t, i)
}

// skipScalar steps over a number, true, false or null.
func skipScalar(t input, i int) int {
	switch t.at(i) {
	case 't':
		return literal(t, i, "true")
	case 'f':
		return literal(t, i, "false")
	case 'n':
		return literal(t, i, "null")
	}
	return number(t, i)
}

// skipString steps over the string at i.
func skipString(t input, i int) int {
	i = plainEnd(t, i+1)
	for i >= 0 && t.at(i) == '\\' {
		if simple[t.at(i+1)] != 0 {
			i += 2
		} else if _, i = unicode(t, i); i < 0 {
			return -1
		}
		i = plainEnd(t, i)
	}
	if i < 0 || t.at(i) != '"' {
		return -1
	}
	return i + 1
}

// number steps over a number.
func number(t input, i int) int {
	if t.at(i) == '-' {
		i++
	}
	start := i
	i = digits(t, i)
	if i == start || t.at(start) == '0' && i > start+1 {
		return -1
	}
	if t.at(i) == '.' {
		if start, i = i+1, digits(t, i+1); i == start {
			return -1
		}
	}
	if t.at(i)|0x20 == 'e' {
		i++
		if t.at(i) == '+' || t.at(i) == '-' {
			i++
		}
		if start, i = i, digits(t, i); i == start {
			return -1
		}
	}
	return i
}

func digits(t input, i int) int {
	for t.at(i)-'0' <= 9 {
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
func skipContainer(t input, i, depth int) int {
	var around nesting
	for {
		if i < 0 {
			return -1
		}
		switch c := t.at(i); c { // a value begins here
		case '{', '[':
			if depth+around.n >= MaxDepth {
				return -1
			}
			around.push(c == '{')
			if i = blanks(t, i+1); t.at(i) == c+2 { // the closing bracket is two on from the opening one
				around.n--
				i++
				break
			}
			if c == '{' {
				i = name(t, i)
			}
			continue
		case '"':
			i = skipString(t, i)
		default:
			i = skipScalar(t, i)
		}
		if i = closing(t, i, &around); i < 0 || around.n == 0 {
			return i
		}
	}
}

// name steps over a member's name and colon.
func name(t input, i int) int {
	if t.at(i) != '"' {
		return -1
	}
	return colon(t, skipString(t, i))
}

// closing steps from the end of a value over brackets that close after it to where the next value begins,
// or to the end of the outermost container.
func closing(t input, i int, around *nesting) int {
	for around.n > 0 {
		if i = blanks(t, i); i < 0 {
			return -1
		}
		object := around.object()
		switch c := t.at(i); {
		case c == ',':
			if i = blanks(t, i+1); object {
				return name(t, i)
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
