package testenv_test

import (
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// recorder is a test that only notes how it ended.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Helper() {}
func (r *recorder) Skipf(format string, args ...any) {
	r.skipped = format
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = format
	runtime.Goexit()
}

func record(t *testing.T, f func(testing.TB)) *recorder {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r
}

func TestMissingEngine_SkipsLoudlyUnlessItIsRequired(t *testing.T) {
	t.Setenv("WAYBILL_CHDB_LIB", "")
	t.Setenv("WAYBILL_KAFKA_JARS", "")
	t.Setenv("WAYBILL_ENGINES_CACHE", t.TempDir())
	for name, start := range map[string]func(testing.TB){
		"ClickHouse":       func(tb testing.TB) { testenv.ClickHouse(tb) },
		"SharedClickHouse": func(tb testing.TB) { testenv.SharedClickHouse(tb) },
		"Kafka":            func(tb testing.TB) { testenv.Kafka(tb) },
		"SharedKafka":      func(tb testing.TB) { testenv.SharedKafka(tb) },
	} {
		t.Setenv(testenv.RequireEnv, "")
		if r := record(t, start); !strings.Contains(r.skipped, "NOT TESTED") || r.failed != "" {
			t.Errorf("%s: %+v", name, r)
		}
		t.Setenv(testenv.RequireEnv, "1")
		if r := record(t, start); !strings.Contains(r.failed, "is required") || r.skipped != "" {
			t.Errorf("%s, required: %+v", name, r)
		}
	}
}

func TestEventually_FailsInTime(t *testing.T) {
	n := 0
	testenv.Eventually(t, time.Minute, "three", func() bool { n++; return n == 3 })
	r := record(t, func(tb testing.TB) {
		testenv.Eventually(tb, 20*time.Millisecond, "never", func() bool { return false })
	})
	if r.failed == "" {
		t.Error("it did not fail")
	}
}

func TestSQL(t *testing.T) {
	srv := testenv.SharedClickHouse(t)
	if again := testenv.SharedClickHouse(t); again != srv {
		t.Fatal("a shared server is one server")
	}
	addr := srv.HTTPAddr()
	var name string
	t.Run("database", func(t *testing.T) {
		name = testenv.Database(t, srv)
		testenv.Exec(t, addr,
			"CREATE TABLE "+name+".t (a UInt64, s String) ENGINE = MergeTree ORDER BY a",
			"INSERT INTO "+name+".t VALUES (1, 'x\\ty'), (2, '')",
		)
		got := testenv.QueryRows(t, addr, "SELECT a, s FROM "+name+".t ORDER BY a")
		if want := [][]string{{"1", `x\ty`}, {"2", ""}}; !reflect.DeepEqual(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := testenv.QueryRows(t, addr, "SELECT a FROM "+name+".t WHERE a > 2"); got != nil {
			t.Errorf("got %q, want no rows", got)
		}
		if got := testenv.QueryValue(t, addr, "SELECT engine FROM system.databases WHERE name = '"+name+"'"); got != "Atomic" {
			t.Errorf("engine %s", got)
		}
	})
	if got := testenv.QueryValue(t, addr, "SELECT count() FROM system.databases WHERE name = '"+name+"'"); got != "0" {
		t.Error("the database outlived its test")
	}
	if _, err := testenv.Query(addr, "SELECT nonsense"); err == nil || !strings.Contains(err.Error(), "UNKNOWN_IDENTIFIER") {
		t.Errorf("got %v", err)
	}
}
