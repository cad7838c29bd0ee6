// Package check judges whether a pipeline can run: its brokers and topic, its server and tables, what feeds on them. It has no I/O:
// package inspect looks, and hands over Facts.
//
// Each check is here once. `waybill check` shows all of them; `waybill run` and `waybill plan` refuse what those say that guard the
// guarantee (see Preflight).
package check

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/kafka"
)

// Group is what a check is about.
type Group string

// Groups, in the order in which they are shown.
const (
	GroupFile       Group = "file"
	GroupKafka      Group = "kafka"
	GroupClickHouse Group = "clickhouse"
	GroupTable      Group = "table"
	GroupViews      Group = "views"
)

// Facts are what was found. A fact that could not be had has its error beside it.
type Facts struct {
	Pipeline *config.Pipeline
	Demands  Demands
	Now      time.Time
	Kafka    kafka.Inspection
	Server   Server
	Tables   []Table
	// Objects is why the storage cannot be used that the pipeline writes objects to, instead of into a table.
	Objects error
	// Content is about the place of long values, if the pipeline has one.
	Content Content
	// Tips are where the ledger ends, by partition; TipsErr: it is not known.
	Tips    map[int32]int64
	TipsErr error
}

// Demands are what Waybill needs of brokers and tables.
type Demands struct {
	// InFlight is how many batches of a worker may be unsettled at once.
	InFlight int
	// Metadata is the longest string that goes with a committed offset, in bytes.
	Metadata int
	// MaxRead is the largest answer of a broker that is read, in bytes.
	MaxRead int64
	// SchemaVersion is that of Waybill's own tables.
	SchemaVersion uint32
}

// Server is what was found of the ClickHouse server.
type Server struct {
	Err        error // why it could not be asked anything
	NoDatabase bool  // the database of the file is not there; everything else was asked without it
	Said       clickhouse.Server
	User       string
	Vetoes     []clickhouse.Veto
	ReadOnly   string // of the user's profile: 0, 1 or 2
	// Skew is how far its clock is ahead of ours, give or take Margin.
	Skew, Margin time.Duration
	Disks        []clickhouse.Disk
	DisksErr     error
	// Own is the version of the database waybill; 0: there is none.
	Own    uint32
	OwnErr error
	Grants []Grant // that the database waybill needs
	// MaxPartitions is max_partitions_per_insert_block of the user; 0: no limit.
	MaxPartitions int64
}

// Grant is a right that is needed.
type Grant struct {
	Right string // as in GRANT, without the word
	For   string // what for
	// Have: the user has it; Err: it could not be told.
	Have bool
	Err  error
	// Optional: without it something is left out.
	Optional bool
}

// Table is what was found of one of the pipeline's tables.
type Table struct {
	config.Table
	// Missing: there is none, and Create would make it. Err: it could not be read.
	Missing   bool
	Create    string
	Similar   []string // tables of the same database
	Err       error
	Schema    contract.TableSchema
	Lineage   contract.Lineage // the columns that it has of it
	PlanErr   error            // of contract.Compile
	Info      clickhouse.TableInfo
	State     clickhouse.TableState
	StateErr  error
	Policies  []string
	PolicyErr error
	Grants    []Grant
}

// Mend is one thing to do about a finding.
type Mend struct {
	// Kind is sql, for the ClickHouse server; command, for a shell; or do, in words.
	Kind string `json:"kind"`
	Text string `json:"text"`
	// Safe: it changes no row, can be run again, and `--fix` runs it.
	Safe bool `json:"safe"`
	// Creates: it makes a database or a table, which `--fix` does if `--create` asks for it.
	Creates bool `json:"creates,omitempty"`
}

