package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/status"
)

// Engine runs the pipelines of one process side by side.
type Engine struct {
	version   string
	started   time.Time
	pipelines []*Pipeline
}

// NewEngine makes an engine for pipelines that share deps. version is shown in Status.
func NewEngine(version string, pipelines []*config.Pipeline, deps Deps) *Engine {
	e := &Engine{version: version, started: time.Now()}
	for _, cfg := range pipelines {
		e.pipelines = append(e.pipelines, New(cfg, deps))
	}
	return e
}

// Run runs all pipelines until ctx ends or none can go on. A pipeline that has to stop does not stop
// the others; its error is returned at the end, joined with theirs.
func (e *Engine) Run(ctx context.Context) error {
	errs := make([]error, len(e.pipelines))
	var wg sync.WaitGroup
	for i, p := range e.pipelines {
		wg.Go(func() { errs[i] = p.Run(ctx) })
	}
	wg.Wait()
	if len(errs) == 1 {
		return errs[0] // as it is, so that its hint is seen
	}
	return errors.Join(errs...)
}

// Status of the process.
func (e *Engine) Status() status.Status {
	s := status.Status{Version: e.version, Started: e.started, Now: time.Now(), Pipelines: []status.Pipeline{}}
	for _, p := range e.pipelines {
		s.Pipelines = append(s.Pipelines, p.Status())
	}
	return s
}
