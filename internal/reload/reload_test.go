package reload_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/reload"
)

// folder is a directory of pipeline files, and what runs of it.
type folder struct {
	*testing.T
	dir     string
	running []*config.Pipeline
}

func text(name, more string) string {
	return fmt.Sprintf(`name: %s
source:
  kafka: {brokers: ["localhost:9092"], topic: t}
  format: json
contract:
  columns:
    id: {type: UInt64, required: true}
sink:
  clickhouse: {url: "clickhouse://default@localhost:9000/d", table: t_%[1]s}
%s`, name, more)
}

func (f *folder) write(file, text string) {
	f.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, file), []byte(text), 0o600); err != nil {
		f.Fatal(err)
	}
}

func (f *folder) remove(file string) {
	f.Helper()
	if err := os.Remove(filepath.Join(f.dir, file)); err != nil {
		f.Fatal(err)
	}
}

// plan decides, and takes over what was decided. It is shown as one line for each kind.
func (f *folder) plan() (shown string, problems []string) {
	f.Helper()
	d := reload.Plan(f.running, reload.Read([]string{f.dir}, os.LookupEnv))
	f.running = d.Running()
	var out []string
	for _, of := range []struct {
		what string
		all  []*config.Pipeline
	}{{"added", d.Added}, {"edited", d.Edited}, {"removed", d.Removed}, {"same", d.Same}, {"kept", d.Kept}} {
		var names []string
		for _, p := range of.all {
			names = append(names, p.Name+"@"+filepath.Base(p.File))
		}
		slices.Sort(names)
		if len(names) > 0 {
			out = append(out, of.what+" "+strings.Join(names, " "))
		}
	}
	for _, p := range d.Problems {
		problems = append(problems, strings.ReplaceAll(p.String(), f.dir+"/", ""))
	}
	return strings.Join(out, "; "), problems
}

// want plans; problems have to be as many as words, each with its words in it.
func (f *folder) want(shown string, words ...string) {
	f.Helper()
	got, problems := f.plan()
	if got != shown {
		f.Errorf("decided %q, want %q", got, shown)
	}
	if len(problems) != len(words) {
		f.Errorf("problems %q, want %q", problems, words)
		return
	}
	for i, w := range words {
		if !strings.Contains(problems[i], w) {
			f.Errorf("problem %q does not say %q", problems[i], w)
		}
	}
}

func newFolder(t *testing.T, names ...string) *folder {
	f := &folder{T: t, dir: t.TempDir()}
	for _, n := range names {
		f.write(n+".yaml", text(n, ""))
	}
	var added []string
	for _, n := range names {
		added = append(added, n+"@"+n+".yaml")
	}
	f.want("added " + strings.Join(added, " "))
	return f
}

func TestPlan_AddEditRemove(t *testing.T) {
	f := newFolder(t, "a", "b")
	f.want("same a@a.yaml b@b.yaml")
	f.write("c.yml", text("c", ""))
	f.write("b.yaml", text("b", "batch: {rows: 10}\n"))
	f.write(".c.yaml.swp.yaml", "not looked at")
	f.write("notes.txt", "not looked at")
	f.want("added c@c.yml; edited b@b.yaml; same a@a.yaml")
	f.remove("a.yaml")
	f.want("removed a@a.yaml; same b@b.yaml c@c.yml")
}

func TestPlan_CommentsAndLayoutAreNoEdit(t *testing.T) {
	f := newFolder(t, "a")
	f.write("a.yaml", "# a comment\n"+strings.ReplaceAll(text("a", ""), "{type: UInt64, required: true}", "\n      required: true # yes\n      type:   UInt64"))
	f.want("same a@a.yaml")
}

func TestPlan_AFileMayBeRenamed(t *testing.T) {
	f := newFolder(t, "a", "b")
	f.write("z.yaml", text("a", ""))
	f.want("same a@a.yaml b@b.yaml", `z.yaml: the name "a" is already taken by `) // both are there
	f.remove("a.yaml")
	f.want("same a@z.yaml b@b.yaml")
	f.remove("z.yaml")
	f.write("y.yaml", text("a", "batch: {rows: 10}\n"))
	f.want("edited a@y.yaml; same b@b.yaml")
}

func TestPlan_ABrokenFileChangesNothing(t *testing.T) {
	f := newFolder(t, "a", "b")
	f.write("a.yaml", text("a", "bach: {rows: 10}\ndelivery: perhaps\n"))
	f.write("b.yaml", text("b", "batch: {rows: 10}\n"))
	f.want("edited b@b.yaml; kept a@a.yaml", "bach", "perhaps", "pipeline a goes on as it was: its file is broken")
	f.write("a.yaml", text("a", ""))
	f.want("same a@a.yaml b@b.yaml")
	f.write("a.yaml", "")
	f.want("same b@b.yaml; kept a@a.yaml", "holds no pipeline", "pipeline a goes on as it was")
}

