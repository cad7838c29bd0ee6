package oracle

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is how many objects and arrays may lie in one another.
const MaxDepth = 128

// judgeText says what is wrong with a text as such; nil if it is one JSON object.
func judgeText(text []byte) *Reject {
	if at, bad := invalidUTF8(text); bad {
		return &Reject{Code: "invalid_utf8", Offset: at}
	}
	dec := jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true))
	value, err := dec.ReadValue()
	if err != nil {
		return judgeError(text, err)
	}
	end := int(dec.InputOffset())
	if rest := bytes.TrimLeft(text[end:], " \t\r\n"); len(rest) > 0 {
		return &Reject{Code: "trailing_data", Offset: len(text) - len(rest)}
	}
	if at, deep := tooDeep(text); deep {
		return &Reject{Code: "too_deep", Offset: at}
	}
	if value[0] != '{' {
		return &Reject{Code: "not_an_object", Offset: end - len(value)}
	}
	return nil
}

// judgeError gives a tokenizer's error its code.
func judgeError(text []byte, err error) *Reject {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &Reject{Code: "truncated", Offset: len(text)}
	}
	var syntactic *jsontext.SyntacticError
	if !errors.As(err, &syntactic) {
		panic("oracle: jsontext fails with something else than a syntactic error: " + err.Error())
	}
	offset := min(int(syntactic.ByteOffset), len(text))
	if at, deep := tooDeep(text[:offset]); deep {
		return &Reject{Code: "too_deep", Offset: at}
	}
	return &Reject{Code: "invalid_json", Offset: offset}
}

// invalidUTF8 is where the first byte lies that cannot be UTF-8, whatever may follow: a character that
// the end of the text cuts belongs to a truncated text.
func invalidUTF8(text []byte) (at int, bad bool) {
	for at < len(text) {
		r, size := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && size == 1 {
			return at, utf8.FullRune(text[at:])
		}
		at += size
	}
	return 0, false
}

// tooDeep is where a text goes deeper than MaxDepth, as far as it is valid.
func tooDeep(text []byte) (at int, deep bool) {
	dec := jsontext.NewDecoder(strings.NewReader(string(text)), jsontext.AllowDuplicateNames(true))
	for {
		if _, err := dec.ReadToken(); err != nil {
			return 0, false
		}
		if dec.StackDepth() > MaxDepth {
			return int(dec.InputOffset()) - 1, true
		}
	}
}
