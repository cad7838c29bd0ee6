package contract

import (
	"bytes"
	"iter"
	"unicode/utf8"
)

// walker goes through the elements of an array or the members of an object, in valid JSON text.
type walker struct {
	text []byte
	at   int // after the opening bracket at first
}

// next moves to the next element or member; false if there is none.
func (w *walker) next() bool {
	w.blanks()
	if w.text[w.at] == ',' {
		w.at++
		w.blanks()
	}
	return w.text[w.at] != ']' && w.text[w.at] != '}'
}

// name consumes a member's name and the colon; it is what stands between the quotes.
func (w *walker) name() []byte {
	from := w.at + 1
	w.at = stringEnd(w.text, w.at)
	name := w.text[from : w.at-1]
	w.blanks()
	w.at++ // the colon
	w.blanks()
	return name
}

// value consumes a value.
func (w *walker) value() []byte {
	from := w.at
	w.at = valueEnd(w.text, w.at)
	return w.text[from:w.at]
}

func (w *walker) blanks() {
	for isBlank(w.text[w.at]) {
		w.at++
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// valueEnd is the index after the value that begins at i.
func valueEnd(text []byte, i int) int {
	switch text[i] {
	case '"':
		return stringEnd(text, i)
	case '[', '{':
		return bracketEnd(text, i)
	}
	for i < len(text) && text[i] != ',' && text[i] != ']' && text[i] != '}' && !isBlank(text[i]) {
		i++
	}
	return i
}

// bracketEnd is the index after the bracket that closes the one at i.
func bracketEnd(text []byte, i int) int {
	for depth := 0; ; {
		switch text[i] {
		case '"':
			i = stringEnd(text, i)
			continue
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		}
		if i++; depth == 0 {
			return i
		}
	}
}

// stringEnd is the index after the closing quote of the string that begins at i.
func stringEnd(text []byte, i int) int {
	for i++; ; i++ {
		i += bytes.IndexByte(text[i:], '"')
		slashes := 0
		for text[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i + 1
		}
	}
}

// Members are names and values of a JSON object, in their order; those of an array have no names. The text is valid JSON without blanks around
// it. ok is false for names that no column is made for.
func Members(text []byte) iter.Seq2[Name, []byte] {
	return func(yield func(Name, []byte) bool) {
		for w := (walker{text: text, at: 1}); w.next(); {
			m := Name{OK: true}
			if text[0] == '{' {
				name := w.name()
				if bytes.IndexByte(name, '\\') >= 0 {
					name = unescaped(name)
				}
				m = Name{Text: string(name), OK: len(name) <= maxName && !bytes.ContainsRune(name, utf8.RuneError)}
			}
			if !yield(m, w.value()) {
				return
			}
		}
	}
}

// Name is that of a value.
type Name struct {
	Text string
	OK   bool // a column can be made for it
}
