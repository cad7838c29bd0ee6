// Package operator carries out what a backfill's job says: it makes the shadow, has it filled, and puts it in the live table's place. Everything
// that it does outside its own memory goes through the interfaces of this file: a model stands in for all of them in its simulation, where
// it is killed between any two calls, and where calls arrive late or twice.
package operator

import (
	"context"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
)

// Journal is the pipeline's journal of jobs.
type Journal interface {
	// Jobs are the last rows of all jobs of the pipeline, in the order of their sequences. The Sequence of each is that of the pipeline's last
	// row, so that what Apply makes of any of them comes after it.
	Jobs(ctx context.Context) ([]backfill.Job, error)
	// Add adds a row unless there is one of its sequence already; won: it is this one's.
	Add(ctx context.Context, j *backfill.Job) (won bool, err error)
}

// Tables are the tables of the live one's database, and how they change.
type Tables interface {
	// Name is what a table is called now; empty: there is none. UUID is the other way round.
	Name(ctx context.Context, uuid string) (string, error)
	UUID(ctx context.Context, name string) (string, error)
	Like(ctx context.Context, prefix string) ([]string, error)

	// Make makes an empty table like another one, unless there is one of the name. Fence refuses rows of epochs below this one; Unfence does not.
	Make(ctx context.Context, name, like string) error
	Fence(ctx context.Context, name string, epoch waybill.Epoch) error
	Unfence(ctx context.Context, name string) error
	Rename(ctx context.Context, from, to string) error
	Exchange(ctx context.Context, live, other string) error
	Drop(ctx context.Context, name string) error
	// Await waits until no statement that names a table with the prefix is being carried out.
	Await(ctx context.Context, prefix string) error

	// SameColumns says whether parts of one table can be attached to another; missing are columns of from that to has not.
	SameColumns(ctx context.Context, from, to string) (same bool, missing []string, err error)
	Pieces(ctx context.Context, table string) ([]string, error)
	// Touched are the table partitions with rows of the job's scope.
	Touched(ctx context.Context, table string, j *backfill.Job) ([]string, error)
	// Copy puts the rows of some table partitions (nil: of all) that are out of the job's scope and lie between two positions into another table.
	Copy(ctx context.Context, from, into string, j *backfill.Job, pieces []string, lo, hi backfill.Positions) error
	Attach(ctx context.Context, into, piece, from string) error
	// RemoveOlder removes the topic's rows of older epochs at or behind a position (nil: all), in one table partition or (empty) in all.
	RemoveOlder(ctx context.Context, table string, epoch waybill.Epoch, topic string, from backfill.Positions, piece string) error

	// Feeds are the materialized views that rows of the table feed, those behind other views not included.
	Feeds(ctx context.Context, table string) ([]backfill.View, error)
	// Fill puts what a view makes of the topic's rows of one table between two positions into another one. AttachAll adds all parts of a table.
	Fill(ctx context.Context, v backfill.View, from, into, topic string, lo, hi backfill.Positions) error
	AttachAll(ctx context.Context, into, from string) error
	// Close keeps all rows out of a table that is to be written under an epoch, until Reopen. Both may be called again.
	Close(ctx context.Context, name string, epoch waybill.Epoch) error
	Reopen(ctx context.Context, name string, epoch waybill.Epoch) error

	// CountStaying counts rows out of the scope between two positions. CountOlder those of epochs before this one, and CountEpoch those of it. exact is false if the
	// table drops rows by itself, after a time.
	CountStaying(ctx context.Context, table string, j *backfill.Job, lo, hi backfill.Positions) (int64, error)
	CountOlder(ctx context.Context, table string, epoch waybill.Epoch, topic string, lo, hi backfill.Positions) (int64, error)
	CountEpoch(ctx context.Context, table string, epoch waybill.Epoch, topic string) (int64, error)
	// CountForeign counts rows that are not of the topic.
	CountForeign(ctx context.Context, table, topic string) (int64, error)
	Exact(ctx context.Context, table string) (bool, error)
	// LastMutation is the number of the table's last mutation (0: there is none), and how many are not carried out yet. Changes are those after one that
	// delete rows or change values, in words.
	LastMutation(ctx context.Context, table string) (last uint64, underWay int64, err error)
	Changes(ctx context.Context, table string, after uint64) ([]string, error)
}

// Live is the pipeline as it runs, and Waybill's own account of it.
type Live interface {
	// Members are who is in the group; none: it is empty.
	Members(ctx context.Context) ([]string, error)
	// Committed is where the group stands. A partition that nobody has read has no entry.
	Committed(ctx context.Context) (backfill.Positions, error)
	// Tips are up to where an epoch accounts for each partition, and Written how many rows it says it has written.
	Tips(ctx context.Context, epoch waybill.Epoch) (backfill.Positions, error)
	Written(ctx context.Context, epoch waybill.Epoch) (int64, error)
	// Begins are the first offsets that the topic retains, or the archive before it.
	Begins(ctx context.Context) (backfill.Positions, error)

	// NextEpoch is one that nobody has used. Epoch puts on record that a table is written under one.
	NextEpoch(ctx context.Context) (waybill.Epoch, error)
	// Raised is the highest epoch after base that records were read under and that is no backfill's: somebody has raised it in the pipeline file; 0: there
	// is none.
	Raised(ctx context.Context, base waybill.Epoch) (waybill.Epoch, error)
	// Effective is what live writes a table under.
	Effective(ctx context.Context, table string) (waybill.Epoch, error)
	Epoch(ctx context.Context, table string, epoch waybill.Epoch, job string) error
	Hold(ctx context.Context, job string, until time.Time) error
	Release(ctx context.Context, job string) error
	// Tell puts the swap on record for those downstream, and tells who is to be told. It may be called again.
	Tell(ctx context.Context, j *backfill.Job) error
	// DropGroup forgets a group that nobody is in.
	DropGroup(ctx context.Context, group string) error
}

// Work is a piece of the engine's work.
type Work struct {
	Job   *backfill.Job
	Table string // its name
	// Until is up to where the account is to go. It may grow while the work goes on; once it is final it does not.
	Until func() (until backfill.Positions, final bool)
}

// Runner has the engine read what is in scope and put it into the table. It returns nil once everything up to a final Until is settled, or when ctx ends.
type Runner func(ctx context.Context, w Work) error
