package check

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
)

var tableChecks = []Check{
	{ID: "table", Group: GroupTable, Asks: "the table is there", Needs: []string{"server", "database"}, judgeTable: judgeThere},
	{ID: "engine", Group: GroupTable, Asks: "its engine carries the guarantee", Needs: []string{"table"}, judgeTable: judgeEngine},
	{ID: "quorum", Group: GroupTable, Asks: "it heeds the quorum that the file asks for", Needs: []string{"table"}, judgeTable: judgeQuorum},
	{ID: "table_grants", Group: GroupTable, Asks: "the user has the rights to it", Needs: []string{"server", "database"}, judgeTable: judgeTableGrants},
	{ID: "lineage", Group: GroupTable, Asks: "it has the lineage columns", Needs: []string{"table"}, judgeTable: judgeLineage},
	{ID: "columns", Group: GroupTable, Asks: "its columns are those of the contract", Needs: []string{"table"}, judgeTable: judgeColumns},
	{ID: "row_policies", Group: GroupTable, Asks: "no row policy hides rows from the user", Needs: []string{"table"}, judgeTable: judgePolicies},
	{ID: "dedup_window", Group: GroupTable, Asks: "it remembers enough tokens", Needs: []string{"table", "engine"}, judgeTable: judgeWindow},
	{ID: "projection", Group: GroupTable, Asks: "it has the offset projection", Needs: []string{"table", "engine", "lineage"}, judgeTable: judgeProjection},
	{ID: "delete_mode", Group: GroupTable, Asks: "DELETE works beside the projection", Needs: []string{"table", "engine"}, judgeTable: judgeDeleteMode},
	{ID: "partitions", Group: GroupTable, Asks: "a block falls into few table partitions", Needs: []string{"table", "engine"}, judgeTable: judgePartitions},
	{ID: "ttl", Group: GroupTable, Asks: "rows stay until somebody deletes them", Needs: []string{"table", "engine"}, judgeTable: judgeTTL},
	{ID: "replica", Group: GroupTable, Asks: "the replica takes rows", Needs: []string{"table", "engine"}, judgeTable: judgeReplica},
}

// Windows, in block ids. A batch takes one for each table partition that its rows fall into.
const (
	// GoodWindow is what we ask for.
	GoodWindow = 10_000
	// leastShare times the batches in flight is refused below: ten times what may be in flight, when each block falls into a handful of
	// table partitions.
	leastShare = 10 * 5
)

// leastWindow is the smallest window that is taken.
func leastWindow(d Demands) int64 { return int64(leastShare * d.InFlight) }

func alterTable(c config.ClickHouse, what string) string {
	return "ALTER TABLE " + clickhouse.Table(c.Database, c.Table) + onCluster(c) + " " + what
}

func judgeThere(f *Facts, t *Table) verdict {
	c := t.Sink.ClickHouse
	switch {
	case t.Missing:
		broken := Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("table %s does not exist, or user %s may not see it", c.Place(), f.Server.User),
			Why: "rows have nowhere to go"}
		if near := config.Closest(c.Table, t.Similar); near != "" {
			broken.What += fmt.Sprintf("; there is %s.%s", c.Database, near)
			broken.Mend = append(broken.Mend, do(fmt.Sprintf("write `table: %s`, if that is meant", near)))
		}
		if t.Create != "" {
			broken.Mend = append(broken.Mend, create(t.Create))
		}
		if t.Contract.Tables == contract.ModeEvolve {
			broken.Severity, broken.What = waybill.SeverityInfo, fmt.Sprintf("table %s does not exist: the first worker makes it (tables: evolve)", c.Place())
			broken.Why = "its sorting key cannot be changed later; make the table yourself, if it should be another"
		}
		return found(broken)
	case t.Err != nil:
		return found(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("table %s cannot be read about: %v", c.Place(), cause(t.Err)),
			Why: "nothing is known of it", Mend: []Mend{do(hint(t.Err, "see the server's log"))}})
	}
	if t.Info.Closed {
		return found(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("table %s takes no rows: a backfill is putting it and what its views fill in place, one after the other", c.Place()),
			Why: "whoever was at it has not come to its end: workers wait for that", Mend: []Mend{do("`waybill backfill status` says whether it is a promotion or a rollback, and who is at it; run that again")}})
	}
	return well(fmt.Sprintf("%s, %s", c.Place(), t.Info.Engine))
}

