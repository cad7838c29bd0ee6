// Package archive reads what a pipeline has kept of its records: whole spans of them, in the order of offsets, as they would come from Kafka.
// The records are written by a pipeline of its own (config.Pipeline.Archiver), whose account says what the archive holds. See docs/adr/0016.
package archive

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/ledger"
)

// Source says which archive.
type Source struct {
	// Pipeline is the name of the pipeline that writes it, which its account is under.
	Pipeline        string
	Database, Table string
	Lineage         contract.Lineage
	// TopicID is Kafka's id of the topic whose records are wanted; zero: that of the highest epoch. A topic that was created again has
	// other records at the same offsets.
	TopicID uuid.UUID
}

// Gap is what reading stops at: the archive does not hold these offsets, but it holds some past them.
type Gap struct {
	waybill.TopicPartition
	waybill.Span
}

func (g *Gap) Error() string {
	return fmt.Sprintf("the archive does not hold the records of %s %s", g.TopicPartition, g.Span)
}

// keeper is where the records are: in a table, or in objects.
type keeper interface {
	// rows is how many offsets of each partition have a record under an epoch, before some ends.
	rows(ctx context.Context, topic string, epoch waybill.Epoch, before map[int32]int64) (map[int32]int64, error)
	// present is which of some offsets have a record under an epoch.
	present(ctx context.Context, tp waybill.TopicPartition, epoch waybill.Epoch, offsets waybill.OffsetSet) (waybill.OffsetSet, error)
	// fetch fills w.records with the records of a piece of a span, in the order of offsets, each once, and answers with the piece's end. About
	// w.offsets offsets are wanted; it may be more or less.
	fetch(ctx context.Context, w *window, span waybill.Span) (next int64, err error)
	// offsetsAt are the first offsets of records that are not older than a time.
	offsetsAt(ctx context.Context, topic string, epochs []waybill.Epoch, millis int64) (map[int32]int64, error)
	// remove removes records for good.
	remove(ctx context.Context, tp waybill.TopicPartition, epochs []waybill.Epoch, offsets waybill.OffsetSet) error
	size(ctx context.Context) (Size, error)
}

// Reader reads an archive. It is safe for concurrent use.
type Reader struct {
	src    Source
	keeper keeper
	store  *ledger.Store

	mu    sync.Mutex
	known map[string]*holding // by topic
	// piece is how many offsets are worth a query, by the records that were read last.
	piece int64
}

// New makes a reader. The client's and the store's lives are the caller's business.
func New(ch *clickhouse.Client, store *ledger.Store, src Source) *Reader {
	return newReader(&tableKeeper{ch, src}, store, src)
}

func newReader(k keeper, store *ledger.Store, src Source) *Reader {
	return &Reader{src: src, keeper: k, store: store, known: map[string]*holding{}, piece: firstWindow}
}

// holding is what the archive holds of a topic.
type holding struct {
	epochs []waybill.Epoch
	parts  map[int32]*part
	since  time.Time // when the questions were asked
}

// part is what it holds of one partition.
type part struct {
	// held are the offsets of which the archive has the record, or knows that there is none to be had: a hole of the topic, or one that was
	// erased.
	held   waybill.OffsetSet
	erased waybill.OffsetSet
	rows   int64
}

// Extent is from where to where the archive reaches, for each partition. Gaps says what it lacks in between.
func (r *Reader) Extent(ctx context.Context, topic string) (map[int32]waybill.Span, error) {
	h, err := r.holding(ctx, topic, 0)
	if err != nil {
		return nil, err
	}
	out := map[int32]waybill.Span{}
	for p, part := range h.parts {
		if !part.held.Empty() {
			out[p] = part.held.Bounds()
		}
	}
	return out, nil
}

// Holds are the offsets of which the archive has the record, or knows that there is none to be had, for each partition.
func (r *Reader) Holds(ctx context.Context, topic string) (map[int32]waybill.OffsetSet, error) {
	h, err := r.holding(ctx, topic, 0)
	if err != nil {
		return nil, err
	}
	out := map[int32]waybill.OffsetSet{}
	for p, part := range h.parts {
		out[p] = part.held
	}
	return out, nil
}

// Gaps are the offsets within the extent that the archive does not hold.
func (r *Reader) Gaps(ctx context.Context, topic string) (map[int32]waybill.OffsetSet, error) {
	h, err := r.holding(ctx, topic, 0)
	if err != nil {
		return nil, err
	}
	out := map[int32]waybill.OffsetSet{}
	for p, part := range h.parts {
		if gaps := waybill.OffsetsIn(part.held.Bounds()).Minus(part.held); !gaps.Empty() {
			out[p] = gaps
		}
	}
	return out, nil
}

// fresh is how old the answer to what is held may be where only more can have come since.
const fresh = 5 * time.Second

// holding is what is held of a topic, by an answer that is no older than most; 0: by one to a question that is asked now.
func (r *Reader) holding(ctx context.Context, topic string, most time.Duration) (*holding, error) {
	r.mu.Lock()
	h := r.known[topic]
	r.mu.Unlock()
	if h != nil && time.Since(h.since) < most {
		return h, nil
	}
	h, err := r.ask(ctx, topic)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.known[topic] = h
	r.mu.Unlock()
	return h, nil
}

