package config

import (
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// place finds the offset-th character of a scalar's text in the file, be it plain, quoted or a block, on one line or
// on many. It is the scalar's own place if the two cannot be brought together.
func (v value) place(offset int) (line, col int) {
	text, _ := scalarText(v.node)
	runes := []rune(text)
	a := aligner{src: v.r.src, quote: v.node.GetToken().Type}
	a.line, a.col = position(v.node)
	if _, ok := v.node.(*ast.LiteralNode); ok {
		a.startBlock(runes)
	} else if a.quote == token.SingleQuoteType || a.quote == token.DoubleQuoteType {
		a.col++
	}
	if offset > len(runes) || !a.skip(runes[:offset], offset < len(runes)) {
		return position(v.node)
	}
	return a.line, a.col
}

// aligner goes through the text of a scalar and through the file side by side.
type aligner struct {
	src       *source
	line, col int // in the file, from 1
	indent    int // of a block, to be left out; negative: all of a line's
	quote     token.Type
}

// startBlock goes to the first line of a block that holds text. Its indentation is what the text does not have.
func (a *aligner) startBlock(text []rune) {
	a.line++
	for a.line < len(a.src.lines) && strings.TrimSpace(a.src.line(a.line)) == "" && (len(text) == 0 || text[0] != '\n') {
		a.line++
	}
	first := strings.TrimLeft(string(text), "\n")
	line := a.src.line(a.line + len(string(text)) - len(first))
	a.indent = max(0, spaces(line)-spaces(first))
	a.col = a.indent + 1
}

func spaces(s string) int { return len(s) - len(strings.TrimLeft(s, " ")) }

// rest of the line in the file.
func (a *aligner) rest() []rune {
	line := []rune(a.src.line(a.line))
	return line[min(len(line), a.col-1):]
}

func (a *aligner) nextLine() {
	a.line++
	a.col = a.indent + 1
	if a.quote == token.StringType || a.quote == token.SingleQuoteType || a.quote == token.DoubleQuoteType {
		a.col = spaces(a.src.line(a.line)) + 1
	}
}

// skip goes over text, and if there is more, to where that begins. It reports false if the file says something else.
func (a *aligner) skip(text []rune, more bool) bool {
	for _, r := range text {
		for r != ' ' && r != '\n' && a.atEnd() {
			a.nextLine()
		}
		switch {
		case a.atEnd():
			a.nextLine()
		case !a.step(r):
			return false
		}
		if a.line > len(a.src.lines) {
			return false
		}
	}
	for more && a.atEnd() && a.line < len(a.src.lines) {
		a.nextLine()
	}
	return true
}

// atEnd reports whether nothing but blanks is left of the line.
func (a *aligner) atEnd() bool { return strings.TrimSpace(string(a.rest())) == "" }

// step goes over one character of the text.
func (a *aligner) step(r rune) bool {
	rest := a.rest()
	switch {
	case a.quote == token.DoubleQuoteType && rest[0] == '\\' && len(rest) > 1:
		a.col += escapeLength(rest[1])
	case a.quote == token.SingleQuoteType && r == '\'' && slices.Equal(rest[:min(2, len(rest))], []rune("''")):
		a.col += 2
	case rest[0] == r:
		a.col++
	default:
		return false
	}
	return true
}

// escapeLength is how many characters an escape takes whose letter is r.
func escapeLength(r rune) int {
	switch r {
	case 'x':
		return 4
	case 'u':
		return 6
	case 'U':
		return 10
	}
	return 2
}
