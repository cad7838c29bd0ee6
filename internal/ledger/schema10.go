package ledger

import "fmt"

// Version 10: what was done about offsets after the ledger had accounted for them. See docs/adr/0017.

// Names of the tables of repairs and erasures.
const (
	TableAmendments = "amendments"
	TableErasures   = "erasures"
)

// was is written with the beginning of a repair or an erasure, so that all who carry it out say the same.
const widenReplays = `
ALTER TABLE %s.replays
    ADD COLUMN IF NOT EXISTS was Array(UInt8) COMMENT 'what the ledger counts each offset as, of a repair or an erasure: 1 written, 2 filtered, 3 dead_lettered, 4 tombstone, 5 none' CODEC(ZSTD),
    COMMENT COLUMN kind 'replay, discard, fill, rewrite or erase',
    COMMENT COLUMN step 'begun, cleared (of a rewrite: the old rows are gone) or finished'`

var createAmendments = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.amendments (
    pipeline  LowCardinality(String),
    epoch     UInt32,
    topic     LowCardinality(String),
    partition Int32,
    first     Int64 CODEC(DoubleDelta, ZSTD),
    next      Int64 CODEC(DoubleDelta, ZSTD),
    sequence  UInt64 COMMENT 'of the batch in replays' CODEC(ZSTD),
    was       LowCardinality(String) COMMENT 'what the ledger counts these offsets as: written, filtered, dead_lettered, tombstone or none',
    outcome   LowCardinality(String) COMMENT 'what they are since: written, filtered, dead_lettered, tombstone, none or erased',
    plan      UInt64 COMMENT 'that the records went through; 0: none' CODEC(ZSTD),
    at        DateTime64(3, 'UTC') CODEC(ZSTD),
    who       LowCardinality(String),
    note      String CODEC(ZSTD)
) ENGINE = MergeTree
ORDER BY (pipeline, epoch, topic, partition, first, sequence)
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'What repairs and erasures have made of offsets after the ledger had accounted for them; for one offset the highest sequence counts'`, quietWindow)

var createErasures = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.erasures (
    pipeline   LowCardinality(String),
    erasure    FixedString(16) COMMENT 'of one run of waybill erase; it may have many batches',
    sequence   UInt64 COMMENT 'of the batch in replays',
    epoch      UInt32,
    topic      LowCardinality(String),
    topic_id   UUID COMMENT 'Kafka''s; zero: it was not known. A topic that is created again has other records',
    at         DateTime64(3, 'UTC') COMMENT 'when the batch was begun, by the server''s clock',
    who        String,
    why        String,
    condition  String COMMENT 'by which the records were found, if it was to be kept; it may name the subject' CODEC(ZSTD),
    salt       FixedString(16),
    hash       FixedString(32) COMMENT 'SHA-256 of the salt and the condition',
    partitions Array(Int32) COMMENT 'of the spans of offsets, as the next two' CODEC(ZSTD),
    firsts     Array(Int64) CODEC(ZSTD),
    nexts      Array(Int64) CODEC(ZSTD)
) ENGINE = MergeTree
ORDER BY (pipeline, topic, sequence)
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'Offsets that were erased: nothing may bring their records back'`, quietWindow)
