// Package reload decides what a process does when its pipeline files change while it runs: which pipelines it stops, starts, or leaves alone. It is
// pure: [Plan] is told what runs and what the files say.
//
// What can be taken over is, what cannot is named, and nothing stops because of a mistake: a pipeline whose file is broken goes on as it was, a
// directory that is suddenly empty (a volume that is not mounted) stops nothing, and while there is a new file that cannot be read no pipeline is taken
// for removed, as its file may have got another name.
package reload

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/waybill-data/waybill/internal/config"
)

// Files are the pipeline files as they are now.
type Files struct {
	Places   []config.Place
	Good     []*config.Pipeline // of files that can be read by themselves
	Problems config.Problems    // of the others
}

// Read reads the files that arguments name.
func Read(args []string, getenv func(string) (string, bool)) Files {
	f := Files{Places: config.Expand(args)}
	paths, problems := config.Files(f.Places)
	f.Good, f.Problems = config.LoadEach(paths, getenv)
	f.Problems = append(problems, f.Problems...)
	return f
}

// Decision is what is to be done. Each pipeline stands for itself and for the one that keeps its records.
type Decision struct {
	Added, Edited, Removed []*config.Pipeline
	// Same are those that are not touched, as they run; one of them may be in another file by now.
	Same []*config.Pipeline
	// Kept are those of them that go on as they were though their file says something else, or nothing that can be read.
	Kept     []*config.Pipeline
	Problems config.Problems
}

// Running is what runs once the decision is carried out.
func (d Decision) Running() []*config.Pipeline {
	return slices.Concat(d.Same, d.Kept, d.Edited, d.Added)
}

// Plan decides. running are the pipelines of this process, each as its file was when it was started.
func Plan(running []*config.Pipeline, f Files) Decision {
	p := &planner{Decision: Decision{Problems: slices.Clone(f.Problems)}, running: running, files: f, taken: map[string]*config.Pipeline{}}
	p.match()
	p.missing()
	p.take()
	return p.Decision
}

type planner struct {
	Decision
	running []*config.Pipeline
	files   Files
	taken   map[string]*config.Pipeline // what the file of each running pipeline says now, by the pipeline's name
	news    []*config.Pipeline
}

// match finds for each file the pipeline that it is about: the one with its name. Of two files with one name the one that it came from has it, else the
// first.
func (p *planner) match() {
	for _, pass := range []func(was, now *config.Pipeline) bool{
		func(was, now *config.Pipeline) bool { return samePath(was.File, now.File) },
		func(*config.Pipeline, *config.Pipeline) bool { return true },
	} {
		for _, now := range p.files.Good {
			was := byName(p.running, now.Name)
			if was != nil && p.taken[now.Name] == nil && pass(was, now) {
				p.taken[now.Name] = now
			}
		}
	}
	for _, now := range p.files.Good {
		if p.taken[now.Name] != now {
			p.news = append(p.news, now)
		}
	}
}

// missing decides about pipelines that no file is about.
func (p *planner) missing() {
	for _, was := range p.running {
		if p.taken[was.Name] != nil {
			continue
		}
		switch why := p.keep(was); why {
		case "":
			p.Removed = append(p.Removed, was)
		default:
			p.Kept = append(p.Kept, was)
			p.Problems = append(p.Problems, config.Problem{File: was.File, Message: fmt.Sprintf("pipeline %s goes on as it was: %s", was.Name, why)})
		}
	}
}

// keep is why a pipeline is not stopped though no file is about it; empty: it is to be.
func (p *planner) keep(was *config.Pipeline) string {
	var new string // a file that cannot be read, and is none of a pipeline that runs
	for _, bad := range p.files.Problems {
		if samePath(bad.File, was.File) {
			return "its file is broken"
		}
		if !slices.ContainsFunc(p.running, func(o *config.Pipeline) bool { return samePath(o.File, bad.File) }) {
			new = bad.File
		}
	}
	if slices.ContainsFunc(p.files.Good, func(o *config.Pipeline) bool { return samePath(o.File, was.File) }) {
		return "" // it is about another pipeline now
	}
	for _, at := range p.files.Places {
		if at.Folder && samePath(at.Path, filepath.Dir(was.File)) {
			if new != "" {
				return fmt.Sprintf("its file is gone, and may be %s, which cannot be read", new)
			}
			if at.Err == nil && len(at.Files) > 0 {
				return ""
			}
		}
	}
	return "where its file was there is nothing to be read; to stop it, end this process, or pause it"
}

// take decides about the files that can be read: none may clash with what goes on.
func (p *planner) take() {
	for _, was := range p.running {
		now := p.taken[was.Name]
		switch {
		case now == nil:
		case now.Meaning == was.Meaning:
			same := *was
			same.File = now.File
			p.Same = append(p.Same, &same)
		default:
			p.Edited = append(p.Edited, now)
		}
	}
	// Those that are edited count as they will be, unless they clash: then they go on as they were, and what clashes with that is refused in turn.
	for again := true; again; {
		again = false
		for i, now := range p.Edited {
			others := slices.Concat(p.Same, p.Kept, p.Edited[:i], p.Edited[i+1:])
			found := config.Clashes(now, others)
			if len(found) == 0 {
				continue
			}
			was := byName(p.running, now.Name)
			p.Problems = append(p.Problems, found...)
			p.Problems = append(p.Problems, config.Problem{File: now.File, Message: fmt.Sprintf("pipeline %s goes on as it was", now.Name)})
			p.Kept = append(p.Kept, was)
			p.Edited = slices.Delete(slices.Clone(p.Edited), i, i+1)
			again = true
			break
		}
	}
	for _, now := range p.news {
		if found := config.Clashes(now, slices.Concat(p.Same, p.Kept, p.Edited, p.Added)); len(found) > 0 {
			p.Problems = append(p.Problems, found...)
			p.retain(now.File)
			continue
		}
		p.Added = append(p.Added, now)
	}
}

// retain keeps the pipeline that a file was about before it was given a name that is refused.
func (p *planner) retain(file string) {
	for i, was := range p.Removed {
		if samePath(was.File, file) {
			p.Kept, p.Removed = append(p.Kept, was), slices.Delete(p.Removed, i, i+1)
			p.Problems = append(p.Problems, config.Problem{File: file, Message: fmt.Sprintf("pipeline %s goes on as it was", was.Name)})
			return
		}
	}
}

func byName(all []*config.Pipeline, name string) *config.Pipeline {
	if i := slices.IndexFunc(all, func(p *config.Pipeline) bool { return p.Name == name }); i >= 0 {
		return all[i]
	}
	return nil
}

func samePath(a, b string) bool { return filepath.Clean(a) == filepath.Clean(b) }
