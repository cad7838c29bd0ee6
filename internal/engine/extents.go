package engine

import (
	"context"
	"sync"

	"github.com/waybill-data/waybill/internal/kafka"
)

// extents answers the many partitions of an assignment, which all ask for the topic's extents at about the same
// time, with few requests: those who come while a request is under way share the next one, so that no answer is
// older than its question.
type extents struct {
	mu   sync.Mutex
	next *extentsAsked // that has not begun; nil if nobody waits
	turn chan struct{} // cap 1: holds the request under way
}

func newExtents() *extents { return &extents{turn: make(chan struct{}, 1)} }

// extentsAsked is one request and, once done is closed, its answer.
type extentsAsked struct {
	done chan struct{}
	info kafka.TopicInfo
	err  error
}

// ask is describe's answer to a request that begins after this call. All callers have the same ctx.
func (e *extents) ask(ctx context.Context, describe func(context.Context) (kafka.TopicInfo, error)) (kafka.TopicInfo, error) {
	e.mu.Lock()
	a := e.next
	if a != nil {
		e.mu.Unlock()
		<-a.done
		return a.info, a.err
	}
	a = &extentsAsked{done: make(chan struct{})}
	e.next = a
	e.mu.Unlock()
	e.turn <- struct{}{}
	e.mu.Lock()
	e.next = nil // who comes now is too late for this one
	e.mu.Unlock()
	a.info, a.err = describe(ctx)
	<-e.turn
	close(a.done)
	return a.info, a.err
}
