package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
)

// withServers runs the tests with the servers that they start, and stops those.
type withServers struct{ *testing.M }

func (m withServers) Run() int { return testenv.Run(m.M) }

func TestMain(m *testing.M) {
	testscript.Main(withServers{m}, map[string]func(){
		"waybill": func() {
			os.Exit(Main(context.Background(), os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		// UPDATE=1 go test ./internal/cli writes what the commands print now into the scripts.
		UpdateScripts: os.Getenv("UPDATE") != "",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": serveStatus,
			"exits": exits,
			"width": width,
		},
	})
}

// serveStatus answers /status with a file from now on, on an address that it puts into $ADDR.
func serveStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serve FILE")
	}
	body := ts.ReadFile(args[0])
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/status" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, body)
	}))
	ts.Defer(srv.Close)
	ts.Setenv("ADDR", srv.Listener.Addr().String())
}

// exits runs a command and compares its exit code; what it printed is there for stdout, stderr and cmp.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// width checks that no line of a file is longer than a number of characters.
func width(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: width N FILE")
	}
	limit, err := strconv.Atoi(args[0])
	ts.Check(err)
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > limit {
			ts.Fatalf("%d characters: %s", n, line)
		}
	}
}

// mainOf is Main without a process.
func mainOf(args ...string) (code int, out string) {
	var o bytes.Buffer
	code = Main(context.Background(), args, Streams{In: strings.NewReader(""), Out: &o, Err: io.Discard})
	return code, o.String()
}

func TestPipelineFileTopic_IsAPipelineFileWithEveryDefaultAsItIs(t *testing.T) {
	shown, err := config.Parse("help", []byte(pipelineFile), func(string) (string, bool) { return "0123456789abcdef", true })
	if err != nil {
		t.Fatal(err)
	}
	short := `
name: llm-calls
source: {kafka: {brokers: ["localhost:9092"], topic: llm.calls}}
contract: {columns: {a: {type: String}}}
sink: {clickhouse: {url: "clickhouse://ingest:x@localhost:9000/ai", table: llm_calls}}
`
	bare, err := config.Parse("bare", []byte(short), nil)
	if err != nil {
		t.Fatal(err)
	}
	// What the help shows as defaults must be the defaults.
	values := func(p *config.Pipeline) string {
		c := p.Contract
		return fmt.Sprint(p.Source, p.Sink, p.Delivery, p.Batch, p.Epoch, p.OnBlank, c.NewFields, c.TypeConflicts.Default, c.Tables, c.MaxColumns, c.RescueColumn)
	}
	if got, want := values(shown), values(bare); got != want {
		t.Errorf("shown   %s\ndefault %s", got, want)
	}
}

func TestPipelineFileTopic_HasEveryKey(t *testing.T) {
	files, err := filepath.Glob("../config/read_*.go")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	key := regexp.MustCompile(`(?:optional|required)\("(\w+)"|contract\.Op(\w+), required`)
	for _, file := range files {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range key.FindAllStringSubmatch(string(code), -1) {
			if name := m[1] + strings.ToLower(m[2]); !strings.Contains(pipelineFile, name+":") {
				t.Errorf("%s reads %s, which the help does not show", file, name)
			}
		}
	}
}

func TestHelp_EveryCommandTeachesWithin80Columns(t *testing.T) {
	root := New(Streams{})
	for _, cmd := range root.Commands() {
		if cmd.Long == "" && cmd.Name() != "version" && !cmd.Hidden {
			t.Errorf("%s has no long help", cmd.Name())
		}
		_, out := mainOf(cmd.Name(), "--help")
		for line := range strings.Lines(out) {
			if utf8.RuneCountInString(line) > 81 {
				t.Errorf("%s: a line of %d characters: %s", cmd.Name(), utf8.RuneCountInString(line), line)
			}
		}
	}
}

