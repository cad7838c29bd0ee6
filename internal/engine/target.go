package engine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/content"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/deadletter"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/minutes"
)

// target is a pipeline's ClickHouse side: its tables, their plan, and Waybill's own tables.
type target struct {
	cfg     *config.Pipeline
	client  *clickhouse.Client
	ledger  *ledger.Store
	tables  []*table       // at least one
	content *content.Store // of long values; nil: no column has any
	shape   atomic.Pointer[shape]
	tableID waybill.TableID
	// standing is under which epoch the tables were written when they were prepared, and epoch is that.
	standing Standing
	epoch    waybill.Epoch
	notes    []waybill.Finding // of the preflight
	topicWas string            // another topic that the pipeline had under the epoch until now; empty: none

	recording     sync.WaitGroup  // who writes findings
	recordCtx     context.Context // ends when they are given up
	stopRecording context.CancelFunc
	overRecording context.CancelFunc // what is known then is written, and no more

	mu    sync.Mutex
	plans map[waybill.PlanID]*contract.Plan
}

// openTarget connects, migrates Waybill's tables, compiles the plan, puts it on record and runs the
// preflight. Errors that can heal are retryable.
func openTarget(ctx context.Context, cfg *config.Pipeline, log *slog.Logger) (*target, error) {
	server := Server(cfg.Sink.ClickHouse)
	server.Background = cfg.Job != ""
	client, err := clickhouse.Open(ctx, server, clickhouse.Deps{Logger: log})
	if err != nil {
		return nil, err
	}
	t := &target{cfg: cfg, client: client, ledger: ledger.New(client, "").OnCluster(cfg.Sink.ClickHouse.Cluster), plans: map[waybill.PlanID]*contract.Plan{}}
	for _, of := range cfg.Tables() {
		t.tables = append(t.tables, newTable(of, client))
	}
	if t.tables[0].objects, err = OpenObjects(cfg); err != nil {
		client.Close()
		return nil, err
	}
	if t.content, err = OpenContent(cfg, client); err != nil {
		client.Close()
		return nil, err
	}
	t.recordCtx, t.stopRecording = context.WithCancel(context.WithoutCancel(ctx))
	if err := t.prepare(ctx); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// Server is how the server of a pipeline file is spoken to.
func Server(c config.ClickHouse) clickhouse.Config {
	to := clickhouse.Config{Addr: c.Addr, Others: c.Others, User: c.User, Password: c.Password.Reveal(), PasswordFile: c.PasswordFile, Database: c.Database, Quorum: c.Quorum,
		InsertTimeout: insertTimeout(c.InsertDeadline), Connections: MaxInFlight + 4, Compression: clickhouse.Compression(c.Compression)}
	if c.HTTP() {
		to.Protocol = clickhouse.HTTP
	}
	if c.Secure() {
		to.TLS = (*clickhouse.TLS)(&c.TLS)
	}
	return to
}

// insertTimeout bounds an insert as a whole, on both sides: a block that was begun at the last moment
// may take as long again.
func insertTimeout(deadline time.Duration) time.Duration { return 2 * deadline }

func (t *target) prepare(ctx context.Context) error {
	if err := t.ledger.Migrate(ctx, t.client.ServerNow(time.Now())); err != nil {
		return err
	}
	if err := t.prepareTables(ctx); err != nil {
		return err
	}
	if t.content != nil {
		if err := t.content.Prepare(ctx); err != nil {
			return err
		}
	}
	if err := t.guard(ctx); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(t.name()))
	t.tableID = waybill.TableID(binary.LittleEndian.Uint32(sum[:4]))
	if err := t.dropProbes(ctx); err != nil {
		return err
	}
	for _, one := range t.tables {
		c := one.cfg.Sink.ClickHouse
		added, err := t.ledger.Added(ctx, t.cfg.Name, c.Database, c.Table)
		if err != nil {
			return err
		}
		for _, name := range added {
			one.evolver.added[name] = true
		}
	}
	s, err := t.look(ctx)
	if err != nil {
		return err
	}
	return t.adopt(ctx, s)
}

