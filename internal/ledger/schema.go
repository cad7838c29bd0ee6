package ledger

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/waybill-data/waybill/internal/clickhouse"
)

// DefaultDatabase is where Waybill keeps its own tables.
const DefaultDatabase = "waybill"

// Names of the tables in that database.
const (
	TableMeta        = "meta"
	TableLedger      = "ledger"
	TableDeadLetters = "dead_letters"
	TablePlans       = "plans"
	TableDecisions   = "decisions"
	TableFindings    = "findings"
	TablePipelines   = "pipelines"
	TableChanges     = "schema_changes"
	TableDrift       = "drift"
	ViewFindings     = "findings_now"
	TableAlerts      = "alerts"
)

// GroupOffsets is how many offsets one rolled-up ledger row covers at most, give or take the last batch.
const GroupOffsets = 1 << 20

// Deduplication windows, in blocks. The ledger and the dead letters are shared by all pipelines of a server, so theirs are the
// larger; a window of 100,000 costs a few megabytes of log and 0.2 s at server start.
const (
	busyWindow  = 100_000
	quietWindow = 10_000
)

// migration is one step of the schema. Its statements are idempotent: several workers may run them at once, and a worker
// that died half-way is simply followed by the next.
type migration struct {
	version    uint32
	statements []string // %s is the quoted database
	// oldest is the oldest version whose binaries may go on beside this one: it says what they have to know of the tables. 0: they may not. Only
	// version 12 and later are asked, the binaries before it refuse whatever is newer than they are.
	oldest uint32
}

var migrations = []migration{
	{version: 1, statements: []string{createMeta, createLedger, createDeadLetters, createPlans, createDecisions, createFindings, createPipelines}},
	{version: 2, statements: []string{widenLedger, rollUpLedger, widenPlans, createChanges, createDrift}},
	{version: 3, statements: []string{routeLedger, rollUpRouted, routeDrift}},
	{version: 4, statements: []string{journalFindings, createFindingsNow, createAlerts}},
	{version: 5, statements: []string{expireDeadLetters, createReplays, createOutcomes, createLettersView}},
	{version: 6, statements: []string{timeLedger(), rollUpTimed(), createMinutes(), createThrough, createCompleteThrough}},
	{version: 7, statements: []string{createJobs, createJobScopes, createPromotions}},
	{version: 8, statements: []string{createGenerations, createControls}},
	{version: 9, statements: []string{createArchiveErased}},
	{version: 10, statements: []string{widenReplays, createAmendments, createErasures}},
	{version: 12, statements: []string{widenMeta, createPauses, createGroups}},
	{version: 13, statements: []string{versionDeadLetters, createVersionedLettersView}, oldest: 12},
	{version: 14, statements: []string{widenPromotions}, oldest: 12},
}

// Version of the schema that this binary needs.
func Version() uint32 { return migrations[len(migrations)-1].version }

func (m migration) sql(database, cluster string) []string {
	out := make([]string, len(m.statements))
	for i, s := range m.statements {
		out[i] = onCluster(strings.ReplaceAll(s, "%s", clickhouse.Ident(database)), cluster)
	}
	return out
}

var (
	ddlHead   = regexp.MustCompile("^\\s*(?:CREATE (?:OR REPLACE )?(?:DATABASE|TABLE|VIEW)(?: IF NOT EXISTS)?|ALTER TABLE) (?:`[^`]*`|[a-z_0-9]+)(?:\\.[a-z_0-9]+)?")
	mergeTree = regexp.MustCompile(`ENGINE = ([A-Za-z]*)MergeTree`)
)

// onCluster is a statement as it is run on all servers of a cluster, its table replicated among them. Where Keeper has it, is for the server's
// default_replica_path to say. Empty: the statement as it is.
func onCluster(sql, cluster string) string {
	if cluster == "" {
		return sql
	}
	head := ddlHead.FindString(sql)
	sql = head + " ON CLUSTER " + clickhouse.Ident(cluster) + mergeTree.ReplaceAllString(sql[len(head):], "ENGINE = Replicated${1}MergeTree")
	return strings.ReplaceAll(sql, "non_replicated_deduplication_window", "replicated_deduplication_window")
}

const createMeta = `
CREATE TABLE IF NOT EXISTS %s.meta (
    version    UInt32 COMMENT 'schema version that has been applied in full',
    applied_at DateTime64(3, 'UTC')
) ENGINE = MergeTree ORDER BY version
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Versions of the tables of this database'`

