package clickhouse

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/testenv"
)

// read is the priority that a SELECT of a client has.
func readPriority(t *testing.T, c *Client) (out string) {
	t.Helper()
	var p proto.ColStr
	err := c.Query(t.Context(), "SELECT toString(getSetting('priority')) AS p", proto.Results{{Name: "p", Data: &p}}, func(int) error {
		out = p.Row(0)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRank_InsertsOfABackgroundClientGiveWay(t *testing.T) {
	overBoth(t, testRank_InsertsOfABackgroundClientGiveWay)
}

func testRank_InsertsOfABackgroundClientGiveWay(t *testing.T, over wire) {
	w := newWorld(t, over)
	w.table("t", ", p UInt64 DEFAULT getSetting('priority')", window100)
	back := open(t, over.on(w.srv, Config{Background: true}))
	w.wantLanded(w.insert("t", "fore", rows(0, 1)))
	w.wantLanded(back.Insert(t.Context(), Insert{Database: w.db, Table: "t", Input: rows(0, 2), Token: "back"}))
	if got := w.value("SELECT toString(groupArray((_offset, p))) FROM (SELECT * FROM " + w.db + ".t ORDER BY _offset)"); got != "[(1,1),(2,10)]" {
		t.Errorf("priorities of inserts %s", got)
	}
	if fore, after := readPriority(t, w.c), readPriority(t, back); fore != "0" || after != "10" {
		t.Errorf("priorities of reads: %s, and in the background %s", fore, after)
	}

	// A statement of the same server that is before it in rank, for as long as the test needs one.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		sql := url.Values{"query": {"SELECT sleepEachRow(0.05) FROM numbers(100000) SETTINGS priority = 1, max_block_size = 1, function_sleep_max_microseconds_per_block = 0 FORMAT Null"}}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+w.srv.HTTPAddr()+"/?"+sql.Encode(), nil)
		if err != nil {
			return
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
		}
	}()
	preempted := func() string { return w.value("SELECT sum(value) FROM system.events WHERE event = 'QueryPreempted'") }
	before, n := preempted(), int64(2)
	testenv.Eventually(t, time.Minute, "an insert waits for a statement that is before it in rank", func() bool {
		n++
		w.wantLanded(back.Insert(t.Context(), Insert{Database: w.db, Table: "t", Input: rows(0, n), Token: waybill.Token(fmt.Sprint("back", n))}))
		return preempted() != before
	})
}

// A profile that forbids to set the priority costs the courtesy, and nothing else.
func TestRank_IsACourtesy(t *testing.T) {
	srv := strictServer(t, "priority")
	c := open(t, Config{Addr: srv.TCPAddr(), User: "strict", Background: true})
	if got := readPriority(t, c); got != "0" {
		t.Errorf("priority %s", got)
	}
	if strings.Contains(settingNames(c), "priority") {
		t.Errorf("inserts go out with %s", settingNames(c))
	}
}

func settingNames(c *Client) string {
	var names []string
	for _, s := range c.settings {
		names = append(names, s.Key)
	}
	return strings.Join(names, " ")
}
