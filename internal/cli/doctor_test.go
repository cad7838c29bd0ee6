package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/testenv"
)

// doctor runs the command.
func (w *initWorld) doctor(file string) (r doctorReport, code int) {
	w.Helper()
	var o, e bytes.Buffer
	code = Main(w.Context(), []string{"doctor", file, "--watch", "1s", "-o", "json"}, Streams{In: strings.NewReader(""), Out: &o, Err: &e})
	if err := json.Unmarshal(o.Bytes(), &r); err != nil {
		w.Fatalf("exit code %d: %v\n%s%s", code, err, o.String(), e.String())
	}
	if r.OK != (code == ExitOK) || r.OK != (len(r.Causes) == 0) || code != ExitOK && code != ExitFindings {
		w.Errorf("exit code %d of %+v", code, r)
	}
	return r, code
}

// Things that are wrong with a pipeline, one after the other: the first cause names each, and all is well before and after.
func TestDoctor_TheFirstCauseNamesWhatIsWrong(t *testing.T) {
	w := newInitWorld(t, "events")
	var values []string
	for i := range 100 {
		values = append(values, fmt.Sprintf(`{"id":%d,"at":"2026-11-29T12:00:00Z"}`, i))
	}
	w.produce("events", values...)
	file, _ := w.initialize("events", "--create")
	first := func(want string) {
		t.Helper()
		r, _ := w.doctor(file)
		if len(r.Causes) == 0 || !strings.Contains(r.Causes[0].Cause, want) || len(r.Causes[0].Next) == 0 || r.Causes[0].Because == "" {
			t.Errorf("the first cause is not %q: %+v", want, r)
		}
	}
	well := func(when string) doctorReport {
		t.Helper()
		r, _ := w.doctor(file)
		if !r.OK || r.Summary == "" || len(r.Unknown) > 0 {
			t.Errorf("%s: %+v", when, r)
		}
		return r
	}
	first("no worker runs")

	w.run(file, func() bool { return w.count("SELECT count() FROM "+w.db+".events") >= 100 })
	if r := well("all is settled, and nobody is there"); r.Lag != 0 || len(r.Members) != 0 {
		t.Errorf("%+v", r)
	}
	w.produce("events", `{"id":100,"at":"2026-11-29T12:00:00Z"}`)
	first("no worker runs")
	w.waybill("pause", file, "--why", "a test")
	first("it is paused")
	w.waybill("resume", file)

	testenv.Exec(t, w.srv.HTTPAddr(), "ALTER TABLE "+w.db+".events UPDATE _rescued = toString(throwIf(id >= 0, 'broken')) WHERE 1 SETTINGS mutations_sync = 0")
	testenv.Eventually(t, 2*time.Minute, "the mutation fails", func() bool {
		return w.count("SELECT count() FROM system.mutations WHERE database = '"+w.db+"' AND latest_fail_reason != ''") > 0
	})
	r, _ := w.doctor(file)
	found := false
	for _, c := range r.Causes {
		found = found || strings.Contains(c.Cause, "a mutation of "+w.db+".events fails")
	}
	if !found {
		t.Errorf("says nothing of the mutation: %+v", r)
	}
	testenv.Exec(t, w.srv.HTTPAddr(), "KILL MUTATION WHERE database = '"+w.db+"' SYNC")

	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(w.dir, "elsewhere", "p.yaml")
	for broken, want := range map[[2]string]string{
		{w.addr, "127.0.0.1:1"}:                       "127.0.0.1:1",
		{w.srv.TCPAddr(), "127.0.0.1:2"}:              "127.0.0.1:2",
		{"topic: events", "topic: event"}:             "event",
		{"table: events", "table: other"}:             "other",
		{"clickhouse://default@", "clickhouse://no@"}: "no",
	} {
		if err := os.MkdirAll(filepath.Dir(elsewhere), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(elsewhere, bytes.ReplaceAll(text, []byte(broken[0]), []byte(broken[1])), 0o600); err != nil {
			t.Fatal(err)
		}
		r, code := w.doctor(elsewhere)
		if code != ExitFindings || !strings.Contains(r.Causes[0].Cause, want) {
			t.Errorf("%s instead of %s: %+v", broken[1], broken[0], r)
		}
	}

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- Main(ctx, []string{"run", "--listen", "127.0.0.1:0", "--log-format", "json", file}, Streams{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &bytes.Buffer{}})
	}()
	testenv.Eventually(t, 2*time.Minute, "the last event is in", func() bool { return w.count("SELECT count() FROM "+w.db+".events") >= 101 })
	if r := well("a worker runs"); len(r.Members) != 1 {
		t.Errorf("%+v", r)
	}
	stop()
	<-ended
}
