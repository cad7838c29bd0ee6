// Package erase removes what is kept of a subject's records, for good and on record: rows of the pipeline's tables, dead letters and what was said of
// them. The offsets are known from then on as erased: the audit does not miss them, and nothing brings them back. See docs/adr/0017.
package erase

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/content"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/failpoint"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/repair"
	"github.com/waybill-data/waybill/internal/replay"
)

// MaxRecords is how many offsets go into a batch.
const MaxRecords = 10_000

// Deps is what a job works with.
type Deps struct {
	Engine *engine.Replayer
	Source repair.Source
	Who    string // for the record
	// Records is how many a batch may have; 0: MaxRecords.
	Records int
}

// Job erases records of one pipeline.
type Job struct {
	Deps
	cfg     *config.Pipeline
	client  *clickhouse.Client
	store   *ledger.Store
	journal *replay.Job
	result  Result
}

// Result is what was done.
type Result struct {
	Erasure string `json:"erasure"` // id in waybill.erasures
	Erased  int64  `json:"erased"`  // offsets, of all epochs
	Resumed int64  `json:"resumed"` // of batches that others had begun
	// Contents are long values that no row refers to any more, and that are removed.
	Contents int64 `json:"contents"`
}

// New makes a job.
func New(deps Deps, cfg *config.Pipeline) *Job {
	if deps.Records <= 0 {
		deps.Records = MaxRecords
	}
	j := &Job{Deps: deps, cfg: cfg, client: deps.Engine.Client(), store: deps.Engine.Ledger()}
	j.journal = replay.New(replay.Deps{Engine: deps.Engine, Who: deps.Who, Others: j.takeOver}, cfg)
	return j
}

// Run erases what was found. It is safe to kill it, and to run it again, or several of it at once: what is begun is finished by whoever comes
// next, and what is not begun is found again.
func (j *Job) Run(ctx context.Context, f *Found, o Options) (Result, error) {
	e := ledger.Erasure{Erasure: uuid.New(), TopicID: uuid.UUID(j.Source.TopicID())}
	j.result.Erasure = uuid.UUID(e.Erasure).String()
	_, _ = rand.Read(e.Salt[:]) // never fails, see its documentation
	e.Hash = sha256.Sum256(append(slices.Clone(e.Salt[:]), o.text()...))
	if o.Keep {
		e.Condition = o.text()
	}
	if err := j.alone(ctx); err != nil {
		return j.result, err
	}
	before, err := j.finishLast(ctx)
	if err != nil {
		return j.result, err
	}
	for _, epoch := range slices.Sorted(maps.Keys(f.offsets)) {
		for left := f.offsets[epoch]; !left.Empty(); {
			some := repair.First(left, int64(j.Records))
			was, err := j.was(ctx, epoch, some)
			if err != nil {
				return j.result, err
			}
			e.Replay = &ledger.Replay{Pipeline: j.cfg.Name, Sequence: before + 1, Kind: ledger.KindErase, Epoch: epoch, At: j.client.ServerNow(time.Now()), Topic: f.Topic,
				Offsets: map[int32]waybill.OffsetSet{}, Was: was, By: j.Who, Note: o.Why}
			_, _ = rand.Read(e.Batch[:])
			for tp, set := range some {
				e.Offsets[tp.Partition] = set
			}
			failpoint.Hit(failpoint.ReplaySelected)
			won, err := j.journal.Begin(ctx, e.Replay)
			if err != nil {
				return j.result, err
			}
			if !won {
				if before, err = j.finishLast(ctx); err != nil {
					return j.result, err
				}
				continue
			}
			before = e.Sequence
			failpoint.Hit(failpoint.ReplayBegun)
			if err := j.carryOut(ctx, &e); err != nil {
				return j.result, err
			}
			j.result.Erased += some.Len()
			left = left.Minus(some)
		}
	}
	if err := j.unmask(ctx, o); err != nil {
		return j.result, err
	}
	swept, err := j.sweep(ctx, true)
	j.result.Contents = swept.Values
	return j.result, err
}

