// Command waybill reads events from Kafka and puts each into ClickHouse exactly once.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/waybill-data/waybill/internal/cli"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

func main() {
	// `waybill demo` starts its ClickHouse as a child of this very binary.
	chserver.MaybeRunChild()
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal asks for an orderly end; with the handler gone, a second one ends at once.
	context.AfterFunc(ctx, stop)
	return cli.Main(ctx, os.Args[1:], cli.Streams{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		OutTTY: terminal(os.Stdout), ErrTTY: terminal(os.Stderr), InTTY: terminal(os.Stdin),
	})
}

// terminal reports whether f is one, and whoever sits there wants colours.
func terminal(f *os.File) bool {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
