package e2e

import (
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// notified are the words that systemd would hear.
func notified(t *testing.T) (socket string, heard func() string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return socket, func() string {
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 64)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
}

// A worker that is asked to stop under load settles what it has, tells systemd, and ends with 0. Who comes next has nothing to carry out, and does not wait
// for a session to time out.
func TestStop_SettlesWhatIsInFlight(t *testing.T) {
	w := newWorld(t, setup{})
	socket, heard := notified(t)
	w.env = append(w.env, "NOTIFY_SOCKET="+socket)
	c := &clean{world: w, started: time.Now(), length: 10_000 * time.Hour} // no event ever has a new field
	stop := c.producing()
	for i := range 3 {
		p := w.start("")
		if word := heard(); word != "READY=1" {
			t.Fatalf("systemd hears %q", word)
		}
		w.eventually(p.name+" writes", func() bool {
			s, ok := p.status()
			return ok && s.Pipelines[0].Totals.Written > 200
		})
		p.stop()
		if word := heard(); word != "STOPPING=1" {
			t.Fatalf("systemd hears %q", word)
		}
		if p.said("leaving the group with batches in flight") > 0 {
			t.Fatalf("%s has left something in flight", p.name)
		}
		if i > 0 && p.said("carrying out a pending batch") > 0 {
			t.Errorf("%s had to carry out what the one before has left", p.name)
		}
	}
	stop()
	last := w.start("")
	_ = heard()
	w.quiet()
	last.stop()
	w.verify()
	w.observe("stops under load", 3)
}

// Profiles are served where --pprof says, and nowhere without it.
func TestRun_ProfilesOnlyWhereAskedFor(t *testing.T) {
	w := newWorld(t, setup{})
	p := w.start("")
	with := w.startWith("", "run", "--listen", "127.0.0.1:0", "--pprof", "127.0.0.1:0", "--log-format", "json", w.writeFile())
	with.awaitSaid("profiles are served")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(url string) int {
		t.Helper()
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	_, rest, _ := strings.Cut(with.log.String(), `"msg":"profiles are served","url":"`)
	url, _, _ := strings.Cut(rest, `"`)
	p.awaitSaid(`"msg":"listening"`)
	got := []int{get(url + "heap"), get(with.url() + "/debug/pprof/heap"), get(p.url() + "/debug/pprof/heap")}
	if want := []int{200, 404, 404}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if p.said("profiles") > 0 {
		t.Error("profiles are served though nobody has asked for them")
	}
	p.stop()
	with.stop()
	w.observe("profiles served", 1)
}
