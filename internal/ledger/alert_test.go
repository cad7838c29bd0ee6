package ledger

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/alert"
)

// Of workers that claim the same at once, one has it, and all agree on which.
func TestAlertClaims_OneWorkerHasIt(t *testing.T) {
	w := newWorld(t)
	var claims []*AlertClaims
	for i := range 6 {
		claims = append(claims, &AlertClaims{Store: New(connect(t, w.srv), w.s.db), Pipeline: "p", Worker: fmt.Sprint("w", i)})
	}
	for round := range 5 {
		k := alert.Key{Receiver: "ops", Finding: "x", Event: alert.Opened, Severity: "error", Reopened: uint32(round)}
		var all sync.WaitGroup
		var mu sync.Mutex
		mine := 0
		for _, c := range claims {
			all.Go(func() {
				before, err := c.Look(t.Context(), k)
				if err == nil && before.Attempt == 0 {
					err = c.Take(t.Context(), k, 1)
				}
				after, lerr := c.Look(t.Context(), k)
				mu.Lock()
				defer mu.Unlock()
				if err != nil || lerr != nil || after.Attempt != 1 || after.Done || time.Since(after.At).Abs() > time.Minute {
					t.Errorf("%v, %v: %+v", err, lerr, after)
				}
				if after.Mine {
					mine++
				}
			})
		}
		all.Wait()
		if mine != 1 {
			t.Fatalf("%d workers have claimed it", mine)
		}
		if err := claims[0].Done(t.Context(), k, 1, alert.Delivered); err != nil {
			t.Fatal(err)
		}
		if c, err := claims[3].Look(t.Context(), k); err != nil || !c.Done {
			t.Errorf("%v: %+v", err, c)
		}
	}
	k := alert.Key{Receiver: "ops", Finding: "y", Event: alert.Opened, Severity: "error"}
	for i, c := range claims[:2] {
		if err := c.Take(t.Context(), k, uint32(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	if a, err := claims[0].Look(t.Context(), k); err != nil || a.Mine || a.Attempt != 2 {
		t.Errorf("a claim that was taken over: %v, %+v", err, a)
	}
	if b, err := claims[1].Look(t.Context(), k); err != nil || !b.Mine {
		t.Errorf("whoever took it over: %v, %+v", err, b)
	}
	// A pipeline that was deleted and is there again has the same findings: they are told again.
	if err := w.s.Forget(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	if err := claims[0].Take(t.Context(), k, 1); err != nil {
		t.Fatal(err)
	}
	if a, err := claims[0].Look(t.Context(), k); err != nil || !a.Mine || a.Attempt != 1 {
		t.Errorf("after the pipeline was deleted: %v, %+v", err, a)
	}
}