// cause is an error without the words of the operation.
func cause(err error) error {
	if e := (*waybill.Error)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

func hint(err error, otherwise string) string {
	if e := (*waybill.Error)(nil); errors.As(err, &e) && e.Hint != "" {
		return e.Hint
	}
	return otherwise
}

func judgeEngine(f *Facts, t *Table) verdict {
	if t.Missing {
		return well("")
	}
	e := EngineOf(t.Info.Engine, t.Info.EngineFull)
	table := clickhouse.Table(t.Sink.ClickHouse.Database, t.Sink.ClickHouse.Table)
	if f.Pipeline.Delivery == config.AtLeastOnce {
		if e.Guarantee() == "none" {
			return found(Finding{Severity: waybill.SeverityWarning, What: fmt.Sprintf("%s is a %s: not even at-least-once is promised of it", bare(table), t.Info.Engine), Why: e.Why,
				Mend: []Mend{do("make it a MergeTree")}})
		}
		return well(fmt.Sprintf("%s, at-least-once as the file says", t.Info.Engine))
	}
	if e.ExactlyOnce() {
		return well(fmt.Sprintf("%s: exactly-once", t.Info.Engine))
	}
	broken := Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("%s is a %s: no exactly-once", bare(table), t.Info.Engine), Why: e.Why,
		Mend: []Mend{do("make the table a MergeTree (and fill this one by a materialized view of it), or set `delivery: at-least-once` if rows may land twice")}}
	switch {
	case t.Info.MergeTree:
		broken.brief = fmt.Sprintf("%s is a %s, which removes or merges rows: no reading can prove that a row has landed once", table, t.Info.Engine)
	default:
		broken.brief = fmt.Sprintf("%s is a %s, which keeps no deduplication log", table, t.Info.Engine)
	}
	return found(broken)
}

const mendQuorum = "leave insert_quorum out, or make the table a ReplicatedMergeTree"

// judgeQuorum: insert_quorum on a table that is not replicated would promise what nobody keeps.
func judgeQuorum(_ *Facts, t *Table) verdict {
	c := t.Sink.ClickHouse
	if c.Quorum == "" || t.Missing || strings.HasPrefix(t.Info.Engine, "Replicated") {
		return well("")
	}
	table := clickhouse.Table(c.Database, c.Table)
	return found(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("insert_quorum is %s, and %s is a %s, where it means nothing", c.Quorum, bare(table), t.Info.Engine),
		Why:   "a block would be taken for safe on replicas that there are not",
		Mend:  []Mend{do(mendQuorum)},
		brief: fmt.Sprintf("insert_quorum is %s, and %s is a %s, where it means nothing", c.Quorum, table, t.Info.Engine)})
}

// bare is a table's name as people and findings write it.
func bare(quoted string) string { return strings.ReplaceAll(quoted, "`", "") }

func judgeTableGrants(f *Facts, t *Table) verdict { return judgeGrants(t.Grants, f.Server.User) }

// columnProblems are those of the contract that are about a column, or not, of the lineage.
func columnProblems(t *Table, lineage bool) (out []*contract.Problem) {
	l := t.Sink.ClickHouse.Lineage
	for _, p := range contract.Problems(t.PlanErr) {
		if is := p.Column == l.Topic || p.Column == l.Partition || p.Column == l.Offset || p.Column == l.Epoch; is == lineage {
			out = append(out, p)
		}
	}
	return out
}

func (t *Table) column(s *contract.TableSchema, name string) *contract.TableColumn {
	for i := range s.Columns {
		if s.Columns[i].Name == name {
			return &s.Columns[i]
		}
	}
	return nil
}

// addColumn is the statement that adds a column as the contract promises it; empty if it is there, or nothing is promised.
func (t *Table) addColumn(name string) string {
	promised := t.PromisedTable()
	want := t.column(&promised, name)
	if want == nil || t.column(&t.Schema, name) != nil {
		return ""
	}
	return alterTable(t.Sink.ClickHouse, fmt.Sprintf("ADD COLUMN IF NOT EXISTS %s %s", clickhouse.Ident(name), want.Type))
}

