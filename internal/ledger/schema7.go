package ledger

import "fmt"

// Version 7: backfills. See docs/adr/0015.

// Names of the tables of backfills.
const (
	TableJobs       = "jobs"
	TableJobScopes  = "job_scopes"
	TablePromotions = "promotions"
)

var createJobs = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.jobs (
    pipeline   LowCardinality(String),
    sequence   UInt64 COMMENT 'counts the rows of a pipeline''s jobs; the last row of a job is what it is now',
    job        String,
    state      LowCardinality(String),
    step       LowCardinality(String) COMMENT 'of a promotion or rollback that is under way',
    epoch      UInt32 COMMENT 'that the job writes under; 0: none yet',
    target     LowCardinality(String) COMMENT 'database.table',
    scope      String CODEC(ZSTD),
    at         DateTime64(3, 'UTC') COMMENT 'by the server''s clock',
    owner      String COMMENT 'who is at it; empty: nobody',
    lease      DateTime64(3, 'UTC') COMMENT 'until when the owner is left alone',
    note       String CODEC(ZSTD),
    job_json   String COMMENT 'the job as it is after this row, as Waybill reads it' CODEC(ZSTD)
) ENGINE = MergeTree
ORDER BY (pipeline, sequence)
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'Journal of backfills: each row is a step, and the last one of a job says how it stands'`, quietWindow)

var createJobScopes = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.job_scopes (
    pipeline  LowCardinality(String),
    job       String,
    partition Int32,
    first     Int64 CODEC(DoubleDelta, ZSTD),
    next      Int64 COMMENT 'offset after the last one; the largest there is: all that comes' CODEC(DoubleDelta, ZSTD)
) ENGINE = MergeTree
ORDER BY (pipeline, job, partition, first)
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'Which offsets a backfill makes rows of anew'`, quietWindow)

var createPromotions = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.promotions (
    pipeline     LowCardinality(String),
    job          String,
    leg          UInt32 COMMENT 'how often tables have changed places in the job before',
    kind         LowCardinality(String) COMMENT 'promotion or rollback',
    target       LowCardinality(String) COMMENT 'database.table, whose content is another one now',
    epoch        UInt32 COMMENT 'that the table is written under from now on',
    as_of        DateTime64(3, 'UTC') COMMENT 'when readers began to see the new content, by the server''s clock',
    pause_ms     UInt64 COMMENT 'for how long live ingestion stood still',
    partitions   Array(String) COMMENT 'ids of the table partitions with other rows than before' CODEC(ZSTD),
    event_column LowCardinality(String) COMMENT 'which column says when an event happened; empty: none',
    event_first  Nullable(DateTime64(3, 'UTC')) COMMENT 'of the rows that were replaced',
    event_last   Nullable(DateTime64(3, 'UTC')),
    rows_out     UInt64 COMMENT 'rows of the scope, before',
    rows_in      UInt64 COMMENT 'and now',
    positions    Map(Int32, Int64) COMMENT 'where the topic''s partitions stood'
) ENGINE = MergeTree
ORDER BY (pipeline, as_of)
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'What those who read the tables should read anew, and since when'`, quietWindow)
