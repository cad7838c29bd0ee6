package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/reload"
	"github.com/waybill-data/waybill/internal/status"
)

// defaultReload is how often pipeline files are looked at. Two looks have to say the same, so that a file that is being written is not taken for what it
// is to be.
const defaultReload = 2 * time.Second

// reloader has a running process follow its pipeline files. It belongs to one goroutine.
type reloader struct {
	engine  *engine.Engine
	deps    engine.Deps
	places  []string
	every   time.Duration
	memory  int64              // of the process, which was settled when it began
	running []*config.Pipeline // by file, without those that keep records
	// applied is what the files were when they were last heeded, seen when they were last looked at.
	applied, seen [sha256.Size]byte
}

// start begins to look, until ctx ends or the returned function is called, which waits for a change that is being made.
func (r *reloader) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	r.applied = r.look()
	r.seen = r.applied
	r.engine.SetFiles(status.Files{Changed: time.Now(), Problems: []string{}})
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer signal.Stop(hangup)
		r.follow(ctx, hangup)
	}()
	return func() { cancel(); <-over }
}

func (r *reloader) follow(ctx context.Context, hangup <-chan os.Signal) {
	var tick <-chan time.Time
	if r.every > 0 {
		ticker := time.NewTicker(r.every)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			r.deps.Log.Info("SIGHUP: reading the pipeline files")
			r.heed(r.look())
		case <-tick:
			now := r.look()
			if now != r.applied && now == r.seen {
				r.heed(now)
			}
			r.seen = now
		}
	}
}

// look is what tells one state of the files from another: their names and texts. They are read anew each time: what a symbolic link leads to (a Kubernetes
// ConfigMap's) changes without a trace at the file.
func (r *reloader) look() (sum [sha256.Size]byte) {
	var b strings.Builder
	say := func(text string) { b.WriteString(text); b.WriteByte(0) }
	for _, at := range config.Expand(r.places) {
		say(at.Path)
		if at.Err != nil {
			say("? " + at.Err.Error())
		}
		for _, f := range at.Files {
			data, err := os.ReadFile(f)
			if err != nil {
				data = []byte("? " + err.Error())
			}
			one := sha256.Sum256(data)
			say(f)
			b.Write(one[:])
		}
	}
	return sha256.Sum256([]byte(b.String()))
}

// heed has the engine do what the files say.
func (r *reloader) heed(seen [sha256.Size]byte) {
	r.applied = seen
	d := reload.Plan(r.running, reload.Read(r.places, os.LookupEnv))
	r.tell(d)
	r.running = d.Running()
	if len(d.Added)+len(d.Edited)+len(d.Removed) == 0 {
		return
	}
	r.deps.FetchBytes = fetchOf(r.memory, len(config.Running(r.running)))
	var stop []string
	for _, now := range d.Edited {
		stop = append(stop, names(now)...)
	}
	for _, was := range d.Removed {
		stop = append(stop, names(was)...)
	}
	r.engine.Change(stop, config.Running(append(d.Edited, d.Added...)), r.deps)
	r.deps.Log.Info("the pipeline files are followed", "running", len(r.running))
}

// names are a file's pipeline, and the one that keeps its records, whether the file has one now or had one before.
func names(p *config.Pipeline) []string { return []string{p.Name, p.Name + config.ArchiveSuffix} }

// tell says what is to happen, and what is wrong.
func (r *reloader) tell(d reload.Decision) {
	log := r.deps.Log
	for _, p := range d.Added {
		log.Info("pipeline added: starting it", "pipeline", p.Name, "file", p.File)
	}
	for _, p := range d.Edited {
		log.Info("pipeline edited: settling what is in flight, then going on under the new file", "pipeline", p.Name, "file", p.File)
	}
	for _, p := range d.Removed {
		log.Warn("pipeline removed: settling what is in flight, then stopping; its group and what is on record of it stay (`waybill delete` removes them)",
			"pipeline", p.Name, "file", p.File, "group", p.Source.Kafka.Group)
	}
	for _, now := range d.Same {
		for _, was := range r.running {
			if was.Name == now.Name && was.File != now.File {
				log.Info("pipeline file renamed: nothing else has changed", "pipeline", now.Name, "file", now.File, "was", was.File)
			}
		}
	}
	files := status.Files{Changed: time.Now(), Problems: []string{}}
	for _, p := range d.Problems {
		files.Problems = append(files.Problems, p.String())
		log.Error("pipeline file refused", "file", p.File, "line", p.Line, "column", p.Column, "problem", cmp.Or(p.Path, "file")+": "+p.Message, "hint", p.Hint)
	}
	r.deps.Metrics.Reload(len(d.Problems))
	r.engine.SetFiles(files)
}
