package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// The page that is kept is that of these commands, and has each of them with its usage and all of its flags.
func TestReference_IsAsGenerated(t *testing.T) {
	now := Reference()
	kept, err := os.ReadFile(filepath.Join("..", "..", "docs", "reference", "commands.md"))
	if err != nil {
		t.Fatal(err)
	}
	if string(kept) != now {
		t.Error("docs/reference/commands.md is stale: make generate")
	}
	sections := map[string]string{}
	for _, section := range strings.Split(now, "\n## ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		sections[name] = text
	}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, below := range c.Commands() {
			text, there := sections[below.CommandPath()]
			if there != (below.IsAvailableCommand() && !below.IsAdditionalHelpTopicCommand()) {
				t.Errorf("%s: on the page: %t", below.CommandPath(), there)
			}
			if there && below.Runnable() && (!strings.Contains(text, below.UseLine()) || !strings.Contains(text, "exit codes")) {
				t.Errorf("%s: %s", below.CommandPath(), text)
			}
			for line := range strings.Lines(below.LocalFlags().FlagUsages()) {
				flag := strings.Fields(line)[0]
				if there && !strings.Contains(flag, "help") && !strings.HasPrefix(flag, "-h") && !strings.Contains(text, flag) {
					t.Errorf("%s: no %s", below.CommandPath(), flag)
				}
			}
			walk(below)
		}
	}
	walk(New(Streams{}))
	if len(sections) < 40 {
		t.Errorf("%d sections", len(sections))
	}
	if home, err := os.UserHomeDir(); err == nil && len(home) > 1 && strings.Contains(now, home) {
		t.Error("the page depends on who makes it")
	}
}
