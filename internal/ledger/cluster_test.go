package ledger

import (
	"strings"
	"testing"

	"github.com/waybill-data/waybill/internal/testenv"
)

// What Migrate runs on a cluster. That servers carry it out is not shown here, where there is no cluster; that they understand it is.
func TestMigrate_OnCluster(t *testing.T) {
	srv := testenv.SharedClickHouse(t)
	statements := []string{onCluster("CREATE DATABASE IF NOT EXISTS `waybill` ENGINE = Atomic", "main")}
	for _, m := range migrations {
		statements = append(statements, m.sql("waybill", "main")...)
	}
	for _, sql := range statements {
		if strings.Count(sql, "ON CLUSTER `main`") != 1 || strings.Contains(sql, "non_replicated_") || strings.Contains(sql, "ENGINE = MergeTree") || strings.Contains(sql, "ENGINE = Aggregating") {
			t.Errorf("not for a cluster:\n%s", sql)
		}
		if _, err := testenv.Query(srv.HTTPAddr(), "EXPLAIN AST "+sql); err != nil {
			t.Errorf("%v\n%s", err, sql)
		}
	}
	for _, m := range migrations {
		for i, sql := range m.sql("waybill", "") {
			if strings.Contains(sql, "CLUSTER") || onCluster(sql, "main") == sql {
				t.Errorf("version %d, statement %d: %s", m.version, i, sql)
			}
		}
	}
}

// A database that is on one server stays there when the pipeline file names a cluster later.
func TestMigrate_WhatIsOnOneServerStaysThere(t *testing.T) {
	w := newWorld(t)
	if cluster, err := w.s.OnCluster("main").clusterOf(t.Context()); err != nil || cluster != "" {
		t.Errorf("cluster %q, %v", cluster, err)
	}
	if err := w.s.Migrate(t.Context(), now); err != nil {
		t.Error(err)
	}
	if cluster, err := New(w.ch, w.s.db+"_none").OnCluster("main").clusterOf(t.Context()); err != nil || cluster != "main" {
		t.Errorf("of a database that is not there: cluster %q, %v", cluster, err)
	}
}
