package demo

import (
	"context"
	"fmt"
	"io"
	"os/exec"

	"github.com/waybill-data/waybill"
)

// Defaults of the options: a run of well under a minute on two cores.
const (
	DefaultEvents     = 200_000
	DefaultPartitions = 6
	DefaultKills      = 2
	DefaultRate       = 10_000
	DefaultSeed       = 1
)

// Options describe one run.
type Options struct {
	Events     int64  // to produce, at least 1
	Partitions int32  // of the topic, at least 1
	Rate       int    // events per second, at least 1
	Seed       uint64 // of the events
	// Kills is how often the worker is killed, each time while an insert of it is in flight.
	Kills int
	// KillServer kills ClickHouse too, once, half-way.
	KillServer bool
	// Dir holds everything: data, logs, the pipeline file. Empty: a temporary one.
	Dir string
	// Keep leaves Dir there at the end.
	Keep bool
	// Stay keeps the servers up after the balance, for queries, until the context ends.
	Stay bool

	// Out gets the story. Live says that it is a terminal, where a line can be drawn anew.
	Out  io.Writer
	Live bool
	// Command makes a command that runs this binary with the given arguments; it is not started.
	Command func(args ...string) (*exec.Cmd, error)
	// OnBalance, if not nil, gets the final balance before the servers' stay.
	OnBalance func(Balance) error
	// BeforeBalance, if not nil, runs when all is settled, before the final balance. Tests tamper with the table here, to see
	// that the balance notices. httpAddr is ClickHouse's.
	BeforeBalance func(ctx context.Context, httpAddr string) error
}

// Check reports options that make no sense.
func (o *Options) Check() error {
	switch {
	case o.Events < 1, o.Partitions < 1, o.Rate < 1:
		return configError("demo.options", fmt.Errorf("%d events, %d partitions, %d events a second: each must be at least 1", o.Events, o.Partitions, o.Rate), "")
	case o.Partitions > maxPartitions:
		return configError("demo.options", fmt.Errorf("%d partitions: at most %d", o.Partitions, maxPartitions), "")
	case o.Kills < 0:
		return configError("demo.options", fmt.Errorf("%d kills: at least 0", o.Kills), "")
	}
	return nil
}

// maxPartitions keeps every intent within a broker's default limit on the metadata of a commit.
const maxPartitions = 64

func configError(op string, err error, hint string) error {
	return &waybill.Error{Op: op, Class: waybill.ClassConfig, Hint: hint, Err: err}
}