func judgeLineage(f *Facts, t *Table) verdict {
	if t.Missing {
		return well("")
	}
	var v verdict
	place, why := t.Sink.ClickHouse.Place(), "by these columns it is told which records have a row: without them an insert without an answer cannot be settled, nor a row be audited"
	var lacking []string
	broken := Finding{Severity: waybill.SeverityError, Why: why}
	for _, p := range columnProblems(t, true) {
		add := t.addColumn(p.Column)
		if add == "" {
			v.add(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("column %s of table %s: %s", p.Column, place, p.Message), Why: why, Mend: []Mend{do("change the column's type, or name other columns in sink.clickhouse.lineage")}})
			continue
		}
		lacking = append(lacking, p.Column)
		broken.Mend = append(broken.Mend, safe(add))
	}
	if len(lacking) > 0 {
		broken.What = fmt.Sprintf("table %s lacks the lineage columns %s", place, strings.Join(lacking, ", "))
		v.add(broken)
	}
	if epoch := t.Sink.ClickHouse.Lineage.Epoch; epoch != "" && t.Lineage.Epoch == "" {
		one := Finding{Severity: waybill.SeverityInfo, What: fmt.Sprintf("table %s has no column %s", place, epoch),
			Why: "it does without as long as there is one epoch: a backfill, or a topic that was made anew, needs it", Mend: []Mend{safe(t.addColumn(epoch))}}
		if f.Pipeline.Epoch > 0 {
			one.Severity, one.Why = waybill.SeverityError, fmt.Sprintf("the file's epoch is %d, and its rows could not be told from those of earlier epochs", f.Pipeline.Epoch)
		}
		v.add(one)
	}
	return v.orWell("all of them")
}

func judgeColumns(_ *Facts, t *Table) verdict {
	if t.Missing {
		return well("")
	}
	var v verdict
	place := t.Sink.ClickHouse.Place()
	for _, p := range columnProblems(t, false) {
		one := Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("column %s of table %s: %s", p.Column, place, p.Message),
			Why: "the contract says what is in the table: a worker does not start on a table that cannot keep it", Line: p.Line, Column: p.Col}
		if add := t.addColumn(p.Column); add != "" {
			one.What = fmt.Sprintf("table %s has no column %s", place, p.Column)
			one.Mend = []Mend{sql(add)}
			if p.Column == t.Contract.RescueColumn { // Waybill's own, like the lineage: no event has such a field
				one.Mend = []Mend{safe(add)}
			}
		} else {
			one.Mend = []Mend{do("make the contract and the table agree")}
		}
		v.add(one)
	}
	if len(v.findings) == 0 && t.PlanErr != nil && len(contract.Problems(t.PlanErr)) == 0 {
		v.add(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("the contract cannot be brought together with table %s: %v", place, cause(t.PlanErr)), Why: "a worker would not start", Mend: []Mend{do(hint(t.PlanErr, "make them agree"))}})
	}
	return v.orWell(fmt.Sprintf("%d of the contract", len(t.Contract.Columns)))
}

func judgePolicies(f *Facts, t *Table) verdict {
	place := t.Sink.ClickHouse.Place()
	switch {
	case t.Missing, f.Pipeline.Delivery == config.AtLeastOnce:
		return well("")
	case t.PolicyErr != nil:
		return found(Finding{Severity: waybill.SeverityInfo, kind: "row_policies_unknown", subject: place,
			What: fmt.Sprintf("the user may not see row policies, so it is not known whether one hides rows of %s from it", place),
			Why:  "rows that are hidden would be taken for absent, and inserted again",
			Mend: []Mend{do("GRANT SHOW ROW POLICIES ON *.* to the user, or make sure that no policy applies to it")}})
	case len(t.Policies) > 0:
		what := fmt.Sprintf("row policies apply to the user on %s: %s", place, strings.Join(t.Policies, ", "))
		return found(Finding{Severity: waybill.SeverityError, What: what, brief: what + "; rows that they hide would be taken for absent and inserted again",
			Why: "rows that they hide would be taken for absent, and inserted again", Mend: []Mend{do("exempt the user from them, or set `delivery: at-least-once`")}})
	}
	return well("none")
}

// windowSetting is which setting of a table is about its window.
func windowSetting(replicated bool) string {
	if replicated {
		return "replicated_deduplication_window"
	}
	return "non_replicated_deduplication_window"
}

