package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// linked is the version that the linker was told (see Makefile); empty for `go build` and `go install`.
var linked string

// version is this binary's version as every command and /status say it; it is never empty.
var version = Build().Version

// BuildInfo says what this binary was built from.
type BuildInfo struct {
	Version  string `json:"version"`  // a release's tag, or "devel"
	Commit   string `json:"commit"`   // empty if it was not built from a repository
	Time     string `json:"time"`     // of the commit, RFC 3339
	Modified bool   `json:"modified"` // the tree had changes that are not in the commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Build reads what this binary was built from.
func Build() BuildInfo {
	b := BuildInfo{Version: linked, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if ok && b.Version == "" && info.Main.Version != "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	if b.Version == "" {
		b.Version = "devel"
	}
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (b BuildInfo) print(w io.Writer) error {
	from := ""
	if b.Commit != "" {
		from = fmt.Sprintf(" (commit %.12s of %s", b.Commit, b.Time)
		if b.Modified {
			from += ", modified"
		}
		from += ")"
	}
	_, err := fmt.Fprintf(w, "waybill %s%s %s %s\n", b.Version, from, b.Go, b.Platform)
	return err
}

func newVersion(s Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say which version this is and what it was built from",
		Args:  args(cobra.NoArgs),
	}
	o := outputFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		if *o == outputJSON {
			return printJSON(s.Out, Build())
		}
		return Build().print(s.Out)
	}
	return cmd
}
