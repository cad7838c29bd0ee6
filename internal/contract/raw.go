package contract

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-data/waybill/internal/column"
)

// Raw is a contract of records instead of fields: every record is a row, whatever its value is. See docs/adr/0016.
type Raw struct {
	// TTL is for how long rows are kept, in whole days; 0: for ever. It is no part of a plan.
	TTL time.Duration `json:"-"`
}

// Sources of the columns of a raw plan, beside those that any plan has.
const (
	SourceBatchTime    Source = "batch_time"    // when the row's batch was closed, by the server's clock
	SourceValue        Source = "value"         // the record's value; NULL for a tombstone
	SourceHeaderKeys   Source = "header_keys"   // of all headers, in order
	SourceHeaderValues Source = "header_values" // likewise; a header's value may be NULL
	SourceAppended     Source = "appended"      // the timestamp is the broker's
	SourceLeaderEpoch  Source = "leader_epoch"  // as the record was read; -1: not known
	SourceVersion      Source = "version"       // of the event as it was kept; empty: as the event says
	SourceKept         Source = "kept"          // what redaction left of the record: see Kept
)

// Kept says how a record was kept.
type Kept string

// Ways in which records are kept.
const (
	KeptWhole    Kept = "whole"    // as it is in the topic
	KeptRedacted Kept = "redacted" // what redaction left of it, of the version that was the current one
	KeptDigest   Kept = "digest"   // key and headers; of a value that could not be redacted only size and keyed hash
)

// RawVersion is the version of what a raw plan makes of records; it takes the place of the decoder's.
const RawVersion uint16 = 1

// rawColumn is a column of the archive's table.
type rawColumn struct {
	name, typ string
	source    Source
	codec     string
	comment   string
}

// rawColumns are in the order of the INSERT; lineage follows. The codecs were measured, see docs/adr/0016.
var rawColumns = []rawColumn{
	{"archived_at", "DateTime('UTC')", SourceBatchTime, "DoubleDelta, ZSTD", "when its batch was closed, by the server's clock"},
	{"timestamp", "Int64", SourceTimestamp, "Delta, ZSTD", "the record's timestamp in Kafka, in milliseconds since 1970"},
	{"appended", "Bool", SourceAppended, "ZSTD", "the timestamp is the broker's (LogAppendTime)"},
	{"leader_epoch", "Int32", SourceLeaderEpoch, "ZSTD", "-1: not known"},
	{"key", "Nullable(String)", SourceKey, "ZSTD", "raw bytes"},
	{"value", "Nullable(String)", SourceValue, "ZSTD", "raw bytes; NULL: a tombstone"},
	{"header_keys", "Array(String)", SourceHeaderKeys, "ZSTD", ""},
	{"header_values", "Array(Nullable(String))", SourceHeaderValues, "ZSTD", "raw bytes"},
	{"version", "LowCardinality(String)", SourceVersion, "ZSTD", "of the event, which redaction is about; empty: as the event says"},
	{"kept", "LowCardinality(String)", SourceKept, "ZSTD", "whole, redacted, or digest: of the value only size and keyed hash"},
}

// compileRaw is Compile of a contract of records.
func compileRaw(c Contract, t TableSchema, l Lineage) (*Plan, error) {
	k := compiler{table: t, lineage: l, contract: c}
	for _, want := range rawColumns {
		bad := func(format string, args ...any) {
			k.problems = append(k.problems, &Problem{Column: want.name, Message: fmt.Sprintf(format, args...), Table: true})
		}
		in, ok := t.column(want.name)
		if !ok {
			bad("the archive's table has no such column: ALTER TABLE %s.%s ADD COLUMN %s %s", t.Database, t.Table, want.name, want.typ)
			continue
		}
		have, err := column.ParseType(in.Type)
		if need, _ := column.ParseType(want.typ); err != nil || !in.insertable() || have.String() != need.String() {
			bad("in an archive's table the column is %s, this one has %s %s", want.typ, in.Type, in.DefaultKind)
			continue
		}
		k.columns = append(k.columns, PlanColumn{Name: want.name, Type: have.String(), Source: want.source})
	}
	k.lineageColumns()
	if len(k.problems) > 0 {
		return nil, k.err()
	}
	return newPlan(planText{Format: planFormat, DecoderVersion: RawVersion, Database: t.Database, Table: t.Table, Raw: true,
		Transform: c.transform(), Lineage: l, Columns: k.columns, LeftToServer: k.leftToServer()})
}

// createRaw is CreateTable of a contract of records: sorted as they are read, and split by when they were archived. That is a function of the
// row, so that a retried block falls where it fell before, and has nothing to do with what a producer calls the time.
func createRaw(c Contract, l Lineage, database, table, cluster string) string {
	on, engine, window := engineOf(cluster)
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS %s.%s%s\n(\n", identifier(database), identifier(table), on)
	for _, col := range rawColumns {
		fmt.Fprintf(&b, "    %s %s COMMENT '%s' CODEC(%s),\n", identifier(col.name), col.typ, strings.ReplaceAll(col.comment, "'", "\\'"), col.codec)
	}
	fmt.Fprintf(&b, "    record_time DateTime64(3, 'UTC') ALIAS fromUnixTimestamp64Milli(timestamp, 'UTC'),\n")
	fmt.Fprintf(&b, "    %s LowCardinality(String) CODEC(ZSTD),\n    %s UInt32 CODEC(ZSTD),\n    %s UInt64 CODEC(DoubleDelta, ZSTD),\n    %s UInt32 CODEC(ZSTD),\n",
		identifier(l.Topic), identifier(l.Partition), identifier(l.Offset), identifier(l.Epoch))
	fmt.Fprintf(&b, "    %s\n)\n", offsetProjection(l))
	fmt.Fprintf(&b, "ENGINE = %s PARTITION BY toMonday(archived_at)\nORDER BY (%s)\n", engine, identifiers([]string{l.Topic, l.Partition, l.Offset}))
	if ttl := c.Raw.TTLClause(); ttl != "" {
		fmt.Fprintf(&b, "TTL %s\n", ttl)
	}
	fmt.Fprintf(&b, "SETTINGS %s = %d, lightweight_mutation_projection_mode = 'rebuild', ttl_only_drop_parts = 1, max_compress_block_size = %d",
		window, createdWindow, rawCompressBlock)
	b.WriteString("\nCOMMENT 'Records as they were in Kafka, or as redaction left them: one row for each'")
	return b.String()
}

// rawCompressBlock is how many bytes are compressed at once, at most: events look alike, and one MiB of them tells more than 64 KiB.
const rawCompressBlock = 1 << 20

// TTLClause is the expression of the table's TTL; empty: none.
func (r Raw) TTLClause() string {
	if r.TTL == 0 {
		return ""
	}
	return fmt.Sprintf("archived_at + toIntervalDay(%d)", int(r.TTL/(24*time.Hour)))
}

// Raw reports whether the plan keeps records as they are.
func (p *Plan) Raw() bool { return p.text.Raw }

// From is the column that a source fills; false if the plan has none.
func (p *Plan) From(s Source) (PlanColumn, bool) {
	i := slices.IndexFunc(p.text.Columns, func(c PlanColumn) bool { return c.Source == s })
	if i < 0 {
		return PlanColumn{}, false
	}
	return p.text.Columns[i], true
}
