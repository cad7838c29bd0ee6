package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// releaseFile is what .goreleaser.yaml may hold. A key that is not here is a mistake, or one that this test has to be told of; `make release-check` asks
// the tool itself.
type releaseFile struct {
	Version     int    `yaml:"version"`
	ProjectName string `yaml:"project_name"`
	Before      struct {
		Hooks []string `yaml:"hooks"`
	} `yaml:"before"`
	Builds []struct {
		ID           string   `yaml:"id"`
		Main         string   `yaml:"main"`
		Binary       string   `yaml:"binary"`
		Env          []string `yaml:"env"`
		Goos         []string `yaml:"goos"`
		Goarch       []string `yaml:"goarch"`
		Flags        []string `yaml:"flags"`
		Ldflags      []string `yaml:"ldflags"`
		ModTimestamp string   `yaml:"mod_timestamp"`
	} `yaml:"builds"`
	Archives []struct {
		ID           string            `yaml:"id"`
		IDs          []string          `yaml:"ids"`
		Formats      []string          `yaml:"formats"`
		NameTemplate string            `yaml:"name_template"`
		Wrap         bool              `yaml:"wrap_in_directory"`
		BuildsInfo   map[string]any    `yaml:"builds_info"`
		Files        []releaseFilePart `yaml:"files"`
	} `yaml:"archives"`
	Checksum struct {
		NameTemplate string `yaml:"name_template"`
		Algorithm    string `yaml:"algorithm"`
	} `yaml:"checksum"`
	Snapshot struct {
		VersionTemplate string `yaml:"version_template"`
	} `yaml:"snapshot"`
	Changelog struct {
		Disable bool `yaml:"disable"`
	} `yaml:"changelog"`
	Release struct {
		GitHub     map[string]string `yaml:"github"`
		Draft      bool              `yaml:"draft"`
		Prerelease string            `yaml:"prerelease"`
	} `yaml:"release"`
}

type releaseFilePart struct {
	Src  string         `yaml:"src"`
	Info map[string]any `yaml:"info"`
}

// A released binary is built as `make build` and the image build one, of a package that is there, and comes with what its archive promises.
func TestRelease_BuildsWhatTheMakefileBuilds(t *testing.T) {
	read := func(path string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join("..", path)) //nolint:gosec // a file of the tree
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var r releaseFile
	if err := yaml.UnmarshalWithOptions([]byte(read(".goreleaser.yaml")), &r, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if r.Version != 2 || len(r.Builds) != 1 || len(r.Archives) != 1 {
		t.Fatalf("%+v", r)
	}
	b := r.Builds[0]
	if info, err := os.Stat(filepath.Join("..", b.Main, "main.go")); err != nil || info.IsDir() {
		t.Errorf("main: %s: %v", b.Main, err)
	}
	makefile := read("Makefile")
	built := regexp.MustCompile(`(?m)^\t(.*) \$\(GO\) build (.*) -ldflags '\$\(LDFLAGS\)' -o bin/waybill (\S+)$`).FindStringSubmatch(makefile)
	flags := regexp.MustCompile(`(?m)^LDFLAGS := (.*)$`).FindStringSubmatch(makefile)
	image := regexp.MustCompile(`(?m)^RUN (.*) go build (.*) -ldflags "(.*)" -o /waybill (\S+)$`).FindStringSubmatch(read("deploy/docker/Dockerfile"))
	if built == nil || flags == nil || image == nil {
		t.Fatalf("the Makefile or the Dockerfile build in another way: %q, %q, %q", built, flags, image)
	}
	for from, other := range map[string][]string{
		"Makefile":   {built[1], built[2], strings.ReplaceAll(flags[1], "$(VERSION)", "VERSION"), built[3]},
		"Dockerfile": {image[1], strings.TrimPrefix(image[2], "-tags nodemo "), strings.ReplaceAll(image[3], "${VERSION}", "VERSION"), image[4]},
	} {
		own := []string{strings.Join(b.Env, " "), strings.Join(b.Flags, " "), strings.ReplaceAll(strings.Join(b.Ldflags, " "), "v{{ .Version }}", "VERSION"), b.Main}
		if !slices.Equal(own, other) {
			t.Errorf("a release is built by %q, the %s by %q", own, from, other)
		}
	}
	// A name that the linker does not find is no error to it: the binary would not know its version.
	name := regexp.MustCompile(`-X github\.com/waybill-data/waybill/(\S+)\.(\w+)=`).FindStringSubmatch(strings.Join(b.Ldflags, " "))
	if len(name) != 3 || !strings.Contains(read(name[1]+"/version.go"), "\nvar "+name[2]+" string\n") {
		t.Errorf("ldflags %q set nothing that there is", b.Ldflags)
	}
	if !slices.Equal(b.Goos, []string{"linux", "darwin"}) || !slices.Equal(b.Goarch, []string{"amd64", "arm64"}) {
		t.Errorf("it is built for %v and %v", b.Goos, b.Goarch)
	}

	hooks := strings.Join(r.Before.Hooks, "\n")
	for _, f := range r.Archives[0].Files {
		dir, made := strings.CutSuffix(f.Src, "/*")
		switch {
		case made && !strings.Contains(hooks, "> "+dir+"/") && !strings.Contains(hooks, " man "+dir):
			t.Errorf("no hook makes %s", f.Src)
		case made && !strings.Contains(read(".gitignore"), "\n/"+dir+"/\n"):
			t.Errorf("%s is not ignored by git: a release of a tree with changes is refused", dir)
		case !made:
			read(f.Src)
		}
	}
	for _, want := range []string{"LICENSE", "README.md", "completions/*", "man/*"} {
		if !slices.ContainsFunc(r.Archives[0].Files, func(f releaseFilePart) bool { return f.Src == want }) {
			t.Errorf("the archive has no %s", want)
		}
	}
}

// The image's base has no loader of libraries: a binary that asks for one does not start there. One with `waybill demo` does, which shows that this looks at the right thing.
func TestDockerfile_TheBinaryIsStatic(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("docker", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	tags := regexp.MustCompile(`go build -tags (\S+) `).FindSubmatch(text)
	if len(tags) != 2 {
		t.Fatal("the Dockerfile builds without tags")
	}
	for want, tags := range map[bool]string{false: string(tags[1]), true: "withdemo"} {
		list := exec.Command("go", "list", "-deps", "-tags", tags, "../cmd/waybill") //nolint:gosec // a tag of the tree
		list.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
		out, err := list.Output()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(out), "ebitengine/purego") != want {
			t.Errorf("-tags %s: what loads libraries is in it: %t", tags, !want)
		}
	}
}
