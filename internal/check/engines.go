package check

import (
	"fmt"
	"slices"
	"strings"
)

// Answer is whether an engine does something.
type Answer string

// Answers.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Depends Answer = "as the tables behind it"
)

// Engine is what a table engine does with inserted rows. From its three answers follows which guarantee a table of it can carry; each
// answer is put to the real engine by a test, but for those that say Unproved.
type Engine struct {
	Name string
	// Once: a block that is sent twice under one token lands once (with a deduplication window, where there is one).
	Once Answer
	// Keeps: every row that was taken is there to be read, after merges too. Else a row that is not there proves nothing.
	Keeps Answer
	// Survives: what was acknowledged is there after a restart of the server.
	Survives Answer
	Why      string
	// Audit is what `waybill audit` can claim of such a table.
	Audit string
	// Unproved: the answers rest on the documentation, and on what was tried elsewhere.
	Unproved bool
}

// ExactlyOnce reports whether a table of the engine can hold each record once, and prove it.
func (e *Engine) ExactlyOnce() bool { return e.Once == Yes && e.Keeps == Yes && e.Survives == Yes }

// Guarantee is the best that `delivery` can ask of a table of the engine.
func (e *Engine) Guarantee() string {
	switch {
	case e.ExactlyOnce():
		return "exactly-once"
	case e.Survives == No || e.Keeps == No && !strings.Contains(e.Name, "MergeTree"):
		return "none"
	}
	return "at-least-once"
}

// What the audit can claim.
const (
	auditAll     = "everything: rows that are missing, repeated or nobody's"
	auditNothing = "nothing of the rows; of records, dead letters and positions all"
	auditSome    = "rows that are repeated, until a merge; not rows that are missing, which may have been merged away"
)

// engines are those that are told apart, with the general before the special. A prefix of Replicated or Shared is looked at apart.
var engines = []Engine{
	{Name: "MergeTree", Once: Yes, Keeps: Yes, Survives: Yes, Audit: auditAll,
		Why: "rows stay as they were inserted, so that reading which offsets are there is a proof; tokens deduplicate once non_replicated_deduplication_window is set, which by default it is not"},
	{Name: "ReplicatedMergeTree", Once: Yes, Keeps: Yes, Survives: Yes, Audit: auditAll, Unproved: true,
		Why: "as MergeTree; the window is shared by the replicas, and a replica is asked after SYSTEM SYNC REPLICA"},
	{Name: "SharedMergeTree", Once: Yes, Keeps: Yes, Survives: Yes, Audit: auditAll, Unproved: true,
		Why: "as ReplicatedMergeTree"},
	{Name: "ReplacingMergeTree", Once: Yes, Keeps: No, Survives: Yes, Audit: auditSome,
		Why: "of rows with one sorting key a merge keeps the last that was inserted, and a record that is sent again after a later one wins over it"},
	{Name: "ReplacingMergeTree(version)", Once: Yes, Keeps: No, Survives: Yes, Audit: auditSome,
		Why: "of rows with one sorting key a merge keeps the highest version, whatever came last: a repeated record does no harm once merged (or read with FINAL), but a row that is not there may have been replaced"},
	{Name: "CollapsingMergeTree", Once: Yes, Keeps: No, Survives: Yes, Audit: auditSome,
		Why: "rows cancel each other in pairs, in the order of insertion: one that is repeated cancels the wrong one"},
	{Name: "VersionedCollapsingMergeTree", Once: Yes, Keeps: No, Survives: Yes, Audit: auditSome,
		Why: "rows cancel each other in pairs: one that is repeated stays without a partner"},
	{Name: "SummingMergeTree", Once: Yes, Keeps: No, Survives: Yes, Audit: auditNothing,
		Why: "rows are summed up: one that is repeated counts twice, and nobody can tell any more. Fill it by a materialized view of a MergeTree table instead"},
	{Name: "AggregatingMergeTree", Once: Yes, Keeps: No, Survives: Yes, Audit: auditNothing,
		Why: "rows are merged into states. Fill it by a materialized view of a MergeTree table instead"},
	{Name: "CoalescingMergeTree", Once: Yes, Keeps: No, Survives: Yes, Audit: auditNothing,
		Why: "of rows with one sorting key a merge keeps the latest value of each column"},
	{Name: "GraphiteMergeTree", Once: Yes, Keeps: No, Survives: Yes, Audit: auditNothing, Unproved: true,
		Why: "rows are rolled up by age"},
	{Name: "Distributed", Once: Depends, Keeps: Depends, Survives: Yes, Audit: auditNothing, Unproved: true,
		Why: "it has no log of tokens of its own, and a block is cut up for the shards: which of them took its part cannot be asked of it. Name a table of one server instead"},
	{Name: "Buffer", Once: No, Keeps: Yes, Survives: No, Audit: auditNothing,
		Why: "it acknowledges rows that are in memory only: what is there when the server dies is lost, and tokens are not passed on"},
	{Name: "Null", Once: No, Keeps: No, Survives: No, Audit: auditNothing,
		Why: "it keeps no rows; what its views make of them cannot be asked by offset"},
	{Name: "Memory", Once: No, Keeps: Yes, Survives: No, Audit: auditNothing,
		Why: "it is empty after a restart"},
	{Name: "Log", Once: No, Keeps: Yes, Survives: Yes, Audit: auditSome,
		Why: "it keeps no log of tokens: a block that is sent again is there twice"},
	{Name: "TinyLog", Once: No, Keeps: Yes, Survives: Yes, Audit: auditSome, Why: "as Log"},
	{Name: "StripeLog", Once: No, Keeps: Yes, Survives: Yes, Audit: auditSome, Why: "as Log"},
	{Name: "EmbeddedRocksDB", Once: No, Keeps: No, Survives: Yes, Audit: auditNothing,
		Why: "a row replaces the one with the same key"},
	{Name: "Kafka", Once: No, Keeps: No, Survives: No, Audit: auditNothing, Unproved: true,
		Why: "it writes rows to another topic, and reading takes them away"},
	{Name: "MaterializedView", Once: Depends, Keeps: Depends, Survives: Yes, Audit: auditNothing, Unproved: true,
		Why: "rows go into the table that it fills: name that one, or the table that it reads"},
	{Name: "View", Once: No, Keeps: No, Survives: No, Audit: auditNothing, Unproved: true, Why: "it takes no rows"},
}

