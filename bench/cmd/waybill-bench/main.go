// Command waybill-bench measures Waybill beside what else people move events from Kafka to ClickHouse with. See
// docs/performance.md for what it measures and how.
//
// It ends with 0 if all targets were met or their shortfalls are named in that document, with 1 if not, or if something
// went wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/waybill-data/waybill/bench/internal/child"
	"github.com/waybill-data/waybill/bench/internal/lab"
	"github.com/waybill-data/waybill/bench/internal/result"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

func main() {
	chserver.MaybeRunChild()
	child.MaybeRun()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "waybill-bench:", err)
		os.Exit(1)
	}
}

// paths of what is read and written.
type paths struct{ out, doc string }

// mode is what the command is to do.
type mode struct{ quick, costs, audit, backfill, report, check bool }

func run(ctx context.Context) error {
	o, p, m, err := parse()
	switch {
	case err != nil:
		return err
	case m.report:
		return writeReport(p)
	case m.check:
		return checkReport(p)
	case m.quick:
		return quick(ctx, o)
	case m.costs:
		return measureCosts(ctx, o, p)
	case m.audit:
		return within(func(dir string) error {
			o.Dir = dir
			return lab.LongAudit(ctx, o, os.Stdout)
		})
	case m.backfill:
		return within(func(dir string) error {
			o.Dir = dir
			return lab.BackfillCost(ctx, o, os.Stdout)
		})
	default:
		return measure(ctx, o, p)
	}
}

func quick(ctx context.Context, o lab.Options) error {
	return within(func(dir string) error {
		o = o.Quick()
		o.Dir = dir
		f, err := lab.Run(ctx, o)
		if err != nil {
			return err
		}
		f.Targets = nil // these numbers decide nothing
		return f.Print(os.Stdout)
	})
}

// within lends f a directory.
func within(f func(dir string) error) error {
	dir, err := os.MkdirTemp("", "waybill-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left of it is in the way of nothing
	return f(dir)
}

func measure(ctx context.Context, o lab.Options, p paths) error {
	var f *result.File
	err := within(func(dir string) (err error) {
		o.Dir = dir
		f, err = lab.Run(ctx, o)
		return err
	})
	if f != nil {
		err = errors.Join(err, f.Print(os.Stdout)) // hours may have gone into what precedes a failure
	}
	if err != nil {
		return err
	}
	return keep(f, p)
}

// measureCosts measures one part, and puts it beside what is kept of the others.
func measureCosts(ctx context.Context, o lab.Options, p paths) error {
	f, err := result.Load(p.out)
	if err != nil {
		return err
	}
	var c *result.Costs
	err = within(func(dir string) (err error) {
		o.Dir = dir
		c, err = lab.Costs(ctx, o)
		return err
	})
	if c != nil {
		part := &result.File{Machine: c.Machine, Costs: c}
		part.Complete()
		err = errors.Join(err, part.Print(os.Stdout))
	}
	if err != nil {
		return err
	}
	f.Costs = c
	f.Complete()
	return keep(f, p)
}

// keep saves results, and is an error if they miss a target that the document does not own up to.
func keep(f *result.File, p paths) error {
	if err := f.Save(p.out); err != nil {
		return err
	}
	document, err := os.ReadFile(p.doc)
	if err != nil {
		return err
	}
	return verdict(f, string(document), p)
}