// Finding is something that is wrong, may become so, or should be known.
type Finding struct {
	Severity waybill.Severity `json:"severity"`
	What     string           `json:"what"` // in one sentence, with the names
	Why      string           `json:"why"`  // why it matters
	Mend     []Mend           `json:"mend"`
	// Line and Column are the place in the pipeline file, if it has one.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// What `waybill run` says of it, if it says anything: see Preflight.
	kind, subject, brief string
}

// sql, do and command are ways to mend.
func sql(text string) Mend     { return Mend{Kind: "sql", Text: text} }
func safe(text string) Mend    { return Mend{Kind: "sql", Text: text, Safe: true} }
func create(text string) Mend  { return Mend{Kind: "sql", Text: text, Creates: true} }
func do(text string) Mend      { return Mend{Kind: "do", Text: text} }
func command(text string) Mend { return Mend{Kind: "command", Text: text} }

// verdict is what a check says.
type verdict struct {
	findings []Finding
	well     string // what is well, with figures, if there are no findings
	unknown  string // why it could not be told
}

func well(text string) verdict          { return verdict{well: text} }
func unknown(text string) verdict       { return verdict{unknown: text} }
func found(findings ...Finding) verdict { return verdict{findings: findings} }
func (v *verdict) add(f Finding)        { v.findings = append(v.findings, f) }
func (v *verdict) orWell(s string) verdict {
	if len(v.findings) == 0 {
		v.well = s
	}
	return *v
}

// Check is one question.
type Check struct {
	ID    string
	Group Group
	// Asks is what must be so, as a clause.
	Asks string
	// Needs are the checks without whose yes it cannot be told.
	Needs []string
	// judge answers for the pipeline, or judgeTable for each of its tables.
	judge      func(*Facts) verdict
	judgeTable func(*Facts, *Table) verdict
}

// Checks are all there are, in the order in which they are made: causes before what follows from them.
func Checks() []Check {
	return slices.Concat(kafkaChecks, serverChecks, tableChecks, viewChecks)
}

// Mark is how a check has ended.
type Mark string

// Marks.
const (
	MarkOK      Mark = "ok"
	MarkNote    Mark = "note"
	MarkWarning Mark = "warning"
	MarkError   Mark = "error"
	MarkSkipped Mark = "skipped" // what it rests on does not hold
	MarkUnknown Mark = "unknown" // it could not be told
)

// Item is one check of a pipeline, or of one of its tables.
type Item struct {
	ID    string `json:"id"`
	Group Group  `json:"group"`
	// Subject is the table, for checks that are made of each.
	Subject  string    `json:"subject,omitempty"`
	Mark     Mark      `json:"mark"`
	Text     string    `json:"text"` // what is well; why it is skipped or not known
	Findings []Finding `json:"findings"`
}

// Report is all that was checked of a pipeline.
type Report struct {
	Pipeline string `json:"pipeline"`
	File     string `json:"file"`
	Items    []Item `json:"items"`
}

// FileReport is about a file that cannot be read as a pipeline.
func FileReport(file string, problems config.Problems) *Report {
	item := Item{ID: "file", Group: GroupFile, Mark: MarkError, Findings: []Finding{}}
	for _, p := range problems {
		one := Finding{Severity: waybill.SeverityError, What: textOf(p), Why: "the pipeline would not start", Line: p.Line, Column: p.Column}
		item.Findings = append(item.Findings, one)
	}
	return &Report{File: file, Items: []Item{item}}
}

func textOf(p config.Problem) string {
	text := p.Message
	if p.Hint != "" {
		text += " (" + p.Hint + ")"
	}
	if p.Line > 0 {
		text = fmt.Sprintf("%d:%d: %s", p.Line, p.Column, text)
	}
	return text
}

// Fixes are the statements of findings that are safe, each once, in their order; with create those too that make a database or a table.
func (r *Report) Fixes(create bool) (statements []string) {
	for _, f := range r.Findings() {
		for _, m := range f.Mend {
			if (m.Safe || create && m.Creates) && !slices.Contains(statements, m.Text) {
				statements = append(statements, m.Text)
			}
		}
	}
	return statements
}