// guard has the client stay with one server for the tables, and refuses hosts that are no replicas of it.
func (t *target) guard(ctx context.Context) error {
	var names [][2]string
	for _, one := range t.tables {
		names = append(names, [2]string{one.cfg.Sink.ClickHouse.Database, one.cfg.Sink.ClickHouse.Table})
	}
	return t.client.Guard(ctx, t.ledger.Database(), names...)
}

// prepareTables sees that the tables are there, finds out which epoch they are of, and checks that they can hold what the file asks for.
func (t *target) prepareTables(ctx context.Context) error {
	var uuids []string
	found := make([]foundTable, len(t.tables))
	for i, one := range t.tables {
		var err error
		if found[i], err = one.find(ctx); err != nil {
			return err
		}
		if found[i].info.Closed {
			return closedError(one)
		}
		uuids = append(uuids, one.uuid)
	}
	var err error
	if t.standing, err = standingOf(ctx, t.ledger, t.cfg, uuids); err != nil {
		return err
	}
	t.epoch = t.standing.Epoch
	if t.topicWas, err = t.identify(ctx); err != nil {
		return err
	}
	for i, one := range t.tables {
		notes, err := one.check(ctx, found[i], t.epoch)
		if err != nil {
			return err
		}
		t.notes = append(t.notes, notes...)
	}
	return nil
}

// closedError: whoever puts tables in place has not come to the end, or has died on the way.
func closedError(t *table) error {
	return &waybill.Error{Op: "preflight", Pipeline: t.cfg.Name, Class: waybill.ClassRetryable, Err: fmt.Errorf("table %s takes no rows: a backfill is putting it and what its views fill in place, one after the other", t.place()),
		Hint: "if this lasts, `waybill backfill status` says whose turn it is: run `waybill backfill promote` or `rollback` again, whichever it is at"}
}

// moved reports whether a name has come to mean another table since the tables were prepared.
func (t *target) moved(ctx context.Context) (bool, error) {
	for _, one := range t.tables {
		now, err := uuidOf(ctx, t.client, one.cfg.Pipeline)
		if err != nil || now != one.uuid {
			return err == nil, err
		}
	}
	return false, nil
}

// identities are the tables with their UUIDs, for people.
func (t *target) identities() string {
	var out []string
	for _, one := range t.tables {
		out = append(out, one.place()+" is "+one.uuid)
	}
	return strings.Join(out, ", ")
}

func (t *target) close() {
	t.stopRecording()
	t.client.Close()
}

// name is the full names of the tables, as tokens and ledger rows carry it.
func (t *target) name() string { return tableNames(t.cfg, config.ClickHouse.Name) }

// tableNames is a pipeline's tables by what they are called.
func tableNames(cfg *config.Pipeline, called func(config.ClickHouse) string) string {
	var names []string
	for _, of := range cfg.Tables() {
		names = append(names, called(of.Sink.ClickHouse))
	}
	return strings.Join(names, ", ")
}

func (t *target) storeNames() map[waybill.Store]string {
	return map[waybill.Store]string{waybill.StoreTarget: t.name(), waybill.StoreDeadLetters: t.ledger.Database() + "." + ledger.TableDeadLetters,
		waybill.StoreLedger: t.ledger.Database() + "." + ledger.TableLedger}
}

func (t *target) views() bool {
	return slices.ContainsFunc(t.now().tables, func(s *tableShape) bool { return len(s.info.Views) > 0 })
}

// processor makes rows under a plan.
func (t *target) processor(p *contract.Plan) (*Processor, error) {
	return NewProcessor(p, []byte(t.cfg.RedactSecret.Reveal()))
}

// newBatch draws the identity of a batch that was gathered under p. now is the server's clock.
func (t *target) newBatch(p *contract.Plan, epoch waybill.Epoch, now time.Time) *waybill.Batch {
	b := &waybill.Batch{Epoch: epoch, Plan: p.ID(), Decoder: p.DecoderVersion(), Table: t.tableID, Time: now.UnixMilli()}
	_, _ = rand.Read(b.ID[:]) // never fails, see its documentation
	return b
}

