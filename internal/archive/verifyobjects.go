package archive

import (
	"context"
	"errors"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/objects"
)

// Lacking are offsets of a partition.
type Lacking struct {
	Partition int32 `json:"partition"`
	First     int64 `json:"first"`
	Next      int64 `json:"next"`
}

// Inventory is what came of reading every object and comparing it with the account.
type Inventory struct {
	Objects int64 `json:"objects"`
	Records int64 `json:"records"`
	// Damaged are objects that cannot be read, or hold something else than their names say.
	Damaged []Damage `json:"damaged"`
	// Missing are offsets of records that the account counts as written, of which no object holds one.
	Missing []Lacking `json:"missing"`
	// Differ are rows of the account whose checksum is not that of the records which the objects hold.
	Differ []Lacking `json:"differ"`
	// Unsummed is how many rows of the account have no checksum to compare with, as some of their records were erased.
	Unsummed int64 `json:"unsummed"`
}

// Damage is an object that cannot be read.
type Damage struct {
	Object string `json:"object"`
	Lacking
	Error string `json:"error"`
}

// OK reports whether the objects are what the account says.
func (v *Inventory) OK() bool { return len(v.Damaged)+len(v.Missing)+len(v.Differ) == 0 }

// TakeInventory reads every object that the account of a topic is about, and compares records and checksums with it. Only an archive of objects
// has one: ok is false for any other.
func (r *Reader) TakeInventory(ctx context.Context, topic string) (v *Inventory, ok bool, err error) {
	k, ok := r.keeper.(*objectKeeper)
	if !ok {
		return nil, false, nil
	}
	t := &taking{r: r, store: k.store, Inventory: Inventory{Damaged: []Damage{}, Missing: []Lacking{}, Differ: []Lacking{}}, topic: topic}
	if t.erased, err = r.store.ArchiveErased(ctx, r.src.Pipeline, topic); err != nil {
		return nil, true, err
	}
	epochs, err := r.epochs(ctx, topic)
	if err != nil {
		return nil, true, err
	}
	for _, t.epoch = range epochs {
		err := r.store.Accounts(ctx, r.src.Pipeline, t.epoch, topic, nil, func(a *ledger.Account) error {
			t.accounts = append(t.accounts, *a)
			return nil
		})
		if err != nil {
			return nil, true, err
		}
		for i := range t.accounts {
			if err := t.account(ctx, &t.accounts[i]); err != nil {
				return nil, true, err
			}
		}
		t.accounts = t.accounts[:0]
	}
	return &t.Inventory, true, nil
}

// taking is an inventory under way.
type taking struct {
	Inventory
	r        *Reader
	store    *objects.Store
	topic    string
	epoch    waybill.Epoch
	erased   map[int32]waybill.OffsetSet
	accounts []ledger.Account // of the epoch: the statement is over before the objects are read
}

// account compares one row of the ledger.
func (t *taking) account(ctx context.Context, a *ledger.Account) error {
	entries, err := t.store.Within(ctx, a.TopicPartition, t.epoch, a.Span)
	if err != nil {
		return err
	}
	var there waybill.OffsetSet
	var sum uint64
	damaged := false
	for _, e := range entries {
		t.Objects++
		records, _, err := t.store.Records(ctx, e.Name)
		if errors.Is(err, objects.ErrDamaged) || errors.Is(err, objects.ErrGone) {
			damaged = true
			t.Damaged = append(t.Damaged, Damage{e.String(), Lacking{a.Partition, e.First, e.Next}, err.Error()})
			continue
		}
		if err != nil {
			return err
		}
		for i := range records {
			if o := records[i].Offset; a.Contains(o) && !there.Contains(o) {
				there.Add(o)
				sum += waybill.RecordChecksum(&records[i])
			}
		}
	}
	t.Records += there.Len()
	erased := t.erased[a.Partition].Within(a.Span)
	switch {
	case there.Union(erased).Len() < a.Written:
		// Which of the offsets without a record have none is not known if there are holes: all are named.
		for _, sp := range waybill.OffsetsIn(a.Span).Minus(there).Minus(erased).Spans() {
			t.Missing = append(t.Missing, Lacking{a.Partition, sp.First, sp.Next})
		}
	case damaged: // said already
	case !erased.Empty():
		t.Unsummed++
	case a.Lost == 0 && sum != a.Checksum:
		t.Differ = append(t.Differ, Lacking{a.Partition, a.First, a.Next})
	}
	return nil
}
