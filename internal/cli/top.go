package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/server"
	"github.com/waybill-data/waybill/internal/top"
)

// leastEvery bounds how often workers are asked.
const leastEvery = 100 * time.Millisecond

func newTop(s Streams) *cobra.Command {
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "top [HOST:PORT|URL ...]",
		Short: "Watch what running processes do: rates, lag, batches, findings",
		Long: `Shows on a terminal what one or more running processes do, and draws it anew
each second: pipelines with their rates, lag, the age of their oldest batch, how
long INSERTs take, open findings, and up to when they are complete; below, the
details of the chosen one. Enter shows its partitions, "?" what columns and keys
mean, "q" leaves.

Processes that run the same pipelines are shown as one: their rates are added
up, and each partition says whose it is. One that is not reached is named, and
what it had is shown as not known.

Rates are those of the last ten seconds, from what workers have counted. Without
a terminal, and with -o json, two looks are taken, --every apart, and one
snapshot is printed; it ends with 3 if some process is not reached.`,
		Example: `  waybill top
  waybill top 10.0.0.7:8321 10.0.0.8:8321
  waybill top --every 10s -o json | jq '.pipelines[].lag'`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().DurationVar(&every, "every", time.Second, "how often processes are asked")
	o := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if every < leastEvery {
			return usage(fmt.Errorf("--every %s: at least %s", every, leastEvery))
		}
		workers, err := addresses(args)
		if err != nil {
			return usage(err)
		}
		w := watch{workers: workers, every: every, ask: askStatus, now: time.Now, colour: s.OutTTY}
		if screen := terminalOf(s); screen != nil && *o == outputText {
			return w.show(cmd.Context(), screen)
		}
		return w.once(cmd.Context(), s.Out, *o)
	}
	return cmd
}

// addresses are the processes to ask, each once.
func addresses(args []string) (out []string, err error) {
	if len(args) == 0 {
		args = []string{server.DefaultListen}
	}
	for _, a := range args {
		a = strings.TrimRight(a, "/")
		full := a
		if !strings.Contains(a, "://") {
			full = "http://" + a
		}
		u, err := url.Parse(full)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			return nil, fmt.Errorf("%q is no address: HOST:PORT or http://HOST:PORT", a)
		case u.User != nil:
			return nil, errors.New("an address with a password: workers ask nobody for one, and it would be shown")
		}
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out, nil
}

// askStatus asks one process.
func askStatus(ctx context.Context, address string) top.Poll {
	st, err := fetchStatus(ctx, address)
	p := top.Poll{Worker: address, At: time.Now(), Status: st}
	if err != nil {
		p.Err = err.Error()
		var e *waybill.Error
		if errors.As(err, &e) {
			p.Err = e.Err.Error() // without the hint, which is about another command's flag
		}
	}
	return p
}

// watch is how processes are watched.
type watch struct {
	workers []string
	every   time.Duration
	ask     func(ctx context.Context, address string) top.Poll
	now     func() time.Time
	colour  bool
}

// once prints what two looks show.
func (w *watch) once(ctx context.Context, out io.Writer, o output) error {
	m := top.New(w.workers)
	w.look(ctx, m)
	if len(m.Snapshot(w.now()).Unreached()) < len(w.workers) { // else there is nothing to compare
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(w.every):
		}
		w.look(ctx, m)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s := m.Snapshot(w.now())
	var err error
	if o == outputJSON {
		err = printJSON(out, s)
	} else {
		_, err = io.WriteString(out, top.Text(s, lineWidth))
	}
	if err == nil && len(s.Unreached()) > 0 {
		err = &exitError{code: ExitConnect, said: true, err: errors.New("a process is not reached")}
	}
	return err
}

// look asks all at once.
func (w *watch) look(ctx context.Context, m *top.Model) {
	polls := make([]top.Poll, len(w.workers))
	var all sync.WaitGroup
	for i, address := range w.workers {
		all.Go(func() { polls[i] = w.ask(ctx, address) })
	}
	all.Wait()
	for _, p := range polls {
		m.Take(p)
	}
}

// screen is a terminal that somebody sits at.
type screen interface {
	io.ReadWriter // what is read are keys, each at once
	// enter takes the terminal over; leave gives it back as it was.
	enter() (leave func(), err error)
	size() (width, height int)
	// resized tells of each change of the size until stop is called.
	resized() (changes <-chan os.Signal, stop func())
}

// heard is what came of asking a process. broken is what a panic was about.
type heard struct {
	poll   top.Poll
	broken any
}

// show draws until somebody leaves or ctx ends. Each process is asked on its own, so that one that hangs does not hold up the others.
func (w *watch) show(ctx context.Context, sc screen) error {
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	events, keys := make(chan heard), make(chan []byte)
	for _, address := range w.workers {
		asking.Go(func() { w.follow(ctx, address, events) })
	}
	leave, err := sc.enter()
	if err != nil {
		return err
	}
	defer leave() // after a panic, too
	go readKeys(ctx, sc, keys)
	resized, stop := sc.resized()
	defer stop()
	tick := time.NewTicker(w.every)
	defer tick.Stop()

	m, v := top.New(w.workers), &top.View{}
	wipe := true
	for {
		width, height := sc.size()
		if err := w.draw(sc, top.Frame(m.Snapshot(w.now()), v, width, height, w.colour), wipe); err != nil {
			return err
		}
		wipe = false
		tick.Reset(w.every)
		last := time.Now()
		for drawn := true; drawn; {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				drawn = false
			case <-resized:
				drawn, wipe = false, true
			case e := <-events:
				if e.broken != nil {
					panic(e.broken)
				}
				// First answers are shown at once, and those of one process as they come. Those of many do not draw a frame each.
				drawn = m.Heard() && time.Since(last) < w.every*3/4
				m.Take(e.poll)
			case sent, ok := <-keys:
				if !ok {
					keys = nil // nobody types any more
					continue
				}
				drawn = false
				for _, k := range top.Keys(sent) {
					if v.Press(k, m.Snapshot(w.now()), height) {
						return nil
					}
				}
			}
		}
	}
}

// draw writes a frame over the one before; wipe: over whatever is there.
func (w *watch) draw(to io.Writer, lines []string, wipe bool) error {
	var b strings.Builder
	if wipe {
		b.WriteString("\x1b[2J")
	}
	b.WriteString("\x1b[H")
	for i, l := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(l + "\x1b[K")
	}
	b.WriteString("\x1b[J")
	_, err := io.WriteString(to, b.String())
	return err
}

// follow asks one process again and again.
func (w *watch) follow(ctx context.Context, address string, events chan<- heard) {
	tell := func(e heard) {
		select {
		case events <- e:
		case <-ctx.Done():
		}
	}
	defer func() {
		if r := recover(); r != nil { // where it is told the terminal is given back first
			tell(heard{broken: fmt.Sprintf("%v\n%s", r, debug.Stack())})
		}
	}()
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for ctx.Err() == nil {
		tell(heard{poll: w.ask(ctx, address)})
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// readKeys passes on what is typed. A read of a terminal cannot be called off: it ends with the process.
func readKeys(ctx context.Context, from io.Reader, keys chan<- []byte) {
	defer close(keys)
	for {
		buf := make([]byte, 64)
		n, err := from.Read(buf)
		if n > 0 {
			select {
			case keys <- buf[:n]:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}