func TestPlan_ANewBrokenFileMayBeTheOneThatIsGone(t *testing.T) {
	f := newFolder(t, "a", "b")
	f.remove("a.yaml")
	f.write("z.yaml", text("a", "bach: 1\n"))
	f.want("same b@b.yaml; kept a@a.yaml", "bach", "z.yaml, which cannot be read")
	f.write("z.yaml", text("other", ""))
	f.want("added other@z.yaml; removed a@a.yaml; same b@b.yaml")
}

func TestPlan_AnEmptyOrMissingDirectoryStopsNothing(t *testing.T) {
	f := newFolder(t, "a")
	f.remove("a.yaml")
	f.want("kept a@a.yaml", "the directory holds no pipeline files", "pipeline a goes on as it was")
	if err := os.Remove(f.dir); err != nil {
		t.Fatal(err)
	}
	f.want("kept a@a.yaml", "cannot read the file", "pipeline a goes on as it was")
	if err := os.Mkdir(f.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f.write("a.yaml", text("a", ""))
	f.want("same a@a.yaml")
}

func TestPlan_ClashesAreRefusedAndWhatRunsGoesOn(t *testing.T) {
	f := newFolder(t, "a", "b", "c")
	grouped := func(name, group string) string {
		return strings.Replace(text(name, ""), "topic: t", "topic: t, group: "+group, 1)
	}
	f.write("a.yaml", grouped("a", "waybill-b"))
	f.want("same b@b.yaml c@c.yaml; kept a@a.yaml", `the group "waybill-b" is already that of pipeline "b"`, "pipeline a goes on as it was")
	f.write("d.yaml", grouped("d", "waybill-a"))
	f.want("same b@b.yaml c@c.yaml; kept a@a.yaml", `"waybill-b"`, "pipeline a goes on", `the group "waybill-a" is already that of pipeline "a"`)
	f.remove("d.yaml")
	f.write("a.yaml", text("b", "")) // another pipeline's name
	f.want("same b@b.yaml c@c.yaml; kept a@a.yaml", `the name "b" is already taken by`, "pipeline a goes on as it was")
	f.write("a.yaml", grouped("a", "waybill-b")) // two that change places
	f.write("b.yaml", grouped("b", "waybill-a"))
	f.want("edited a@a.yaml b@b.yaml; same c@c.yaml")
}

func TestPlan_ANamedFileThatIsGoneStopsNothing(t *testing.T) {
	f := newFolder(t, "a")
	file := filepath.Join(f.dir, "a.yaml")
	f.remove("a.yaml")
	d := reload.Plan(f.running, reload.Read([]string{file}, os.LookupEnv))
	if len(d.Removed) > 0 || len(d.Kept) != 1 || len(d.Problems) != 2 {
		t.Errorf("%+v", d)
	}
	f.write("a.yaml", text("other", ""))
	d = reload.Plan(f.running, reload.Read([]string{file}, os.LookupEnv))
	if len(d.Removed) != 1 || len(d.Added) != 1 || len(d.Problems) != 0 {
		t.Errorf("a file that is about another pipeline now: %+v", d)
	}
}

// A Kubernetes ConfigMap: the files are links through one link to a directory, which is swapped.
func TestRead_ConfigMap(t *testing.T) {
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, more := range []string{"", "batch: {rows: 10}\n"} {
		inner := fmt.Sprintf("..2026_%d", i)
		must(os.Mkdir(filepath.Join(dir, inner), 0o700))
		must(os.WriteFile(filepath.Join(dir, inner, "a.yaml"), []byte(text("a", more)), 0o600))
		must(os.Symlink(inner, filepath.Join(dir, "..data_tmp")))
		must(os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
		if i == 0 {
			must(os.Symlink(filepath.Join("..data", "a.yaml"), filepath.Join(dir, "a.yaml")))
		}
	}
	got := config.Expand([]string{dir, filepath.Join(dir, "a.yaml")})
	want := []config.Place{{Path: dir, Folder: true, Files: []string{filepath.Join(dir, "a.yaml")}}, {Path: filepath.Join(dir, "a.yaml")}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if f := reload.Read([]string{dir}, os.LookupEnv); len(f.Problems) > 0 || len(f.Good) != 1 || f.Good[0].Batch.Rows != 10 {
		t.Errorf("%+v", f)
	}
}
