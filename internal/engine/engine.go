package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/status"
)

// Engine runs the pipelines of one process side by side. Which those are may change while it runs, see Change.
type Engine struct {
	version string
	started time.Time
	deps    Deps
	ended   chan struct{} // cap 1: a pipeline has ended, or a change is made

	mu       sync.Mutex // guards what follows
	units    []*unit
	ctx      context.Context // of Run; nil before it
	changing int             // changes that are being made
	over     bool            // Run is about to return
	files    *status.Files
}

// unit is one pipeline and the goroutine that runs it.
type unit struct {
	*Pipeline
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended; nil before it was started
	err    error         // how; read it after done
}

// NewEngine makes an engine for pipelines that share deps. version is shown in Status.
func NewEngine(version string, pipelines []*config.Pipeline, deps Deps) *Engine {
	e := &Engine{version: version, started: time.Now(), deps: deps, ended: make(chan struct{}, 1)}
	for _, cfg := range pipelines {
		e.units = append(e.units, &unit{Pipeline: New(cfg, deps)})
	}
	return e
}

// Run runs all pipelines until ctx ends or none can go on. A pipeline that has to stop does not stop
// the others; its error is returned at the end, joined with theirs.
func (e *Engine) Run(ctx context.Context) error {
	e.mu.Lock()
	e.ctx = ctx
	for _, u := range e.units {
		e.start(u)
	}
	e.mu.Unlock()
	for e.busy() {
		<-e.ended
	}
	var errs []error
	for _, u := range e.units {
		errs = append(errs, u.err)
	}
	if len(errs) == 1 {
		return errs[0] // as it is, so that its hint is seen
	}
	return errors.Join(errs...)
}

// busy: something runs, or is about to.
func (e *Engine) busy() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = e.changing == 0 && !slices.ContainsFunc(e.units, func(u *unit) bool { return !u.over() })
	return !e.over
}

func (u *unit) over() bool {
	select {
	case <-u.done:
		return true
	default:
		return false
	}
}

// start runs a unit. Called with e.mu held.
func (e *Engine) start(u *unit) {
	ctx, cancel := context.WithCancel(e.ctx)
	u.cancel, u.done = cancel, make(chan struct{})
	go func() {
		defer poke(e.ended)
		defer close(u.done)
		defer cancel()
		u.err = u.Run(ctx)
	}()
}

// Change drains and stops the pipelines with the given names, then starts others in their places: one of the same name takes the place of the one that
// was stopped. It returns when all that was to be stopped has, by the deadline for a graceful stop; a batch that was not settled until then is carried
// out by whoever is assigned its partition. Pipelines that are not named are not touched. To be called while the engine runs, and by one goroutine.
func (e *Engine) Change(stop []string, start []*config.Pipeline, deps Deps) {
	e.mu.Lock()
	if e.over {
		e.mu.Unlock()
		return
	}
	e.changing++
	var leaving []*unit
	for _, u := range e.units {
		if slices.Contains(stop, u.cfg.Name) {
			leaving = append(leaving, u)
			u.cancel()
		}
	}
	e.mu.Unlock()
	for _, u := range leaving {
		<-u.done
		u.budget.close()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.changing--
	defer poke(e.ended)
	if e.ctx.Err() != nil {
		return // the process is to stop: what has been stopped stays so
	}
	e.deps = deps
	for _, cfg := range start {
		u := &unit{Pipeline: New(cfg, deps)}
		if i := slices.IndexFunc(e.units, func(o *unit) bool { return o.cfg.Name == cfg.Name }); i >= 0 {
			e.units[i] = u
		} else {
			e.units = append(e.units, u)
		}
		e.start(u)
	}
	e.units = slices.DeleteFunc(e.units, func(u *unit) bool {
		if !slices.Contains(leaving, u) {
			return false
		}
		deps.Metrics.Forget(labelOf(u.cfg))
		return true
	})
}

// SetFiles says how the pipeline files are, for Status.
func (e *Engine) SetFiles(f status.Files) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.files = &f
}

// Status of the process.
func (e *Engine) Status() status.Status {
	e.mu.Lock()
	units, files := slices.Clone(e.units), e.files
	e.mu.Unlock()
	s := status.Status{Version: e.version, Started: e.started, Now: time.Now(), Pipelines: []status.Pipeline{}, Files: files}
	for _, u := range units {
		s.Pipelines = append(s.Pipelines, u.Status())
	}
	return s
}
