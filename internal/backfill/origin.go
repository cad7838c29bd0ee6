package backfill

import (
	"math"

	"github.com/waybill-data/waybill"
)

// Origin is an epoch that rows of a table are of. A table that a backfill has made holds rows of its own epoch, and those that it has left as they were.
type Origin struct {
	Epoch waybill.Epoch
	// Account are the offsets that the epoch's account is about, by partition; all others are holes to it. A partition without an entry is all of it.
	Account map[int32]waybill.OffsetSet
	// Taken are offsets of older epochs' accounts whose rows the epoch has made again, one by one, as the table takes none of an older epoch (adr/0024).
	Taken map[int32]waybill.OffsetSet
	// Rows are the offsets of which the table has the epoch's rows, of its account and taken ones. A partition without an entry is all of it in the first origin,
	// none of it in others.
	Rows map[int32]waybill.OffsetSet
}

// Legs are the ways of a pipeline's jobs, by the epoch of each: the job as it was when its leg was the last one.
type Legs map[waybill.Epoch]Job

// Origins are the epochs that the rows of a table are of that is written under an epoch, the table's own first. scope is what a job was to read, taken is what
// was repaired under an epoch, be it on its account or not.
func (l Legs) Origins(epoch waybill.Epoch, scope func(job string) (map[int32]waybill.OffsetSet, error), taken func(waybill.Epoch) (map[int32]waybill.OffsetSet, error)) ([]Origin, error) {
	own, err := l.account(epoch, scope)
	if err != nil {
		return nil, err
	}
	first := Origin{Epoch: epoch, Account: own, Rows: own}
	left := map[int32]waybill.OffsetSet{} // offsets of which it is not known yet whose rows they are
	for p := range own {
		left[p] = everything.Minus(own[p])
	}
	if allEmpty(left) {
		return []Origin{first}, nil
	}
	some, err := taken(epoch)
	if err != nil {
		return nil, err
	}
	first.Rows = map[int32]waybill.OffsetSet{}
	for p, set := range own {
		first.Rows[p] = set
		first.take(p, left, some[p])
	}
	out := []Origin{first}
	for {
		before, ok := l.before(epoch)
		if !ok || before >= epoch || allEmpty(left) {
			return out, nil
		}
		epoch = before
		if own, err = l.account(epoch, scope); err != nil {
			return nil, err
		}
		if some, err = taken(epoch); err != nil {
			return nil, err
		}
		o := Origin{Epoch: epoch, Account: own, Rows: map[int32]waybill.OffsetSet{}}
		for p, set := range left {
			account, known := own[p]
			if !known {
				account = everything
			}
			o.Rows[p], left[p] = set.Intersect(account), set.Minus(account)
			o.take(p, left, some[p])
		}
		out = append(out, o)
	}
}

// take takes what was repaired out of what is left.
func (o *Origin) take(p int32, left map[int32]waybill.OffsetSet, repaired waybill.OffsetSet) {
	set := left[p].Intersect(repaired)
	if set.Empty() {
		return
	}
	if o.Taken == nil {
		o.Taken = map[int32]waybill.OffsetSet{}
	}
	o.Taken[p], o.Rows[p], left[p] = set, o.Rows[p].Union(set), left[p].Minus(set)
}

// Account is what an epoch's account is about, by partition; one without an entry is all of it.
func (l Legs) Account(epoch waybill.Epoch, scope func(job string) (map[int32]waybill.OffsetSet, error)) (map[int32]waybill.OffsetSet, error) {
	return l.account(epoch, scope)
}

// everything is every offset there can be.
var everything = waybill.OffsetsIn(waybill.Span{First: 0, Next: math.MaxInt64})

func allEmpty(sets map[int32]waybill.OffsetSet) bool {
	for _, set := range sets {
		if !set.Empty() {
			return false
		}
	}
	return true
}

// account is what an epoch's account is about. An epoch that no job has made accounts for whatever it has read.
func (l Legs) account(epoch waybill.Epoch, scope func(string) (map[int32]waybill.OffsetSet, error)) (map[int32]waybill.OffsetSet, error) {
	j, ok := l[epoch]
	if !ok {
		return nil, nil //nolint:nilnil // no entry: all of each partition
	}
	out := map[int32]waybill.OffsetSet{}
	if j.Leg.Number > 0 {
		for p, from := range j.Leg.From {
			out[p] = behind(from)
		}
		return out, nil
	}
	of, err := scope(j.ID)
	for p, v := range j.Leg.V {
		out[p] = of[p].Union(behind(v)) // since V it has written all that came
	}
	return out, err
}

func behind(at int64) waybill.OffsetSet {
	return waybill.OffsetsIn(waybill.Span{First: at, Next: math.MaxInt64})
}

// before is the epoch under which the rows that an epoch's table has not made itself were written: of a table that has come back that under which it was live,
// else that of the table whose rows it has taken over.
func (l Legs) before(epoch waybill.Epoch) (out waybill.Epoch, ok bool) {
	j, ok := l[epoch]
	if !ok {
		return 0, false
	}
	out = j.BaseEpoch
	for e := range l {
		if o := l[e]; j.Leg.Number > 0 && o.ID == j.ID && e < epoch && o.Leg.In == j.Leg.In && !o.Leg.Exchanged.IsZero() {
			out = max(out, e)
		}
	}
	return out, true
}
