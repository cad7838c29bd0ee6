package json

import "bytes"

// The functions here step through text that the validator has passed (or, for stringEnd, that may be
// cut). They find where things end and check nothing.

// skipSpace is the index of the first byte from i on that is not JSON whitespace.
func skipSpace(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	return i
}

// stringEnd is the index after the closing quote of the string that starts at i. The next quote is
// looked for once, not after every escape: prompts are megabytes of escaped newlines.
func stringEnd(text []byte, i int) int {
	quote := i
	for i++; i < len(text); {
		if quote < i {
			n := bytes.IndexByte(text[i:], '"')
			if n < 0 {
				return len(text)
			}
			quote = i + n
		}
		slash := bytes.IndexByte(text[i:quote], '\\')
		if slash < 0 {
			return quote + 1
		}
		i += slash + 2 // past the escaped byte, which may be the quote
	}
	return len(text)
}

// valueEnd is the index after the value that starts at i.
func valueEnd(text []byte, i int) int {
	switch text[i] {
	case '"':
		return stringEnd(text, i)
	case '{', '[':
		return containerEnd(text, i)
	}
	for i < len(text) {
		switch text[i] {
		case ',', '}', ']', ' ', '\n', '\t', '\r':
			return i
		}
		i++
	}
	return i
}

func containerEnd(text []byte, i int) int {
	for depth := 0; ; i++ {
		switch text[i] {
		case '"':
			i = stringEnd(text, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
}

// cursor steps through the members of an object or the elements of an array.
type cursor struct {
	text []byte
	i    int // before the next member or element, or at the closing bracket
}

// enter is a cursor inside the container that starts at i.
func enter(text []byte, i int) cursor { return cursor{text, skipSpace(text, i+1)} }

// done reports whether the container ends here.
func (c *cursor) done() bool { return c.text[c.i] == '}' || c.text[c.i] == ']' }

// key steps over a member's name and colon. The name is still quoted.
func (c *cursor) key() (quoted []byte) {
	end := stringEnd(c.text, c.i)
	quoted = c.text[c.i:end]
	colon := skipSpace(c.text, end)
	c.i = skipSpace(c.text, colon+1)
	return quoted
}

// value steps over a value and the comma after it, and says where the value lies.
func (c *cursor) value() (start, end int) {
	start, end = c.i, valueEnd(c.text, c.i)
	if c.i = skipSpace(c.text, end); c.text[c.i] == ',' {
		c.i = skipSpace(c.text, c.i+1)
	}
	return start, end
}

// kindOf names the kind of the value that starts with the byte.
func kindOf(first byte) string {
	switch first {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}
