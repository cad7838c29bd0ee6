package guide

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/config"
)

// runner runs a page.
type runner struct {
	*world
	page   *page
	names  *names
	update bool
	setenv func(name, value string)
}

func newRunner(t *testing.T, p *page) *runner {
	t.Helper()
	return &runner{world: newWorld(t, strings.TrimSuffix(filepath.Base(p.path), ".md")), page: p, names: newNames(time.Now().UTC()), setenv: t.Setenv}
}

// run runs the blocks in order, up to the first that is not as it reads.
func (r *runner) run() error {
	for i := 0; i < len(r.page.blocks); i++ {
		b := r.page.blocks[i]
		var answer *block
		if b.lang == "sql" && i+1 < len(r.page.blocks) && r.page.blocks[i+1].lang == "text" {
			i++
			answer = r.page.blocks[i]
		}
		if err := r.block(b, answer); err != nil {
			return fmt.Errorf("%s:%d: %w", r.page.path, b.at+1, err)
		}
	}
	return nil
}

func (r *runner) block(b, answer *block) error {
	switch {
	case b.is(b.lang, "illustration"):
		return nil
	case b.lang == "sql" && len(b.words) == 0:
		return r.statements(b, answer)
	case b.lang == "console":
		return r.console(b)
	case b.is("json", "events"), b.is("json", "records"):
		return r.records(b)
	case (b.lang == "yaml" || b.lang == "json" || b.lang == "ndjson" || b.lang == "text") && len(b.words) == 1 && strings.Contains(b.words[0], "."):
		return os.WriteFile(b.words[0], []byte(r.inside.Replace(strings.Join(b.lines, "\n")+"\n")), 0o600)
	}
	return fmt.Errorf("nobody knows how to run a block %q: say what it is, or that it is an illustration", strings.TrimSpace(b.lang+" "+strings.Join(b.words, " ")))
}

// records puts the lines of a block into a topic.
func (r *runner) records(b *block) error {
	to := topic
	if len(b.words) > 1 {
		to = b.words[1]
	}
	for _, line := range b.lines {
		if err := r.produce(to, line, b.is("json", "records")); err != nil {
			return err
		}
	}
	return nil
}

// statements runs the statements of a block, each of which ends with a line that ends with a semicolon.
func (r *runner) statements(b, answer *block) error {
	if r.worker != nil {
		if err := r.settled(r.worker); err != nil {
			return r.failed(r.worker, err)
		}
	}
	all := strings.Split(strings.TrimSuffix(strings.TrimSpace(r.names.inRun(strings.Join(b.lines, "\n"))), ";"), ";\n")
	for _, s := range all[:len(all)-1] {
		if _, err := r.sql(s); err != nil {
			return err
		}
	}
	last := all[len(all)-1]
	if answer == nil {
		_, err := r.sql(last)
		return err
	}
	// What a running worker says of itself may take a moment.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		text, err := r.sql(last)
		if err != nil {
			return err
		}
		got := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		difference := r.names.compare(answer.lines, got)
		if difference == "" {
			return nil
		}
		if r.worker == nil || time.Now().After(deadline) {
			return r.differs(answer, got, difference)
		}
	}
}

// differs is an error, unless the page is to be updated.
func (r *runner) differs(b *block, got []string, difference string) error {
	if !r.update {
		return errors.New(difference)
	}
	r.page.replace(b, trimmed(got))
	return nil
}

func (r *runner) console(b *block) error {
	commands, err := commandsOf(b)
	if err != nil {
		return err
	}
	var whole []string
	var differences []string
	for _, c := range commands {
		got, code, err := r.command(c)
		if err != nil {
			return fmt.Errorf("line %d: $ %s: %w", b.at+c.at+1, c.text, err)
		}
		if code != 0 && !b.is("console", fmt.Sprintf("exit=%d", code)) {
			return fmt.Errorf("line %d: $ %s: exit code %d\n%s", b.at+c.at+1, c.text, code, strings.Join(got, "\n"))
		}
		if d := r.names.compare(c.lines, got); d != "" {
			differences = append(differences, fmt.Sprintf("line %d: $ %s: %s", b.at+c.at+1, c.text, d))
		} else {
			got = c.lines // with the page's own times and ids
		}
		whole = append(append(whole, "$ "+c.text), got...)
	}
	if len(differences) > 0 {
		return r.differs(b, whole, strings.Join(differences, "\n"))
	}
	return nil
}

