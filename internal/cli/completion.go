package cli

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/finding"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/templates"
)

// completionTimeout is for how long somebody waits who has pressed Tab.
const completionTimeout = 2 * time.Second

// complete gives shells what they may offer: pipeline files where one is asked for, names that there are, and the topics of the brokers that are named.
func complete(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		complete(cmd)
	}
	if strings.Contains(root.Use, "FILE") && root.ValidArgsFunction == nil {
		root.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		}
	}
	for flag, values := range map[string]func(cmd *cobra.Command) []string{
		"output": func(*cobra.Command) []string { return []string{string(outputText), string(outputJSON)} },
		"kind":   func(*cobra.Command) []string { return kindNames() },
		"template": func(*cobra.Command) (names []string) {
			for _, t := range templates.All() {
				names = append(names, t.Name+"\t"+t.About)
			}
			return names
		},
		"topic": func(cmd *cobra.Command) []string {
			brokers, err := cmd.Flags().GetStringSlice("brokers")
			if err != nil || len(brokers) == 0 {
				return nil
			}
			return topicsOf(cmd.Context(), brokers)
		},
	} {
		if root.Flags().Lookup(flag) == nil {
			continue
		}
		// The error says that the flag is not there, or has one already.
		_ = root.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, begun string) (out []string, _ cobra.ShellCompDirective) {
			for _, v := range values(cmd) {
				if strings.HasPrefix(v, begun) {
					out = append(out, v)
				}
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		})
	}
}

func kindNames() (names []string) {
	for _, k := range finding.Kinds() {
		names = append(names, k.Name)
	}
	return names
}

// topicsOf are the topics that brokers show to everybody; none if they do not answer in time.
func topicsOf(ctx context.Context, brokers []string) []string {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	cfg := &config.Pipeline{}
	cfg.Source.Kafka.Brokers = brokers
	names, err := kafka.Topics(ctx, engine.KafkaConfig(cfg, slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil
	}
	return names
}
