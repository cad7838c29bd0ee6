package ledger

import "fmt"

// Version 2: schema change. Rows that are there keep their meaning: zeros, and plans of whose contract nothing is known.

const widenLedger = `
ALTER TABLE %s.ledger
    ADD COLUMN IF NOT EXISTS rescued Int64 COMMENT 'of the written: records with values in the rescue column' CODEC(T64, ZSTD) AFTER deduplicated,
    ADD COLUMN IF NOT EXISTS redacted Int64 COMMENT 'of the read: records with values that were redacted' CODEC(T64, ZSTD) AFTER rescued,
    ADD COLUMN IF NOT EXISTS plan_firsts Map(UInt64, Int64) DEFAULT map(plan, first)
        COMMENT 'the plans of the batches in this row, with the first offset that each wrote' CODEC(ZSTD) AFTER plan`

// The roll-up sums the new counts, and it keeps which plans wrote the rows that it joins and where each began: else what the
// account says of plans would end after a week. The setting leaves parts that are there alone: when they are due does not change.
var rollUpLedger = fmt.Sprintf(`
ALTER TABLE %%s.ledger MODIFY TTL toStartOfDay(toDateTime(batch_time, 'UTC')) + INTERVAL 8 DAY
    GROUP BY pipeline, epoch, topic, partition, intDiv(first, %[1]d)
    SET first = min(first), next = max(next), offsets = sum(offsets), batches = sum(batches), read = sum(read),
        written = sum(written), filtered = sum(filtered), dead_lettered = sum(dead_lettered), tombstones = sum(tombstones),
        lost = sum(lost), deduplicated = sum(deduplicated), rescued = sum(rescued), redacted = sum(redacted),
        checksum = sum(checksum), batch_time = max(batch_time),
        batch = argMin(batch, first), plan = max(plan), plan_firsts = minMap(plan_firsts), decoder = max(decoder)
SETTINGS materialize_ttl_after_modify = 0`, GroupOffsets)

const widenPlans = `
ALTER TABLE %s.plans
    ADD COLUMN IF NOT EXISTS pipeline LowCardinality(String) AFTER id,
    ADD COLUMN IF NOT EXISTS database LowCardinality(String) COMMENT 'of the target table' AFTER pipeline,
    ADD COLUMN IF NOT EXISTS table LowCardinality(String) COMMENT 'the target table' AFTER database,
    ADD COLUMN IF NOT EXISTS decoder UInt16 COMMENT 'version of the decoder' AFTER table,
    ADD COLUMN IF NOT EXISTS contract String COMMENT 'JSON: what the pipeline file promised' CODEC(ZSTD) AFTER text,
    ADD COLUMN IF NOT EXISTS schema String COMMENT 'JSON: the table as it was then' CODEC(ZSTD) AFTER contract`

var createChanges = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.schema_changes (
    at          DateTime64(3, 'UTC'),
    pipeline    LowCardinality(String),
    database    LowCardinality(String),
    table       LowCardinality(String),
    kind        LowCardinality(String) COMMENT 'add_column, modify_column, ...',
    column      String,
    path        String COMMENT 'in the event',
    from_type   String COMMENT 'empty: there was no such column',
    to_type     String,
    why         String COMMENT 'what was seen, and why it needs this type' CODEC(ZSTD),
    statement   String CODEC(ZSTD),
    outcome     LowCardinality(String) COMMENT 'applied or refused',
    error       String COMMENT 'of the server, if it refused' CODEC(ZSTD),
    plan_before UInt64,
    plan_after  UInt64 COMMENT '0 if the change was refused',
    topic       LowCardinality(String) COMMENT 'of the record that first needed the change, as the next three',
    partition   Int32,
    offset      Int64,
    record_time DateTime64(3, 'UTC'),
    worker      LowCardinality(String)
) ENGINE = MergeTree
ORDER BY (pipeline, at)
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'Every change of a table that Waybill carried out, or was refused'`, quietWindow)

// An entry's place is a tuple that compares by time first.
const placeType = "Tuple(time DateTime64(3, 'UTC'), topic String, partition Int32, offset Int64)"

var createDrift = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.drift (
    pipeline LowCardinality(String),
    epoch    UInt32,
    kind     LowCardinality(String) COMMENT 'new_field, type_conflict; missing, null, invalid (by column); blank; written: what shares are of',
    path     String COMMENT 'in the event; [*] is every element',
    column   String,
    day      Date COMMENT 'on which Waybill saw it',
    count    SimpleAggregateFunction(sum, Int64) COMMENT 'values; of blank and written: events',
    first    SimpleAggregateFunction(min, %[1]s) COMMENT 'the first record, by its time in Kafka',
    last     SimpleAggregateFunction(max, %[1]s),
    nulls    SimpleAggregateFunction(sum, Int64) COMMENT 'of the values: JSON null; and so on',
    bools    SimpleAggregateFunction(sum, Int64),
    integers SimpleAggregateFunction(sum, Int64),
    decimals SimpleAggregateFunction(sum, Int64),
    strings  SimpleAggregateFunction(sum, Int64),
    arrays   SimpleAggregateFunction(sum, Int64),
    objects  SimpleAggregateFunction(sum, Int64),
    type     SimpleAggregateFunction(anyLast, String) COMMENT 'that would take the values that one worker has seen',
    mode     SimpleAggregateFunction(anyLast, String) COMMENT 'what became of the values',
    reason   SimpleAggregateFunction(anyLast, String) COMMENT 'of a type conflict',
    sample   SimpleAggregateFunction(any, String) COMMENT 'a value, cut'
) ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (pipeline, epoch, kind, path, column, day)
SETTINGS non_replicated_deduplication_window = %[2]d
COMMENT 'How events differ from their contract, by path and day; read it with sum, min, max and GROUP BY'`, placeType, busyWindow)
