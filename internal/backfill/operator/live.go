package operator

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
)

// Pipeline is Live of a pipeline that has brokers and a server.
type Pipeline struct {
	Name, Topic, Group string
	FileEpoch          waybill.Epoch
	Kafka              *kafka.Reader
	Ledger             *ledger.Store
	Server             *Server
	Deadline           time.Duration // of an insert
	EventColumn        string
	// Notify tells those who are to be told of a swap, beside the record; nil: nobody.
	Notify  func(context.Context, *ledger.Promotion) error
	Archive Archive // nil: there is none
}

var (
	_ Live    = (*Pipeline)(nil)
	_ Journal = (*Pipeline)(nil)
)

// Jobs are the last rows of the pipeline's jobs.
func (p *Pipeline) Jobs(ctx context.Context) ([]backfill.Job, error) {
	return p.Ledger.Jobs(ctx, p.Name)
}

// Add adds a row to the journal.
func (p *Pipeline) Add(ctx context.Context, j *backfill.Job) (bool, error) {
	return p.Ledger.AddJob(ctx, j, p.Deadline)
}

// Members are who is in the group.
func (p *Pipeline) Members(ctx context.Context) ([]string, error) {
	return p.Kafka.Members(ctx, p.Group)
}

// Committed is where the group stands.
func (p *Pipeline) Committed(ctx context.Context) (backfill.Positions, error) {
	at, err := p.Kafka.GroupOffsets(ctx, p.Group)
	return at, err
}

// Tips are the ends of an epoch's account. One with a gap is a broken law.
func (p *Pipeline) Tips(ctx context.Context, epoch waybill.Epoch) (backfill.Positions, error) {
	tips, err := p.Ledger.Tips(ctx, p.Name, epoch, p.Topic)
	if err != nil {
		return nil, err
	}
	out := backfill.Positions{}
	for part, tip := range tips {
		out[part] = tip.Next
	}
	return out, nil
}

// Written is how many rows an epoch's account says are in the table.
func (p *Pipeline) Written(ctx context.Context, epoch waybill.Epoch) (int64, error) {
	return p.Ledger.EpochWritten(ctx, p.Name, epoch, p.Topic)
}

// Begins are the first offsets that the topic retains, or the archive before it.
func (p *Pipeline) Begins(ctx context.Context) (backfill.Positions, error) {
	info, err := p.Kafka.Describe(ctx)
	if err != nil {
		return nil, err
	}
	out := backfill.Positions{}
	if err := withArchive(ctx, &info, p.Topic, p.Archive); err != nil {
		return nil, err
	}
	for _, part := range info.Partitions {
		out[part.Partition] = part.LogStart
	}
	return out, nil
}

// Raised is an epoch that somebody has raised in the pipeline file.
func (p *Pipeline) Raised(ctx context.Context, base waybill.Epoch) (waybill.Epoch, error) {
	return p.Ledger.RaisedEpoch(ctx, p.Name, base)
}

// Effective is the epoch that live writes a table under.
func (p *Pipeline) Effective(ctx context.Context, table string) (waybill.Epoch, error) {
	all, err := p.Ledger.Generations(ctx, p.Name)
	if err != nil {
		return 0, err
	}
	out := p.FileEpoch
	for i := range all {
		if all[i].Table == table {
			out = max(out, all[i].Epoch)
		}
	}
	return out, nil
}

// NextEpoch is one higher than any that is on record.
func (p *Pipeline) NextEpoch(ctx context.Context) (waybill.Epoch, error) {
	out, err := p.Ledger.HighestEpoch(ctx, p.Name)
	if err != nil {
		return 0, err
	}
	out = max(out, p.FileEpoch)
	jobs, err := p.Jobs(ctx)
	if err != nil {
		return 0, err
	}
	for i := range jobs {
		out = max(out, jobs[i].Leg.Epoch)
	}
	return out + 1, nil
}

// Epoch puts on record that a table is written under an epoch.
func (p *Pipeline) Epoch(ctx context.Context, table string, epoch waybill.Epoch, job string) error {
	return p.Ledger.PutGeneration(ctx, ledger.Generation{Pipeline: p.Name, Table: table, Epoch: epoch, FileEpoch: p.FileEpoch, Job: job, At: p.Server.Client.ServerNow(time.Now())})
}

// Hold asks live to stand still.
func (p *Pipeline) Hold(ctx context.Context, job string, until time.Time) error {
	return p.Ledger.Hold(ctx, p.Name, job, until)
}

// Release lets live go.
func (p *Pipeline) Release(ctx context.Context, job string) error {
	return p.Ledger.Release(ctx, p.Name, job)
}

// DropGroup forgets a group of the job's.
func (p *Pipeline) DropGroup(ctx context.Context, group string) error {
	return p.Kafka.DropGroup(ctx, group)
}

// Tell puts the swap on record.
func (p *Pipeline) Tell(ctx context.Context, j *backfill.Job) error {
	out := &ledger.Promotion{Job: j, Kind: "promotion", AsOf: j.Leg.Exchanged, Pause: Paused(&j.Leg), EventColumn: p.EventColumn}
	if j.State == backfill.RollingBack {
		out.Kind = "rollback"
	}
	var err error
	// Both tables are there: what was replaced, and what replaces it.
	if out.RowsOut, err = p.Server.CountScope(ctx, j.ReplacedName(), j); err != nil {
		return err
	}
	if out.RowsIn, err = p.Server.CountScope(ctx, j.Table, j); err != nil {
		return err
	}
	if out.Partitions, out.EventFirst, out.EventLast, err = p.Server.Extent(ctx, []string{j.ReplacedName(), j.Table}, j, p.EventColumn); err != nil {
		return err
	}
	if err := p.Ledger.PutPromotion(ctx, out); err != nil || p.Notify == nil {
		return err
	}
	return p.Notify(ctx, out)
}

// Extent is which table partitions of some tables hold rows of the scope, and of what time these are.
func (s *Server) Extent(ctx context.Context, tables []string, j *backfill.Job, column string) (pieces []string, first, last time.Time, err error) {
	seen := map[string]bool{}
	for _, table := range tables {
		from, in := s.scoped(table, j)
		lo, hi := "''", "''"
		if column != "" {
			lo, hi = fmt.Sprintf("toString(toUnixTimestamp64Milli(toDateTime64(min(t.%s), 3, 'UTC')))", clickhouse.Ident(column)), fmt.Sprintf("toString(toUnixTimestamp64Milli(toDateTime64(max(t.%s), 3, 'UTC')))", clickhouse.Ident(column))
		}
		err = s.Client.Texts(ctx, fmt.Sprintf("SELECT toString(t._partition_id) AS p, %s AS lo, %s AS hi FROM %s WHERE %s GROUP BY p ORDER BY p%s", lo, hi, from, in, plainJoin), []string{"p", "lo", "hi"}, func(row []string) error {
			if id := row[0]; !seen[id] {
				seen[id] = true
				pieces = append(pieces, strings.Clone(id))
			}
			for _, text := range row[1:] {
				millis, bad := strconv.ParseInt(text, 10, 64)
				t, ok := time.UnixMilli(millis).UTC(), bad == nil
				if ok && (first.IsZero() || t.Before(first)) {
					first = t
				}
				if ok && t.After(last) {
					last = t
				}
			}
			return nil
		})
		if err != nil {
			return nil, first, last, err
		}
	}
	return pieces, first, last, nil
}
