package ledger

import (
	"fmt"
	"strings"

	"github.com/waybill-data/waybill/internal/minutes"
)

// Version 6: what became of records by the minute of their time, and up to when everything is in.

// TableThrough is where workers say up to when each partition is complete.
const TableThrough = "through"

// Names of the views on time.
const (
	ViewMinutes         = "minutes"
	ViewCompleteThrough = "complete_through"
)

// minuteColumns are the counts by minute in a ledger row, by outcome.
func minuteColumns() (names [minutes.Outcomes]string) {
	for o := range minutes.Outcomes {
		names[o] = "minutes_" + o.String()
	}
	return names
}

// The keys of the maps are minutes.Key: the beginning of a bucket, and in its seconds how wide it is. What was read in a minute is the sum of
// the first four. event_first and event_last are there to be indexed: a map is not.
func timeLedger() string {
	var b strings.Builder
	b.WriteString("ALTER TABLE %s.ledger")
	for o, name := range minuteColumns() {
		fmt.Fprintf(&b, "\n    ADD COLUMN IF NOT EXISTS %s Map(DateTime('UTC'), Int64) COMMENT 'records that were %s, by the minute of their time; seconds 1 to 4 of a key: the hour, day, month, year that begins there' CODEC(ZSTD),",
			name, strings.ReplaceAll(minutes.Outcome(o).String(), "_", "-")) //nolint:gosec // few outcomes
	}
	b.WriteString(`
    ADD COLUMN IF NOT EXISTS event_first DateTime('UTC') COMMENT 'when the first of these buckets begins' CODEC(DoubleDelta, ZSTD),
    ADD COLUMN IF NOT EXISTS event_last DateTime('UTC') COMMENT 'the last second of the last one' CODEC(DoubleDelta, ZSTD),
    ADD COLUMN IF NOT EXISTS by_record_time Int64 COMMENT 'of the read: those that are counted by their record''s time for want of the event''s' CODEC(T64, ZSTD),
    ADD INDEX IF NOT EXISTS event_time (event_first, event_last) TYPE minmax GRANULARITY 1`)
	return b.String()
}

// The roll-up sums each minute, so that a minute's counts are exact however old it is.
func rollUpTimed() string {
	sums := ""
	for _, name := range minuteColumns() {
		sums += fmt.Sprintf(" %[1]s = sumMap(%[1]s),", name)
	}
	return fmt.Sprintf(`
ALTER TABLE %%s.ledger MODIFY TTL toStartOfDay(toDateTime(batch_time, 'UTC')) + INTERVAL 8 DAY
    GROUP BY pipeline, epoch, topic, partition, intDiv(first, %[1]d)
    SET first = min(first), next = max(next), offsets = sum(offsets), batches = sum(batches), read = sum(read),
        written = sum(written), filtered = sum(filtered), dead_lettered = sum(dead_lettered), tombstones = sum(tombstones),
        lost = sum(lost), deduplicated = sum(deduplicated), rescued = sum(rescued), redacted = sum(redacted), routed = sumMap(routed),
       %[2]s event_first = min(event_first), event_last = max(event_last), by_record_time = sum(by_record_time),
        checksum = sum(checksum), batch_time = max(batch_time),
        batch = argMin(batch, first), plan = max(plan), plan_firsts = minMap(plan_firsts), decoder = max(decoder)
SETTINGS materialize_ttl_after_modify = 0`, GroupOffsets, sums)
}

// minuteArrays are the maps of a ledger row as three arrays of one length: outcomes, keys, counts.
func minuteArrays() (outcomes, keys, counts string) {
	var o, k, c []string
	for i, name := range minuteColumns() {
		o = append(o, fmt.Sprintf("arrayWithConstant(length(%s), '%s')", name, minutes.Outcome(i))) //nolint:gosec // few outcomes
		k = append(k, "mapKeys("+name+")")
		c = append(c, "mapValues("+name+")")
	}
	concat := func(parts []string) string { return "arrayConcat(" + strings.Join(parts, ", ") + ")" }
	return concat(o), concat(k), concat(c)
}

// minuteSums are the counts by outcome, summed up.
func minuteSums() string {
	out := "sumIf(n, outcome IN ('written', 'filtered', 'dead_lettered', 'tombstones')) AS read"
	for o := range minutes.Outcomes {
		out += fmt.Sprintf(", sumIf(n, outcome = '%[1]s') AS %[1]s", o)
	}
	return out
}

// One row for each key: under at-least-once a row can be there twice.
func createMinutes() string {
	outcomes, keys, counts := minuteArrays()
	return fmt.Sprintf(`
CREATE VIEW IF NOT EXISTS %%s.minutes AS
SELECT pipeline, epoch, topic, toStartOfMinute(key) AS minute, ['minute', 'hour', 'day', 'month', 'year'][toSecond(key) + 1] AS width,
       %s
FROM (
    SELECT pipeline, epoch, topic, partition, first, any(%s) AS outcomes, any(%s) AS keys, any(%s) AS counts
    FROM %%s.ledger GROUP BY pipeline, epoch, topic, partition, first
) ARRAY JOIN outcomes AS outcome, keys AS key, counts AS n
GROUP BY pipeline, epoch, topic, key
COMMENT 'What became of records by the minute of their time (event_time in the pipeline file, else the record''s own)'`, minuteSums(), outcomes, keys, counts)
}

// A row is one worker's word on one partition. Merged, the last word of each counts: all of it only ever grows.
var createThrough = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.through (
    pipeline   LowCardinality(String),
    epoch      UInt32,
    topic      LowCardinality(String),
    partition  Int32,
    through    SimpleAggregateFunction(max, DateTime64(3, 'UTC')) COMMENT 'all records of the partition whose time is before are accounted for; 1970: nothing can be said yet',
    settled    SimpleAggregateFunction(max, Int64) COMMENT 'all offsets before are',
    seen       SimpleAggregateFunction(max, DateTime64(3, 'UTC')) COMMENT 'when the brokers were asked',
    partitions SimpleAggregateFunction(max, Int32) COMMENT 'how many the topic had then'
) ENGINE = AggregatingMergeTree
ORDER BY (pipeline, epoch, topic, partition)
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'Up to when each partition is complete, as its owners have said; read it through the view complete_through'`, busyWindow)

// A topic is complete as far as its last partition is. Of one that nobody has said anything of nothing is known.
const createCompleteThrough = `
CREATE VIEW IF NOT EXISTS %s.complete_through AS
SELECT pipeline, epoch, topic, if(count() = max(n) AND min(t) > toDateTime64(0, 3, 'UTC'), min(t), NULL) AS complete_through,
       argMin(partition, t) AS held_back_by, max(n) AS partitions, max(s) AS seen
FROM (
    SELECT pipeline, epoch, topic, partition, max(through) AS t, max(seen) AS s, max(partitions) AS n
    FROM %s.through GROUP BY pipeline, epoch, topic, partition
) GROUP BY pipeline, epoch, topic
COMMENT 'Everything whose time is before complete_through is accounted for; NULL: nothing can be said yet'`
