//go:build linux

package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/waybill-data/waybill/internal/testenv"
)

// pty is a terminal of the kernel's: what is written to person is typed, and what the program shows is read from it.
func pty(t *testing.T, width, height int) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		without(t, err)
	}
	t.Cleanup(func() { _ = person.Close() })
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		without(t, err)
	}
	t.Cleanup(func() { _ = program.Close() })
	resize(t, person, width, height)
	return person, program
}

// without skips a test where there are no terminals; not where everything is to be tested.
func without(t *testing.T, err error) {
	t.Helper()
	if os.Getenv(testenv.RequireEnv) != "" {
		t.Fatalf("no terminals here: %v", err)
	}
	t.Skipf("no terminals here: %v", err)
}

func resize(t *testing.T, f *os.File, width, height int) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(f.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(width), Row: uint16(height)}); err != nil { //nolint:gosec // small
		t.Fatal(err)
	}
}

// seenScreen collects what a person sees.
type seenScreen struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *seenScreen) follow(from io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		s.mu.Lock()
		s.text.Write(buf[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *seenScreen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// The command on a real terminal: it takes the screen, follows its size, and gives everything back as it was.
func TestTop_OnATerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"version":"v","started":"2026-11-29T10:00:00Z","now":"2026-11-29T10:00:09Z","pipelines":[{"name":"calls","state":"running","assigned":true,"table":"ai.calls"}]}`)
	}))
	defer worker.Close()
	for _, c := range []struct {
		name   string
		colour bool
		leave  string // what is typed
	}{
		{"q", true, "q"},
		{"Ctrl-C, without colours", false, "\x03"},
	} {
		t.Run(c.name, func(t *testing.T) {
			person, program := pty(t, 80, 24)
			before, err := term.GetState(int(program.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			var s seenScreen
			go s.follow(person)
			ended := make(chan int, 1)
			go func() {
				ended <- Main(t.Context(), []string{"top", worker.Listener.Addr().String(), "--every", "100ms"}, Streams{In: program, Out: program, Err: io.Discard, OutTTY: c.colour, InTTY: true})
			}()
			await := func(want string) {
				t.Helper()
				for late := time.Now().Add(20 * time.Second); !strings.Contains(s.String(), want); time.Sleep(10 * time.Millisecond) {
					if time.Now().After(late) {
						t.Fatalf("does not show %q:\n%q", want, s.String())
					}
				}
			}
			await("calls: running")
			if all := s.String(); !strings.HasPrefix(all, takeScreen) || strings.Contains(all, "\x1b[1m") != c.colour || strings.Contains(all, "WORKERS") {
				t.Errorf("%q", all)
			}
			resize(t, person, 132, 30)
			if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil { // the kernel tells only whose terminal it is
				t.Fatal(err)
			}
			await("WORKERS") // for which there is room now
			if _, err := person.WriteString(c.leave); err != nil {
				t.Fatal(err)
			}
			if code := <-ended; code != ExitOK {
				t.Errorf("exit code %d", code)
			}
			await(giveScreen)
			after, err := term.GetState(int(program.Fd()))
			if err != nil || !reflect.DeepEqual(before, after) {
				t.Errorf("the terminal is not as it was: %v", err)
			}
		})
	}
}
