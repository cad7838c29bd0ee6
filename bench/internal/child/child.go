// Package child is what runs in processes of its own, so that the kernel counts its CPU and memory apart from everything
// else's: the stand-in for Apache Kafka, and the consumers that Waybill is compared with. They are this very binary again.
package child

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// ordersEnv carries a child's orders. Its presence is what makes a process a child.
const ordersEnv = "WAYBILL_BENCH_CHILD"

// Role is what a child does.
type Role string

// The roles.
const (
	Broker      Role = "broker"      // kfake, on Orders.Port
	PassThrough Role = "passthrough" // franz-go to HTTP JSONEachRow: the server parses
	Typical     Role = "typical"     // franz-go, encoding/json, clickhouse-go's Append
)

// Orders are all that a child is told.
type Orders struct {
	Role Role
	Port int // of the broker

	// Of the consumers.
	Kafka, Topic, Group string
	Workload            string
	HTTP, TCP           string // ClickHouse's addresses, host:port
	Table               string // with its database
	BatchRows           int
	BatchAge            time.Duration
}

// MaybeRun turns this process into a child, and never returns, if Command made it for that. Otherwise it does nothing.
// Call it first thing in main and in TestMain.
func MaybeRun() {
	told, ok := os.LookupEnv(ordersEnv)
	if !ok {
		return
	}
	var o Orders
	err := json.Unmarshal([]byte(told), &o)
	if err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", o.Role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Command makes the command that runs this binary under o.
func Command(o Orders) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	told, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Args = []string{"waybill-bench-" + string(o.Role)}
	cmd.Env = append(os.Environ(), ordersEnv+"="+string(told))
	return cmd, nil
}

// run is a child's life: until a signal asks for its end.
func run(o Orders) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := runRole(ctx, o)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return err
}

func runRole(ctx context.Context, o Orders) error {
	switch o.Role {
	case Broker:
		return serveBroker(ctx, o.Port)
	case PassThrough:
		return consume(ctx, o, newPassThrough(o))
	case Typical:
		s, err := newTypical(ctx, o)
		if err != nil {
			return err
		}
		return consume(ctx, o, s)
	default:
		return fmt.Errorf("no role %q", o.Role)
	}
}
