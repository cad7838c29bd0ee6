package guide

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// block is one fenced block of a page.
type block struct {
	at    int // the line of its first line of text, from 0
	lang  string
	words []string // after the language
	lines []string
}

func (b *block) is(lang, word string) bool {
	return b.lang == lang && (word == "" || slices.Contains(b.words, word))
}

// page is a page of the guide.
type page struct {
	path   string
	lines  []string
	blocks []*block
}

func readPage(path string) (*page, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parsePage(path, string(text))
}

var indented = regexp.MustCompile(`^(    |\t)\S`)

// parsePage finds the blocks. A page with code that could slip through is an error.
func parsePage(path, text string) (*page, error) {
	p := &page{path: path, lines: strings.Split(strings.TrimSuffix(text, "\n"), "\n")}
	var open *block
	for i, line := range p.lines {
		info, fence := strings.CutPrefix(strings.TrimLeft(line, " "), "```")
		switch {
		case fence && open != nil && info == "":
			p.blocks, open = append(p.blocks, open), nil
		case fence && open == nil:
			words := strings.Fields(info)
			if len(words) == 0 || line[0] != '`' {
				return nil, fmt.Errorf("%s:%d: a block begins at the margin, with its language", path, i+1)
			}
			open = &block{at: i + 1, lang: words[0], words: words[1:]}
		case open != nil:
			open.lines = append(open.lines, line)
		case indented.MatchString(line) && i > 0 && p.lines[i-1] == "":
			return nil, fmt.Errorf("%s:%d: an indented block: use a fence", path, i+1)
		}
	}
	if open != nil {
		return nil, fmt.Errorf("%s:%d: the block never ends", path, open.at)
	}
	return p, nil
}

// replace puts other text into a block.
func (p *page) replace(b *block, lines []string) {
	more := len(lines) - len(b.lines)
	p.lines = slices.Concat(p.lines[:b.at], lines, p.lines[b.at+len(b.lines):])
	b.lines = lines
	for _, other := range p.blocks {
		if other.at > b.at {
			other.at += more
		}
	}
}

func (p *page) save() error {
	return os.WriteFile(p.path, []byte(strings.Join(p.lines, "\n")+"\n"), 0o644) //nolint:gosec // a page is for all to read
}

// command is one of a console block, with what it prints.
type command struct {
	at    int // its line within the block
	text  string
	lines []string
}

func commandsOf(b *block) ([]*command, error) {
	var out []*command
	for i, line := range b.lines {
		text, is := strings.CutPrefix(line, "$ ")
		switch {
		case is:
			out = append(out, &command{at: i, text: text})
		case len(out) == 0:
			return nil, fmt.Errorf("the first line of a console block is a command: $ ")
		default:
			last := out[len(out)-1]
			last.lines = append(last.lines, line)
		}
	}
	return out, nil
}

// fields splits a command at blanks outside of quotes, and leaves out a comment at its end.
func fields(text string) []string {
	var out []string
	var word strings.Builder
	var quote rune
	begun := false
	end := func() {
		if begun {
			out = append(out, word.String())
		}
		word.Reset()
		begun = false
	}
	for _, r := range text {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, begun = r, true
		case r == ' ':
			end()
		case r == '#' && !begun:
			return out
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	end()
	return out
}
