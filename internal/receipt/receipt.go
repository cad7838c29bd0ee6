// Package receipt makes delivery receipts: what a span of a topic held, what became of it, under which plans, and what was found wrong
// meanwhile. It is what a person attaches to a result to say which data it stood on.
//
// The content is a function of what is on record alone, and has a hash: two receipts with the same hash are about the same data. When it
// was issued, by which version, and how complete the topic was then, stands beside it and is not hashed.
package receipt

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/audit"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/finding"
	"github.com/waybill-data/waybill/internal/ledger"
)

// format is the version of what a receipt means.
const format = 1

// Document is a receipt with what is said of it.
type Document struct {
	Receipt Receipt `json:"receipt"`
	// Hash is "sha256:" and the hash of the receipt as JSON without blanks, as it stands here.
	Hash   string `json:"hash"`
	Issued Issued `json:"issued"`
}

// Issued says when a receipt was made. It is not hashed.
type Issued struct {
	At      time.Time `json:"at"`
	Version string    `json:"version"` // of Waybill
	// CompleteThrough: everything in the topic whose time is before was accounted for; nil if nothing could be said.
	CompleteThrough *time.Time `json:"complete_through"`
}

// Receipt is what is hashed.
type Receipt struct {
	Format   int      `json:"format"`
	Pipeline string   `json:"pipeline"`
	Epoch    uint32   `json:"epoch"`
	Topic    string   `json:"topic"`
	Tables   []string `json:"tables"`
	// From and To are when the batches were closed, if they were asked for by time.
	From *time.Time `json:"from,omitempty"`
	To   *time.Time `json:"to,omitempty"`
	// EventFirst and EventLast are the first and the last minute of events' times; nil if none is known.
	EventFirst *time.Time  `json:"event_first"`
	EventLast  *time.Time  `json:"event_last"`
	Partitions []Partition `json:"partitions"`
	Total      Counts      `json:"total"`
	// Rows are those written, by table.
	Rows        []TableRows  `json:"rows"`
	Plans       []Plan       `json:"plans"`
	DeadLetters []DeadLetter `json:"dead_letters"`
	Findings    []Finding    `json:"findings"`
	// Amended is what repairs and erasures have made of offsets since; left out if there is none. The counts above are the ledger's, as it was.
	Amended []Amended `json:"amended,omitempty"`
	// Inherited is what older epochs account for, as far as backfills have left their rows as they were; left out if there is none. The counts above are of the
	// receipt's epoch alone.
	Inherited []Inherited `json:"inherited,omitempty"`
	// Gaps are offsets within the spans that are on nobody's account.
	Gaps  []Gap  `json:"gaps"`
	Audit *Audit `json:"audit,omitempty"`
}

// Counts is what became of records.
type Counts struct {
	Read         int64 `json:"read"`
	Written      int64 `json:"written"`
	Filtered     int64 `json:"filtered"`
	DeadLettered int64 `json:"dead_lettered"`
	Tombstones   int64 `json:"tombstones"`
	Lost         int64 `json:"lost"`
	Rescued      int64 `json:"rescued"`  // of the written: with values in the rescue column
	Redacted     int64 `json:"redacted"` // of the read: with values that were redacted
	// Checksum is the order-free sum over the records read, in hex: of the same records it is the same, however they were batched.
	Checksum string `json:"checksum"`

	sum uint64
}

func (c *Counts) add(a *ledger.Account) {
	c.Read += a.Read
	c.Written += a.Written
	c.Filtered += a.Filtered
	c.DeadLettered += a.DeadLettered
	c.Tombstones += a.Tombstones
	c.Lost += a.Lost
	c.Rescued += a.Rescued
	c.Redacted += a.Redacted
	c.sum += a.Checksum
	c.Checksum = fmt.Sprintf("%016x", c.sum)
}

// Partition is what became of one partition's records.
type Partition struct {
	Partition int32 `json:"partition"`
	// First and Next are the offsets: [First, Next). They are those of whole batches.
	First int64 `json:"first"`
	Next  int64 `json:"next"`
	Counts
}