// known is a plan that was recorded, nil if nobody has asked for it yet.
func (t *target) known(id waybill.PlanID) *contract.Plan {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.plans[id]
}

// plan finds a plan that was recorded, for a batch that was gathered under it.
func (t *target) plan(ctx context.Context, id waybill.PlanID) (*contract.Plan, error) {
	p := t.known(id)
	if p != nil {
		return p, nil
	}
	stored, found, err := t.ledger.Plan(ctx, "", id)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, &waybill.Error{Op: "recover", Pipeline: t.cfg.Name, Class: waybill.ClassConfig, Err: fmt.Errorf("a pending batch was gathered under plan %s, which is not in %s.%s", id, t.ledger.Database(), ledger.TablePlans),
			Hint: "restore the row, or remove the group's offset metadata to gather the batch again"}
	}
	if p, err = contract.ParsePlan([]byte(stored.Text)); err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.plans[id] = p
	t.mu.Unlock()
	return p, nil
}

// ledgerRows are the rows that a Send asks for. d may be nil.
func (t *target) ledgerRows(l *life, e delivery.Send, d *data) ([]ledger.Row, error) {
	rows := make([]ledger.Row, len(e.Ledger))
	refused := sync.OnceValues(func() (delivery.RowSet, error) { return t.decisions(l.ctx, e.Batch) })
	for i, r := range e.Ledger {
		topicID := uuid.UUID(l.sess.TopicID())
		if r.TopicID != ([8]byte)(topicID[:8]) { // of a topic that is gone: only the half in its string is known
			topicID = uuid.UUID{}
			copy(topicID[:], r.TopicID[:])
		}
		routed, err := t.routed(l.ctx, e.Batch, r, d, refused)
		if err != nil {
			return nil, err
		}
		when, byRecordTime, err := minutesOf(r, d, refused)
		if err != nil {
			return nil, err
		}
		rows[i] = ledger.Row{Pipeline: t.cfg.Name, Epoch: e.Batch.Epoch, TopicPartition: r.TopicPartition, Span: r.Span, Batch: e.Batch.ID,
			BatchTime: e.Batch.Time, Plan: e.Batch.Plan, Decoder: e.Batch.Decoder, Target: t.name(), Routed: routed, TopicID: topicID,
			Counts: ledger.Counts{Read: r.Read, Written: r.Written, Filtered: r.Filtered, DeadLettered: r.Dead, Tombstones: r.Tombstones, Lost: r.Lost, Rescued: r.Rescued, Redacted: r.Redacted}, Checksum: r.Checksum,
			Minutes: when, ByRecordTime: byRecordTime}
	}
	return rows, nil
}

// routed is how many of a span's written rows are in each table; nil for a pipeline of one table.
func (t *target) routed(ctx context.Context, b *waybill.Batch, r delivery.LedgerRow, d *data, decided func() (delivery.RowSet, error)) (map[string]int64, error) {
	if len(t.cfg.Routes) == 0 {
		return nil, nil
	}
	shares := d.shares(r.TopicPartition, waybill.OffsetSet{})
	if sum(shares) != r.Written {
		refused, err := decided()
		if err != nil {
			return nil, err
		}
		shares = d.shares(r.TopicPartition, refused[r.TopicPartition])
	}
	if sum(shares) == r.Written {
		return named(t.tables, shares), nil
	}
	// Records are gone whose rows are there: which tables they are in is in the tables alone.
	shares, err := t.countTables(ctx, b, r.TopicPartition, r.Span)
	return named(t.tables, shares), err
}

