// Package runbook holds the pages of the runbook, one for each kind of finding, so that the binary can show them.
package runbook

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed *.md
var pages embed.FS

const index = "README"

// Page is the page of a kind of finding, as Markdown.
func Page(kind string) (string, bool) {
	if kind == index || strings.ContainsAny(kind, "/.") {
		return "", false
	}
	text, err := pages.ReadFile(kind + ".md")
	return string(text), err == nil
}

// Kinds are those that have a page, in order.
func Kinds() []string {
	files, err := fs.Glob(pages, "*.md")
	if err != nil {
		panic(err) // the pattern is right
	}
	var out []string
	for _, f := range files {
		if name := strings.TrimSuffix(f, ".md"); name != index {
			out = append(out, name)
		}
	}
	return out
}
