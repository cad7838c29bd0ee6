package ledger

import "fmt"

// Version 3: pipelines of several tables.

const routeLedger = `
ALTER TABLE %s.ledger
    ADD COLUMN IF NOT EXISTS routed Map(LowCardinality(String), Int64) DEFAULT map(target, written)
        COMMENT 'of the written, how many are in each table, by database.table' CODEC(ZSTD) AFTER target`

// The roll-up sums what went to each table, else law L2 would be of all tables together after a week.
var rollUpRouted = fmt.Sprintf(`
ALTER TABLE %%s.ledger MODIFY TTL toStartOfDay(toDateTime(batch_time, 'UTC')) + INTERVAL 8 DAY
    GROUP BY pipeline, epoch, topic, partition, intDiv(first, %[1]d)
    SET first = min(first), next = max(next), offsets = sum(offsets), batches = sum(batches), read = sum(read),
        written = sum(written), filtered = sum(filtered), dead_lettered = sum(dead_lettered), tombstones = sum(tombstones),
        lost = sum(lost), deduplicated = sum(deduplicated), rescued = sum(rescued), redacted = sum(redacted), routed = sumMap(routed),
        checksum = sum(checksum), batch_time = max(batch_time),
        batch = argMin(batch, first), plan = max(plan), plan_firsts = minMap(plan_firsts), decoder = max(decoder)
SETTINGS materialize_ttl_after_modify = 0`, GroupOffsets)

// Each table has a contract of its own to differ from.
const routeDrift = `
ALTER TABLE %s.drift
    ADD COLUMN IF NOT EXISTS target LowCardinality(String) COMMENT 'database.table; empty: it was noted by a version that had one table for a pipeline',
    MODIFY ORDER BY (pipeline, epoch, kind, path, column, day, target)`
