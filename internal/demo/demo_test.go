package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/waybill-data/waybill/internal/cli"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/demo"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

// binaryEnv makes this test binary the waybill binary, for the demo's own children.
const binaryEnv = "WAYBILL_TEST_BINARY"

func TestMain(m *testing.M) {
	if os.Getenv(binaryEnv) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := cli.Main(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
		stop()
		os.Exit(code)
	}
	testenv.Main(m)
}

// requireEngine skips, or fails where engines are required, as testenv has it: by asking for a server the short way.
func requireEngine(t *testing.T) {
	t.Helper()
	if _, err := chserver.Locate(); err != nil {
		testenv.ClickHouse(t)
	}
}

// options of a short run whose temporary directory is checked to be gone at the end.
func options(t *testing.T) (demo.Options, *bytes.Buffer) {
	t.Helper()
	requireEngine(t)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Cleanup(func() { checkNothingLeft(t, tmp) })
	out := new(bytes.Buffer)
	return demo.Options{Events: 3000, Partitions: 3, Rate: 20_000, Seed: 42, Out: out, Command: command}, out
}

func command(args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), binaryEnv+"=1")
	return cmd, nil
}

func checkNothingLeft(t *testing.T, tmp string) {
	t.Helper()
	entries, err := os.ReadDir(tmp)
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if pids := children(t); len(pids) > 0 {
		t.Errorf("processes left behind: %v", pids)
	}
}

// children are the processes whose parent is this one.
func children(t *testing.T) []string {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
		out = append(out, strings.Fields(string(text))...)
	}
	return out
}

