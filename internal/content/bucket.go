package content

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/objects"
)

// Bucket is a place that is storage that speaks S3: a value is the object sha256/xx/NAME, xx being its name's first two digits. Rows are in ClickHouse
// all the same.
type Bucket struct {
	Objects *objects.Store
	Client  *clickhouse.Client
	Where   string // for people
}

var _ Place = (*Bucket)(nil)

// folder is where the values are.
const folder = "sha256/"

func objectName(name string) string { return folder + name[:2] + "/" + name }

func (b *Bucket) String() string { return b.Where }

// Prepare asks whether the bucket is there: it is made by people.
func (b *Bucket) Prepare(ctx context.Context) error { return b.Look(ctx) }

// Look asks whether the bucket is there.
func (b *Bucket) Look(ctx context.Context) error { return b.Objects.Check(ctx) }

// putsAtOnce is how many objects are written side by side.
const putsAtOnce = 8

// Put writes an object for each value.
func (b *Bucket) Put(ctx context.Context, values []Value) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	next := make(chan Value)
	for range min(putsAtOnce, len(values)) {
		wg.Go(func() {
			for v := range next {
				if err := b.Objects.PutValue(ctx, objectName(Name(v.Hash)), v.Bytes); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, v := range values {
		if ctx.Err() != nil {
			break
		}
		next <- v
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// Get is one value.
func (b *Bucket) Get(ctx context.Context, name string) ([]byte, error) {
	if len(name) < 2 {
		return nil, fmt.Errorf("%q is no name of a value: %w", name, ErrNone)
	}
	body, err := b.Objects.Get(ctx, objectName(name))
	if errors.Is(err, objects.ErrGone) {
		err = fmt.Errorf("%s, %s: %w", b.Where, name, ErrNone)
	}
	return body, err
}

// Missing compares references with the bucket's list.
func (b *Bucket) Missing(ctx context.Context, refs []Reference) (m Missing, err error) {
	there := map[string]bool{}
	err = b.Objects.Names(ctx, folder, func(f objects.Found) error {
		there[f.Name] = true
		return nil
	})
	if err != nil {
		return m, err
	}
	err = b.Client.Texts(ctx, fmt.Sprintf("SELECT DISTINCT waybill_ref FROM (%s) ORDER BY 1", referenced(refs)), []string{"waybill_ref"}, func(row []string) error {
		m.References++
		if len(row[0]) < 2 || !there[objectName(row[0])] {
			if m.Missing++; len(m.Names) < maxMissing {
				m.Names = append(m.Names, row[0])
			}
		}
		return nil
	})
	return m, err
}

// Sweep asks of the objects, some at a time, which ones no row refers to.
func (b *Bucket) Sweep(ctx context.Context, refs []Reference, before time.Duration, remove bool) (s Swept, err error) {
	bound := time.Now().Add(-before) // of storing and of this machine: Grace leaves room for clocks
	var page []objects.Found
	flush := func() error {
		if len(page) == 0 {
			return nil
		}
		names := make([]string, len(page))
		for i, f := range page {
			names[i] = clickhouse.Literal(nameOf(f))
		}
		used := map[string]bool{}
		err := b.Client.Texts(ctx, fmt.Sprintf("SELECT DISTINCT waybill_ref FROM (%s) WHERE waybill_ref IN (%s)", referenced(refs), strings.Join(names, ", ")), []string{"waybill_ref"}, func(row []string) error {
			used[row[0]] = true
			return nil
		})
		if err != nil {
			return err
		}
		for _, f := range page {
			switch {
			case used[nameOf(f)]:
			case f.Modified.After(bound):
				s.Young++
			default:
				s.Values, s.Bytes = s.Values+1, s.Bytes+f.Size
				if !remove {
					continue
				}
				again, err := b.again(ctx, f.Name, bound)
				if err == nil && !again {
					err = b.Objects.Remove(ctx, f.Name)
				}
				if err != nil {
					return err
				}
			}
		}
		page = page[:0]
		return nil
	}
	err = b.Objects.Names(ctx, folder, func(f objects.Found) error {
		if page = append(page, f); len(page) < sweepPage {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	s.Removed = remove && err == nil
	return s, err
}

// again reports whether a value has been stored anew since the list was made. Between this and the removal lies one request: a row that comes just then
// refers to what is gone, and the audit says so.
func (b *Bucket) again(ctx context.Context, name string, bound time.Time) (again bool, err error) {
	err = b.Objects.Names(ctx, name, func(f objects.Found) error {
		again = again || f.Modified.After(bound)
		return nil
	})
	return again, err
}

// sweepPage is how many objects are asked about by one query.
const sweepPage = 1_000

func nameOf(f objects.Found) string { return f.Name[strings.LastIndexByte(f.Name, '/')+1:] }
