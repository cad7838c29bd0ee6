package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

//go:generate go run ./gen ../../docs/reference/commands.md

// Reference is docs/reference/commands.md: every command that help shows, in help's words. It is the same wherever it is made.
func Reference() string {
	root := New(Streams{})
	commands, topics := shown(root)
	var b strings.Builder
	b.WriteString(`# Commands

What ` + "`waybill help`" + ` says, of every command. This page is generated (` + "`make generate`" + `); ` + "`waybill man DIR`" + ` writes the same as manual pages.

`)
	prose(&b, root.Long)
	b.WriteString("| command | |\n|---|---|\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", c.CommandPath(), anchor(c), cell(c.Short))
	}
	b.WriteString("\n## Exit codes\n\n")
	for _, c := range topics {
		if c.Name() == "exit-codes" {
			prose(&b, c.Long)
		}
	}
	for _, c := range commands {
		describe(&b, c)
	}
	return b.String()
}

// shown are the commands that help shows, in its order, and the topics that are no commands.
func shown(of *cobra.Command) (commands, topics []*cobra.Command) {
	for _, c := range of.Commands() {
		switch {
		case c.IsAdditionalHelpTopicCommand():
			topics = append(topics, c)
		case c.IsAvailableCommand():
			below, more := shown(c)
			commands, topics = append(append(commands, c), below...), append(topics, more...)
		}
	}
	return commands, topics
}

func describe(b *strings.Builder, c *cobra.Command) {
	fmt.Fprintf(b, "## %s\n\n%s.\n\n", c.CommandPath(), strings.TrimSuffix(c.Short, "."))
	if c.Long != c.Short {
		prose(b, c.Long)
	}
	if c.Runnable() {
		fence(b, "console", c.UseLine())
	}
	if below, _ := shown(c); len(below) > 0 {
		for _, one := range below {
			if one.Parent() == c {
				fmt.Fprintf(b, "- [`%s`](#%s): %s\n", one.CommandPath(), anchor(one), one.Short)
			}
		}
		b.WriteByte('\n')
	}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" { // every command has it
			flags.AddFlag(f)
		}
	})
	if flags.HasAvailableFlags() {
		b.WriteString("Flags:\n\n")
		fence(b, "text", strings.TrimRight(flags.FlagUsagesWrapped(lineWidth), "\n"))
	}
	if c.Example != "" {
		b.WriteString("Examples:\n\n")
		fence(b, "console", c.Example)
	}
	if c.Runnable() {
		b.WriteString("It ends with one of the [exit codes](#exit-codes).\n\n")
	}
}

// prose writes a help text: paragraphs as they are, and what is laid out by hand as it is laid out.
func prose(b *strings.Builder, text string) {
	for _, paragraph := range strings.Split(strings.Trim(text, "\n"), "\n\n") {
		switch {
		case paragraph == "":
		case strings.HasPrefix(paragraph, " ") || strings.Contains(paragraph, "\n "):
			fence(b, "text", paragraph)
		default:
			b.WriteString(escaped.Replace(paragraph) + "\n\n")
		}
	}
}

var escaped = strings.NewReplacer("*", `\*`, "_", `\_`, "<", `\<`, "[", `\[`, "`", "\\`")

func cell(text string) string { return strings.ReplaceAll(escaped.Replace(text), "|", `\|`) }

func fence(b *strings.Builder, language, text string) {
	fmt.Fprintf(b, "```%s\n%s\n```\n\n", language, text)
}

func anchor(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }
