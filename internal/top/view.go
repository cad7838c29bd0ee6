package top

import (
	"bytes"
	"slices"
)

// View is where somebody looks: which pipeline, its partitions or not, how far down.
type View struct {
	chosen key
	begun  bool // somebody has chosen; before, it is the first
	open   bool // the partitions of the chosen pipeline
	help   bool
	first  int // the first of the partitions that are shown
}

// Key is what somebody presses.
type Key uint8

// Keys that mean something.
const (
	KeyQuit Key = iota + 1
	KeyUp
	KeyDown
	KeyPageUp
	KeyPageDown
	KeyHome
	KeyEnd
	KeyOpen
	KeyBack
	KeyHelp
)

// sequences are what terminals send, longer ones before those that they begin with.
var sequences = []struct {
	bytes string
	key   Key
}{
	{"\x1b[A", KeyUp}, {"\x1bOA", KeyUp}, {"k", KeyUp},
	{"\x1b[B", KeyDown}, {"\x1bOB", KeyDown}, {"j", KeyDown},
	{"\x1b[C", KeyOpen}, {"\x1bOC", KeyOpen}, {"l", KeyOpen}, {"\r", KeyOpen}, {"\n", KeyOpen},
	{"\x1b[D", KeyBack}, {"\x1bOD", KeyBack}, {"h", KeyBack}, {"\x7f", KeyBack}, {"\b", KeyBack},
	{"\x1b[5~", KeyPageUp}, {"\x02", KeyPageUp}, {"\x1b[6~", KeyPageDown}, {"\x06", KeyPageDown}, {" ", KeyPageDown},
	{"\x1b[H", KeyHome}, {"\x1bOH", KeyHome}, {"\x1b[1~", KeyHome}, {"g", KeyHome},
	{"\x1b[F", KeyEnd}, {"\x1bOF", KeyEnd}, {"\x1b[4~", KeyEnd}, {"G", KeyEnd},
	{"?", KeyHelp}, {"q", KeyQuit}, {"Q", KeyQuit}, {"\x03", KeyQuit},
}

// Keys are the keys in what a terminal has sent. What means nothing is left out, whole sequences of it too.
func Keys(sent []byte) (out []Key) {
next:
	for len(sent) > 0 {
		for _, s := range sequences {
			if bytes.HasPrefix(sent, []byte(s.bytes)) {
				out, sent = append(out, s.key), sent[len(s.bytes):]
				continue next
			}
		}
		switch {
		case len(sent) == 1 && sent[0] == 0x1b:
			return append(out, KeyBack) // the key Esc
		case sent[0] == 0x1b && (sent[1] == '[' || sent[1] == 'O'):
			sent = afterSequence(sent[2:])
		default:
			sent = sent[1:]
		}
	}
	return out
}

// afterSequence is what follows a control sequence: parameters, then a letter or a tilde.
func afterSequence(b []byte) []byte {
	end := bytes.IndexFunc(b, func(r rune) bool { return r >= 0x40 && r <= 0x7e })
	return b[end+1:] // all of it if there is no end, since -1 + 1 is 0 and parameters mean nothing by themselves
}

// Press does what a key asks for, before a frame of that height is drawn. It reports whether somebody wants to leave.
func (v *View) Press(k Key, s *Snapshot, height int) (quit bool) {
	page := max(1, height-aroundPartitions)
	switch k {
	case KeyQuit:
		return true
	case KeyHelp:
		v.help = !v.help
	case KeyBack:
		if v.help {
			v.help = false
		} else {
			v.open, v.first = false, 0
		}
	case KeyOpen:
		if at := v.index(s); at >= 0 {
			v.help, v.open = false, true
			v.chosen, v.begun = key{s.Pipelines[at].Name, s.Pipelines[at].Job}, true
		}
	case KeyUp:
		v.move(s, -1)
	case KeyDown:
		v.move(s, 1)
	case KeyPageUp:
		v.move(s, -page)
	case KeyPageDown:
		v.move(s, page)
	case KeyHome:
		v.move(s, -1<<30)
	case KeyEnd:
		v.move(s, 1<<30)
	}
	return false
}

// move goes n lines down: through the partitions that are shown, or to another pipeline.
func (v *View) move(s *Snapshot, n int) {
	at := v.index(s)
	switch {
	case at < 0:
	case v.open:
		v.first = min(max(0, v.first+n), max(0, len(s.Pipelines[at].Partitions)-1))
	default:
		to := &s.Pipelines[min(max(0, at+n), len(s.Pipelines)-1)]
		v.chosen, v.begun = key{to.Name, to.Job}, true
	}
}

// index is which pipeline is chosen: the first if nobody has, or if it is there no more; -1: there is none.
func (v *View) index(s *Snapshot) int {
	i := slices.IndexFunc(s.Pipelines, func(p Pipeline) bool { return v.begun && v.chosen == key{p.Name, p.Job} })
	if i < 0 && len(s.Pipelines) > 0 {
		return 0
	}
	return i
}