// sweep finds long values that no row refers to any more, and removes those that are old enough: see content.Grace.
func (j *Job) sweep(ctx context.Context, remove bool) (content.Swept, error) {
	store, err := engine.OpenContent(j.cfg, j.client)
	if err != nil || store == nil {
		return content.Swept{}, err
	}
	refs, err := engine.ContentReferences(ctx, j.cfg, j.client, j.store.Database(), ledger.TablePlans)
	if err != nil {
		return content.Swept{}, err
	}
	return store.Sweep(ctx, refs, content.Grace, remove)
}

// alone refuses while a backfill is under way: it may be about to write rows of what is erased.
func (j *Job) alone(ctx context.Context) error {
	jobs, err := j.store.Jobs(ctx, j.cfg.Name)
	for i := range jobs {
		if !jobs[i].State.Over() {
			return &waybill.Error{Op: "erase", Pipeline: j.cfg.Name, Class: waybill.ClassConfig, Err: fmt.Errorf("backfill %s is %s, and may be about to write records that are to be erased", jobs[i].ID, jobs[i].State),
				Hint: "promote or cancel it first; what comes after knows of the erasure"}
		}
	}
	return err
}

// finishLast finishes what others have begun, and then waits until nothing of a replay can arrive any more that the server has refused: it would
// become a row of what is erased.
func (j *Job) finishLast(ctx context.Context) (uint64, error) {
	for {
		before, err := j.journal.FinishLast(ctx)
		if err != nil || before == 0 {
			return before, err
		}
		last, err := j.store.LastReplay(ctx, j.cfg.Name)
		if err != nil || last == nil || last.Kind == ledger.KindErase || last.Kind == ledger.KindDiscard {
			return before, err
		}
		failed, err := j.number(ctx, fmt.Sprintf("SELECT count() FROM %s WHERE %s AND sequence = %d AND outcome = 'failed' AND stage = 'insert'", j.own(ledger.TableOutcomes), j.scope(), last.Sequence))
		rest := last.At.Add(j.Engine.Rest()).Sub(j.client.ServerNow(time.Now()))
		if err != nil || failed == 0 || rest <= 0 {
			return before, err
		}
		t := time.NewTimer(rest)
		select {
		case <-ctx.Done():
			t.Stop()
			return 0, ctx.Err()
		case <-t.C:
		}
	}
}

// takeOver carries out a batch that somebody else has begun. Its condition is known to nobody any more, and not needed.
func (j *Job) takeOver(ctx context.Context, r *ledger.Replay) error {
	if r.Kind != ledger.KindErase {
		return replay.NotOurs(r)
	}
	err := j.carryOut(ctx, &ledger.Erasure{Replay: r, Erasure: r.Batch, TopicID: uuid.UUID(j.Source.TopicID())})
	if err == nil {
		j.result.Resumed += r.Len()
	}
	return err
}

// was is what the ledger of an epoch counts offsets as that are to be erased.
func (j *Job) was(ctx context.Context, epoch waybill.Epoch, rows delivery.RowSet) (map[int32]ledger.Fates, error) {
	var ask []clickhouse.PartitionSpan
	for tp, set := range rows {
		ask = append(ask, clickhouse.PartitionSpan{TopicPartition: tp, Span: set.Bounds()})
	}
	dead, err := j.client.Present(ctx, j.store.DeadLetterPresence(j.cfg.Name, epoch, ask))
	if err != nil {
		return nil, err
	}
	amended, err := j.store.Amended(ctx, j.cfg.Name, epoch, j.cfg.Source.Kafka.Topic)
	if err != nil {
		return nil, err
	}
	// To the account of a backfill the offsets are nothing that it was not to read.
	about, err := j.store.AccountOf(ctx, j.cfg.Name, epoch)
	if err != nil {
		return nil, err
	}
	out := map[int32]ledger.Fates{}
	for tp, set := range rows {
		p := tp.Partition
		out[p] = ledger.Fates{}
		account, partly := about[p]
		for _, sp := range set.Spans() {
			for o := sp.First; o < sp.Next; o++ {
				fate := ledger.FateWritten
				if dead[tp].Contains(o) {
					fate = ledger.FateDead
				}
				if partly && !account.Contains(o) {
					fate = ledger.FateNone
				}
				if was, _, _, ok := amended.At(p, o); ok {
					fate = was
				}
				out[p].Add(fate, o)
			}
		}
	}
	return out, nil
}

