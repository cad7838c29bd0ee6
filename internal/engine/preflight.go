package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
)

// Windows, in block ids. A batch takes one for each table partition that its rows fall into.
const (
	// leastWindow is refused below: ten times what may be in flight, when each block falls into a handful
	// of table partitions.
	leastWindow = 10 * MaxInFlight * 5
	// goodWindow is what we ask for.
	goodWindow = 10_000
)

// preflight refuses tables that cannot hold the guarantee that the file asks for, and says what to
// change. What is only worth knowing comes back as findings.
func preflight(cfg *config.Pipeline, info clickhouse.TableInfo) ([]waybill.Finding, error) {
	c := cfg.Sink.ClickHouse
	table := clickhouse.Table(c.Database, c.Table)
	if c.Quorum != "" && !strings.HasPrefix(info.Engine, "Replicated") {
		return nil, &waybill.Error{Op: "preflight", Pipeline: cfg.Name, Class: waybill.ClassConfig, Err: fmt.Errorf("insert_quorum is %s, and %s is a %s, where it means nothing", c.Quorum, table, info.Engine),
			Hint: "leave insert_quorum out, or make the table a ReplicatedMergeTree"}
	}
	if cfg.Delivery == config.AtLeastOnce {
		return nil, nil
	}
	var problems []error
	var notes []waybill.Finding
	switch {
	case keepsRows(info.Engine):
	case info.MergeTree:
		problems = append(problems, fmt.Errorf("%s is a %s, which removes or merges rows: no reading can prove that a row has landed once", table, info.Engine))
	default:
		problems = append(problems, fmt.Errorf("%s is a %s, which keeps no deduplication log", table, info.Engine))
	}
	if len(problems) == 0 {
		note, err := window(table, info.Window, info.Replicated)
		problems, notes = appendWindow(problems, notes, note, err)
	}
	for _, v := range info.Views {
		t := clickhouse.Table(v.Target.Database, v.Target.Table)
		if v.Target.Database == "" && v.Target.Table == "" {
			continue
		}
		note, err := window(t, v.Target.Window, v.Target.Replicated)
		if err != nil {
			err = fmt.Errorf("materialized view %s: a retried block would be counted twice in it: %w", clickhouse.Table(v.Database, v.View), err)
		}
		problems, notes = appendWindow(problems, notes, note, err)
	}
	if !info.OffsetProjection && len(problems) == 0 {
		notes = append(notes, waybill.Finding{Kind: "no_offset_projection", Severity: waybill.SeverityInfo, Subject: bare(table),
			Message: fmt.Sprintf("%s has no projection %s: looking up which offsets are present reads the table", table, clickhouse.ProjectionName),
			Action:  fmt.Sprintf("ALTER TABLE %s ADD %s; ALTER TABLE %s MATERIALIZE PROJECTION %s", table, clickhouse.ProjectionDDL(lineageOf(cfg)), table, clickhouse.ProjectionName)})
	}
	if len(problems) > 0 {
		return nil, &waybill.Error{Op: "preflight", Pipeline: cfg.Name, Class: waybill.ClassConfig, Err: errors.Join(problems...),
			Hint: "change the table, or set `delivery: at-least-once` if rows may land twice"}
	}
	return notes, nil
}

// keepsRows: engines that never drop or merge rows, so that presence is proof.
func keepsRows(engine string) bool {
	switch engine {
	case "MergeTree", "ReplicatedMergeTree", "SharedMergeTree":
		return true
	}
	return false
}

// window judges a deduplication window: an error, a note, or neither.
func window(table string, ids int64, replicated bool) (note *waybill.Finding, err error) {
	setting := "non_replicated_deduplication_window"
	if replicated {
		setting = "replicated_deduplication_window"
	}
	alter := fmt.Sprintf("ALTER TABLE %s MODIFY SETTING %s = %d", table, setting, goodWindow)
	switch {
	case ids == 0:
		return nil, fmt.Errorf("%s keeps no deduplication log (%s = 0): %s", table, setting, alter)
	case ids < leastWindow:
		return nil, fmt.Errorf("%s = %d of %s is too small for %d batches in flight: %s", setting, ids, table, MaxInFlight, alter)
	case ids < goodWindow:
		return &waybill.Finding{Kind: "small_window", Severity: waybill.SeverityWarning, Subject: bare(table),
			Message: fmt.Sprintf("%s = %d of %s may be used up by other writers before a batch in doubt is settled", setting, ids, table), Action: alter}, nil
	}
	return nil, nil
}

// bare is a table's name as people and other findings write it.
func bare(quoted string) string { return strings.ReplaceAll(quoted, "`", "") }

func appendWindow(problems []error, notes []waybill.Finding, note *waybill.Finding, err error) ([]error, []waybill.Finding) {
	if err != nil {
		problems = append(problems, err)
	}
	if note != nil {
		notes = append(notes, *note)
	}
	return problems, notes
}