func TestRun_KilledWorkerAndServerBalance(t *testing.T) {
	o, out := options(t)
	o.Events, o.Rate, o.Kills, o.KillServer = 20_000, 8_000, 1, true
	b, err := demo.Run(t.Context(), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Log(out)
	if !b.Pass || len(broken(b)) > 0 {
		t.Errorf("broken: %v", broken(b))
	}
	if b.Produced != o.Events || b.Rows+b.DeadLetters+b.Tombstones != o.Events || b.ToCome != 0 || b.Rows < o.Events*98/100 {
		t.Errorf("sums: %+v", b.Sums)
	}
	if len(b.DeadLettersByCode) != 5 || b.Tombstones == 0 {
		t.Errorf("%d tombstones, dead letters %v: not every kind of broken event is there", b.Tombstones, b.DeadLettersByCode)
	}
	if b.WorkerKills != 1 || b.KillsInFlight != 1 || b.ServerKills != 1 {
		t.Errorf("%d kills of the worker, %d in flight, %d of the server", b.WorkerKills, b.KillsInFlight, b.ServerKills)
	}
	for line := range strings.Lines(out.String()) {
		if line = strings.TrimRight(line, "\n"); utf8.RuneCountInString(line) > 80 && !strings.Contains(line, os.TempDir()) {
			t.Errorf("wider than 80 columns: %q", line)
		}
	}
	if !strings.Contains(out.String(), "PASS") || !strings.Contains(out.String(), "stand-in for Apache Kafka") {
		t.Error("neither a verdict nor a word about the broker")
	}
}

func broken(b demo.Balance) []string {
	out := []string{}
	for _, l := range b.Laws {
		if !l.Holds {
			out = append(out, l.Name)
		}
	}
	return out
}

// The balance must notice what it claims to notice: each case tampers with the tables behind Waybill's back.
func TestBalance_NoticesTampering(t *testing.T) {
	const waitForIt = " SETTINGS mutations_sync = 2"
	const firstSpan = "SELECT * FROM waybill.ledger WHERE partition = 1 AND first = 0"
	for _, c := range []struct {
		name, sql string
		broken    []string
	}{
		{"a row is deleted", "DELETE FROM demo.llm_calls WHERE seq = 100",
			[]string{"conservation", "content", "L2 conservation", "L3 presence"}},
		{"a row is there twice", "INSERT INTO demo.llm_calls SELECT * FROM demo.llm_calls WHERE seq = 100",
			[]string{"conservation", "no duplicates", "content", "L2 conservation", "L3 presence"}},
		{"one row is replaced by another one twice", "INSERT INTO demo.llm_calls SELECT * FROM demo.llm_calls WHERE seq = 100; DELETE FROM demo.llm_calls WHERE seq = 101",
			[]string{"no duplicates", "content", "L3 presence"}},
		{"a value is altered", "ALTER TABLE demo.llm_calls UPDATE input_tokens = input_tokens + 1 WHERE seq = 100" + waitForIt,
			[]string{"content"}},
		{"a dead letter is altered", "ALTER TABLE waybill.dead_letters UPDATE value = concat(value, ' ') WHERE code = 'truncated'" + waitForIt,
			[]string{"dead letters"}},
		{"a partition's spans are deleted from the ledger", "DELETE FROM waybill.ledger WHERE partition = 1",
			[]string{"L2 conservation", "L3 presence", "L4 tip"}},
		{"the ledger skips an offset", "INSERT INTO waybill.ledger SELECT * REPLACE (first + 1 AS first) FROM (" + firstSpan + "); " +
			"DELETE FROM waybill.ledger WHERE partition = 1 AND first = 0",
			[]string{"L1 continuity"}},
		{"the ledger covers an offset twice", "INSERT INTO waybill.ledger SELECT * REPLACE (next - 1 AS first) FROM (" + firstSpan + ")",
			[]string{"L1 continuity", "L2 conservation"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, out := options(t)
			o.BeforeBalance = func(_ context.Context, addr string) error {
				for sql := range strings.SplitSeq(c.sql, "; ") {
					if _, err := testenv.Query(addr, sql); err != nil {
						return fmt.Errorf("%s: %w", sql, err)
					}
				}
				return nil
			}
			b, err := demo.Run(t.Context(), o)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if b.Pass || !strings.Contains(out.String(), "FAIL") {
				t.Errorf("it passes:\n%s", out)
			}
			got := broken(b)
			for _, law := range c.broken {
				if !slices.Contains(got, law) {
					t.Errorf("%q is said to hold; broken are %q", law, got)
				}
			}
		})
	}
}

func TestRun_StoppedHalfWayLeavesNothing(t *testing.T) {
	o, out := options(t)
	o.Events, o.Rate = 1_000_000, 1000
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(3*time.Second, cancel) // somewhere while it starts or produces: nothing may depend on where
	if _, err := demo.Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestRun_WorkerThatEndsByItselfFailsTheRun(t *testing.T) {
	o, out := options(t)
	o.Dir = filepath.Join(t.TempDir(), "kept")
	o.Command = func(args ...string) (*exec.Cmd, error) {
		if args[0] == "run" {
			return exec.Command("sh", "-c", "echo no such pipeline >&2; exit 4"), nil
		}
		return command(args...)
	}
	_, err := demo.Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "no such pipeline") {
		t.Errorf("got %v\n%s", err, out)
	}
	if log, err := os.ReadFile(filepath.Join(o.Dir, "demo.log")); err != nil || !strings.Contains(string(log), "no such pipeline") {
		t.Errorf("the log of a failed run is kept: %q, %v", log, err)
	}
}

func TestRun_RefusesADirectoryInUse(t *testing.T) {
	o, _ := options(t)
	o.Dir = t.TempDir()
	mine := filepath.Join(o.Dir, "mine")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := demo.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

func TestPipeline_IsValidAndSaysWhatTheTableSays(t *testing.T) {
	text, err := demo.Pipeline("127.0.0.1:9092", "127.0.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	p, err := config.Parse("llm-calls.yaml", []byte(text), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	table, err := demo.Table()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range p.Contract.Columns {
		if !strings.Contains(table, "\n    "+c.Name+" ") {
			t.Errorf("the table has no column %s", c.Name)
		}
	}
	for _, text := range []string{text, table} {
		for line := range strings.Lines(text) {
			if !strings.Contains(line, "PROJECTION") && !strings.Contains(line, "COMMENT") && utf8.RuneCountInString(line) > 81 {
				t.Errorf("wider than 80 columns: %q", line)
			}
		}
	}
}

func TestBalance_JSONIsWhatScriptsRead(t *testing.T) {
	text, err := json.Marshal(demo.Balance{Sums: demo.Sums{Produced: 3}})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"pass", "produced", "rows", "dead_letters", "tombstones", "to_come", "unaccounted", "duplicates", "gaps", "laws"} {
		if !bytes.Contains(text, []byte(`"`+key+`":`)) {
			t.Errorf("no %q in %s", key, text)
		}
	}
}
