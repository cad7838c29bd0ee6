package ledger

import (
	"fmt"
	"strings"
)

// Version 5: what became of dead letters. See docs/adr/0013.

// Names of the tables of replays and discards.
const (
	TableReplays  = "replays"
	TableOutcomes = "dead_letter_outcomes"
	ViewLetters   = "dead_letters_now"
)

// A row without a time of its own never expires: the server takes 0 for none.
const expireDeadLetters = `
ALTER TABLE %s.dead_letters
    ADD COLUMN IF NOT EXISTS expires_at DateTime('UTC') COMMENT 'when the row may be removed, by dead_letters.ttl of the pipeline file; 0: never' CODEC(ZSTD),
    MODIFY TTL expires_at
SETTINGS materialize_ttl_after_modify = 0`

var createReplays = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.replays (
    pipeline   LowCardinality(String),
    sequence   UInt64 COMMENT 'counts a pipeline''s batches of replays and discards; the next one begins when this one is finished',
    step       LowCardinality(String) COMMENT 'begun or finished',
    kind       LowCardinality(String) COMMENT 'replay or discard',
    epoch      UInt32,
    batch      FixedString(16),
    at         DateTime64(3, 'UTC') COMMENT 'when the step was taken, by the server''s clock',
    plan       UInt64 COMMENT 'that the records go through',
    topic      LowCardinality(String),
    partitions Array(Int32) COMMENT 'of the records, as the offsets beside it' CODEC(ZSTD),
    offsets    Array(Int64) CODEC(ZSTD),
    who        String COMMENT 'who began it',
    note       String COMMENT 'why, of a discard'
) ENGINE = MergeTree
ORDER BY (pipeline, sequence, step)
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'Journal of replays and discards of dead letters: what is begun is carried out by whoever finds it unfinished'`, quietWindow)

var createOutcomes = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.dead_letter_outcomes (
    pipeline  LowCardinality(String),
    epoch     UInt32,
    topic     LowCardinality(String),
    partition Int32,
    offset    Int64 CODEC(DoubleDelta, ZSTD),
    sequence  UInt64 COMMENT 'of the batch in replays' CODEC(ZSTD),
    outcome   LowCardinality(String) COMMENT 'replayed, filtered, failed or discarded',
    at        DateTime64(3, 'UTC') CODEC(ZSTD),
    attempt   UInt32 COMMENT 'which replay of the record this was' CODEC(ZSTD),
    plan      UInt64 COMMENT 'that the record went through' CODEC(ZSTD),
    target    LowCardinality(String) COMMENT 'database.table that has the row, of replayed',
    stage     LowCardinality(String) COMMENT 'of failed, as the next three',
    code      LowCardinality(String),
    column    LowCardinality(String),
    message   String CODEC(ZSTD),
    who       LowCardinality(String),
    note      String CODEC(ZSTD)
) ENGINE = MergeTree
ORDER BY (pipeline, epoch, topic, partition, offset, sequence)
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'What became of dead letters later; for one record the highest sequence counts, and of that replayed before all others'`, quietWindow)

// letters are dead letters as they are now: with the latest outcome. %[1]s is the database, %[2]s what both tables are read for, %[3]s the version of the event, %[4]s where the outcomes
// are, %[5]s which column of them is the dead letter's epoch.
const letters = `
SELECT d.pipeline AS pipeline, d.epoch AS epoch, d.topic AS topic, d.partition AS partition, d.offset AS offset,
       if(ifNull(o.outcome, '') = '', 'waiting', toString(o.outcome)) AS state,
       d.record_time AS record_time, d.key AS key, d.value AS value, d.header_keys AS header_keys, d.header_values AS header_values,
       %[3]s AS version, d.batch AS batch, d.batch_time AS batch_time,
       if(state = 'failed', o.plan, d.plan) AS plan,
       if(state = 'failed', toString(o.stage), toString(d.stage)) AS stage,
       if(state = 'failed', toString(o.code), toString(d.code)) AS code,
       if(state = 'failed', toString(o.column), toString(d.column)) AS column,
       if(state = 'failed', o.message, d.message) AS message,
       ifNull(o.attempt, 0) AS attempt, ifNull(o.sequence, 0) AS sequence,
       ifNull(o.at, toDateTime64(0, 3, 'UTC')) AS state_at, toString(ifNull(o.target, '')) AS target,
       toString(ifNull(o.who, '')) AS who, ifNull(o.note, '') AS note
FROM (SELECT * FROM %[1]s.dead_letters WHERE %[2]s) AS d
LEFT JOIN (
    SELECT pipeline, %[5]s, topic, partition, offset,
           max(sequence) AS sequence, argMax(outcome, k) AS outcome, argMax(at, k) AS at, argMax(attempt, k) AS attempt, argMax(plan, k) AS plan,
           argMax(target, k) AS target, argMax(stage, k) AS stage, argMax(code, k) AS code, argMax(column, k) AS column,
           argMax(message, k) AS message, argMax(who, k) AS who, argMax(note, k) AS note
    FROM (SELECT *, (sequence, outcome = 'replayed') AS k FROM %[4]s)
    GROUP BY pipeline, %[5]s, topic, partition, offset
) AS o ON d.pipeline = o.pipeline AND d.epoch = o.%[5]s AND d.topic = o.topic AND d.partition = o.partition AND d.offset = o.offset`

var createLettersView = lettersView("''")

// lettersView is the view of all dead letters, each with the outcomes of its own epoch; version is that of the event.
func lettersView(version string) string {
	return "CREATE OR REPLACE VIEW %s." + ViewLetters + " AS" +
		strings.NewReplacer("%[1]s", "%s", "%[2]s", "1", "%[3]s", version, "%[4]s", "%s.dead_letter_outcomes WHERE 1", "%[5]s", "epoch").Replace(letters)
}
