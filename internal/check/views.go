package check

import (
	"fmt"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
)

var viewChecks = []Check{
	{ID: "views", Group: GroupViews, Asks: "materialized views count no retried block twice", Needs: []string{"table", "engine"}, judgeTable: judgeViews},
}

func judgeViews(f *Facts, t *Table) verdict {
	if t.Missing || len(t.Info.Views) == 0 || f.Pipeline.Delivery == config.AtLeastOnce {
		return well("")
	}
	var v verdict
	for i := range t.Info.Views {
		if one := judgeView(f, t, &t.Info.Views[i]); one != nil {
			v.add(*one)
		}
	}
	return v.orWell(fmt.Sprintf("%d fed by %s", len(t.Info.Views), t.Sink.ClickHouse.Place()))
}

func judgeView(f *Facts, t *Table, v *clickhouse.ViewInfo) *Finding {
	view, target := clickhouse.Table(v.Database, v.View), clickhouse.Table(v.Target.Database, v.Target.Table)
	if v.Target.Database == "" && v.Target.Table == "" {
		return nil
	}
	if v.Target.Engine == "" {
		what := fmt.Sprintf("materialized view %s fills %s, which does not exist, or the user may not see it", view, target)
		return &Finding{Severity: waybill.SeverityError, What: bare(what), brief: what + ": every insert would fail",
			Why: "every insert would fail, after the rows have landed", Mend: []Mend{sql("DROP VIEW " + view), do("or make the table that it fills, or grant the user SELECT on it")}}
	}
	w := window(f.Demands, target, v.Target.Window, v.Target.Replicated, onCluster(t.Sink.ClickHouse))
	if w == nil {
		return nil
	}
	if w.Severity == waybill.SeverityError {
		w.brief = fmt.Sprintf("materialized view %s: a retried block would be counted twice in it: %s", view, w.brief)
		w.What = fmt.Sprintf("materialized view %s: a retried block would be counted twice in it: %s", bare(view), w.What)
		w.Why = "the table deduplicates by its own window, each table that a view fills by its own"
	}
	return w
}
