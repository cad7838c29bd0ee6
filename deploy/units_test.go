package deploy_test

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/server"
)

// unit reads a systemd unit: values by "Section.Key".
func unit(t *testing.T, text string) map[string][]string {
	t.Helper()
	out, section := map[string][]string{}, ""
	for line := range strings.SplitSeq(text, "\n") {
		switch key, value, ok := strings.Cut(line, "="); {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		case ok:
			out[section+"."+key] = append(out[section+"."+key], value)
		default:
			t.Errorf("no line of a unit: %q", line)
		}
	}
	return out
}

func TestUnit_StopsLaterThanTheDrainAndMayDoLittle(t *testing.T) {
	u := unit(t, read(t, "systemd/waybill.service"))
	stop, err := strconv.Atoi(u["Service.TimeoutStopSec"][0])
	if grace := time.Duration(stop) * time.Second; err != nil || grace < engine.DefaultDrain+endsWithin {
		t.Errorf("TimeoutStopSec is %s, the drain takes up to %s and the end up to %s: %v", grace, engine.DefaultDrain, endsWithin, err)
	}
	for key, want := range map[string]string{
		"Type": "notify", "KillSignal": "SIGTERM", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "DynamicUser": "yes",
		"PrivateTmp": "yes", "CapabilityBoundingSet": "", "MemoryDenyWriteExecute": "yes",
	} {
		if got := u["Service."+key]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

// systemd itself reads the unit.
func TestUnit_SystemdVerifies(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("NOT VERIFIED BY SYSTEMD: systemd-analyze is not here")
	}
	verify := func(text string) (string, error) {
		file := filepath.Join(t.TempDir(), "waybill.service")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(analyze, "verify", "--man=no", file).CombinedOutput()
		return string(out), err
	}
	text := strings.ReplaceAll(read(t, "systemd/waybill.service"), "/usr/local/bin/waybill", "/bin/true") // which has to be there
	if out, err := verify(text); err != nil || strings.Contains(out, "waybill.service:") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := verify(strings.Replace(text, "ProtectSystem=strict", "ProtectSystems=strict", 1)); err == nil && !strings.Contains(out, "ProtectSystems") {
		t.Error("a key that there is not was not seen: the check checks nothing")
	}
}

// The image holds one binary on a distroless base, and is not root.
func TestDockerfile_IsSmallAndNotRoot(t *testing.T) {
	text := read(t, "docker/Dockerfile")
	final := text[strings.LastIndex(text, "\nFROM "):]
	for _, want := range []string{"FROM ${BASE}", "COPY --from=build /waybill ", "USER 65532:65532", "STOPSIGNAL SIGTERM", `ENTRYPOINT ["/usr/local/bin/waybill"]`} {
		if !strings.Contains(final, want) {
			t.Errorf("the last stage lacks %q", want)
		}
	}
	if strings.Contains(final, "\nRUN ") {
		t.Error("the last stage runs something: there is no shell")
	}
	for _, want := range []string{"ARG BASE=distroless/static:nonroot", "CGO_ENABLED=0"} {
		if !strings.Contains(text, want) {
			t.Errorf("the Dockerfile lacks %q", want)
		}
	}
	version := regexp.MustCompile(`\ngo (\d+\.\d+)`).FindStringSubmatch(read(t, "../go.mod"))
	if len(version) != 2 || !strings.Contains(text, "ARG BUILD=golang:"+version[1]+"\n") {
		t.Errorf("the Go of the Dockerfile is not that of go.mod, %v", version)
	}
}

// .dockerignore keeps nothing back that the build of the image needs: Go files, what they embed, go.mod and go.sum.
func TestDockerignore_LeavesWhatTheBuildNeeds(t *testing.T) {
	ignored := ignores(t)
	cmd := exec.Command("go", "list", "-deps", "-json=Dir,GoFiles,EmbedFiles,Standard,Module", "./cmd/waybill")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	n, decoder := 0, json.NewDecoder(strings.NewReader(string(out)))
	for decoder.More() {
		var p struct {
			Dir                 string
			GoFiles, EmbedFiles []string
			Module              *struct{ Main bool }
		}
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		if p.Module == nil || !p.Module.Main {
			continue
		}
		for _, f := range slices.Concat(p.GoFiles, p.EmbedFiles) {
			path, err := filepath.Rel(root, filepath.Join(p.Dir, f))
			if err != nil {
				t.Fatal(err)
			}
			n++
			if by := ignored(filepath.ToSlash(path)); by != "" {
				t.Errorf("%s is needed, and kept back by %q", path, by)
			}
		}
	}
	if n < 300 {
		t.Errorf("only %d files: the list is read wrong", n)
	}
	for _, f := range []string{"go.mod", "go.sum"} {
		if by := ignored(f); by != "" {
			t.Errorf("%s is kept back by %q", f, by)
		}
	}
	for _, f := range []string{".git/HEAD", "tools/engines/.cache/clickhouse/x", "bin/waybill", "internal/engine/engine_test.go"} {
		if ignored(f) == "" {
			t.Errorf("%s is sent to the build", f)
		}
	}
}

// ignores says by which line of .dockerignore a path is kept back. The file has names of folders, and patterns that begin with **/.
func ignores(t *testing.T) func(path string) string {
	t.Helper()
	var lines []string
	for s := bufio.NewScanner(strings.NewReader(read(t, "../.dockerignore"))); s.Scan(); {
		if line := s.Text(); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return func(path string) string {
		for _, line := range lines {
			pattern, anywhere := strings.CutPrefix(line, "**/")
			for i, part := range strings.Split(path, "/") {
				match, _ := filepath.Match(pattern, part)
				if match && (anywhere || i == 0) || strings.HasPrefix(path, line+"/") {
					return line
				}
			}
		}
		return ""
	}
}

// The compose file's pipeline is one, its worker is confined, and it is given the time to stop.
func TestCompose_WorkerIsConfinedAndItsPipelineIsSound(t *testing.T) {
	var c struct {
		Services map[string]struct {
			ReadOnly        bool     `yaml:"read_only"`
			User            string   `yaml:"user"`
			CapDrop         []string `yaml:"cap_drop"`
			SecurityOpt     []string `yaml:"security_opt"`
			StopGracePeriod string   `yaml:"stop_grace_period"`
			Expose          []string
			Configs         []struct{ Source, Target string }
			DependsOn       map[string]struct{ Condition string } `yaml:"depends_on"`
			Build           struct{ Context, Dockerfile string }
		}
		Configs map[string]struct{ Content string }
	}
	if err := yaml.Unmarshal([]byte(read(t, "compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	w := c.Services["waybill"]
	grace, err := time.ParseDuration(w.StopGracePeriod)
	if err != nil || grace < engine.DefaultDrain+endsWithin {
		t.Errorf("stop_grace_period %s: %v", w.StopGracePeriod, err)
	}
	if !w.ReadOnly || w.User != "65532:65532" || !slices.Equal(w.CapDrop, []string{"ALL"}) || !slices.Equal(w.SecurityOpt, []string{"no-new-privileges:true"}) {
		t.Errorf("%+v", w)
	}
	_, port, err := net.SplitHostPort(server.DefaultListen)
	if err != nil || !slices.Equal(w.Expose, []string{port}) {
		t.Errorf("it exposes %q, and listens on %s", w.Expose, server.DefaultListen)
	}
	if _, err := os.Stat(filepath.Join(w.Build.Context, w.Build.Dockerfile)); err != nil {
		t.Error(err)
	}
	if !strings.Contains(read(t, "docker/Dockerfile"), w.Configs[0].Target) {
		t.Errorf("the image does not run %s", w.Configs[0].Target)
	}
	for on := range w.DependsOn {
		if _, ok := c.Services[on]; !ok {
			t.Errorf("it depends on %s, which there is not", on)
		}
	}
	text := strings.ReplaceAll(c.Configs[w.Configs[0].Source].Content, "$$", "$")
	if _, err := config.Parse("pipeline.yaml", []byte(text), func(string) (string, bool) { return "secret", true }); err != nil {
		t.Error(err)
	}
}

// Files here name no registry: images go by plain names.
func TestFiles_NameNoRegistry(t *testing.T) {
	host := regexp.MustCompile(`\b[a-z0-9-]+\.(io|com|dev|org|net)/`)
	for _, file := range []string{"docker/Dockerfile", "compose.yaml", "helm/waybill/values.yaml", "helm/waybill/Chart.yaml"} {
		if found := host.FindString(strings.ReplaceAll(read(t, file), "github.com/waybill-data/waybill", "")); found != "" {
			t.Errorf("%s names %s", file, found)
		}
	}
}