// carryOut does what a batch in the journal says. Any number may do so.
func (j *Job) carryOut(ctx context.Context, e *ledger.Erasure) error {
	known, err := j.number(ctx, fmt.Sprintf("SELECT count() FROM %s WHERE %s AND sequence = %d", j.own(ledger.TableErasures), j.scope(), e.Sequence))
	if err != nil {
		return err
	}
	if known == 0 {
		// On record first: whoever makes rows anew must know of it before any is gone.
		err = j.record(ctx, ledger.TableErasures, func(now time.Time) clickhouse.Insert { return clickhouse.Insert{Input: ledger.ErasureBlock(e, now)} })
		if err != nil {
			return err
		}
	}
	failpoint.Hit(failpoint.EraseRecorded)
	if err := j.remove(ctx, e); err != nil {
		return err
	}
	failpoint.Hit(failpoint.EraseRemoved)
	var amendments []ledger.Amendment
	for _, p := range slices.Sorted(maps.Keys(e.Offsets)) {
		for _, sp := range e.Offsets[p].Spans() {
			for o := sp.First; o < sp.Next; o++ {
				amendments = append(amendments, ledger.Amendment{Position: waybill.Position{Topic: e.Topic, Partition: p, Offset: o}, Was: e.Was[p].Of(o), Is: ledger.FateErased})
			}
		}
	}
	err = j.record(ctx, ledger.TableAmendments, func(now time.Time) clickhouse.Insert {
		return clickhouse.Insert{Input: ledger.AmendmentBlock(e.Replay, amendments, now)}
	})
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.ReplayOutcomes)
	err = j.journal.Finish(ctx, e.Replay)
	failpoint.Hit(failpoint.ReplayFinished)
	return err
}

// record puts something on record that is there twice as well as once, so a token that nobody else has will do.
func (j *Job) record(ctx context.Context, table string, made func(time.Time) clickhouse.Insert) error {
	token := waybill.Token("erase-" + uuid.NewString())
	return j.journal.Record(ctx, func(now time.Time) clickhouse.Insert {
		in := made(now)
		in.Table, in.Token = table, token
		return in
	})
}

// remove deletes what there is of a batch's offsets, and looks until nothing is.
func (j *Job) remove(ctx context.Context, e *ledger.Erasure) error {
	places, err := j.places(ctx)
	if err != nil {
		return err
	}
	rows := delivery.RowSet{}
	for p, set := range e.Offsets {
		rows[j.in(p)] = set
	}
	epochs, err := j.upTo(ctx, e.Epoch, rows)
	if err != nil {
		return err
	}
	a, err := engine.OpenArchive(j.client, j.store, j.cfg)
	if err != nil {
		return err
	}
	if a != nil {
		for tp, set := range rows {
			if err := a.Erase(ctx, tp, set, e.Note, j.client.ServerNow(time.Now())); err != nil {
				return err
			}
		}
	}
	for attempt := 0; ; attempt++ {
		left := int64(0)
		for _, s := range j.stores(places, epochs, rows) {
			n, err := j.number(ctx, "SELECT count() FROM "+clickhouse.Table(s.database, s.table)+" WHERE "+s.where+s.settings)
			if err != nil {
				return err
			}
			if left += n; n == 0 {
				continue
			}
			mark := e.Batch.String()
			if err := j.client.Mutate(ctx, clickhouse.Mutation{Database: s.database, Table: s.table, Command: "DELETE WHERE '" + mark + "' != '' AND " + s.where, Mark: mark}); err != nil {
				return err
			}
		}
		if left == 0 {
			return nil
		}
		if attempt > 20 {
			return &waybill.Error{Op: "erase", Pipeline: j.cfg.Name, Class: waybill.ClassRetryable, Err: errors.New("rows are there again each time that they are deleted"), Hint: "find out what writes them"}
		}
	}
}