// minutesOf is what became of a span's records by the minute. Of records that are gone, whose rows are there, no time is known.
func minutesOf(r delivery.LedgerRow, d *data, decided func() (delivery.RowSet, error)) (when []minutes.Bucket, byRecordTime int64, err error) {
	s := d.ofPartition(r.TopicPartition)
	if s == nil {
		return nil, 0, nil
	}
	var refused waybill.OffsetSet
	if s.tally.Rows.Len() != r.Written {
		all, err := decided()
		if err != nil {
			return nil, 0, err
		}
		refused = all[r.TopicPartition].Intersect(s.tally.Rows)
	}
	return s.minutes.Buckets(refused, s.tally.Rescued), s.byRecordTime, nil
}

// countTables counts the rows of a span in each table.
func (t *target) countTables(ctx context.Context, b *waybill.Batch, tp waybill.TopicPartition, span waybill.Span) ([]int64, error) {
	out := make([]int64, len(t.tables))
	shape := t.now()
	for i, one := range t.tables {
		rows, err := t.client.Present(ctx, one.presence(shape.tables[i], b.Epoch, []clickhouse.PartitionSpan{{TopicPartition: tp, Span: span}}))
		if err != nil {
			return nil, err
		}
		out[i] = rows[tp].Len()
	}
	return out, nil
}

func named(tables []*table, shares []int64) map[string]int64 {
	out := map[string]int64{}
	for i, n := range shares {
		if n > 0 {
			out[tables[i].name()] = n
		}
	}
	return out
}

func sum(ns []int64) (total int64) {
	for _, n := range ns {
		total += n
	}
	return total
}

// expires is when dead letters that are written now may be removed. It counts from the writing and not from the batch's time: dead letters of a
// batch that was long in coming would be gone before anybody could see them, and look as if they had not been written.
func (t *target) expires() uint32 {
	ttl := t.cfg.DeadLetters.TTL
	if ttl == 0 {
		return 0
	}
	return uint32(min(t.client.ServerNow(time.Now()).Add(ttl).Unix(), math.MaxUint32)) //nolint:gosec // bounded
}

// envelopes are the dead letters asked for: those that decoding rejected, and those that the server
// refused, which are read from Kafka again.
func (t *target) envelopes(l *life, e delivery.Send, d *data) ([]deadletter.Envelope, error) {
	var out []deadletter.Envelope
	have := delivery.RowSet{}
	for i := range d.rejected() {
		r := &d.dead[i]
		tp := r.record.TopicPartition()
		if !e.Rows[tp].Contains(r.record.Offset) {
			continue
		}
		set := have[tp]
		set.Add(r.record.Offset)
		have[tp] = set
		out = append(out, deadletter.Of(&r.record, t.cfg.Name, e.Batch, r.reason))
	}
	refused := e.Rows.Minus(have)
	if refused.Empty() {
		return out, nil
	}
	decisions, err := t.ledger.Decisions(l.ctx, t.cfg.Name, e.Batch.Epoch, e.Batch.ID, t.name())
	if err != nil {
		return nil, err
	}
	keep, err := t.keeper(l.ctx, e.Batch)
	if err != nil {
		return nil, err
	}
	for _, dec := range decisions {
		if !refused[dec.TopicPartition].Contains(dec.Offset) {
			continue
		}
		// A record that is gone by now is kept as its position and the reason.
		record := waybill.Record{Topic: dec.Topic, Partition: dec.Partition, Offset: dec.Offset}
		_, err := l.readKept(l.ctx, dec.TopicPartition, waybill.Span{First: dec.Offset, Next: dec.Offset + 1}, func(r *waybill.Record) error {
			record = keep(r)
			return nil
		})
		if err != nil {
			return nil, err
		}
		refused = refused.Minus(delivery.RowSet{dec.TopicPartition: waybill.OffsetsOf(dec.Offset)})
		out = append(out, deadletter.Of(&record, t.cfg.Name, e.Batch, deadletter.Reason{Stage: deadletter.StageInsert,
			Code: fmt.Sprintf("server_%d", dec.Code), Message: dec.Reason}))
	}
	if !refused.Empty() {
		e.Rows = refused
		return nil, t.irretrievable(e)
	}
	return out, nil
}

