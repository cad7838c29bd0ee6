package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
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
