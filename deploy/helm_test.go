package deploy_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/testenv"
)

var update = flag.Bool("update", false, "write what the chart makes anew")

const chart = "helm/waybill"

// helm runs tools/helm.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command(testenv.Helm(t), args...).CombinedOutput()
	return string(out), err
}

func TestChart_Lint(t *testing.T) {
	for _, values := range [][]string{nil, {"testdata/values.yaml"}, {"testdata/values-least.yaml"}} {
		if out, err := helm(t, append([]string{"lint", chart}, values...)...); err != nil {
			t.Errorf("%v: %v\n%s", values, err, out)
		}
	}
	if got, want := read(t, chart+"/rules.yaml"), read(t, "prometheus/rules.yaml"); got != want {
		t.Error("deploy/helm/waybill/rules.yaml is no copy of deploy/prometheus/rules.yaml")
	}
}

// What the chart makes is in testdata, for people to read a change of it.
func TestChart_Template(t *testing.T) {
	for _, name := range []string{"values", "values-least"} {
		out, err := helm(t, "template", chart, "testdata/"+name+".yaml")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		golden := "testdata/" + strings.Replace(name, "values", "manifests", 1) + ".yaml"
		if *update {
			if err := os.WriteFile(golden, []byte(out), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(read(t, golden), out); diff != "" {
			t.Errorf("%s (go test ./deploy -run TestChart -update):\n%s", golden, diff)
		}
	}
}

// Values that cannot be meant are refused, in words.
func TestChart_RefusesValues(t *testing.T) {
	for values, want := range map[string]string{
		"replicas: 2":                               "pipelines is empty",
		"pipelines: {a.yaml: x}\nreplicas: many":    "replicas",
		"pipelines: {a.yaml: x}\ndrain: 5":          "drain",
		"pipelines: {a.yaml: x}\ngraceSeconds: 1":   "graceSeconds",
		"pipelines: {../../a.yaml: x}":              "../../a.yaml",
		"pipelines: {a.yaml: x}\nlogLevel: verbose": "logLevel",
	} {
		file := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := helm(t, "template", chart, file); err == nil || !strings.Contains(out, want) {
			t.Errorf("%q: %v\n%s", values, err, out)
		}
	}
}

// manifest is what is read of what the chart makes.
type manifest struct {
	Kind string
	Data map[string]string
	Spec struct {
		Replicas       int
		MaxUnavailable int `yaml:"maxUnavailable"`
		Selector       struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		}
		Groups   []any
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     pod
		}
	}
}

type pod struct {
	TerminationGracePeriodSeconds int  `yaml:"terminationGracePeriodSeconds"`
	AutomountServiceAccountToken  bool `yaml:"automountServiceAccountToken"`
	SecurityContext               struct {
		RunAsNonRoot bool `yaml:"runAsNonRoot"`
	} `yaml:"securityContext"`
	Containers []struct {
		Args            []string
		LivenessProbe   probe `yaml:"livenessProbe"`
		ReadinessProbe  probe `yaml:"readinessProbe"`
		SecurityContext struct {
			ReadOnlyRootFilesystem   bool `yaml:"readOnlyRootFilesystem"`
			AllowPrivilegeEscalation bool `yaml:"allowPrivilegeEscalation"`
		} `yaml:"securityContext"`
	}
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

func manifests(t *testing.T, values string) map[string]manifest {
	t.Helper()
	out, err := helm(t, "template", chart, values)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	all := map[string]manifest{}
	for text := range strings.SplitSeq(out, "\n---\n") {
		var m manifest
		if err := yaml.Unmarshal([]byte(text), &m); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		all[m.Kind] = m
	}
	return all
}

// A pod is given more time to end than the worker takes for it, with the drain that values say, and by default with the binary's.
func TestChart_TerminationIsLongerThanTheDrain(t *testing.T) {
	for values, want := range map[string]time.Duration{"testdata/values-least.yaml": engine.DefaultDrain, "testdata/values.yaml": 45 * time.Second} {
		p := manifests(t, values)["Deployment"].Spec.Template.Spec
		var drain time.Duration
		for _, arg := range p.Containers[0].Args {
			if d, ok := strings.CutPrefix(arg, "--drain="); ok {
				var err error
				if drain, err = time.ParseDuration(d); err != nil {
					t.Fatal(err)
				}
			}
		}
		grace := time.Duration(p.TerminationGracePeriodSeconds) * time.Second
		if drain != want || grace < drain+endsWithin {
			t.Errorf("%s: drain %s, want %s; grace %s, want %s more", values, drain, want, grace, endsWithin)
		}
	}
}

// endsWithin is what the end may take beside the drain: findings and drift are written, alerts told, the group is left, requests are answered.
const endsWithin = 15 * time.Second

func TestChart_PodsAreWhatTheyShouldBe(t *testing.T) {
	all := manifests(t, "testdata/values.yaml")
	d := all["Deployment"].Spec
	c := d.Template.Spec.Containers[0]
	if d.Replicas != 3 || !d.Template.Spec.SecurityContext.RunAsNonRoot || d.Template.Spec.AutomountServiceAccountToken ||
		!c.SecurityContext.ReadOnlyRootFilesystem || c.SecurityContext.AllowPrivilegeEscalation {
		t.Errorf("%+v", d)
	}
	if c.LivenessProbe.HTTPGet.Path != "/healthz" || c.ReadinessProbe.HTTPGet.Path != "/readyz" {
		t.Errorf("probes: %+v %+v", c.LivenessProbe, c.ReadinessProbe)
	}
	pdb := all["PodDisruptionBudget"].Spec
	for k, v := range pdb.Selector.MatchLabels {
		if d.Template.Metadata.Labels[k] != v {
			t.Errorf("the budget selects %s=%s, pods have %q", k, v, d.Template.Metadata.Labels[k])
		}
	}
	if pdb.MaxUnavailable != 1 || len(pdb.Selector.MatchLabels) == 0 {
		t.Errorf("%+v", pdb)
	}
	if n := len(all["PrometheusRule"].Spec.Groups); n < 4 {
		t.Errorf("%d groups of rules", n)
	}
	for name, text := range all["ConfigMap"].Data {
		if _, err := config.Parse(name, []byte(text), func(string) (string, bool) { return "secret", true }); err != nil {
			t.Errorf("%s did not come through whole: %v", name, err)
		}
	}
	if n := len(all["ConfigMap"].Data); n != 2 {
		t.Errorf("%d pipeline files", n)
	}
}
