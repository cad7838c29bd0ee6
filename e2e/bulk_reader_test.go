package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/waybill-data/waybill/internal/testenv"
)

// reader asks all the time about the events that are there at the beginning. An answer is right if it is that of the old rows, or that of the new ones.
type reader struct {
	b        *bulk
	old, new []string
	done     func()

	// Of one goroutine, until done.
	answers, older, newer, turns, failures int64
	takenBack, most                        int64
	bad                                    []string
}

// sums are what answers are made of, from the generator: how many rows, sums over their values, how many the backfill's plan has made.
func (b *bulk) sums(want made) []string {
	var rows, ids, mixed, changed uint64
	for i := range b.rows {
		e := b.expect(i)
		if e.fate != asRow {
			continue
		}
		id := uint64(i) //nolint:gosec // not negative
		rows, ids, mixed = rows+1, ids+id, mixed+id*id*31+uint64(e.n)*7+uint64(e.at)
		if must, _ := want(i); must {
			changed++
		}
	}
	return []string{fmt.Sprint(rows), fmt.Sprint(ids), fmt.Sprint(mixed), fmt.Sprint(changed), fmt.Sprint(changed)}
}

// question asks for those sums; the last is that of rows of the scope, the one before of all rows.
func (b *bulk) question(inScope string) string {
	var fixed []string
	for p := range b.partitions {
		fixed = append(fixed, fmt.Sprintf("(_partition = %d AND _offset < %d)", p, b.upTo(p, b.rows)))
	}
	was := "(" + strings.Join(fixed, " OR ") + ")"
	is := "startsWith(tenant, '" + marked + "')"
	return fmt.Sprintf("SELECT countIf(%[1]s), sumIf(id, %[1]s), sumWithOverflowIf(id * id * 31 + toUInt64(n) * 7 + toUInt64(toUInt32(at)), %[1]s), countIf(%[1]s AND %[2]s), countIf(%[1]s AND %[2]s AND %[3]s), count() FROM %[4]s.events SETTINGS max_threads = 1",
		was, is, inScope, b.db)
}

// read begins to.
func (b *bulk) read(inScope string, old, now made) *reader {
	r := &reader{b: b, old: b.sums(old), new: b.sums(now)}
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		sql, last := b.question(inScope), 0
		for ctx.Err() == nil {
			began := time.Now()
			body, err := testenv.Query(b.ch.HTTPAddr(), sql)
			if err == nil {
				last = r.take(strings.Fields(body), last)
			} else {
				r.failures++ // the server is away, or says that tables change places under a query
			}
			wait := time.NewTimer(max(20*time.Millisecond, 2*time.Since(began)))
			select {
			case <-ctx.Done():
			case <-wait.C:
			}
			wait.Stop()
		}
	})
	r.done = sync.OnceFunc(func() { cancel(); wg.Wait() })
	b.Cleanup(r.done)
	return r
}

const (
	saysOld = iota + 1
	saysNew
)

// take is which rows an answer is of.
func (r *reader) take(got []string, last int) int {
	r.answers++
	says := last
	switch {
	case slices.Equal(got[:5], r.old):
		says = saysOld
		r.older++
	case slices.Equal(got[:5], r.new):
		says = saysNew
		r.newer++
	default:
		r.bad = append(r.bad, fmt.Sprint(got))
	}
	if last != 0 && says != last {
		r.turns++
	}
	all := integer(got[5])
	if all < r.most {
		r.takenBack++
	}
	r.most = max(r.most, all)
	return says
}

// finish ends it, and fails the case if an answer was wrong, or if the tables have not changed places so many times, as answers tell.
func (r *reader) finish(turns int64) {
	b := r.b
	b.Helper()
	r.done()
	if len(r.bad) > 0 {
		b.Errorf("%d of %d answers are neither of the old rows %v nor of the new ones %v: %v", len(r.bad), r.answers, r.old, r.new, r.bad[:min(len(r.bad), 5)])
	}
	if r.turns != turns {
		b.Errorf("answers have turned %d times from old rows to new ones or back; it was to be %d", r.turns, turns)
	}
	b.observe("answers to a reader", r.answers)
	b.observe("of the old rows", r.older)
	b.observe("of the new rows", r.newer)
	b.Logf("a reader has got %d answers and %d errors; in %d there were fewer rows than before", r.answers, r.failures, r.takenBack)
}
