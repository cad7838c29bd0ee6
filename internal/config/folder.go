package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Place is an argument that names pipeline files: a file, or a directory of them.
type Place struct {
	Path   string
	Folder bool
	Files  []string // in the order of their names
	// Err is why it cannot be told which files there are; nil for a file, whether it is there or not.
	Err error
}

// Expand finds the pipeline files that arguments name. A directory's are those that end in .yaml or .yml and are directly in it; what begins
// with a dot is not one, so that editors' leavings and the inner directories of a Kubernetes ConfigMap are no files. A file that two
// arguments name comes once.
func Expand(args []string) []Place {
	seen := map[string]bool{}
	var out []Place
	for _, arg := range args {
		p := Place{Path: arg}
		found := []string{arg}
		if info, err := os.Stat(arg); err == nil && info.IsDir() {
			p.Folder = true
			found, p.Err = folder(arg)
		}
		for _, f := range found {
			if clean := filepath.Clean(f); !seen[clean] {
				seen[clean] = true
				p.Files = append(p.Files, f)
			}
		}
		out = append(out, p)
	}
	return out
}

// Files are those of all places, and what is wrong with places.
func Files(places []Place) (files []string, problems Problems) {
	for _, p := range places {
		switch {
		case p.Err != nil:
			problems = append(problems, Problem{File: p.Path, Message: unreadable(p.Err)})
		case p.Folder && len(p.Files) == 0:
			problems = append(problems, Problem{File: p.Path, Message: "the directory holds no pipeline files", Hint: "they end in .yaml or .yml"})
		}
		files = append(files, p.Files...)
	}
	return files, problems
}

func folder(dir string) (files []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := e.Name()
		if ext := filepath.Ext(name); strings.HasPrefix(name, ".") || ext != ".yaml" && ext != ".yml" {
			continue
		}
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.IsDir() { // through symbolic links; one that leads nowhere is a file that cannot be read
			continue
		}
		files = append(files, path)
	}
	slices.Sort(files)
	return files, nil
}

// LoadPlaces is LoadAll for what arguments name.
func LoadPlaces(args []string, getenv func(string) (string, bool)) ([]*Pipeline, error) {
	files, problems := Files(Expand(args))
	out, err := LoadAll(files, getenv)
	if own, ok := err.(Problems); ok { //nolint:errorlint // made above
		problems = append(problems, own...)
	} else if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if len(problems) > 0 {
		return out, problems
	}
	return out, nil
}
