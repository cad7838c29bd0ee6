package clickhouse

import (
	"context"
	"errors"
	"fmt"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
)

// Protocol is what is spoken over the connection. What is said is the same: the same statements, settings, blocks and errors.
type Protocol uint8

// Protocols.
const (
	Native Protocol = iota // ClickHouse's own protocol over TCP; the server says whether it deduplicated
	HTTP                   // FORMAT Native over HTTP/1.1; it does not say, so that every INSERT is proven by a read-back
)

// revision is the version of the native protocol that is asked for: old enough that a column has no flag for how it is
// serialized, so that a block is byte for byte the one that FORMAT Native takes over HTTP; new enough for profile events. We
// use nothing of what later revisions brought.
const revision = 54453

// statement is one statement and what to do with its answer. input and result exclude each other.
type statement struct {
	body     string
	queryID  string // empty: one is drawn
	settings []ch.Setting
	input    proto.Input   // the block of an INSERT whose body ends in FORMAT Native
	result   proto.Results // the columns of a SELECT
	// onRows is called for every block with rows, with that block in result.
	onRows func(rows int) error
	// onEvents gets the server's counters. A transport that has none never calls it.
	onEvents func([]ch.ProfileEvent)
}

// transport runs statements over one connection, one at a time. The connection's owner closes the socket under it when a
// statement's time is up.
type transport interface {
	// do runs one statement. A server's refusal is a *ch.Exception in the error's chain. After any error the connection is
	// not to be used again.
	do(ctx context.Context, st *statement) error
	// hello is what the server said of itself when the connection was made.
	hello() proto.ServerHello
	// reusable reports whether another statement may follow.
	reusable() bool
}

// checkBlock refuses a block without rows and one whose columns differ in length.
func checkBlock(input proto.Input) error {
	if len(input) == 0 {
		return errors.New("an insert without columns")
	}
	rows := input[0].Data.Rows()
	for _, c := range input {
		if n := c.Data.Rows(); n != rows {
			return fmt.Errorf("column %s has %d rows, %s has %d", c.Name, n, input[0].Name, rows)
		}
	}
	if rows == 0 {
		return errors.New("an insert without rows")
	}
	return nil
}

// chainBlock adds a block to what w will write, without its info: column and row count, then each column's name, type and
// rows. Columns in wire format are not copied: w keeps slices of them until it is flushed.
func chainBlock(w *proto.Writer, input proto.Input) error {
	b := proto.Block{Columns: len(input)}
	if len(input) > 0 {
		b.Rows = input[0].Data.Rows()
	}
	const noInfo = 0 // FORMAT Native without a protocol revision
	return b.WriteBlock(w, noInfo, input)
}