// upTo are the epochs of which a batch removes what there is: its own, those before, and those on whose account nothing of it is. One that comes after has a
// batch of its own: what it has is still there then, and so it is known what its account counts it as.
func (j *Job) upTo(ctx context.Context, epoch waybill.Epoch, rows delivery.RowSet) (out []waybill.Epoch, err error) {
	all, err := j.siblings(ctx, epoch)
	if err != nil {
		return nil, err
	}
	committed, err := j.Source.Committed(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		after, err := j.accounted(ctx, e, rows, committed)
		if err != nil {
			return nil, err
		}
		if e <= epoch || after.Empty() {
			out = append(out, e)
		}
	}
	return out, nil
}

// store is where something is of some offsets.
type store struct{ database, table, where, settings string }

// stores are all places where something may be of some offsets, under some epochs.
func (j *Job) stores(places []*place, epochs []waybill.Epoch, rows delivery.RowSet) (out []store) {
	var list []string
	for _, e := range epochs {
		list = append(list, fmt.Sprint(uint32(e)))
	}
	under := " IN (" + strings.Join(list, ", ") + ")"
	for _, p := range places {
		where := clickhouse.AtOffsets(p.lineage, rows)
		if p.lineage.Epoch != "" {
			where += " AND " + clickhouse.Ident(p.lineage.Epoch) + under
		}
		out = append(out, store{p.database, p.table, where, ""})
	}
	own := clickhouse.AtOffsets(ownLineage, rows)
	for _, table := range []string{ledger.TableDeadLetters, ledger.TableOutcomes, ledger.TableDecisions} {
		out = append(out, store{j.store.Database(), table, j.scope() + " AND epoch" + under + " AND " + own, ""})
	}
	return out
}

// unmask has the server drop rows that were deleted before, by a lightweight DELETE, and that its parts still hold.
func (j *Job) unmask(ctx context.Context, o Options) error {
	places, err := j.places(ctx)
	if err != nil {
		return err
	}
	for _, p := range places {
		live, err := j.number(ctx, "SELECT count() FROM "+p.sql()+" WHERE "+p.condition(&o)+quietly)
		if err != nil {
			return err
		}
		all, err := j.number(ctx, "SELECT count() FROM "+p.sql()+" WHERE "+p.condition(&o)+everything)
		if err != nil {
			return err
		}
		if all == live {
			continue
		}
		if err := j.client.Mutate(ctx, clickhouse.Mutation{Database: p.database, Table: p.table, Command: "APPLY DELETED MASK", Mark: "APPLY DELETED MASK"}); err != nil {
			return err
		}
	}
	return j.blot(ctx, o)
}

// blot takes values of the subject out of what the drift of the contract is shown by.
func (j *Job) blot(ctx context.Context, o Options) error {
	n, err := j.number(ctx, "SELECT count() FROM "+j.own(ledger.TableDrift)+" WHERE "+j.drift(&o)+quietly)
	if err != nil || n == 0 {
		return err
	}
	// By the rows' hashes: the command is kept by the server, and must not name the subject.
	var hashes []string
	err = j.client.Texts(ctx, "SELECT DISTINCT toString(cityHash64(sample)) AS waybill_h FROM "+j.own(ledger.TableDrift)+" WHERE "+j.drift(&o)+quietly, []string{"waybill_h"}, func(row []string) error {
		hashes = append(hashes, row[0])
		return nil
	})
	if err != nil {
		return err
	}
	mark := uuid.NewString()
	return j.client.Mutate(ctx, clickhouse.Mutation{Database: j.store.Database(), Table: ledger.TableDrift, Mark: mark,
		Command: fmt.Sprintf("UPDATE sample = '' WHERE '%s' != '' AND pipeline = %s AND cityHash64(sample) IN (%s)", mark, clickhouse.Literal(j.cfg.Name), strings.Join(hashes, ", "))})
}