// keeper is what may be stored of a record of the batch, as a dead letter.
func (t *target) keeper(ctx context.Context, b *waybill.Batch) (func(*waybill.Record) waybill.Record, error) {
	p, err := t.plan(ctx, b.Plan)
	if err != nil {
		return nil, err
	}
	proc, err := t.processor(p)
	if err != nil {
		return nil, err
	}
	blocks := proc.NewBlocks()
	return func(r *waybill.Record) waybill.Record {
		blocks.Reset()
		proc.Process(r, b.Epoch, blocks)
		return proc.Keep(r)
	}, nil
}

// reasonOf a rejection: what is wrong with the bytes, or with a value for its column.
func reasonOf(r *json.Reject) deadletter.Reason {
	why := deadletter.Reason{Stage: deadletter.StageDecode, Code: string(r.Code), Column: r.Column, Message: r.Error()}
	if r.Column != "" || r.Code == json.NewField {
		why.Stage = deadletter.StageContract
	}
	if r.Column == "" {
		why.Column = r.Path
	}
	return why
}

// present reads back what a store holds within a batch's spans.
func (t *target) present(ctx context.Context, store waybill.Store, b *waybill.Batch, spans map[waybill.TopicPartition]waybill.Span) (delivery.RowSet, error) {
	list := make([]clickhouse.PartitionSpan, 0, len(spans))
	for _, s := range b.Spans {
		if sp, ok := spans[s.TopicPartition]; ok {
			list = append(list, clickhouse.PartitionSpan{TopicPartition: s.TopicPartition, Span: sp})
		}
	}
	switch store {
	case waybill.StoreLedger:
		return t.ledger.Present(ctx, t.cfg.Name, b.Epoch, list)
	case waybill.StoreDeadLetters:
		return t.client.Present(ctx, t.ledger.DeadLetterPresence(t.cfg.Name, b.Epoch, list))
	}
	out := delivery.RowSet{}
	s := t.now()
	for i, one := range t.tables {
		rows, err := one.present(ctx, s.tables[i], b.Epoch, list)
		if err != nil {
			return nil, err
		}
		out = out.Union(rows)
	}
	return out, nil
}

