package engine

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/waybill-data/waybill/internal/kafka"
)

func TestExtents_ManyAskFewRequestsNoneOlderThanTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newExtents()
		asked := 0
		hold := make(chan struct{})
		describe := func(ctx context.Context) (kafka.TopicInfo, error) {
			asked++
			n := asked
			<-hold
			return kafka.TopicInfo{Partitions: make([]kafka.PartitionInfo, n)}, ctx.Err()
		}
		want := func(n int) {
			if info, err := e.ask(t.Context(), describe); err != nil || len(info.Partitions) != n {
				t.Errorf("answered by request %d (%v), want request %d", len(info.Partitions), err, n)
			}
		}
		go want(1)
		synctest.Wait()
		for range 100 { // these come too late for the first
			go want(2)
		}
		synctest.Wait()
		close(hold)
		synctest.Wait()
		want(3)
	})
}