// The ledger's layout is argued in docs/adr/0004. In short: sums that survive the roll-up (offsets, hashes of both ends) make
// continuity checkable without sorting; the day of the batch is the table partition, so that each day is rolled up once.
var createLedger = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.ledger (
    pipeline      LowCardinality(String),
    epoch         UInt32,
    topic         LowCardinality(String),
    partition     Int32,
    first         Int64 COMMENT 'first offset covered' CODEC(DoubleDelta, ZSTD),
    next          Int64 COMMENT 'offset after the last one covered' CODEC(DoubleDelta, ZSTD),
    offsets       Int64 COMMENT 'offsets covered, holes included: next - first, also after the roll-up unless it hid a gap' CODEC(T64, ZSTD),
    batches       UInt32 COMMENT 'batches in this row: 1, more after the roll-up' CODEC(T64, ZSTD),
    read          Int64 COMMENT 'records that Kafka delivered' CODEC(T64, ZSTD),
    written       Int64 COMMENT 'records with a row in the table' CODEC(T64, ZSTD),
    filtered      Int64 CODEC(T64, ZSTD),
    dead_lettered Int64 CODEC(T64, ZSTD),
    tombstones    Int64 CODEC(T64, ZSTD),
    lost          Int64 COMMENT 'gone from Kafka before they could be written' CODEC(T64, ZSTD),
    deduplicated  Int64 COMMENT 'dropped as duplicates by key' CODEC(T64, ZSTD),
    checksum      UInt64 COMMENT 'order-free sum over the records read' CODEC(NONE),
    batch         FixedString(16) COMMENT 'id of the (first) batch' CODEC(NONE),
    batch_time    DateTime64(3, 'UTC') COMMENT 'when the batch was closed, by the server''s clock' CODEC(DoubleDelta, ZSTD),
    plan          UInt64 CODEC(ZSTD),
    decoder       UInt16 CODEC(ZSTD),
    target        LowCardinality(String) COMMENT 'database.table',
    topic_id      UUID CODEC(ZSTD),
    format        UInt8 COMMENT 'version of this row''s meaning' CODEC(ZSTD),
    INDEX next next TYPE minmax GRANULARITY 1,
    PROJECTION tip (
        SELECT pipeline, epoch, topic, partition,
               count(), min(first), max(next), sum(offsets), sum(next - first), sum(sipHash64(first)), sum(sipHash64(next))
        GROUP BY pipeline, epoch, topic, partition
    )
) ENGINE = MergeTree
PARTITION BY toDate(batch_time)
ORDER BY (pipeline, epoch, topic, partition, intDiv(first, %[1]d), first)
TTL toStartOfDay(toDateTime(batch_time, 'UTC')) + INTERVAL 8 DAY
    GROUP BY pipeline, epoch, topic, partition, intDiv(first, %[1]d)
    SET first = min(first), next = max(next), offsets = sum(offsets), batches = sum(batches), read = sum(read),
        written = sum(written), filtered = sum(filtered), dead_lettered = sum(dead_lettered), tombstones = sum(tombstones),
        lost = sum(lost), deduplicated = sum(deduplicated), checksum = sum(checksum), batch_time = max(batch_time),
        batch = argMin(batch, first), plan = max(plan), decoder = max(decoder)
SETTINGS non_replicated_deduplication_window = %[2]d, deduplicate_merge_projection_mode = 'rebuild',
         lightweight_mutation_projection_mode = 'rebuild'
COMMENT 'What became of each record: one row per batch and partition'`, GroupOffsets, busyWindow)

var createDeadLetters = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.dead_letters (
    pipeline      LowCardinality(String),
    epoch         UInt32,
    topic         LowCardinality(String),
    partition     Int32,
    offset        Int64 CODEC(DoubleDelta, ZSTD),
    record_time   DateTime64(3, 'UTC') COMMENT 'the record''s timestamp in Kafka',
    key           Nullable(String) COMMENT 'raw bytes' CODEC(ZSTD),
    value         Nullable(String) COMMENT 'raw bytes' CODEC(ZSTD),
    header_keys   Array(String) CODEC(ZSTD),
    header_values Array(String) COMMENT 'raw bytes' CODEC(ZSTD),
    batch         FixedString(16),
    batch_time    DateTime64(3, 'UTC'),
    plan          UInt64,
    stage         LowCardinality(String) COMMENT 'decode, contract, insert, ...',
    code          LowCardinality(String),
    column        LowCardinality(String) COMMENT 'path of the column concerned, if one',
    message       String CODEC(ZSTD),
    attempt       UInt32 COMMENT '0: as it was consumed'
) ENGINE = MergeTree
PARTITION BY toYYYYMM(batch_time)
ORDER BY (pipeline, epoch, topic, partition, offset)
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'Records that could not be written, whole, with the reason'`, busyWindow)

var createPlans = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.plans (
    id         UInt64,
    text       String COMMENT 'canonical text; the id is its hash' CODEC(ZSTD),
    first_seen DateTime64(3, 'UTC')
) ENGINE = MergeTree ORDER BY id
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'Every plan that ever wrote a row'`, quietWindow)

var createDecisions = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.decisions (
    pipeline   LowCardinality(String),
    epoch      UInt32,
    batch      FixedString(16),
    target     LowCardinality(String) COMMENT 'database.table that refused',
    topic      LowCardinality(String),
    partition  Int32,
    offset     Int64,
    code       Int32 COMMENT 'the server''s error code',
    reason     String CODEC(ZSTD),
    decided_at DateTime64(3, 'UTC')
) ENGINE = MergeTree
ORDER BY (pipeline, epoch, batch, target, topic, partition, offset, decided_at)
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'Decisions that are not in the records; for one offset the first one counts'`, quietWindow)

var createFindings = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.findings (
    opened_at DateTime64(3, 'UTC'),
    kind      LowCardinality(String),
    severity  LowCardinality(String) COMMENT 'info, warning or error',
    pipeline  LowCardinality(String),
    topic     LowCardinality(String),
    partition Int32,
    first     Int64,
    next      Int64,
    batch     String,
    message   String CODEC(ZSTD),
    action    String CODEC(ZSTD),
    worker    LowCardinality(String)
) ENGINE = MergeTree
ORDER BY (pipeline, kind, opened_at)
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'What a person should know: broken laws, moved positions, lost records'`, quietWindow)

var createPipelines = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.pipelines (
    name       LowCardinality(String),
    cluster_id String,
    topic      LowCardinality(String),
    topic_id   UUID,
    epoch      UInt32,
    partitions Int32 COMMENT 'of the topic',
    target     LowCardinality(String) COMMENT 'database.table',
    file_hash  String COMMENT 'of the pipeline file''s text',
    first_seen DateTime64(3, 'UTC')
) ENGINE = MergeTree
ORDER BY (name, epoch, topic, first_seen)
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'What each pipeline was, in order of appearance'`, quietWindow)