func TestExitCode(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want int
	}{
		"problems":      {config.Problems{{File: "f", Message: "m"}}, ExitUsage},
		"usage":         {usage(errors.New("x")), ExitUsage},
		"wrapped usage": {fmt.Errorf("w: %w", usage(errors.New("x"))), ExitUsage},
		"bug":           {&waybill.Error{Op: "o", Class: waybill.ClassBug}, ExitBug},
		"config":        {&waybill.Error{Op: "o", Class: waybill.ClassConfig}, ExitFatal},
		"plain":         {errors.New("x"), ExitFatal},
		"connect":       {&exitError{code: ExitConnect, err: errors.New("x")}, ExitConnect},
	} {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

func TestReport_ErrorOnceWithItsHint(t *testing.T) {
	e := &waybill.Error{Op: "clickhouse.insert", Pipeline: "calls", Class: waybill.ClassConfig, Hint: "grant INSERT", Err: errors.New("no grant")}
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"outermost": {e, "waybill: clickhouse.insert [calls]: no grant\n  hint: grant INSERT\n"},
		"coded":     {&exitError{code: ExitFatal, err: e}, "waybill: clickhouse.insert [calls]: no grant\n  hint: grant INSERT\n"},
		"wrapped":   {fmt.Errorf("while starting: %w", e), "waybill: while starting: clickhouse.insert [calls]: no grant (grant INSERT)\n"},
	} {
		var out bytes.Buffer
		cmd := &cobra.Command{Use: "run"}
		(&cobra.Command{Use: "waybill"}).AddCommand(cmd)
		if code := report(Streams{Err: &out}, cmd, tt.err); code != ExitFatal || out.String() != tt.want {
			t.Errorf("%s: exit code %d, %q; want %q", name, code, out.String(), tt.want)
		}
	}
}

func TestMain_PanicIsABug(t *testing.T) {
	var e bytes.Buffer
	code := Main(context.Background(), []string{"version"}, Streams{Out: panics{}, Err: &e})
	if code != ExitBug || !strings.Contains(e.String(), "waybill: bug: no pipe") {
		t.Errorf("exit code %d: %s", code, e.String())
	}
}

type panics struct{}

func (panics) Write([]byte) (int, error) { panic("no pipe") }

func TestStatus_ManyPartitionsShowTheOnesFurthestBehind(t *testing.T) {
	p := status.Pipeline{Name: "a", State: status.Running, Assigned: true}
	for i := range 500 {
		p.Partitions = append(p.Partitions, status.Partition{Topic: "t", Partition: int32(i), State: status.Consuming, Lag: int64(i)})
	}
	var out bytes.Buffer
	if err := printStatus(&out, &status.Status{Version: "v", Pipelines: []status.Pipeline{p}}); err != nil {
		t.Fatal(err)
	}
	if s := out.String(); !strings.Contains(s, "t/499") || strings.Contains(s, "t/479 ") || !strings.Contains(s, "480 more partitions") {
		t.Error(s)
	}
}

func TestStatus_SilentServerIsNotReached(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer srv.Close()
	defer close(release)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := fetchStatus(ctx, srv.Listener.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "did not answer") {
		t.Errorf("got %v", err)
	}
}

func TestFormats(t *testing.T) {
	for in, want := range map[time.Duration]string{
		0: "0.0s", 1500 * time.Millisecond: "1.5s", 42 * time.Second: "42s", 125 * time.Second: "2m5s",
		3*time.Hour + 62*time.Second: "3h1m", 75 * time.Hour: "3d3h", -time.Second: "0.0s",
	} {
		if got := duration(in); got != want {
			t.Errorf("%v: %s, want %s", in, got, want)
		}
	}
	for in, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234"} {
		if got := count(in); got != want {
			t.Errorf("%d: %s, want %s", in, got, want)
		}
	}
	for in, want := range map[int64]string{5: "5 B", 2048: "2.0 KiB", 3 << 19: "1.5 MiB", 5 << 29: "2.5 GiB"} {
		if got := size(in); got != want {
			t.Errorf("%d: %s, want %s", in, got, want)
		}
	}
}

func TestBuild_IsCompleteJSON(t *testing.T) {
	code, out := mainOf("version", "-o", "json")
	var b BuildInfo
	if err := json.Unmarshal([]byte(out), &b); err != nil || code != 0 || b.Version == "" || b.Go == "" || b.Platform == "" {
		t.Errorf("exit code %d, %v: %s", code, err, out)
	}
}
