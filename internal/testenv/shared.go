package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/waybill-data/waybill/internal/testenv/chserver"
	"github.com/waybill-data/waybill/internal/testenv/kafkaserver"
	"github.com/waybill-data/waybill/internal/testenv/s3server"
)

// sharedAllowed is set by Run, which is also what stops the shared servers.
var sharedAllowed atomic.Bool

// stopper is what a shared server can do for Run.
type stopper interface {
	comparable
	Stop(ctx context.Context) error
}

// shared is a server that the tests of one process have in common, started by the first that asks.
type shared[S stopper] struct {
	mu  sync.Mutex
	srv S
	err error // why it could not be started; it is not tried again
	dir string
}

var (
	sharedClickHouse shared[*chserver.Server]
	sharedKafka      shared[*kafkaserver.Server]
	sharedS3         shared[*s3server.Server]
)

// SharedClickHouse is a server with default options that all tests of the process use. Tests must not kill, freeze or stop
// it, and keep to a Database of their own.
func SharedClickHouse(t testing.TB) *chserver.Server {
	t.Helper()
	if _, err := chserver.Locate(); err != nil {
		missing(t, "ClickHouse", err)
	}
	return sharedClickHouse.get(t, func(ctx context.Context, dir string) (*chserver.Server, error) {
		return chserver.Start(ctx, chserver.Options{Dir: dir})
	})
}

// SharedKafka is a broker with default options that all tests of the process use, under topic and group names of their own.
func SharedKafka(t testing.TB) *kafkaserver.Server {
	t.Helper()
	if _, err := kafkaserver.Locate(); err != nil {
		missing(t, "Apache Kafka", err)
	}
	return sharedKafka.get(t, func(ctx context.Context, dir string) (*kafkaserver.Server, error) {
		return kafkaserver.Start(ctx, kafkaserver.Options{Dir: dir})
	})
}

// SharedS3 is object storage that all tests of the process use, under bucket names of their own.
func SharedS3(t testing.TB) *s3server.Server {
	t.Helper()
	if _, err := s3server.Locate(); err != nil {
		missing(t, "versitygw", err)
	}
	return sharedS3.get(t, s3server.Start)
}

func (s *shared[S]) get(t testing.TB, start func(ctx context.Context, dir string) (S, error)) S {
	t.Helper()
	if !sharedAllowed.Load() {
		t.Fatal("shared servers need `func TestMain(m *testing.M) { testenv.Main(m) }` in the package")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var none S
	if s.srv == none && s.err == nil {
		s.srv, s.err = s.start(start)
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.srv
}

func (s *shared[S]) start(start func(ctx context.Context, dir string) (S, error)) (srv S, err error) {
	if s.dir, err = os.MkdirTemp("", "waybill-test-"); err != nil {
		return srv, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return start(ctx, s.dir)
}

func (s *shared[S]) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var none S
	var err error
	if s.srv != none {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err = s.srv.Stop(ctx); err != nil {
			err = fmt.Errorf("shared server: %w", err)
		}
	}
	if s.dir == "" {
		return err
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

func stopShared() error {
	return errors.Join(sharedClickHouse.stop(), sharedKafka.stop(), sharedS3.stop())
}
