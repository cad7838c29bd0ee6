package json

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is how many objects and arrays may lie in one another.
const MaxDepth = 128

// validator checks a whole text against RFC 8259, strictly: valid UTF-8, no lone surrogates, nothing after the
// value. What follows it may rely on all of that. Duplicate names are looked for only where columns take an
// object apart: elsewhere they do no harm.
type validator struct {
	buf bytes.Buffer
	dec jsontext.Decoder
}

// check returns nil if text is one JSON object.
func (v *validator) check(text []byte) *Reject {
	if at, ok := invalidUTF8(text); ok {
		return &Reject{Code: InvalidUTF8, ByteOffset: at, Message: "the text is not valid UTF-8"}
	}
	v.buf = *bytes.NewBuffer(text)
	v.dec.Reset(&v.buf, jsontext.AllowDuplicateNames(true))
	value, err := v.dec.ReadValue()
	if err != nil {
		return syntaxReject(text, err)
	}
	end := int(v.dec.InputOffset())
	if at := skipSpace(text, end); at < len(text) {
		return &Reject{Code: TrailingData, ByteOffset: at, Message: "there is more text after the JSON value"}
	}
	if at, ok := tooDeep(text); ok {
		return depthReject(at)
	}
	if value[0] != '{' {
		return &Reject{Code: NotAnObject, ByteOffset: end - len(value), Message: "the value is " + kindOf(value[0]) + ", not an object"}
	}
	return nil
}

// invalidUTF8 is where the first byte lies that cannot be UTF-8. A character that the end of the text
// cuts is not counted: that is a truncated text.
func invalidUTF8(text []byte) (at int, ok bool) {
	if utf8.Valid(text) {
		return 0, false
	}
	for at < len(text) {
		r, size := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && size == 1 {
			return at, utf8.FullRune(text[at:])
		}
		at += size
	}
	return 0, false
}

// syntaxReject gives a tokenizer's error its code.
func syntaxReject(text []byte, err error) *Reject {
	offset := len(text)
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		offset = min(int(syntactic.ByteOffset), len(text))
	}
	switch {
	case errors.Is(err, io.EOF):
		return &Reject{Code: Truncated, ByteOffset: len(text), Message: "the value is empty"}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &Reject{Code: Truncated, ByteOffset: len(text), Message: "the text ends in the middle of the JSON value"}
	}
	if at, ok := tooDeep(text[:offset]); ok {
		return depthReject(at)
	}
	message := "not valid JSON"
	if syntactic != nil && syntactic.Err != nil {
		message = syntactic.Err.Error()
	}
	return &Reject{Code: InvalidJSON, ByteOffset: offset, Message: message}
}

func depthReject(at int) *Reject {
	return &Reject{Code: TooDeep, ByteOffset: at, Message: fmt.Sprintf("more than %d objects and arrays in one another", MaxDepth)}
}

// tooDeep is where a valid text, or the valid start of one, goes deeper than MaxDepth.
func tooDeep(text []byte) (at int, ok bool) {
	if bytes.Count(text, []byte{'{'})+bytes.Count(text, []byte{'['}) <= MaxDepth {
		return 0, false
	}
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = stringEnd(text, i) - 1
		case '{', '[':
			if depth++; depth > MaxDepth {
				return i, true
			}
		case '}', ']':
			depth--
		}
	}
	return 0, false
}