// Archive leaves what is about the archive of a pipeline alone: its tables and its group. The rest is the pipeline's own.
func (r *Report) Archive() {
	r.Items = slices.DeleteFunc(r.Items, func(i Item) bool {
		return i.Group != GroupTable && i.Group != GroupViews && i.ID != "group" && i.ID != "group_use" && i.ID != "position"
	})
}

// Run makes all checks.
func Run(f *Facts) *Report {
	r := &Report{Pipeline: f.Pipeline.Name, File: f.Pipeline.File, Items: []Item{}}
	checks := Checks()
	failed := map[string]string{}                        // of the pipeline: what does not hold, by the check that cannot be relied on
	failedOf := make([]map[string]string, len(f.Tables)) // of each table
	for i := range failedOf {
		failedOf[i] = map[string]string{}
	}
	for i := range checks {
		c := &checks[i]
		if c.judge != nil {
			r.add(c, "", c.skip(failed), func() verdict { return c.judge(f) }, failed)
			continue
		}
		for n := range f.Tables {
			t := &f.Tables[n]
			r.add(c, t.Sink.ClickHouse.Place(), c.skip(failed, failedOf[n]), func() verdict { return c.judgeTable(f, t) }, failedOf[n])
		}
	}
	return r
}

// skip is what does not hold, so that a check cannot be made; empty if it can.
func (c *Check) skip(failed ...map[string]string) string {
	for _, need := range c.Needs {
		for _, of := range failed {
			if root := of[need]; root != "" {
				return root
			}
		}
	}
	return ""
}

func (r *Report) add(c *Check, subject, skip string, judge func() verdict, failed map[string]string) {
	item := Item{ID: c.ID, Group: c.Group, Subject: subject, Mark: MarkSkipped, Text: "not checked, as it does not hold that " + skip, Findings: []Finding{}}
	if skip != "" {
		failed[c.ID] = skip
	} else {
		v := judge()
		item.Text, item.Findings = v.well, append(item.Findings, v.findings...)
		for i := range item.Findings {
			item.Findings[i].What = bare(item.Findings[i].What)
		}
		item.Mark = MarkOK
		if v.unknown != "" {
			item.Mark, item.Text = MarkUnknown, v.unknown
		}
		if worst := worstOf(v.findings); worst != nil {
			item.Mark = marks[worst.Severity]
		}
	}
	if item.Mark == MarkError {
		failed[c.ID] = c.Asks
	}
	if item.Mark == MarkOK && item.Text == "" {
		return // it does not apply
	}
	r.Items = append(r.Items, item)
}

var marks = map[waybill.Severity]Mark{waybill.SeverityError: MarkError, waybill.SeverityWarning: MarkWarning, waybill.SeverityInfo: MarkNote}

var rank = map[waybill.Severity]int{waybill.SeverityError: 2, waybill.SeverityWarning: 1, waybill.SeverityInfo: 0}

// worstOf is the first of the most severe; nil for none.
func worstOf(findings []Finding) *Finding {
	if len(findings) == 0 {
		return nil
	}
	worst := slices.MaxFunc(findings, func(a, b Finding) int { return cmp.Compare(rank[a.Severity], rank[b.Severity]) })
	return &worst
}

// Findings are those of all items, in their order.
func (r *Report) Findings() (out []Finding) {
	for i := range r.Items {
		out = append(out, r.Items[i].Findings...)
	}
	return out
}

// Worst is the most severe finding, and of those the one that comes first; nil if there is none.
func (r *Report) Worst() *Finding { return worstOf(r.Findings()) }

// Count is how many findings there are of a severity.
func (r *Report) Count(s waybill.Severity) (n int) {
	for _, f := range r.Findings() {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// OK: nothing would keep the pipeline from running.
func (r *Report) OK() bool { return r.Count(waybill.SeverityError) == 0 }