// TableRows is how many rows went to one table.
type TableRows struct {
	Table string `json:"table"`
	Rows  int64  `json:"rows"`
}

// Plan is one that was in force.
type Plan struct {
	Plan string `json:"plan"`
	// Since is the first offset of each partition that it wrote, or the receipt's first where it wrote before.
	Since []PlanSince `json:"since"`
}

// PlanSince is from which offset of a partition on a plan was in force.
type PlanSince struct {
	Partition int32 `json:"partition"`
	Offset    int64 `json:"offset"`
}

// DeadLetter is dead letters of one kind.
type DeadLetter struct {
	Stage string `json:"stage"`
	Code  string `json:"code"`
	// State is what has become of them since: waiting, replayed, filtered, failed or discarded.
	State ledger.LetterState `json:"state"`
	Count int64              `json:"count"`
}

// Finding is one of that time, or about these offsets.
type Finding struct {
	ID        string    `json:"id"`
	At        time.Time `json:"at"` // when it was opened
	Kind      string    `json:"kind"`
	Severity  string    `json:"severity"`
	Open      bool      `json:"open"`
	Partition int32     `json:"partition"`
	First     int64     `json:"first"`
	Next      int64     `json:"next"`
	Message   string    `json:"message"`
}

// Amended is offsets that the ledger counts as one thing and that are another, or were made anew, since.
type Amended struct {
	Was   ledger.Fate `json:"was"`
	Is    ledger.Fate `json:"is"`
	Count int64       `json:"count"`
}

// Gap is offsets that no row of the ledger covers.
type Gap struct {
	Partition int32 `json:"partition"`
	First     int64 `json:"first"`
	Next      int64 `json:"next"`
}

// Inherited is what an older epoch accounts for.
type Inherited struct {
	Epoch uint32 `json:"epoch"`
	// Partitions count whole batches of which all offsets are still the epoch's; First and Next are the first and the last of them.
	Partitions []Partition `json:"partitions"`
	Total      Counts      `json:"total"`
	// Partly are batches of which a backfill has made some offsets anew. They are in no count: the ledger counts whole batches.
	Partly []Partly `json:"partly"`
	// DeadLetters are those of all offsets that are still the epoch's.
	DeadLetters []DeadLetter `json:"dead_letters"`
	// Amended is what was made of its offsets while the table was written under it; what was made of them later is in the receipt's own (was: none).
	Amended []Amended `json:"amended,omitempty"`

	left map[int32]waybill.OffsetSet // all offsets that are still the epoch's
}

// Partly is a batch, or batches rolled up, of which some offsets are still of its epoch.
type Partly struct {
	Partition int32 `json:"partition"`
	First     int64 `json:"first"`
	Next      int64 `json:"next"`
	// Offsets are how many are left, Of how many it has.
	Offsets int64 `json:"offsets"`
	Of      int64 `json:"of"`
}

// Audit is what an audit of the spans came to.
type Audit struct {
	Verdict    audit.Verdict     `json:"verdict"`
	Violations []audit.Violation `json:"violations"`
	Unknown    []audit.Unknown   `json:"unknown"`
}

// Deps are whom it asks.
type Deps struct {
	Client  *clickhouse.Client
	Ledger  *ledger.Store
	Version string // of Waybill
	// Audit audits spans; nil: it is not asked for.
	Audit func(ctx context.Context, within map[int32]waybill.Span) (*audit.Report, error)
}

// Scope is what a receipt is about.
type Scope struct {
	// Within are the offsets, by partition; empty: everything that the ledger accounts for.
	Within map[int32]waybill.Span
	// From and To are when the batches were closed, if Within came of that.
	From, To *time.Time
}

