package deploy_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/waybill-data/waybill/internal/finding"
	"github.com/waybill-data/waybill/internal/testenv"
)

// rule is one of deploy/prometheus/rules.yaml.
type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) (out []rule) {
	t.Helper()
	var groups struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal([]byte(read(t, "prometheus/rules.yaml")), &groups); err != nil {
		t.Fatal(err)
	}
	for _, g := range groups.Groups {
		out = append(out, g.Rules...)
	}
	if len(out) < 20 {
		t.Fatalf("only %d rules: the file is read wrong", len(out))
	}
	return out
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// promtool accepts the rules, and each alert fires and is still where rules_test.yaml says so.
func TestRules_Promtool(t *testing.T) {
	promtool := testenv.Promtool(t)
	for _, args := range [][]string{{"check", "rules", "rules.yaml"}, {"test", "rules", "rules_test.yaml"}} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = "prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	tested := read(t, "prometheus/rules_test.yaml")
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		if n := len(regexp.MustCompile(`alertname: `+r.Alert+`\n +exp_alerts:\n`).FindAllString(tested, -1)); n == 0 {
			t.Errorf("no test has %s fire", r.Alert)
		}
		if !strings.Contains(tested, "alertname: "+r.Alert+", exp_alerts: []}") {
			t.Errorf("no test has %s be still", r.Alert)
		}
	}
}

// promtool is no formality: with a metric of another name the tests of the rules fail.
func TestRules_RenamedMetricIsSeen(t *testing.T) {
	promtool, dir := testenv.Promtool(t), t.TempDir()
	broken := strings.Replace(read(t, "prometheus/rules.yaml"), "waybill_stalled_seconds", "waybill_stalled_time", 1)
	head, rest, _ := strings.Cut(read(t, "prometheus/rules_test.yaml"), "  - name: ")
	var stall string // the test of that metric alone
	for part := range strings.SplitSeq(rest, "\n  - name: ") {
		if strings.Contains(part, "alertname: WaybillSinkStalled") {
			stall = head + "  - name: " + part
		}
	}
	for name, text := range map[string]string{"rules.yaml": broken, "rules_test.yaml": stall} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(promtool, "test", "rules", "rules_test.yaml")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "WaybillSinkStalled") {
		t.Errorf("%v\n%s", err, out)
	}
}

// Each alert has a severity of findings and leads to a page that there is; there is one for each severity; and the reference lists them.
func TestRules_AlertsLeadToPages(t *testing.T) {
	reference := read(t, "../docs/reference/alerts.md")
	severities := map[string]bool{}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		severity := r.Labels["severity"]
		severities[severity] = true
		if !slices.Contains([]string{"error", "warning", "info"}, severity) {
			t.Errorf("%s has severity %q", r.Alert, severity)
		}
		if !strings.Contains(reference, "\n| "+r.Alert+" | "+severity+" | ") {
			t.Errorf("docs/reference/alerts.md does not list %s as %s", r.Alert, severity)
		}
		checkPage(t, r)
	}
	if len(severities) != 3 {
		t.Errorf("alerts have the severities %v", severities)
	}
}

func checkPage(t *testing.T, r rule) {
	t.Helper()
	page, anchor, _ := strings.Cut(r.Annotations["runbook"], "#")
	if page == "docs/runbook/{{ $labels.kind }}.md" {
		return // each kind has one: internal/finding
	}
	text, err := os.ReadFile("../" + page)
	if err != nil || page == "" {
		t.Errorf("%s leads to %q: %v", r.Alert, page, err)
		return
	}
	if anchor != "" && (anchor != strings.ToLower(r.Alert) || !strings.Contains(string(text), "\n## "+r.Alert+"\n")) {
		t.Errorf("%s: %s has no such section", r.Alert, page)
	}
}

// Kinds of findings that rules name are kinds.
func TestRules_NameKindsThatExist(t *testing.T) {
	n := 0
	for _, r := range rules(t) {
		for _, m := range regexp.MustCompile(`kind(?:=|!=|=~|!~)"([a-z_|]+)"`).FindAllStringSubmatch(r.Expr, -1) {
			for kind := range strings.SplitSeq(m[1], "|") {
				n++
				if _, ok := finding.Of(kind); !ok {
					t.Errorf("%s: %s is no kind of finding", r.Alert, kind)
				}
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d kinds: the rules are read wrong", n)
	}
}
