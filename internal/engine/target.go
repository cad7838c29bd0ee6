package engine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/deadletter"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
)

// target is a pipeline's ClickHouse side: the table, its plan, and Waybill's own tables.
type target struct {
	cfg     *config.Pipeline
	client  *clickhouse.Client
	ledger  *ledger.Store
	lineage contract.Lineage
	shape   atomic.Pointer[shape]
	tableID waybill.TableID
	notes   []waybill.Finding // of the preflight

	recording     sync.WaitGroup  // findings on their way to the table
	recordCtx     context.Context // ends when they are given up
	stopRecording context.CancelFunc

	evolver evolver // the gatherer's

	mu    sync.Mutex
	plans map[waybill.PlanID]*contract.Plan
}

// openTarget connects, migrates Waybill's tables, compiles the plan, puts it on record and runs the
// preflight. Errors that can heal are retryable.
func openTarget(ctx context.Context, cfg *config.Pipeline, log *slog.Logger) (*target, error) {
	c := cfg.Sink.ClickHouse
	client, err := clickhouse.Open(ctx, serverOf(c), clickhouse.Deps{Logger: log})
	if err != nil {
		return nil, err
	}
	t := &target{cfg: cfg, client: client, ledger: ledger.New(client, ""), plans: map[waybill.PlanID]*contract.Plan{}, evolver: evolver{map[string]*attempt{}, map[string]bool{}, map[string]bool{}},
		lineage: contract.Lineage{Topic: c.Lineage.Topic, Partition: c.Lineage.Partition, Offset: c.Lineage.Offset, Epoch: c.Lineage.Epoch}}
	t.recordCtx, t.stopRecording = context.WithCancel(context.WithoutCancel(ctx))
	if err := t.prepare(ctx); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// serverOf is how the server of a pipeline file is spoken to.
func serverOf(c config.ClickHouse) clickhouse.Config {
	to := clickhouse.Config{Addr: c.Addr, User: c.User, Password: c.Password.Reveal(), Database: c.Database,
		InsertTimeout: insertTimeout(c.InsertDeadline), Connections: MaxInFlight + 4, Compression: clickhouse.Compression(c.Compression)}
	if c.HTTP() {
		to.Protocol = clickhouse.HTTP
	}
	if c.Scheme == config.SchemeHTTPS {
		to.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
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
	c := t.cfg.Sink.ClickHouse
	schema, _, err := t.client.Describe(ctx, c.Database, c.Table, t.lineage)
	if t.cfg.Contract.Tables == contract.ModeEvolve && waybill.ClassOf(err) == waybill.ClassSchema {
		if err = t.create(ctx); err == nil {
			schema, _, err = t.client.Describe(ctx, c.Database, c.Table, t.lineage)
		}
	}
	if err != nil {
		return err
	}
	if t.lineage, err = t.epochColumn(schema); err != nil {
		return err
	}
	s, err := t.look(ctx)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(t.name()))
	t.tableID = waybill.TableID(binary.LittleEndian.Uint32(sum[:4]))
	if t.notes, err = preflight(t.cfg, s.info); err != nil {
		return err
	}
	if err := t.rowPolicies(ctx); err != nil {
		return err
	}
	if err := t.dropProbes(ctx); err != nil {
		return err
	}
	added, err := t.ledger.Added(ctx, t.cfg.Name, c.Database, c.Table)
	if err != nil {
		return err
	}
	for _, name := range added {
		t.evolver.added[name] = true
	}
	return t.adopt(ctx, s)
}

// create makes the target table as the contract says. Any number of workers may do so at once.
func (t *target) create(ctx context.Context) error {
	c := t.cfg.Sink.ClickHouse
	sql, err := contract.CreateTable(t.cfg.Contract, t.lineage, c.Database, c.Table, c.Cluster)
	if err != nil {
		return err
	}
	return t.client.Exec(ctx, sql)
}

// rowPolicies: a policy that hides rows from the reading user makes rows look absent, and they would be
// inserted again.
func (t *target) rowPolicies(ctx context.Context) error {
	if t.cfg.Delivery == config.AtLeastOnce {
		return nil
	}
	c := t.cfg.Sink.ClickHouse
	names, err := t.client.RowPolicies(ctx, c.Database, c.Table)
	switch {
	case err != nil && waybill.ClassOf(err) == waybill.ClassConfig:
		t.notes = append(t.notes, waybill.Finding{Kind: "row_policies_unknown", Severity: waybill.SeverityInfo,
			Message: fmt.Sprintf("the user may not see row policies, so it is not known whether one hides rows of %s from it", t.name()),
			Action:  "GRANT SHOW ROW POLICIES ON *.* to the user, or make sure that no policy applies to it"})
		return nil
	case err != nil:
		return err
	case len(names) > 0:
		return &waybill.Error{Op: "preflight", Pipeline: t.cfg.Name, Class: waybill.ClassConfig,
			Err:  fmt.Errorf("row policies apply to the user on %s: %s; rows that they hide would be taken for absent and inserted again", t.name(), strings.Join(names, ", ")),
			Hint: "exempt the user from them, or set `delivery: at-least-once`"}
	}
	return nil
}

// planError shows what does not fit the table at its place in the pipeline file.
func planError(cfg *config.Pipeline, err error) error {
	problems := cfg.ContractProblems(err)
	if len(problems) == 0 {
		return err
	}
	return problems
}

// epochColumn: a table may do without the epoch column as long as there is only one epoch.
func (t *target) epochColumn(schema contract.TableSchema) (contract.Lineage, error) {
	l := t.lineage
	for _, c := range schema.Columns {
		if c.Name == l.Epoch {
			return l, nil
		}
	}
	if t.cfg.Epoch > 0 {
		return l, &waybill.Error{Op: "preflight", Pipeline: t.cfg.Name, Class: waybill.ClassConfig,
			Err:  fmt.Errorf("epoch is %d, but table %s has no column %s to tell its rows from those of earlier epochs", t.cfg.Epoch, t.name(), l.Epoch),
			Hint: fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s UInt32 DEFAULT 0, then drop and add the projection %s with it", t.name(), l.Epoch, clickhouse.ProjectionName)}
	}
	l.Epoch = ""
	return l, nil
}

func (t *target) close() {
	t.stopRecording()
	t.client.Close()
}

// name is the target's full name, as tokens and ledger rows carry it.
func (t *target) name() string {
	return t.cfg.Sink.ClickHouse.Database + "." + t.cfg.Sink.ClickHouse.Table
}

func (t *target) storeNames() map[waybill.Store]string {
	return map[waybill.Store]string{waybill.StoreTarget: t.name(), waybill.StoreDeadLetters: t.ledger.Database() + "." + ledger.TableDeadLetters,
		waybill.StoreLedger: t.ledger.Database() + "." + ledger.TableLedger}
}

func (t *target) views() bool { return len(t.now().info.Views) > 0 }

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

// insertOf is the INSERT that a Send asks for, but for token and deadline, and what to count of the rows
// that turn out to be there. d is nil if there was nothing to rebuild the batch from.
func (t *target) insertOf(l *life, e delivery.Send, d *data) (in clickhouse.Insert, count func(delivery.RowSet), err error) {
	count = func(delivery.RowSet) {}
	switch e.Store {
	case waybill.StoreDeadLetters:
		envelopes, err := t.envelopes(l, e, d)
		return clickhouse.Insert{Database: t.ledger.Database(), Table: ledger.TableDeadLetters, Input: deadletter.Block(envelopes)},
			func(there delivery.RowSet) { l.p.countDead(envelopes, there) }, err
	case waybill.StoreLedger:
		return clickhouse.Insert{Database: t.ledger.Database(), Table: ledger.TableLedger, Input: ledger.Block(t.ledgerRows(l, e))},
			func(there delivery.RowSet) { l.p.count(e.Ledger, there) }, nil
	}
	if d == nil {
		return clickhouse.Insert{}, count, t.irretrievable(e)
	}
	block := d.pick(e.Rows)
	if block == nil {
		return clickhouse.Insert{}, count, t.irretrievable(e)
	}
	in, err = t.targetInsert(l, e.Batch, block)
	return in, count, err
}

// targetInsert is the INSERT of a block into the table as it is now. The server compares: it would cast the types of a block that was
// made for another shape of the table without a word.
func (t *target) targetInsert(l *life, b *waybill.Batch, block *column.Block) (clickhouse.Insert, error) {
	p, err := t.plan(l.ctx, b.Plan)
	if err != nil {
		return clickhouse.Insert{}, err
	}
	s := t.now()
	block, f, err := t.fitBlock(s, p, block)
	if err != nil {
		return clickhouse.Insert{}, err
	}
	types, err := t.typesOf(l.ctx, s, f.columns)
	if err != nil {
		return clickhouse.Insert{}, err
	}
	if gone := strings.Join(f.gone, ", "); gone != "" && l.p.inserts.tell(b.ID, "column_dropped "+gone) {
		l.p.found(waybill.Finding{Kind: "column_dropped", Severity: waybill.SeverityWarning, Batch: b.ID.String(),
			Message: fmt.Sprintf("columns %s are gone from %s; batch %s, which was gathered before, is written without them, as if it had come just before the DROP", gone, t.name(), b.ID.Short()),
			Action:  "the values are in the topic: take the columns out of the contract, or add them again and read the span anew"})
	}
	c := t.cfg.Sink.ClickHouse
	return clickhouse.Insert{Database: c.Database, Table: c.Table, Input: block.Input(), Types: types}, nil
}

// irretrievable: rows that had been seen in a store are gone from it, and so are the records they came from.
func (t *target) irretrievable(e delivery.Send) error {
	tp := e.Rows.Partitions()[0]
	return &waybill.Error{Op: "engine.send", Pipeline: t.cfg.Name, Class: waybill.ClassSchema,
		Position: waybill.Position{Topic: tp.Topic, Partition: tp.Partition, Offset: e.Rows[tp].Bounds().First},
		Err:      fmt.Errorf("rows of batch %s are gone from the %s, and so are the records to make them from: %s", e.Batch.ID.Short(), e.Store, e.Rows),
		Hint:     "find out what removes rows from the table, and bring them back"}
}

func (t *target) ledgerRows(l *life, e delivery.Send) []ledger.Row {
	rows := make([]ledger.Row, len(e.Ledger))
	for i, r := range e.Ledger {
		topicID := uuid.UUID(l.sess.TopicID())
		if r.TopicID != ([8]byte)(topicID[:8]) { // of a topic that is gone: only the half in its string is known
			topicID = uuid.UUID{}
			copy(topicID[:], r.TopicID[:])
		}
		rows[i] = ledger.Row{Pipeline: t.cfg.Name, Epoch: e.Batch.Epoch, TopicPartition: r.TopicPartition, Span: r.Span, Batch: e.Batch.ID,
			BatchTime: e.Batch.Time, Plan: e.Batch.Plan, Decoder: e.Batch.Decoder, Target: t.name(), TopicID: topicID,
			Counts: ledger.Counts{Read: r.Read, Written: r.Written, Filtered: r.Filtered, DeadLettered: r.Dead, Tombstones: r.Tombstones, Lost: r.Lost, Rescued: r.Rescued, Redacted: r.Redacted}, Checksum: r.Checksum}
	}
	return rows
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
		_, err := l.sess.ReadSpan(l.ctx, dec.TopicPartition, waybill.Span{First: dec.Offset, Next: dec.Offset + 1}, func(r *waybill.Record) error {
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
	block := proc.NewBlock()
	return func(r *waybill.Record) waybill.Record {
		block.Reset()
		proc.Process(r, b.Epoch, block)
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
	return t.client.Present(ctx, t.presence(b.Epoch, list))
}

func (t *target) presence(epoch waybill.Epoch, spans []clickhouse.PartitionSpan) clickhouse.Presence {
	return clickhouse.Presence{Database: t.cfg.Sink.ClickHouse.Database, Table: t.cfg.Sink.ClickHouse.Table, Lineage: t.lineage, Epoch: epoch,
		HasProjection: t.now().info.OffsetProjection, Replicated: t.now().info.Replicated, Spans: spans}
}

// past is what the target and the dead letters hold at or past the offsets.
func (t *target) past(ctx context.Context, epoch waybill.Epoch, from map[waybill.TopicPartition]int64) (map[waybill.TopicPartition]waybill.OffsetSet, error) {
	rows, err := t.client.PresentPast(ctx, t.presence(epoch, nil), from)
	if err != nil {
		return nil, err
	}
	dead, err := t.client.PresentPast(ctx, t.ledger.DeadLetterPresence(t.cfg.Name, epoch, nil), from)
	for tp, set := range dead {
		rows[tp] = rows[tp].Union(set)
	}
	return rows, err
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

// proveWindow: do the target and every table behind its views provably remember the batch's token?
func (t *target) proveWindow(ctx context.Context, b *waybill.Batch) (inside bool, evidence string, err error) {
	c := t.cfg.Sink.ClickHouse
	tables := []string{c.Database + "." + c.Table}
	for _, v := range t.now().info.Views {
		tables = append(tables, v.Target.Database+"."+v.Target.Table)
	}
	return t.client.WindowProof(ctx, tables, time.UnixMilli(b.Time))
}

// firstSight is what the topic was when any worker of this pipeline first saw it under this epoch; it is
// put on record if nobody has yet. It tells a topic that was created again, and partitions that were
// added later.
func (t *target) firstSight(ctx context.Context, info kafka.TopicInfo) (ledger.Pipeline, error) {
	p, found, err := t.sight(ctx)
	if err != nil || found {
		return p, err
	}
	a := t.client.Insert(ctx, clickhouse.Insert{Database: t.ledger.Database(), Table: ledger.TablePipelines,
		// One token for all workers that see the same.
		Token: waybill.ChainToken(t.cfg.Name, info.ClusterID, waybill.BatchID(info.TopicID), t.cfg.Epoch, ledger.TablePipelines, 0),
		Input: ledger.PipelineBlock(ledger.Pipeline{Name: t.cfg.Name, ClusterID: info.ClusterID, Topic: t.cfg.Source.Kafka.Topic, TopicID: uuid.UUID(info.TopicID), Epoch: t.cfg.Epoch,
			Partitions: int32(len(info.Partitions)), Target: t.name(), FirstSeen: t.client.ServerNow(time.Now())})}) //nolint:gosec // few partitions
	if a.Err != nil {
		return ledger.Pipeline{}, a.Err
	}
	p, found, err = t.sight(ctx)
	if err == nil && !found {
		err = &waybill.Error{Op: "start", Pipeline: t.cfg.Name, Class: waybill.ClassRetryable, Err: errors.New("the pipeline was put on record but cannot be read back")}
	}
	return p, err
}

// sight is the oldest record of this pipeline under this epoch.
func (t *target) sight(ctx context.Context) (ledger.Pipeline, bool, error) {
	seen, err := t.ledger.Pipelines(ctx, t.cfg.Name)
	for _, s := range seen {
		if s.Epoch == t.cfg.Epoch && s.Topic == t.cfg.Source.Kafka.Topic {
			return s, true, err
		}
	}
	return ledger.Pipeline{}, false, err
}