// Engines is the table.
func Engines() []Engine { return slices.Clone(engines) }

// other is for engines that are not in the list: they are taken for the worst.
var other = Engine{Once: No, Keeps: No, Survives: Yes, Audit: auditNothing, Unproved: true,
	Why: "it is not known here: no guarantee is made for it"}

// EngineOf is what a table's engine does, by what system.tables says of it.
func EngineOf(engine, full string) Engine {
	base := strings.TrimPrefix(strings.TrimPrefix(engine, "Replicated"), "Shared")
	name := engine
	switch {
	case base == "ReplacingMergeTree" && hasVersion(engine, full):
		name = "ReplacingMergeTree(version)"
	case base != "MergeTree":
		name = base
	}
	i := slices.IndexFunc(engines, func(e Engine) bool { return e.Name == name })
	if i < 0 {
		e := other
		e.Name = engine
		return e
	}
	e := engines[i]
	if base != engine && base != "MergeTree" {
		e.Name, e.Unproved = engine, true
	}
	return e
}

// hasVersion: ReplacingMergeTree(ver), or with the two strings of a replicated table before it.
func hasVersion(engine, full string) bool {
	args, ok := strings.CutPrefix(full, engine+"(")
	if !ok {
		return false
	}
	args, _, _ = strings.Cut(args, ")")
	last := strings.TrimSpace(args[strings.LastIndexByte(args, ',')+1:])
	return last != "" && !strings.HasPrefix(last, "'")
}

// EnginesPage is docs/reference/engines.md: the table of engines, made from this one.
func EnginesPage() string {
	var b strings.Builder
	b.WriteString(`# Table engines: which guarantee each one carries

Made from internal/check/engines.go (` + "`go test ./internal/check -run EnginesPage -update`" + `). The three answers of each row are put to
a real server by ` + "`TestEngines`" + `; rows that say *not proved here* are not: they rest on ClickHouse's documentation.

- **Once**: a block that is sent twice under one token lands once. MergeTree engines do so if their deduplication window is set.
- **Keeps**: every row that was taken is there to be read, after merges too. Where it is not, "the row is not there" proves nothing, and
  a record whose insert got no answer cannot be settled by looking.
- **Survives**: what was acknowledged is there after a restart of the server.

` + "`delivery: exactly-once`" + ` takes engines that say yes three times; others are refused by ` + "`waybill check`, `plan` and `run`" + `. Under
` + "`delivery: at-least-once`" + ` any table is written to; for a table that says *none* not even that is promised, and ` + "`waybill check`" + ` warns.

| engine | once | keeps | survives | best guarantee | why | what ` + "`waybill audit`" + ` can claim |
|---|---|---|---|---|---|---|
`)
	for i := range engines {
		e := &engines[i]
		why := e.Why
		if e.Unproved {
			why += ". *Not proved here*"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", e.Name, e.Once, e.Keeps, e.Survives, e.Guarantee(), why, e.Audit)
	}
	b.WriteString("\n`Replicated` and `Shared` before the name of another MergeTree engine change nothing but where tokens are kept: *not proved here*.\n")
	b.WriteString("An engine that is not in the list is taken for one that keeps nothing.\n")
	return b.String()
}
