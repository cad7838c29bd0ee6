package column

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// layout is a strptime layout, compiled.
type layout struct {
	text  string
	steps []step
	zone  *time.Location // of moments for which the layout reads no offset; nil if none was given
}

// step reads one directive, or one byte that must be there.
type step struct {
	directive byte // 0: literal
	literal   byte
}

// directives are those that a layout may have, shorthands apart.
const directives = "YmdjHIMSfpbBeaAz"

// shorthands are directives that stand for several.
var shorthands = map[byte]string{'T': "%H:%M:%S", 'R': "%H:%M", 'F': "%Y-%m-%d", 'h': "%b"}

// unsupported are directives of strptime that leave open what is meant, and why.
var unsupported = map[byte]string{
	'y': "%y has no century: write %Y",
	'D': "%D has no century: write the layout out with %Y",
	'c': "%c depends on the locale: write the layout out",
	'x': "%x depends on the locale: write the layout out",
	'X': "%X depends on the locale: write the layout out",
	'Z': "%Z reads abbreviations like CST, which several time zones share: use %z, or give the time zone",
	's': "%s is a number: use the format unix",
}

// parseLayout compiles a layout and checks that its directives make one date and one time at most.
func parseLayout(text string) (*layout, error) {
	l := &layout{text: text}
	if err := l.compile(text); err != nil {
		return nil, err
	}
	return l, l.check()
}

func (l *layout) compile(text string) error {
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			l.steps = append(l.steps, step{literal: text[i]})
			continue
		}
		if i++; i == len(text) {
			return errors.New("% at the end")
		}
		c := text[i]
		switch long, short := shorthands[c]; {
		case c == '%':
			l.steps = append(l.steps, step{literal: '%'})
		case short:
			if err := l.compile(long); err != nil {
				return err
			}
		case strings.IndexByte(directives, c) >= 0:
			l.steps = append(l.steps, step{directive: c})
		case unsupported[c] != "":
			return errors.New(unsupported[c])
		default:
			return fmt.Errorf("%%%c is not known", c)
		}
	}
	return nil
}

func (l *layout) has(directive byte) bool {
	for _, s := range l.steps {
		if s.directive == directive {
			return true
		}
	}
	return false
}

func (l *layout) hasAny(directives string) bool {
	for i := range len(directives) {
		if l.has(directives[i]) {
			return true
		}
	}
	return false
}

// count is how many steps read one of the directives.
func (l *layout) count(directives string) int {
	n := 0
	for _, s := range l.steps {
		if s.directive != 0 && strings.IndexByte(directives, s.directive) >= 0 {
			n++
		}
	}
	return n
}

// hasDate reports whether the layout reads a whole date.
func (l *layout) hasDate() bool {
	return l.has('Y') && (l.has('j') || l.hasAny("mbB") && l.hasAny("de"))
}

// check refuses layouts that read something twice, or a smaller unit without the larger one.
func (l *layout) check() error {
	for _, same := range []string{"Y", "mbB", "de", "j", "HI", "M", "S", "f", "p", "aA", "z"} {
		if l.count(same) > 1 {
			return fmt.Errorf("%%%c is read twice", same[0])
		}
	}
	switch {
	case l.has('j') && l.hasAny("mbBde"):
		return errors.New("%j is a day of the year, beside which there is neither month nor day")
	case l.has('I') != l.has('p'):
		return errors.New("%I and %p go together")
	case l.has('f') && !l.has('S'), l.has('S') && !l.has('M'), l.has('M') && !l.hasAny("HI"):
		return errors.New("%f needs %S, %S needs %M, %M needs the hour")
	case l.hasAny("YmbBdej") && !l.hasDate():
		return errors.New("the date is not complete: it needs %Y with %m and %d, or %Y with %j")
	case l.hasAny("aA") && !l.hasDate():
		return errors.New("%a needs a date")
	}
	return nil
}