// past is what the target and the dead letters hold at or past the offsets.
func (t *target) past(ctx context.Context, epoch waybill.Epoch, from map[waybill.TopicPartition]int64) (map[waybill.TopicPartition]waybill.OffsetSet, error) {
	out := map[waybill.TopicPartition]waybill.OffsetSet{}
	s := t.now()
	add := func(rows map[waybill.TopicPartition]waybill.OffsetSet, err error) error {
		for tp, set := range rows {
			out[tp] = out[tp].Union(set)
		}
		return err
	}
	if err := add(t.client.PresentPast(ctx, t.ledger.DeadLetterPresence(t.cfg.Name, epoch, nil), from)); err != nil {
		return nil, err
	}
	for i, one := range t.tables {
		if err := add(one.past(ctx, s.tables[i], epoch, from)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// tips are the ends of the ledger's gapless prefixes.
func (t *target) tips(ctx context.Context, epoch waybill.Epoch, topic string) (map[waybill.TopicPartition]int64, error) {
	tips, err := t.ledger.Tips(ctx, t.cfg.Name, epoch, topic)
	if err != nil {
		return nil, err
	}
	out := make(map[waybill.TopicPartition]int64, len(tips))
	for p, tip := range tips {
		out[waybill.TopicPartition{Topic: topic, Partition: p}] = tip.Next
	}
	return out, nil
}

// claim puts refusals on record and answers with all that are.
func (t *target) claim(ctx context.Context, b *waybill.Batch, rows delivery.RowSet, why *refusals) (delivery.RowSet, error) {
	known, err := t.decisions(ctx, b)
	if err != nil {
		return nil, err
	}
	fresh := rows.Minus(known)
	var decisions []ledger.Decision
	for _, tp := range fresh.Partitions() {
		for _, sp := range fresh[tp].Spans() {
			for o := sp.First; o < sp.Next; o++ {
				d := ledger.Decision{Pipeline: t.cfg.Name, Epoch: b.Epoch, Batch: b.ID, Target: t.name(), TopicPartition: tp, Offset: o, At: t.client.ServerNow(time.Now())}
				if err := why.of(tp, o); err != nil {
					d.Code, d.Reason = err.Code, err.Err.Error()
				}
				decisions = append(decisions, d)
			}
		}
	}
	if len(decisions) > 0 {
		// A refusal on record twice is as good as once, so a token that nobody else has will do.
		token := waybill.Token("decision-" + uuid.NewString())
		if a := t.client.Insert(ctx, clickhouse.Insert{Database: t.ledger.Database(), Table: ledger.TableDecisions, Token: token, Input: ledger.DecisionBlock(decisions)}); a.Err != nil {
			return nil, a.Err
		}
	}
	all, err := t.decisions(ctx, b)
	if err != nil {
		return nil, err
	}
	if missing := rows.Minus(all); !missing.Empty() {
		return nil, &waybill.Error{Op: "claim", Pipeline: t.cfg.Name, Class: waybill.ClassRetryable, Err: fmt.Errorf("decisions were inserted but cannot be read back: %s", missing)}
	}
	return all, nil
}

func (t *target) decisions(ctx context.Context, b *waybill.Batch) (delivery.RowSet, error) {
	list, err := t.ledger.Decisions(ctx, t.cfg.Name, b.Epoch, b.ID, t.name())
	if err != nil {
		return nil, err
	}
	out := delivery.RowSet{}
	for _, d := range list {
		set := out[d.TopicPartition]
		set.Add(d.Offset)
		out[d.TopicPartition] = set
	}
	return out, nil
}

// proveWindow: do the tables and every table behind its views provably remember the batch's token?
func (t *target) proveWindow(ctx context.Context, b *waybill.Batch) (inside bool, evidence string, err error) {
	var tables []string
	for i, s := range t.now().tables {
		tables = append(tables, t.tables[i].place())
		for _, v := range s.info.Views {
			tables = append(tables, v.Target.Database+"."+v.Target.Table)
		}
	}
	return t.client.WindowProof(ctx, tables, time.UnixMilli(b.Time))
}

// firstSight is what the topic was when any worker of this pipeline first saw it under this epoch; it is
// put on record if nobody has yet. It tells a topic that was created again, and partitions that were
// added later.
func (t *target) firstSight(ctx context.Context, info kafka.TopicInfo) (ledger.Pipeline, error) {
	var p ledger.Pipeline
	err := t.ledger.Once(ctx, clickhouse.Insert{Database: t.ledger.Database(), Table: ledger.TablePipelines,
		// One token for all workers that see the same.
		Token: waybill.ChainToken(t.cfg.Name, info.ClusterID, waybill.BatchID(info.TopicID), t.epoch, ledger.TablePipelines, 0),
		Input: ledger.PipelineBlock(ledger.Pipeline{Name: t.cfg.Name, ClusterID: info.ClusterID, Topic: t.cfg.Source.Kafka.Topic, TopicID: uuid.UUID(info.TopicID), Epoch: t.epoch,
			Partitions: int32(len(info.Partitions)), Target: t.name(), FirstSeen: t.client.ServerNow(time.Now())})}, //nolint:gosec // few partitions
		func(ctx context.Context) (found bool, err error) {
			p, found, err = t.sight(ctx)
			return found, err
		})
	return p, err
}

// sight is the oldest record of this pipeline under this epoch.
func (t *target) sight(ctx context.Context) (ledger.Pipeline, bool, error) {
	seen, err := t.ledger.Pipelines(ctx, t.cfg.Name)
	for _, s := range seen {
		if s.Epoch == t.epoch && s.Topic == t.cfg.Source.Kafka.Topic {
			return s, true, err
		}
	}
	return ledger.Pipeline{}, false, err
}