// Make makes a receipt.
func Make(ctx context.Context, d Deps, cfg *config.Pipeline, s Scope) (*Document, error) {
	m := maker{Deps: d, cfg: cfg, scope: s, receipt: Receipt{Format: format, Pipeline: cfg.Name, Epoch: uint32(cfg.Epoch), Topic: cfg.Source.Kafka.Topic, From: s.From, To: s.To,
		Tables: []string{}, Partitions: []Partition{}, Rows: []TableRows{}, Plans: []Plan{}, DeadLetters: []DeadLetter{}, Findings: []Finding{}, Gaps: []Gap{}}}
	for _, t := range cfg.Tables() {
		m.receipt.Tables = append(m.receipt.Tables, t.Sink.ClickHouse.Name())
	}
	for _, step := range []func(context.Context) error{m.accounts, m.inherited, m.times, m.deadLetters, m.amended, m.findings, m.audited} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return m.issue(ctx)
}

type maker struct {
	Deps
	cfg     *config.Pipeline
	scope   Scope
	receipt Receipt
	covered map[int32]waybill.OffsetSet // on the account of the receipt's epoch, or on that of an older one
}

func (m *maker) accounts(ctx context.Context) error {
	rows, plans := map[string]int64{}, map[waybill.PlanID]map[int32]int64{}
	covered := map[int32]waybill.OffsetSet{}
	m.covered = covered
	if m.scope.From != nil && len(m.scope.Within) == 0 {
		m.receipt.Total.Checksum = fmt.Sprintf("%016x", 0)
		return nil // none of its batches were closed in that time
	}
	err := m.Ledger.Accounts(ctx, m.cfg.Name, m.cfg.Epoch, m.receipt.Topic, m.scope.Within, func(a *ledger.Account) error {
		r := &m.receipt
		r.Partitions = taken(r.Partitions, a)
		r.Total.add(a)
		set := covered[a.Partition]
		set.AddSpan(a.Span)
		covered[a.Partition] = set
		for table, n := range a.Routed {
			rows[table] += n
		}
		for _, first := range a.Plans {
			if plans[first.Plan] == nil {
				plans[first.Plan] = map[int32]int64{}
			}
			if have, seen := plans[first.Plan][a.Partition]; !seen || first.First < have {
				plans[first.Plan][a.Partition] = first.First
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	m.receipt.Total.Checksum = fmt.Sprintf("%016x", m.receipt.Total.sum)
	for _, table := range slices.Sorted(maps.Keys(rows)) {
		m.receipt.Rows = append(m.receipt.Rows, TableRows{table, rows[table]})
	}
	for id, since := range plans {
		p := Plan{Plan: id.String()}
		for _, partition := range slices.Sorted(maps.Keys(since)) {
			p.Since = append(p.Since, PlanSince{partition, since[partition]})
		}
		m.receipt.Plans = append(m.receipt.Plans, p)
	}
	slices.SortFunc(m.receipt.Plans, func(a, b Plan) int {
		return cmp.Or(cmp.Compare(a.Since[0].Partition, b.Since[0].Partition), cmp.Compare(a.Since[0].Offset, b.Since[0].Offset), cmp.Compare(a.Plan, b.Plan))
	})
	return nil
}

// inherited is what older epochs account for.
func (m *maker) inherited(ctx context.Context) error {
	topic := m.receipt.Topic
	origins, err := m.Ledger.AccountOrigins(ctx, m.cfg.Name, m.cfg.Epoch)
	if err != nil {
		return err
	}
	f := ledger.LetterFilter{Pipeline: m.cfg.Name, Epoch: m.cfg.Epoch, Topic: topic, Spans: map[int32]waybill.OffsetSet{}}
	for _, o := range origins[1:] {
		within := m.scope.Within
		if m.scope.From != nil {
			if within, err = m.Ledger.Between(ctx, m.cfg.Name, o.Epoch, topic, *m.scope.From, *m.scope.To); err != nil {
				return err
			}
			if len(within) == 0 {
				continue
			}
		}
		in := Inherited{Epoch: uint32(o.Epoch), Partitions: []Partition{}, Partly: []Partly{}, DeadLetters: []DeadLetter{}, left: map[int32]waybill.OffsetSet{}}
		err := m.Ledger.Accounts(ctx, m.cfg.Name, o.Epoch, topic, within, func(a *ledger.Account) error {
			mine := o.Rows[a.Partition].Within(a.Span)
			if mine.Empty() {
				return nil
			}
			m.covered[a.Partition] = m.covered[a.Partition].Union(mine)
			f.Spans[a.Partition] = f.Spans[a.Partition].Union(waybill.OffsetsIn(a.Span))
			in.left[a.Partition] = in.left[a.Partition].Union(mine)
			in.add(a, mine.Len())
			return nil
		})
		if err != nil {
			return err
		}
		if in.Total.Checksum = fmt.Sprintf("%016x", in.Total.sum); len(in.Partitions)+len(in.Partly) > 0 {
			all, err := m.Ledger.Amended(ctx, m.cfg.Name, o.Epoch, topic)
			if err != nil {
				return err
			}
			in.Amended = amendedOf(all, in.left)
			m.receipt.Inherited = append(m.receipt.Inherited, in)
		}
	}
	m.gaps(m.covered)
	if len(m.receipt.Inherited) == 0 {
		return nil
	}
	if f.Older, err = m.Ledger.OlderLetters(ctx, m.cfg.Name, m.cfg.Epoch, topic, f.Spans); err != nil {
		return err
	}
	kinds, err := m.Ledger.OlderLetterKinds(ctx, &f)
	for i := range m.receipt.Inherited {
		in := &m.receipt.Inherited[i]
		for _, k := range kinds[waybill.Epoch(in.Epoch)] {
			in.DeadLetters = append(in.DeadLetters, DeadLetter(k))
		}
	}
	return err
}

// add takes in a row of the ledger, of which so many offsets are still the epoch's.
func (in *Inherited) add(a *ledger.Account, mine int64) {
	if mine < a.Len() {
		in.Partly = append(in.Partly, Partly{a.Partition, a.First, a.Next, mine, a.Len()})
		return
	}
	in.Partitions = taken(in.Partitions, a)
	in.Total.add(a)
}

// taken is the partitions with a row of the ledger more; its rows come by partition.
func taken(all []Partition, a *ledger.Account) []Partition {
	if n := len(all); n == 0 || all[n-1].Partition != a.Partition {
		all = append(all, Partition{Partition: a.Partition, First: a.First, Next: a.Next})
	}
	p := &all[len(all)-1]
	p.First, p.Next = min(p.First, a.First), max(p.Next, a.Next)
	p.add(a)
	return all
}

// gaps are what was asked for, or lies between what there is, and is on nobody's account.
func (m *maker) gaps(covered map[int32]waybill.OffsetSet) {
	asked := map[int32]waybill.OffsetSet{}
	for p, sp := range m.scope.Within {
		asked[p] = waybill.OffsetsIn(sp)
	}
	for _, p := range m.receipt.Partitions {
		asked[p.Partition] = asked[p.Partition].Union(waybill.OffsetsIn(waybill.Span{First: p.First, Next: p.Next}))
	}
	for _, p := range slices.Sorted(maps.Keys(asked)) {
		for _, sp := range asked[p].Minus(covered[p]).Spans() {
			m.receipt.Gaps = append(m.receipt.Gaps, Gap{p, sp.First, sp.Next})
		}
	}
}

// spans are the offsets that the receipt is about.
func (m *maker) spans() map[int32]waybill.Span {
	out := map[int32]waybill.Span{}
	for _, p := range m.receipt.Partitions {
		out[p.Partition] = waybill.Span{First: p.First, Next: p.Next}
	}
	return out
}

func (m *maker) times(ctx context.Context) error {
	first, last, err := m.Ledger.EventTimes(ctx, m.cfg.Name, m.cfg.Epoch, m.receipt.Topic, m.spans())
	if err == nil && !last.IsZero() {
		m.receipt.EventFirst, m.receipt.EventLast = &first, &last
	}
	return err
}

func (m *maker) deadLetters(ctx context.Context) error {
	kinds, err := m.Ledger.DeadLetterKinds(ctx, m.cfg.Name, m.cfg.Epoch, m.receipt.Topic, m.spans())
	for _, k := range kinds {
		m.receipt.DeadLetters = append(m.receipt.DeadLetters, DeadLetter(k))
	}
	return err
}

func (m *maker) amended(ctx context.Context) error {
	all, err := m.Ledger.Amended(ctx, m.cfg.Name, m.cfg.Epoch, m.receipt.Topic)
	if err != nil {
		return err
	}
	about := map[int32]waybill.OffsetSet{}
	for p, sp := range m.spans() {
		about[p] = waybill.OffsetsIn(sp)
	}
	for i := range m.receipt.Inherited {
		for p, set := range m.receipt.Inherited[i].left {
			about[p] = about[p].Union(set)
		}
	}
	m.receipt.Amended = amendedOf(all, about)
	return nil
}

// amendedOf is what was made of some offsets.
func amendedOf(all *ledger.Amended, about map[int32]waybill.OffsetSet) (out []Amended) {
	for _, was := range ledger.AllFates() {
		for _, is := range ledger.AllFates() {
			var n int64
			for p, set := range about {
				n += all.Was(p, was).Intersect(all.Is(p, is)).Intersect(set).Len()
			}
			if n > 0 {
				out = append(out, Amended{was, is, n})
			}
		}
	}
	return out
}

func (m *maker) findings(ctx context.Context) error {
	found, err := m.Ledger.FindingsNow(ctx, ledger.FindingsOf{Pipeline: m.cfg.Name, All: true})
	spans := m.spans()
	for i := range found {
		f := &found[i]
		sp, ours := spans[f.Partition]
		about := ours && f.Topic == m.receipt.Topic && f.Span.First < sp.Next && f.Span.Next > sp.First
		if about || m.meanwhile(f) {
			m.receipt.Findings = append(m.receipt.Findings, Finding{ID: string(f.ID), At: f.FirstSeen.UTC().Truncate(time.Second), Kind: f.Kind, Severity: string(f.Severity), Open: f.State == finding.Opened,
				Partition: f.Partition, First: f.Span.First, Next: f.Span.Next, Message: f.Message})
		}
	}
	return err
}

// meanwhile reports whether a finding was open, or told, in the time that was asked for.
func (m *maker) meanwhile(f *finding.Row) bool {
	if m.scope.From == nil || !f.FirstSeen.Before(*m.scope.To) {
		return false
	}
	return f.State == finding.Opened || !f.LastSeen.Before(*m.scope.From)
}

func (m *maker) audited(ctx context.Context) error {
	if m.Audit == nil {
		return nil
	}
	within := m.spans()
	for _, in := range m.receipt.Inherited {
		for _, p := range in.Partitions {
			span, some := within[p.Partition]
			if !some {
				span = waybill.Span{First: p.First, Next: p.Next}
			}
			within[p.Partition] = waybill.Span{First: min(span.First, p.First), Next: max(span.Next, p.Next)}
		}
	}
	r, err := m.Audit(ctx, within)
	if err != nil {
		return err
	}
	m.receipt.Audit = &Audit{Verdict: r.Verdict, Violations: r.Violations, Unknown: r.Unknown}
	return nil
}

func (m *maker) issue(ctx context.Context) (*Document, error) {
	hash, err := m.receipt.Hash()
	if err != nil {
		return nil, err
	}
	c, err := m.Ledger.CompleteThrough(ctx, m.cfg.Name, m.cfg.Epoch, m.receipt.Topic)
	if err != nil {
		return nil, err
	}
	out := &Document{Receipt: m.receipt, Hash: hash, Issued: Issued{At: m.Client.ServerNow(time.Now()).UTC().Truncate(time.Second), Version: m.Version}}
	if !c.Through.IsZero() {
		whole := c.Through.Truncate(time.Second)
		out.Issued.CompleteThrough = &whole
	}
	return out, nil
}

// Hash is "sha256:" and the hash of the receipt as JSON without blanks.
func (r *Receipt) Hash() (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return "", err
	}
	sum := sha256.Sum256(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}
