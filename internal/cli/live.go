package cli

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/waybill-data/waybill/internal/status"
)

// liveInterval is how often the live line is drawn.
const liveInterval = 500 * time.Millisecond

// liveLine keeps one line per pipeline at the foot of a terminal, below the log that scrolls by. Where
// standard error is no terminal it only passes the log on.
type liveLine struct {
	mu    sync.Mutex
	out   io.Writer
	on    bool
	drawn int // lines on screen now
	text  []string
}

func newLiveLine(s Streams, o runOptions) *liveLine {
	return &liveLine{out: s.Err, on: s.ErrTTY && !o.quiet && o.logFormat != "json"}
}

// Write passes log lines on, above the live line.
func (l *liveLine) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b bytes.Buffer
	l.erase(&b)
	b.Write(p)
	l.draw(&b)
	if _, err := l.out.Write(b.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// follow draws what get says until the returned function is called.
func (l *liveLine) follow(get func() status.Status) (end func()) {
	if !l.on {
		return func() {}
	}
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(liveInterval)
		defer tick.Stop()
		for {
			select {
			case <-done:
				l.show(nil)
				return
			case <-tick.C:
				st := get()
				var text []string
				for i := range st.Pipelines {
					text = append(text, sumLine(&st.Pipelines[i]))
				}
				l.show(text)
			}
		}
	}()
	return func() { close(done); <-over }
}

func (l *liveLine) show(text []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b bytes.Buffer
	l.erase(&b)
	l.text = text
	l.draw(&b)
	_, _ = l.out.Write(b.Bytes()) // a terminal that is gone is told nothing
}

func (l *liveLine) erase(b *bytes.Buffer) {
	for range l.drawn {
		b.WriteString("\x1b[1A\x1b[2K")
	}
	l.drawn = 0
}

func (l *liveLine) draw(b *bytes.Buffer) {
	for _, line := range l.text {
		fmt.Fprintln(b, line)
		l.drawn++
	}
}
