package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/ledger"
)

// Standing is under which epoch a pipeline's tables are written, as they are now. See docs/adr/0015.
type Standing struct {
	Epoch waybill.Epoch
	// Superseded: batches of epochs before it are not missed, and the tables do not take them. 0: there are none.
	Superseded waybill.Epoch
	job        string // that made it so
}

// begun: the epoch is one of a backfill. It begins where its ledger ends, or with the topic, whatever the file says of the start.
func (s Standing) begun() bool { return s.Superseded > 0 && s.Epoch == s.Superseded }

// EffectiveEpoch is the epoch that a pipeline runs under now. A table has the highest epoch that is on record for its UUID in
// waybill.generations, else the file's. Whoever asks for what is on record of a pipeline asks for that epoch.
func EffectiveEpoch(ctx context.Context, client *clickhouse.Client, store *ledger.Store, cfg *config.Pipeline) (waybill.Epoch, error) {
	var uuids []string
	for _, of := range cfg.Tables() {
		id, err := uuidOf(ctx, client, of.Pipeline)
		if err != nil {
			return 0, err
		}
		uuids = append(uuids, id)
	}
	s, err := standingOf(ctx, store, cfg, uuids)
	return s.Epoch, err
}

// standingOf looks up what is on record for the tables with these UUIDs, in the order of the file: to be called after these were read. A
// generation is on record before its table has the name, so whoever has seen the table finds it.
func standingOf(ctx context.Context, store *ledger.Store, cfg *config.Pipeline, uuids []string) (Standing, error) {
	if cfg.Job != "" {
		return Standing{Epoch: cfg.Epoch}, nil // a backfill's own, into a table that nobody else writes to
	}
	all, err := store.Generations(ctx, cfg.Name)
	if err != nil {
		return Standing{}, err
	}
	var out Standing
	for i, of := range cfg.Tables() {
		s, err := standing(cfg.Epoch, all, uuids[i])
		if err != nil {
			return out, taken(ctx, store, cfg, of.Sink.ClickHouse.Place(), err)
		}
		if i > 0 && s.Epoch != out.Epoch {
			return out, &waybill.Error{Op: "preflight", Pipeline: cfg.Name, Class: waybill.ClassRetryable,
				Err: fmt.Errorf("table %s is written under epoch %d, but %s under epoch %d: a backfill is changing the tables, one after the other", of.Sink.ClickHouse.Place(), s.Epoch,
					cfg.Tables()[0].Sink.ClickHouse.Place(), out.Epoch), Hint: "if this lasts, `waybill backfill status` says how far it has come; run it again"}
		}
		out = Standing{s.Epoch, max(out.Superseded, s.Superseded), s.job}
	}
	return out, nil
}

// takenOver is when the tables came under the pipeline's name, if they are those of a backfill, as near as that is known: when its job last held
// the pipeline. The zero time: long ago, or never.
func (t *target) takenOver(ctx context.Context) (time.Time, error) {
	if !t.standing.begun() {
		return time.Time{}, nil
	}
	return t.ledger.LastHold(ctx, t.cfg.Name, t.standing.job)
}

// backfills are the epochs of backfills, and from when on each was the pipeline's; the zero time if it is not now.
func (t *target) backfills(ctx context.Context) (map[waybill.Epoch]time.Time, error) {
	all, err := t.ledger.Generations(ctx, t.cfg.Name)
	if err != nil {
		return nil, err
	}
	out := map[waybill.Epoch]time.Time{}
	for _, g := range all {
		out[g.Epoch] = time.Time{}
	}
	if t.standing.begun() {
		delete(out, t.epoch) // long ago
		taken, err := t.takenOver(ctx)
		if err != nil {
			return nil, err
		}
		if !taken.IsZero() {
			out[t.epoch] = taken
		}
	}
	return out, nil
}

// Errors of standing.
var (
	errEpochTaken = errors.New("is one that a backfill has used")
	errEpochOld   = errors.New("is older than the file that the table was made with")
)

// standing is that of one table. The file's epoch counts as long as nobody has raised it since the table was made.
func standing(file waybill.Epoch, all []ledger.Generation, table string) (Standing, error) {
	var own *ledger.Generation
	used := false
	var highest waybill.Epoch
	for i := range all {
		g := &all[i]
		used, highest = used || g.Epoch == file, max(highest, g.Epoch)
		if g.Table == table && table != uuid.Nil.String() && (own == nil || g.Epoch > own.Epoch) {
			own = g
		}
	}
	switch {
	case own == nil && used:
		return Standing{}, errEpochTaken
	case own == nil:
		return Standing{Epoch: file}, nil
	case file < own.FileEpoch:
		return Standing{}, errEpochOld
	case file == own.FileEpoch:
		return Standing{Epoch: own.Epoch, Superseded: own.Epoch, job: own.Job}, nil
	case file <= highest:
		return Standing{}, errEpochTaken
	}
	return Standing{Epoch: file, Superseded: own.Epoch}, nil
}

// taken says which epoch is free.
func taken(ctx context.Context, store *ledger.Store, cfg *config.Pipeline, table string, why error) error {
	highest, err := store.HighestEpoch(ctx, cfg.Name)
	if err != nil {
		return err
	}
	out := &waybill.Error{Op: "preflight", Pipeline: cfg.Name, Class: waybill.ClassConfig, Err: fmt.Errorf("epoch %d of the pipeline file %w (table %s)", cfg.Epoch, why, table),
		Hint: fmt.Sprintf("nothing was written; to read the topic again, raise `epoch` to %d, the first that is free; to go on, leave it as it was", max(highest, cfg.Epoch)+1)}
	if errors.Is(why, errEpochOld) {
		out.Hint = "nothing was written; use the newer pipeline file"
	}
	return out
}

// replanError ends a life because the tables are no longer what it was begun with.
type replanError struct {
	// fence says what has kept the life's epoch out; empty: something else of the tables has changed. There must be a later epoch then.
	fence string
}

func (e *replanError) Error() string {
	if e.fence != "" {
		return e.fence
	}
	return "the table has changed"
}

// notNewer is what is wrong if the epoch is no later one after a life of it was kept out.
func (p *Pipeline) notNewer(fence string) error {
	return &waybill.Error{Op: "engine.epoch", Pipeline: p.cfg.Name, Class: waybill.ClassFenced,
		Err:  fmt.Errorf("%s, and the tables as they are now (%s) have no later epoch than %d in waybill.generations", fence, p.target.identities(), p.target.epoch),
		Hint: "somebody has changed tables by hand: bring back the table that a backfill has put there, or put back what is on record of it"}
}
