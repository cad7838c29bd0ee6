package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
)

// What a pipeline is under its name: its topic, tables and group. A file may change them, but not all changes mean what they seem to; docs/guide/lifecycle.md
// has the table of them.

// identify looks whether the file is about the same topic and tables as the pipeline had under its epoch until now.
func (t *target) identify(ctx context.Context) (topicWas string, err error) {
	if t.cfg.Job != "" {
		return "", nil
	}
	seen, err := t.ledger.Pipelines(ctx, t.cfg.Name)
	if err != nil {
		return "", err
	}
	seen = slices.DeleteFunc(seen, func(p ledger.Pipeline) bool { return p.Epoch != t.epoch })
	if len(seen) == 0 {
		return "", nil
	}
	last := seen[len(seen)-1]
	if !slices.ContainsFunc(seen, func(p ledger.Pipeline) bool { return p.Topic == t.cfg.Source.Kafka.Topic }) {
		return last.Topic, nil
	}
	return "", t.sameTables(ctx, strings.Split(last.Target, ", "))
}

// sameTables refuses tables of which none is one that the pipeline has written to under this epoch, as long as those are there: what they hold would be missing in
// the new ones, and be missed by the audit. A table that is not there any more was renamed, or dropped.
func (t *target) sameTables(ctx context.Context, before []string) error {
	for _, one := range t.tables {
		if slices.Contains(before, one.name()) {
			return nil
		}
	}
	var left []string
	for _, name := range before {
		database, table, _ := strings.Cut(name, ".")
		err := t.client.Texts(ctx, fmt.Sprintf("SELECT name AS n FROM system.tables WHERE database = %s AND name = %s", clickhouse.Literal(database), clickhouse.Literal(table)), []string{"n"},
			func([]string) error { left = append(left, name); return nil })
		if err != nil {
			return err
		}
	}
	if len(left) == 0 {
		return nil
	}
	return &waybill.Error{Op: "preflight", Pipeline: t.cfg.Name, Class: waybill.ClassConfig,
		Err: fmt.Errorf("the file names table %s, but under epoch %d the pipeline has written to %s, which is there and has the rows until now", t.name(), t.epoch, strings.Join(left, ", ")),
		Hint: fmt.Sprintf("nothing was written; to fill the new table from the topic's beginning, raise `epoch` to %d; to go on in the new table alone, give the pipeline another name; "+
			"if it is the same table, rename it in ClickHouse (RENAME TABLE) while the pipeline is paused", t.epoch+1)}
}

// soleGroup sees that no worker of the pipeline is in another group than the file names: each group would read everything. It is to be called before the
// group is joined; ofGroup is to be called again once it is. Of two workers with different files at least one sees the other: each first says what it
// does (a row, a membership) and then looks.
func (p *Pipeline) soleGroup(ctx context.Context) error {
	if p.cfg.Job != "" {
		return nil
	}
	group := p.cfg.Source.Kafka.Group
	was, err := p.target.ledger.Group(ctx, p.cfg.Name)
	if err != nil || was == group {
		return err
	}
	if was == "" {
		return p.target.ledger.SetGroup(ctx, p.cfg.Name, group)
	}
	reader, err := kafka.OpenReader(ctx, p.kafkaConfig())
	if err != nil {
		return err
	}
	defer reader.Close()
	for range 2 {
		members, err := reader.Members(ctx, was)
		if err != nil {
			return err
		}
		if len(members) > 0 {
			return p.twoGroups(was, "which has members: "+strings.Join(members, ", "))
		}
		if err := p.target.ledger.SetGroup(ctx, p.cfg.Name, group); err != nil {
			return err
		}
	}
	p.log.Warn("the pipeline has another group than before: it goes on where the ledger ends", "group", group, "was", was)
	return nil
}

// ofGroup reports whether the group is still the pipeline's.
func (p *Pipeline) ofGroup(ctx context.Context) error {
	if p.cfg.Job != "" {
		return nil
	}
	was, err := p.target.ledger.Group(ctx, p.cfg.Name)
	if err == nil && was != p.cfg.Source.Kafka.Group {
		err = p.twoGroups(was, "which another worker has taken it to")
	}
	return err
}

var errTwoGroups = errors.New("another group")

func (p *Pipeline) twoGroups(other, why string) error {
	return &waybill.Error{Op: "group", Pipeline: p.cfg.Name, Class: waybill.ClassRetryable, Err: fmt.Errorf("%w: the file names %s, but the pipeline is in %s, %s", errTwoGroups, p.cfg.Source.Kafka.Group, other, why),
		Hint: "workers of two groups would both read everything: give all processes the same file; this one waits until the other group is empty"}
}

// archiveOf is the name of the pipeline whose records this one keeps; its own name if it keeps none.
func archiveOf(cfg *config.Pipeline) string {
	return strings.TrimSuffix(cfg.Name, config.ArchiveSuffix)
}
