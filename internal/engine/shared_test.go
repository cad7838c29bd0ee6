package engine

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
)

func TestShared_ManyAskFewRequestsNoneOlderThanTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared[int, []int]()
		asked := 0
		hold := make(chan struct{})
		request := func(ctx context.Context, questions []int) ([]int, error) {
			asked++
			n := asked
			<-hold
			return append([]int{n}, questions...), ctx.Err()
		}
		want := func(question, n, questions int) {
			got, err := s.ask(t.Context(), question, request)
			if err != nil || got[0] != n || len(got) != questions+1 || !slices.Contains(got[1:], question) {
				t.Errorf("question %d answered by request %d of %d (%v), want request %d of %d", question, got[0], len(got)-1, err, n, questions)
			}
		}
		go want(1000, 1, 1)
		synctest.Wait()
		for i := range 100 { // these come too late for the first
			go want(i, 2, 100)
		}
		synctest.Wait()
		close(hold)
		synctest.Wait()
		want(1001, 3, 1)
	})
}
