package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Load reads the pipeline file at path; ${NAME} takes its value from the process's environment.
// Whatever is wrong comes back as Problems, a file that cannot be read included.
func Load(path string) (*Pipeline, error) {
	ps, err := LoadAll([]string{path}, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	return ps[0], nil
}

// LoadAll reads several pipeline files that are to run in one process. Beyond each file's own
// problems it reports names that are used twice and groups that two pipelines would fight over.
// Beside an error it returns the pipelines that can be read, for whoever wants to say so.
func LoadAll(paths []string, getenv func(string) (string, bool)) ([]*Pipeline, error) {
	all, problems := LoadEach(paths, getenv)
	var out []*Pipeline
	for _, p := range all {
		if found := Clashes(p, out); len(found) > 0 {
			problems = append(problems, found...)
			continue
		}
		out = append(out, p)
	}
	if len(problems) > 0 {
		return out, problems
	}
	return out, nil
}

// LoadEach reads pipeline files without a look at whether they can run beside each other: those that can be read, in their order, and
// what is wrong with the others.
func LoadEach(paths []string, getenv func(string) (string, bool)) (out []*Pipeline, problems Problems) {
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			problems = append(problems, Problem{File: path, Message: unreadable(err)})
			continue
		}
		p, err := Parse(path, data, getenv)
		var own Problems
		switch {
		case errors.As(err, &own):
			problems = append(problems, own...)
		case err != nil:
			problems = append(problems, Problem{File: path, Message: err.Error()})
		default:
			out = append(out, p)
		}
	}
	return out, problems
}

// unreadable leaves the path out of an error of package os: it is shown in front of it.
func unreadable(err error) string {
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return "cannot read the file: " + err.Error()
}

// Clashes are the ways in which p cannot run beside the others.
func Clashes(p *Pipeline, others []*Pipeline) (out Problems) {
	for _, o := range others {
		switch {
		case o.Name == p.Name:
			out = append(out, p.wholeFile("name", fmt.Sprintf("the name %q is already taken by %s", p.Name, o.File),
				"the ledger tells pipelines apart by their names: choose another"))
		case sharesGroup(p, o):
			out = append(out, p.wholeFile("source.kafka.group",
				fmt.Sprintf("the group %q is already that of pipeline %q", p.Source.Kafka.Group, o.Name),
				"two pipelines in one group would take each other's partitions: choose another"))
		case sharesArchive(p, o):
			out = append(out, p.wholeFile("archive",
				fmt.Sprintf("%s keeps the same topic's records for pipeline %q already", p.Archiver().Sink.ClickHouse.Place(), o.Name),
				"one archive of a topic is enough; or give this one a place of its own"))
		}
	}
	return out
}

// sharesGroup: the groups of two files, with those of their archives.
func sharesGroup(p, o *Pipeline) bool {
	for _, a := range Running([]*Pipeline{p}) {
		for _, b := range Running([]*Pipeline{o}) {
			if a.Source.Kafka.Group == b.Source.Kafka.Group {
				return true
			}
		}
	}
	return false
}

// sharesArchive: two accounts of one topic's records in one table, in which their rows could not be told apart.
func sharesArchive(p, o *Pipeline) bool {
	if p.Archive == nil || o.Archive == nil {
		return false
	}
	a, b := p.Archiver().Sink.ClickHouse, o.Archiver().Sink.ClickHouse
	return (a.Addr == b.Addr || a.Elsewhere != "") && a.Place() == b.Place() && p.Source.Kafka.Topic == o.Source.Kafka.Topic
}

func (p *Pipeline) wholeFile(path, message, hint string) Problem {
	return Problem{File: p.File, Path: path, Message: message, Hint: hint}
}

// Parse reads one pipeline file from memory. name is how messages call it; getenv answers for the
// ${NAME} of string values. The error is Problems.
func Parse(name string, data []byte, getenv func(string) (string, bool)) (*Pipeline, error) {
	src := newSource(name, data)
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, Problems{syntaxProblem(src, err)}
	}
	r := &reader{src: src, getenv: getenv, unresolved: map[ast.Node]bool{}}
	body, problem := onlyDocument(src, file)
	if problem != nil {
		return nil, Problems{*problem}
	}
	p := defaults()
	p.File, p.src = name, func() *source { return src }
	p.meaning = meaning(data, body)
	r.pipeline(value{r: r, node: body}, &p)
	if len(r.problems) > 0 {
		return nil, r.problems.sorted()
	}
	p.given, p.hidden = r.given, r.hidden
	return &p, nil
}

func syntaxProblem(src *source, err error) Problem {
	line, col, message := 1, 1, err.Error()
	var ye yaml.Error
	if errors.As(err, &ye) {
		message = ye.GetMessage()
		if tk := ye.GetToken(); tk != nil && tk.Position != nil {
			line, col = tk.Position.Line, tk.Position.Column
		}
	}
	return src.problem(line, col, "", "this is not YAML: "+message, "")
}

func onlyDocument(src *source, file *ast.File) (ast.Node, *Problem) {
	var bodies []ast.Node
	for _, d := range file.Docs {
		if d.Body != nil {
			bodies = append(bodies, d.Body)
		}
	}
	switch len(bodies) {
	case 0:
		p := src.problem(1, 1, "", "the file holds no pipeline", "start with name:, source:, contract: and sink:")
		return nil, &p
	case 1:
		return bodies[0], nil
	}
	line, col := position(bodies[1])
	p := src.problem(line, col, "", "the file holds more than one document", "one pipeline per file: put the other into a file of its own")
	return nil, &p
}

// meaning is a hash of what a file says: keys and values, whatever their order, and no comments.
func meaning(data []byte, body ast.Node) string {
	var v any
	if err := yaml.NodeToValue(body, &v); err == nil {
		if text, err := json.Marshal(v); err == nil {
			data = text
		}
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
