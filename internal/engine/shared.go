package engine

import (
	"context"
	"sync"
)

// shared answers the many partitions of an assignment, which all have the same kind of question at about the same
// time, with few requests: those who come while a request is under way share the next one, so that no answer is
// older than its question.
type shared[Q, A any] struct {
	mu   sync.Mutex
	next *round[Q, A]  // that has not begun; nil if nobody waits
	turn chan struct{} // cap 1: holds the request under way
}

func newShared[Q, A any]() *shared[Q, A] { return &shared[Q, A]{turn: make(chan struct{}, 1)} }

// round is one request and, once done is closed, its answer.
type round[Q, A any] struct {
	questions []Q
	done      chan struct{}
	answer    A
	err       error
}

// ask is the answer of request, which begins after this call, to this question and others. All callers have the
// same ctx, and a request that does the same.
func (s *shared[Q, A]) ask(ctx context.Context, question Q, request func(context.Context, []Q) (A, error)) (A, error) {
	s.mu.Lock()
	r := s.next
	if r != nil {
		r.questions = append(r.questions, question)
		s.mu.Unlock()
		<-r.done
		return r.answer, r.err
	}
	r = &round[Q, A]{questions: []Q{question}, done: make(chan struct{})}
	s.next = r
	s.mu.Unlock()
	s.turn <- struct{}{}
	s.mu.Lock()
	s.next = nil // who comes now is too late for this one
	s.mu.Unlock()
	r.answer, r.err = request(ctx, r.questions)
	<-s.turn
	close(r.done)
	return r.answer, r.err
}
