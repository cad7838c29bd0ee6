// Command helm lints a chart and renders it as `helm lint --strict` and `helm template` do, with Helm's own packages. Helm's command
// takes more than twice as long to build, most of it for what talks to clusters. It is a module of its own: nothing of it is a dependency
// of the product.
package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
)

const (
	release   = "waybill"
	namespace = "events"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "helm:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 || args[0] != "lint" && args[0] != "template" {
		return errors.New("usage: helm lint|template CHART [VALUES-FILE]")
	}
	values := chartutil.Values{}
	if len(args) > 2 {
		var err error
		if values, err = chartutil.ReadValuesFile(args[2]); err != nil {
			return err
		}
	}
	if args[0] == "lint" {
		return check(args[1], values)
	}
	return template(args[1], values)
}

// check prints what the linter has to say. A warning is a failure, too.
func check(dir string, values chartutil.Values) error {
	l := lint.All(dir, values, namespace, true)
	for _, m := range l.Messages {
		fmt.Println(m.Error())
	}
	if l.HighestSeverity >= support.WarningSev {
		return fmt.Errorf("%s does not pass", dir)
	}
	return nil
}

// template prints the manifests by their file's name.
func template(dir string, values chartutil.Values) error {
	c, err := loader.Load(dir)
	if err != nil {
		return err
	}
	all, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}, chartutil.DefaultCapabilities)
	if err != nil {
		return err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if text := strings.TrimSpace(files[name]); text != "" && strings.HasSuffix(name, ".yaml") {
			fmt.Printf("---\n# Source: %s\n%s\n", name, strings.TrimPrefix(text, "---\n"))
		}
	}
	return nil
}