// window judges a deduplication window of a table, by its quoted name.
func window(d Demands, table string, ids int64, replicated bool, cluster string) *Finding {
	setting := windowSetting(replicated)
	alter := fmt.Sprintf("ALTER TABLE %s%s MODIFY SETTING %s = %d", table, cluster, setting, GoodWindow)
	mend := []Mend{safe(alter)}
	switch {
	case ids == 0:
		return &Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("%s keeps no deduplication log (%s = 0)", bare(table), setting), Mend: mend,
			Why:   "without it a block that is sent again, because its answer was lost, is there twice",
			brief: fmt.Sprintf("%s keeps no deduplication log (%s = 0): %s", table, setting, alter)}
	case ids < leastWindow(d):
		return &Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("%s = %d of %s is too small for %d batches in flight", setting, ids, bare(table), d.InFlight), Mend: mend,
			Why:   "a token that has fallen out of the window no longer deduplicates",
			brief: fmt.Sprintf("%s = %d of %s is too small for %d batches in flight: %s", setting, ids, table, d.InFlight, alter)}
	case ids < GoodWindow:
		return &Finding{Severity: waybill.SeverityWarning, kind: "small_window", subject: bare(table), Mend: mend,
			What: fmt.Sprintf("%s = %d of %s may be used up by other writers before a batch in doubt is settled", setting, ids, table),
			Why:  "a token that has fallen out of the window no longer deduplicates"}
	}
	return nil
}

func judgeWindow(f *Facts, t *Table) verdict {
	if t.Missing || f.Pipeline.Delivery == config.AtLeastOnce {
		return well("")
	}
	c := t.Sink.ClickHouse
	table := clickhouse.Table(c.Database, c.Table)
	if w := window(f.Demands, table, t.Info.Window, t.Info.Replicated, onCluster(c)); w != nil {
		return found(*w)
	}
	horizon := memory(f.Pipeline)
	text := fmt.Sprintf("%d block ids", t.Info.Window)
	if used := t.State.WindowUsed; used > 0 {
		lasts := time.Duration(float64(time.Hour) * float64(t.Info.Window) / float64(used))
		text += fmt.Sprintf(", %d came in within the last hour", used)
		if lasts < horizon {
			need := int64(float64(used)*horizon.Hours()*4) + 1
			return found(Finding{Severity: waybill.SeverityWarning,
				What: fmt.Sprintf("%s forgets a token after %s: %d block ids came in within the last hour, of all writers, and %s is %d", c.Place(), lasts.Round(time.Second), used, windowSetting(t.Info.Replicated), t.Info.Window),
				Why:  fmt.Sprintf("an insert may still arrive after %s (session timeout and three insert deadlines): one that comes again must be known then", horizon),
				Mend: []Mend{safe(alterTable(c, fmt.Sprintf("MODIFY SETTING %s = %d", windowSetting(t.Info.Replicated), max(GoodWindow, need))))}})
		}
	}
	if s := t.Info.WindowSeconds; s > 0 && time.Duration(s)*time.Second < horizon {
		return found(Finding{Severity: waybill.SeverityWarning, What: fmt.Sprintf("%s forgets a token after %d s (replicated_deduplication_window_seconds)", c.Place(), s),
			Why:  fmt.Sprintf("an insert may still arrive after %s", horizon),
			Mend: []Mend{safe(alterTable(c, "MODIFY SETTING replicated_deduplication_window_seconds = 3600"))}})
	}
	return well(text)
}

// memory is for how long a token must be known, see docs/guarantees.md.
func memory(p *config.Pipeline) time.Duration {
	return p.Source.Kafka.SessionTimeout + 3*p.Sink.ClickHouse.InsertDeadline
}

func judgeProjection(f *Facts, t *Table) verdict {
	if t.Missing || f.Pipeline.Delivery == config.AtLeastOnce {
		return well("")
	}
	if t.Info.OffsetProjection {
		return well("it is there")
	}
	c := t.Sink.ClickHouse
	table := clickhouse.Table(c.Database, c.Table)
	one := Finding{Severity: waybill.SeverityInfo, kind: "no_offset_projection", subject: bare(table),
		What: fmt.Sprintf("%s has no projection %s: looking up which offsets are present reads the table", table, clickhouse.ProjectionName),
		Why:  "each insert over HTTP, and each whose answer was lost, is looked up; so does the audit"}
	if mode := cmp.Or(t.State.DeleteMode, t.Info.Settings["lightweight_mutation_projection_mode"], "throw"); mode == "throw" {
		one.Mend = append(one.Mend, safe(alterTable(c, "MODIFY SETTING lightweight_mutation_projection_mode = 'rebuild'")))
	}
	one.Mend = append(one.Mend,
		safe(alterTable(c, "ADD "+strings.Replace(clickhouse.ProjectionDDL(t.Lineage), "PROJECTION ", "PROJECTION IF NOT EXISTS ", 1))),
		safe(alterTable(c, "MATERIALIZE PROJECTION "+clickhouse.ProjectionName)))
	return found(one)
}

