package telemetry_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waybill-data/waybill/internal/server"
	"github.com/waybill-data/waybill/internal/telemetry"
)

// described are Waybill's own metrics: the rows of docs/reference/metrics.md by name.
func described(t *testing.T) map[string]string {
	t.Helper()
	metrics := telemetry.NewMetrics("v1")
	metrics.Registerer().MustRegister(server.States(nil)) // nothing is asked of it
	all, ok := metrics.Registerer().(prometheus.Collector)
	if !ok {
		t.Fatal("the registry does not describe itself")
	}
	descs := make(chan *prometheus.Desc, 1000)
	all.Describe(descs)
	close(descs)
	form := regexp.MustCompile(`fqName: "(waybill_\w+)", help: "(.*?)", (?:unit|constLabels): .*variableLabels: \{([^}]*)\}`)
	rows := map[string]string{}
	for d := range descs {
		if m := form.FindStringSubmatch(d.String()); m != nil {
			rows[m[1]] = "| `" + m[1] + "` | " + strings.ReplaceAll(m[3], ",", ", ") + " | " + strings.TrimSuffix(m[2], ".") + " |"
		}
	}
	return rows
}

// Every metric is documented as it is, and the documents name no other.
func TestMetrics_AreDocumented(t *testing.T) {
	rows := described(t)
	if len(rows) < 30 {
		t.Fatalf("only %d metrics: the descriptions are read wrong", len(rows))
	}
	reference, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if !strings.Contains(string(reference), "\n"+row+"\n") {
			t.Errorf("docs/reference/metrics.md lacks\n%s", row)
		}
	}
	pages, _ := filepath.Glob("../../docs/*/*.md")
	more, _ := filepath.Glob("../../docs/*.md")
	for _, page := range append(pages, more...) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`waybill_[a-z_]+_(total|seconds|bytes|records|info|offset|offsets|flight|ready|state)\b`).FindAllString(string(text), -1) {
			if rows[name] == "" {
				t.Errorf("%s names %s, which is no metric", page, name)
			}
		}
	}
}
