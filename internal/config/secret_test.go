package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/waybill-data/waybill/internal/config"
)

const hidden = "hunter2"

type holder struct {
	Exported   config.Secret
	unexported config.Secret // that fmt reaches it is the point
	Pointer    *config.Secret
	List       []config.Secret
	Map        map[string]config.Secret
}

func TestSecret_NothingShowsIt(t *testing.T) {
	s := config.NewSecret(hidden)
	p := parse(t, with("clickhouse://h", "clickhouse://u:"+hidden+"@h/d"))
	shapes := map[string]any{
		"value": s, "pointer": &s,
		"struct":   holder{s, s, &s, []config.Secret{s}, map[string]config.Secret{"a": s}},
		"pipeline": p, "pipeline value": *p, "sink": p.Sink,
	}
	for name, x := range shapes {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			for _, verb := range strings.Split("v +v #v s q d x X o b c U e f g t T p w 20s -20v +q # x", " ") {
				fmt.Fprintf(&out, "%"+verb+"\n", x)
			}
			fmt.Fprintln(&out, x, fmt.Sprint(x), fmt.Errorf("e: %v", x))
			for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
				slog.New(h).Info("m", "secret", x, slog.Group("g", "s", x))
			}
			if err := json.NewEncoder(&out).Encode(x); err != nil {
				t.Fatal(err)
			}
			y, err := yaml.Marshal(x)
			if err != nil {
				t.Fatal(err)
			}
			out.Write(y)
			leaks(t, out.String())
		})
	}
}

// leaks looks for the secret as it is, in hex and as a list of bytes.
func leaks(t *testing.T, out string) {
	t.Helper()
	low := strings.ToLower(out)
	for _, form := range []string{hidden, fmt.Sprintf("%x", hidden), "104 117 110 116 101 114", "hunter"} {
		if strings.Contains(low, form) {
			t.Errorf("shown as %q in:\n%s", form, out)
		}
	}
}

func TestSecret_ShowsThatItIsThere(t *testing.T) {
	s := config.NewSecret(hidden)
	if got := fmt.Sprintf("%v %s %+v %#v", s, s, s, s); got != "*** *** *** ***" {
		t.Errorf("formatted as %q", got)
	}
	if b, _ := json.Marshal(s); string(b) != `"***"` {
		t.Errorf("JSON %s", b)
	}
	if s.Reveal() != hidden || !s.Equal(config.NewSecret(hidden)) || s.Equal(config.Secret{}) {
		t.Error("Reveal or Equal is wrong")
	}
	if (config.Secret{}).Reveal() != "" {
		t.Error("the zero value is not empty")
	}
}

// What a file holds takes the place of ${file:PATH}: without the end of its line, special characters and all; from where the pipeline file is, if the path is relative.
func TestSecret_FromAFile(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"password": "p@ss/" + hidden + "\r\n", "large": strings.Repeat("x", 64<<10+1), "binary": "\xff\xfe"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(url string) (*config.Pipeline, error) {
		return config.Parse(filepath.Join(dir, "p.yaml"), []byte(with("clickhouse://h", url)), os.LookupEnv)
	}
	for _, path := range []string{"password", filepath.Join(dir, "password")} {
		p, err := read("clickhouse://u:${file:" + path + "}@h/d")
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Sink.ClickHouse.Password.Reveal(); got != "p@ss/"+hidden {
			t.Errorf("the password is %q", got)
		}
	}
	for path, want := range map[string]string{"nowhere": "no such file", "large": "has 65537 bytes", "binary": "does not hold text", ".": "is a directory"} {
		_, err := read("clickhouse://u:${file:" + path + "}@h/d")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), filepath.Join(dir, path)) || strings.Contains(err.Error(), "xxxx") {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}
