package finding

import waybill "github.com/waybill-data/waybill"

const (
	failure = waybill.SeverityError
	warning = waybill.SeverityWarning
	info    = waybill.SeverityInfo
)

// kinds is the registry. Each has a page docs/runbook/NAME.md; a test holds code, registry and pages together.
var kinds = map[string]Kind{
	// Positions: the group's offsets and the topic against the ledger.
	"group_missing":          {Severity: warning, Closes: Once, Title: "the group had no position, though the ledger has one"},
	"group_adopted":          {Severity: info, Closes: Told, Title: "the group's position was put there by another consumer"},
	"position_moved_forward": {Severity: warning, Closes: Once, Title: "the group's position had been moved forward, past records that were not read"},
	"position_moved_back":    {Severity: warning, Closes: Once, Title: "the group's position had been moved back, before records that were read"},
	"metadata_wiped":         {Severity: warning, Closes: Once, Title: "the metadata string of the group's position was gone"},
	"string_does_not_tile":   {Severity: warning, Closes: Once, Title: "pending batches did not begin at the group's position"},
	"rows_past_position":     {Severity: warning, Closes: Once, Title: "rows were found past the position"},
	"topic_recreated":        {Severity: failure, Closes: ByItself, Title: "the topic was deleted and created again"},
	"end_below_position":     {Severity: failure, Closes: ByItself, Title: "the topic ends before the position: the partition is frozen"},
	"log_truncated":          {Severity: failure, Closes: ByItself, Title: "the log was cut below the position: the partition is frozen"},

	// Records and rows that are gone.
	"retention_loss":      {Severity: failure, Closes: Once, Title: "records were removed from the topic before they were read"},
	"records_gone":        {Severity: failure, Closes: Once, Title: "records of a pending batch are no longer in the topic"},
	"records_changed":     {Severity: failure, Closes: Once, Title: "the topic holds other records than those that were read"},
	"rows_vanished":       {Severity: failure, Closes: Once, Title: "rows that had been there were gone while their batch was settled"},
	"row_and_dead_letter": {Severity: failure, Closes: Once, Title: "records are in the table and among the dead letters"},
	"view_incomplete":     {Severity: warning, Closes: Once, Title: "a materialized view may lack or repeat rows of a batch"},

	// Dead letters.
	"dead_letter_budget": {Severity: failure, Closes: ByItself, Quotes: true, Title: "more dead letters than the pipeline file allows: the pipeline has stopped"},

	// The laws of the ledger.
	"ledger_gap":        {Severity: failure, Closes: ByItself, Title: "offsets that no ledger row accounts for (L1)"},
	"ledger_overlap":    {Severity: failure, Closes: ByItself, Title: "offsets that several ledger rows account for (L1)"},
	"ledger_unbalanced": {Severity: failure, Closes: ByItself, Title: "records that were read and are not accounted for (L2)"},

	// What the continuous audit sees (package watchdog).
	"rows_missing":             {Severity: failure, Closes: ByItself, Title: "rows that the ledger says were written are not in the table (L3)"},
	"rows_repeated":            {Severity: failure, Closes: ByItself, Title: "offsets have more than one row in the table (L3)"},
	"rows_unexpected":          {Severity: failure, Closes: ByItself, Title: "offsets have a row, and are dead letters or no rows by their plan (L3)"},
	"dead_letters_missing":     {Severity: failure, Closes: ByItself, Title: "dead letters that the ledger says were kept are gone (L3)"},
	"unverified_after_restart": {Severity: warning, Closes: ByItself, Title: "the server was restarted, and what it held has not been compared yet"},
	"retention_impending":      {Severity: warning, Closes: ByItself, Title: "the topic will soon drop records that have not been read (L4)"},
	"frozen_partition":         {Severity: failure, Closes: ByItself, Title: "a partition has records and does not move, though nothing is known to be wrong"},
	"frozen_source":            {Severity: warning, Closes: ByItself, Title: "the topic has gone quiet, against its own history"},
	"stalled_sink":             {Severity: failure, Closes: ByItself, Title: "the pipeline has been waiting for an outside system"},
	"view_failing":             {Severity: failure, Closes: ByItself, Title: "a materialized view throws"},
	"dead_letter_rate":         {Severity: failure, Closes: ByItself, Title: "far more records become dead letters than usual"},
	"clock_skew":               {Severity: warning, Closes: ByItself, Title: "records bear times in the future"},
	"late_data":                {Severity: warning, Closes: ByItself, Title: "records are much older than those before them"},
	"unit_shift":               {Severity: warning, Closes: ByItself, Title: "a number comes in another unit"},
	"dedup_window_small":       {Severity: warning, Closes: ByItself, Title: "the table forgets tokens sooner than an insert may arrive"},
	"lagging_replica":          {Severity: warning, Closes: ByItself, Title: "the replica that is written to is behind the others"},

	// Backfills.
	"decoder_changed":   {Severity: info, Closes: Told, Title: "a batch of another version's decoder was carried out"},
	"backfill_promoted": {Severity: info, Closes: Told, Title: "a backfill, or its rollback, has changed what the table holds"},

	// The contract and the table.
	"column_added":         {Severity: info, Closes: Told, Quotes: true, Title: "evolve has added a column"},
	"column_widened":       {Severity: info, Closes: Told, Quotes: true, Title: "evolve has widened a column"},
	"evolve_held":          {Severity: warning, Closes: Once, Quotes: true, Title: "a change of the table was not made; the values are rescued"},
	"evolve_refused":       {Severity: warning, Closes: ByItself, Quotes: true, Title: "the server refuses to change the table; the values are rescued"},
	"column_dropped":       {Severity: warning, Closes: Once, Title: "a column was dropped while a batch for it was under way"},
	"column_renamed":       {Severity: warning, Closes: Once, Title: "a column was renamed, perhaps while a batch was being inserted"},
	"small_window":         {Severity: warning, Closes: ByItself, Title: "a table's deduplication window is small"},
	"no_offset_projection": {Severity: info, Closes: Told, Title: "the table has no offset projection"},
	"row_policies_unknown": {Severity: info, Closes: Told, Title: "the user may not see row policies"},

	// What events carry.
	"all_blank":       {Severity: warning, Closes: ByItself, Title: "none of the events has any of the contract's fields"},
	"blank_events":    {Severity: warning, Closes: ByItself, Title: "a good share of the events has none of the contract's fields"},
	"new_field":       {Severity: info, Closes: Told, Quotes: true, Title: "events carry a field that no column takes"},
	"type_conflict":   {Severity: warning, Closes: Once, Quotes: true, Title: "values do not fit their column"},
	"too_many_fields": {Severity: warning, Closes: Once, Title: "events have more unexpected fields than are counted one by one"},
	"field_vanished":  {Severity: warning, Closes: ByItself, Title: "a field that events had is in none of them"},
	"null_rate":       {Severity: warning, Closes: ByItself, Title: "far more nulls in a column than usual"},
	"default_rate":    {Severity: warning, Closes: ByItself, Title: "far more missing or unfit values for a column than usual"},
	"unknown_version": {Severity: warning, Closes: Once, Title: "events of a version that no upcaster is for"},
}