// command runs one command: what it prints, and its exit code.
func (r *runner) command(c *command) (got []string, code int, err error) {
	args := fields(r.inside.Replace(r.names.inRun(c.text)))
	switch {
	case len(args) > 1 && (args[0] == "cat" || args[0] == "diff" || args[0] == "sed" || args[0] == "sleep"):
		return r.shell(c.text)
	case len(args) == 2 && args[0] == "export":
		name, value, _ := strings.Cut(args[1], "=")
		r.setenv(name, value)
		return nil, 0, nil
	case len(args) == 1 && args[0] == "fg" && r.worker != nil:
		p := r.worker
		r.worker = nil
		return r.foreground(p, c)
	case len(args) > 2 && args[0] == "waybill" && args[1] == "run":
		return r.waybillRun(args[1:], c)
	case len(args) > 1 && args[0] == "waybill":
		return r.waybill(args[1:])
	}
	return nil, 0, errors.New("this command is not known")
}

// shell runs a command of the system.
func (r *runner) shell(text string) (got []string, code int, err error) {
	cmd := exec.Command("sh", "-c", text)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code, err = exit.ExitCode(), nil
	}
	if len(out) > 0 {
		got = strings.Split(strings.TrimSuffix(r.outside.Replace(string(out)), "\n"), "\n")
	}
	return got, code, err
}

func (r *runner) waybill(args []string) (got []string, code int, err error) {
	if r.worker != nil {
		if err := r.settled(r.worker); err != nil {
			return nil, 0, r.failed(r.worker, err)
		}
	}
	p := start(args...)
	<-p.done
	return r.printed(p), p.code, nil
}

func (r *runner) printed(p *process) []string {
	lines, _ := p.out.lines()
	for i := range lines {
		lines[i] = r.outside.Replace(lines[i])
	}
	return lines
}

// waybillRun runs a pipeline: in the background, until it is interrupted, or until it ends by itself.
func (r *runner) waybillRun(args []string, c *command) (got []string, code int, err error) {
	background := args[len(args)-1] == "&"
	args = slices.DeleteFunc(args, func(a string) bool { return a == "&" })
	pipelines := map[string][]string{}
	for _, arg := range args {
		if cfg, err := config.Load(arg); err == nil {
			for _, p := range config.Running([]*config.Pipeline{cfg}) {
				pipelines[cfg.Source.Kafka.Topic] = append(pipelines[cfg.Source.Kafka.Topic], p.Name)
			}
		}
	}
	if len(pipelines) > 0 {
		r.pipelines = pipelines
	}
	p := start(append(args, "--listen", "")...)
	if background {
		if r.worker != nil {
			return nil, 0, errors.New("there is a worker already: fg")
		}
		r.worker = p
		return nil, 0, r.failed(p, r.settled(p))
	}
	return r.foreground(p, c)
}

// foreground is what a worker prints until it is interrupted, or ends by itself.
func (r *runner) foreground(p *process, c *command) (got []string, code int, err error) {
	defer p.interrupt()
	if len(c.lines) > 0 && c.lines[0] == "^C" {
		if err := r.settled(p); err != nil {
			return nil, 0, r.failed(p, err)
		}
		p.interrupt()
		return append([]string{"^C"}, r.printed(p)...), p.code, nil
	}
	select {
	case <-p.done:
		return r.printed(p), p.code, nil
	case <-time.After(patience):
		return nil, 0, r.failed(p, errors.New("it does not end: write ^C after it, or & behind it"))
	}
}

// failed is err with what the worker has said, nil without.
func (r *runner) failed(p *process, err error) error {
	if err == nil {
		return nil
	}
	p.interrupt()
	printed, logged := p.out.lines()
	return fmt.Errorf("%w\n%s\n%s", err, strings.Join(logged[max(0, len(logged)-20):], "\n"), strings.Join(printed, "\n"))
}