// ask finds out what is held of a topic.
func (r *Reader) ask(ctx context.Context, topic string) (*holding, error) {
	h := &holding{parts: map[int32]*part{}, since: time.Now()}
	var err error
	if h.epochs, err = r.epochs(ctx, topic); err != nil {
		return nil, err
	}
	erased, err := r.store.ArchiveErased(ctx, r.src.Pipeline, topic)
	if err != nil {
		return nil, err
	}
	for _, epoch := range h.epochs {
		of, err := r.heldUnder(ctx, topic, epoch, erased)
		if err != nil {
			return nil, err
		}
		for p, more := range of {
			have := h.parts[p]
			if have == nil {
				have = &part{erased: erased[p]}
				h.parts[p] = have
			}
			have.held, have.rows = have.held.Union(more.held), have.rows+more.rows
		}
	}
	return h, nil
}

// epochs are those under which records of this very topic were archived. One that is read again under a higher epoch is kept twice.
func (r *Reader) epochs(ctx context.Context, topic string) ([]waybill.Epoch, error) {
	seen, err := r.store.Pipelines(ctx, r.src.Pipeline)
	if err != nil {
		return nil, err
	}
	want := r.src.TopicID
	for _, s := range seen { // by epoch
		if s.Topic == topic && r.src.TopicID == (uuid.UUID{}) {
			want = s.TopicID
		}
	}
	var out []waybill.Epoch
	for _, s := range seen {
		if s.Topic == topic && s.TopicID == want && !slices.Contains(out, s.Epoch) {
			out = append(out, s.Epoch)
		}
	}
	return out, nil
}

// heldUnder is what is held by the account of one epoch.
func (r *Reader) heldUnder(ctx context.Context, topic string, epoch waybill.Epoch, erased map[int32]waybill.OffsetSet) (map[int32]*part, error) {
	// First the account, then the table: what is on account by then is in the table, if nobody has taken it away.
	tips, err := r.store.Tips(ctx, r.src.Pipeline, epoch, topic)
	if err != nil {
		return nil, err
	}
	rowless, err := r.store.RowlessSpans(ctx, r.src.Pipeline, epoch, topic)
	if err != nil {
		return nil, err
	}
	written, err := r.store.WrittenFrom(ctx, r.src.Pipeline, epoch, topic, nil)
	if err != nil {
		return nil, err
	}
	rows, err := r.rows(ctx, topic, epoch, tips)
	if err != nil {
		return nil, err
	}
	out := map[int32]*part{}
	for p, tip := range tips {
		q := question{r: r, tp: waybill.TopicPartition{Topic: topic, Partition: p}, epoch: epoch, erased: erased[p],
			covered: waybill.OffsetsIn(append([]waybill.Span{{First: tip.First, Next: tip.Next}}, tip.Beyond...)...)}
		held, err := q.held(ctx, written[p].Written, rows[p], rowless[p])
		if err != nil {
			return nil, err
		}
		out[p] = &part{held: held, rows: rows[p]}
	}
	return out, nil
}

// rows counts the records of each partition that are before its tip: those past it are of batches under way.
func (r *Reader) rows(ctx context.Context, topic string, epoch waybill.Epoch, tips map[int32]ledger.Tip) (map[int32]int64, error) {
	if len(tips) == 0 {
		return nil, nil
	}
	before := map[int32]int64{}
	for p, tip := range tips {
		before[p] = tip.Next
		if n := len(tip.Beyond); n > 0 {
			before[p] = tip.Beyond[n-1].Next
		}
	}
	return r.keeper.rows(ctx, topic, epoch, before)
}

// question is what is held of one partition under one epoch.
type question struct {
	r               *Reader
	tp              waybill.TopicPartition
	epoch           waybill.Epoch
	covered, erased waybill.OffsetSet // by the account; on purpose
}

// held compares the account with the table. An offset without a row is a hole of the topic, and held, if as many records have rows as the
// account says; else it is not known which of them are holes, and none counts as held.
func (q *question) held(ctx context.Context, written, rows int64, rowless []waybill.Span) (waybill.OffsetSet, error) {
	erased := q.covered.Intersect(q.erased)
	out := q.covered
	if written > rows {
		var err error
		if out, err = q.trimmed(ctx, written-rows, erased); err != nil {
			return out, err
		}
	}
	for _, sp := range rowless { // of a record that was lost, or refused, there was never a row
		there, err := q.present(ctx, waybill.OffsetsIn(sp))
		if err != nil {
			return out, err
		}
		out = out.Minus(waybill.OffsetsIn(sp).Minus(there).Minus(erased))
	}
	return out, nil
}

// trimmed is what is held where rows are gone: by the table's TTL, as a rule, and then from the partition's beginning.
func (q *question) trimmed(ctx context.Context, gone int64, erased waybill.OffsetSet) (waybill.OffsetSet, error) {
	there, err := q.present(ctx, q.covered)
	if err != nil {
		return there, err
	}
	known := there.Union(erased)
	if erased.Minus(there).Len() == gone { // as many as were erased
		return q.covered, nil
	}
	if there.Empty() {
		return there, nil
	}
	// Past the first row of the ledger that begins behind the first row of the table the account may be whole.
	rest, err := q.r.store.WrittenFrom(ctx, q.r.src.Pipeline, q.epoch, q.tp.Topic, map[int32]int64{q.tp.Partition: there.Bounds().First})
	if err != nil {
		return there, err
	}
	w, ok := rest[q.tp.Partition]
	if !ok {
		return known, nil
	}
	tail := waybill.OffsetsIn(w.Span)
	if known.Intersect(tail).Len() < w.Written {
		return known, nil
	}
	return known.Union(tail.Intersect(q.covered)), nil
}

func (q *question) present(ctx context.Context, offsets waybill.OffsetSet) (waybill.OffsetSet, error) {
	return q.r.keeper.present(ctx, q.tp, q.epoch, offsets)
}
