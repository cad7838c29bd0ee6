package cli

import (
	"errors"
	"io"
	"os"

	"golang.org/x/term"
)

// What a terminal is told: to keep its screen and lend another one, without a cursor and without breaking lines by itself; and to take that back.
const (
	takeScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	giveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// realScreen is the terminal that a process was started from.
type realScreen struct {
	in, out *os.File
}

// terminalOf is the terminal that the streams are; nil if one of them is none, or cannot show more than lines.
func terminalOf(s Streams) screen {
	in, isIn := s.In.(*os.File)
	out, isOut := s.Out.(*os.File)
	if !isIn || !isOut || !term.IsTerminal(int(in.Fd())) || !term.IsTerminal(int(out.Fd())) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return &realScreen{in, out}
}

func (r *realScreen) Read(b []byte) (int, error)  { return r.in.Read(b) }
func (r *realScreen) Write(b []byte) (int, error) { return r.out.Write(b) }

func (r *realScreen) enter() (leave func(), err error) {
	was, err := term.MakeRaw(int(r.in.Fd()))
	if err != nil {
		return nil, err
	}
	leave = func() {
		_, _ = io.WriteString(r.out, giveScreen) // a terminal that is gone needs nothing back
		_ = term.Restore(int(r.in.Fd()), was)
	}
	if _, err := io.WriteString(r.out, takeScreen); err != nil {
		return nil, errors.Join(err, term.Restore(int(r.in.Fd()), was))
	}
	return leave, nil
}

func (r *realScreen) size() (width, height int) {
	width, height, err := term.GetSize(int(r.out.Fd()))
	if err != nil || width == 0 || height == 0 {
		return lineWidth, 24
	}
	return width, height
}
