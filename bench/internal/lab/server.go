package lab

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/waybill-data/waybill/bench/internal/system"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

// database is where the tables of a run are; their names begin with rows_.
const database = "bench"

// server is a ClickHouse that serves one run: nothing that an earlier one left is merged on its account.
type server struct {
	*chserver.Server
	dir string
}

// serverMemory is generous: no contender is to be slowed down by it.
const serverMemory = 6 << 30

func (l *Lab) startServer(ctx context.Context) (*server, error) {
	dir, err := os.MkdirTemp(l.dir, "clickhouse-")
	if err != nil {
		return nil, err
	}
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ch, err := chserver.Start(starting, chserver.Options{Dir: dir, MaxMemory: serverMemory})
	if err != nil {
		_ = os.RemoveAll(dir) // the first error is the one to tell
		return nil, err
	}
	s := &server{Server: ch, dir: dir}
	if err := exec(ctx, s.HTTPAddr(), "CREATE DATABASE "+database+" ENGINE = Atomic"); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// stop ends the server and removes its data.
func (s *server) stop() {
	s.Kill()
	_ = os.RemoveAll(s.dir) // in a temporary directory, which goes as a whole
}

func (s *server) cpu() (time.Duration, error) { return system.CPU(s.PID()) }

func tableName(i int) string { return fmt.Sprintf("%s.rows_%d", database, i) }

// rows are those that can be selected now, over all tables of the run. ClickHouse knows without reading any.
func (s *server) rows(ctx context.Context, tables int) (int64, error) {
	if tables == 1 { // half the cost of the other; it is asked ten times a second
		return queryInt(ctx, s.HTTPAddr(), "SELECT count() FROM "+tableName(0))
	}
	return queryInt(ctx, s.HTTPAddr(), "SELECT sum(total_rows) FROM system.tables WHERE database = '"+database+"' AND startsWith(name, 'rows_')")
}

// quietWait bounds the wait for merges.
const quietWait = 60 * time.Second

// awaitQuiet waits until the server has merged what it will merge: for so long there was no merge and no new part. It is
// false if that took too long.
func (s *server) awaitQuiet(ctx context.Context, quietFor time.Duration) (bool, error) {
	deadline := time.Now().Add(quietWait)
	var seen string
	since := time.Now()
	for time.Now().Before(deadline) {
		state, err := query(ctx, s.HTTPAddr(), "SELECT (SELECT count() FROM system.merges), (SELECT (count(), sum(cityHash64(database, table, name))) FROM system.parts WHERE active)")
		if err != nil {
			return false, err
		}
		switch {
		case state != seen || state[0] != '0':
			seen, since = state, time.Now()
		case time.Since(since) >= quietFor:
			return true, nil
		}
		pause(ctx, 200*time.Millisecond)
	}
	return false, nil
}
