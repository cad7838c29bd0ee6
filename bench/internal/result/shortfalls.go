package result

import (
	"regexp"
	"slices"
	"strings"
)

const shortfallsTitle = "## Known shortfalls"

// The first cell of a table row, in backticks: the target's ID. The second says why, and may not be empty.
var shortfallRow = regexp.MustCompile("^\\| *`([a-z0-9/-]+)` *\\| *[^ |]")

// Shortfalls are the IDs of the targets that a document owns up to: those in the table under its heading "Known shortfalls".
func Shortfalls(document string) (ids []string) {
	_, section, _ := strings.Cut(document, "\n"+shortfallsTitle+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		if m := shortfallRow.FindStringSubmatch(line); m != nil {
			ids = append(ids, m[1])
		}
	}
	return ids
}

// Unnamed are the missed targets that are not among the known shortfalls.
func (f *File) Unnamed(shortfalls []string) (out []Target) {
	for _, t := range f.Targets {
		if t.Missed() && !slices.Contains(shortfalls, t.ID) {
			out = append(out, t)
		}
	}
	return out
}

// Kept are shortfalls that name no missed target of the file: they were overcome, or never were targets.
func (f *File) Kept(shortfalls []string) (out []string) {
	for _, id := range shortfalls {
		if !slices.ContainsFunc(f.Targets, func(t Target) bool { return t.ID == id && t.Missed() }) {
			out = append(out, id)
		}
	}
	return out
}