func judgeDeleteMode(_ *Facts, t *Table) verdict {
	if t.Missing || !t.Info.OffsetProjection || t.StateErr != nil {
		return well("")
	}
	c := t.Sink.ClickHouse
	mend := []Mend{safe(alterTable(c, "MODIFY SETTING lightweight_mutation_projection_mode = 'rebuild'"))}
	switch t.State.DeleteMode {
	case "throw":
		return found(Finding{Severity: waybill.SeverityWarning, What: fmt.Sprintf("DELETE FROM %s does not work: it has a projection, and lightweight_mutation_projection_mode is throw", c.Place()),
			Why: "the server refuses the statement, to you and to `waybill erase`", Mend: mend})
	case "drop":
		return found(Finding{Severity: waybill.SeverityInfo, What: fmt.Sprintf("DELETE FROM %s drops the projection of the parts that it touches (lightweight_mutation_projection_mode = drop)", c.Place()),
			Why: "looking up offsets in them reads their rows", Mend: mend})
	}
	return well(t.State.DeleteMode)
}

func judgePartitions(f *Facts, t *Table) verdict {
	if t.Missing || t.StateErr != nil || t.Info.PartitionKey == "" {
		return well("")
	}
	key, limit := t.Info.PartitionKey, f.Server.MaxPartitions
	why := "each table partition of a block is a part of its own, and takes one block id of the window; a block of more than the limit is cut up"
	mend := []Mend{do("choose a coarser key, such as toYYYYMM: it takes a new table, which `waybill backfill` fills and puts in place")}
	switch busiest := t.State.BusiestInsert; {
	case limit > 0 && busiest > limit/2:
		return found(Finding{Severity: waybill.SeverityWarning, What: fmt.Sprintf("an insert into %s fell into %d table partitions (PARTITION BY %s), and the server takes %d", t.Sink.ClickHouse.Place(), busiest, key, limit), Why: why, Mend: mend})
	case limit > 0 && busiest == 0 && t.State.Partitions > limit:
		return found(Finding{Severity: waybill.SeverityWarning, What: fmt.Sprintf("%s has %d table partitions (PARTITION BY %s), and the server takes %d in one block", t.Sink.ClickHouse.Place(), t.State.Partitions, key, limit), Why: why, Mend: mend})
	case t.fine(key):
		return found(Finding{Severity: waybill.SeverityWarning, What: fmt.Sprintf("%s is partitioned by %s: a block may fall into thousands of table partitions", t.Sink.ClickHouse.Place(), key), Why: why, Mend: mend})
	}
	return well("PARTITION BY " + key)
}

// subDaily are functions that tell more moments apart than days.
var subDaily = []string{"toStartOfHour(", "toStartOfMinute(", "toStartOfFiveMinute", "toStartOfTenMinutes(", "toStartOfFifteenMinutes(", "toStartOfSecond(", "toYYYYMMDDhhmmss("}

// fine: the key has a part that is a moment to the hour or less, or a bare column whose values are as good as endless.
func (t *Table) fine(key string) bool {
	if slices.ContainsFunc(subDaily, func(f string) bool { return strings.Contains(key, f) }) {
		return true
	}
	for _, part := range strings.Split(strings.Trim(key, "()"), ",") {
		c := t.column(&t.Schema, strings.Trim(strings.TrimSpace(part), "`"))
		if c == nil {
			continue
		}
		base, _, _ := strings.Cut(c.Type, "(")
		if slices.Contains([]string{"DateTime", "DateTime64", "UUID", "UInt64", "Int64", "Float32", "Float64"}, base) {
			return true
		}
	}
	return false
}

func judgeTTL(_ *Facts, t *Table) verdict {
	if t.Missing || t.StateErr != nil || t.State.TTL == "" || t.Contract.Raw != nil {
		return well("")
	}
	return found(Finding{Severity: waybill.SeverityInfo, What: fmt.Sprintf("rows of %s go by a TTL: %s", t.Sink.ClickHouse.Place(), t.State.TTL),
		Why: "a record that is older when it is inserted has no row at once: its batch looks as if it had not landed, and the audit tells of rows that are missing"})
}

func judgeReplica(_ *Facts, t *Table) verdict {
	if t.Missing || !t.State.ReadOnly {
		return well("")
	}
	return found(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("the replica of %s on this server is read-only", t.Sink.ClickHouse.Place()),
		Why: "it has no session with ClickHouse Keeper: inserts wait until it has", Mend: []Mend{do("check ClickHouse Keeper, and system.replicas of the server")}})
}
