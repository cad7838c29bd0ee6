package clickhouse

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

type (
	chserverOptions = chserver.Options
	chserverUser    = chserver.User
)

func TestOpen_SaysWhatTheServerIs(t *testing.T) { overBoth(t, testOpen_SaysWhatTheServerIs) }

func testOpen_SaysWhatTheServerIs(t *testing.T, over wire) {
	w := newWorld(t, over)
	if !strings.HasPrefix(w.c.Server().Version, "2") || w.c.Server().Timezone == "" {
		t.Errorf("server %+v", w.c.Server())
	}
	if started, server, err := w.c.Boot(t.Context()); err != nil || time.Since(started) > 24*time.Hour || len(server) != 36 {
		t.Errorf("started %v, server %q, %v", started, server, err)
	}
}

// A local clock that is an hour behind: deadlines go by the server's.
func TestOpen_MeasuresTheServersClock(t *testing.T) { overBoth(t, testOpen_MeasuresTheServersClock) }

func testOpen_MeasuresTheServersClock(t *testing.T, over wire) {
	srv := testenv.SharedClickHouse(t)
	behind := func() time.Time { return time.Now().Add(-time.Hour) }
	c, err := Open(t.Context(), over.on(srv, Config{}), Deps{Clock: behind})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	off := time.Until(c.ServerNow(behind()))
	if off.Abs() > c.ClockMargin()+10*time.Second {
		t.Errorf("the server's clock is taken to be %v off, margin %v", off, c.ClockMargin())
	}
}

func TestOpen_OldServerIsRefusedInOneSentence(t *testing.T) {
	for _, v := range [][3]int{{18, 16, 0}, {25, 7, 9}, {25, 8, 0}, {26, 1, 0}} {
		err := checkVersion(proto.ServerHello{Major: v[0], Minor: v[1], Patch: v[2]})
		if old := v[0] < 25 || v[0] == 25 && v[1] < 8; old != (err != nil) {
			t.Errorf("%v: %v", v, err)
		} else if old && waybill.ClassOf(err) != waybill.ClassConfig {
			t.Errorf("%v: class %v", v, waybill.ClassOf(err))
		}
	}
	err := checkVersion(proto.ServerHello{Major: 18, Minor: 16})
	if want := "clickhouse.open: ClickHouse 18.16 is too old: Waybill needs 25.8 or newer (upgrade the server)"; err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

func TestOpen_NobodyAnswers(t *testing.T) { overBoth(t, testOpen_NobodyAnswers) }

func testOpen_NobodyAnswers(t *testing.T, over wire) {
	_, err := Open(t.Context(), over.at("127.0.0.1:1", Config{}), Deps{})
	if waybill.ClassOf(err) != waybill.ClassRetryable {
		t.Errorf("class %v of %v, want retryable", waybill.ClassOf(err), err)
	}
}

// One server with users that lack what exactly-once inserts need.
func TestOpen_UsersThatCannotInsertExactlyOnce(t *testing.T) {
	overBoth(t, testOpen_UsersThatCannotInsertExactlyOnce)
}

func testOpen_UsersThatCannotInsertExactlyOnce(t *testing.T, over wire) {
	srv := testenv.ClickHouse(t, func(o *chserverOptions) {
		o.Users = []chserverUser{
			{Name: "readonly", Settings: map[string]string{"readonly": "1"}},
			{Name: "reader", Grants: []string{"GRANT SELECT ON *.*"}},
			{Name: "secret", Password: "right"},
		}
	})
	db := testenv.Database(t, srv)
	testenv.Exec(t, srv.HTTPAddr(), "CREATE TABLE "+db+".t ("+lineageColumns+") ENGINE = MergeTree ORDER BY v "+window100)

	t.Run("read-only profile", func(t *testing.T) {
		_, err := Open(t.Context(), over.on(srv, Config{User: "readonly"}), Deps{})
		wantCode(t, err, waybill.ClassDenied, 164)
		var e *waybill.Error
		if errors.As(err, &e) && !strings.Contains(e.Hint, "change settings") {
			t.Errorf("hint %q", e.Hint)
		}
	})
	t.Run("no INSERT grant", func(t *testing.T) {
		c := open(t, over.on(srv, Config{User: "reader"}))
		a := c.Insert(t.Context(), Insert{Database: db, Table: "t", Token: "a", Input: rows(0, 1)})
		wantOutcome(t, a, Refused)
		wantCode(t, a.Err, waybill.ClassDenied, 497)
	})
	t.Run("wrong password", func(t *testing.T) {
		_, err := Open(t.Context(), over.on(srv, Config{User: "secret", Password: "wrong"}), Deps{})
		wantCode(t, err, waybill.ClassDenied, 516)
	})
}

// A constraint of the profile vetoes one setting; the error names it.
func TestOpen_ConstraintVetoesASetting(t *testing.T) { overBoth(t, testOpen_ConstraintVetoesASetting) }

func testOpen_ConstraintVetoesASetting(t *testing.T, over wire) {
	srv := strictServer(t, "async_insert")
	open(t, over.on(srv, Config{}))
	_, err := Open(t.Context(), over.on(srv, Config{User: "strict"}), Deps{})
	wantCode(t, err, waybill.ClassDenied, 452)
	if want := "let this user's settings profile change async_insert"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nlacks %q", err, want)
	}
}

// strictServer has a user strict whose profile forbids to change a setting.
func strictServer(t *testing.T, setting string) *chserver.Server {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	users := write("users.xml", `<clickhouse><quotas><default/></quotas>
<profiles><default/><strict><constraints><`+setting+`><readonly/></`+setting+`></constraints></strict></profiles>
<users>
<default><password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></default>
<strict><password/><networks><ip>::/0</ip></networks><profile>strict</profile><quota>default</quota></strict>
</users></clickhouse>`)
	config := write("config.xml", `<clickhouse><users_config>`+users+`</users_config></clickhouse>`)
	return testenv.ClickHouse(t, func(o *chserverOptions) { o.ConfigFile = config })
}

func wantCode(t *testing.T, err error, class waybill.Class, code int) {
	t.Helper()
	var e *waybill.Error
	if !errors.As(err, &e) || e.Class != class || e.Code != code {
		t.Errorf("error %v, want class %s and code %d", err, class, code)
	}
}
