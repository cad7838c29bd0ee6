package ledger

import "fmt"

// Version 4: findings become a journal. A row is what one worker has seen of one finding; rows of a finding have its id. What is there
// already was told and nothing more: each such row is a finding of its own, which is not open.

const journalFindings = `
ALTER TABLE %s.findings
    ADD COLUMN IF NOT EXISTS at DateTime64(3, 'UTC') DEFAULT opened_at COMMENT 'when what the row tells was so; the latest row of an id is what counts',
    ADD COLUMN IF NOT EXISTS epoch UInt32,
    ADD COLUMN IF NOT EXISTS episode UInt32 COMMENT 'numbers the times that a cause comes',
    ADD COLUMN IF NOT EXISTS id String DEFAULT lower(hex(sipHash64(pipeline, kind, topic, partition, first, next, batch, opened_at, message)))
        COMMENT 'the same for all rows of a finding, whoever wrote them',
    ADD COLUMN IF NOT EXISTS state LowCardinality(String) DEFAULT 'told' COMMENT 'opened, updated (seen again), closed; told: nothing to do',
    ADD COLUMN IF NOT EXISTS subject String COMMENT 'what it is about beside the partition: a column, a path, a table',
    ADD COLUMN IF NOT EXISTS evidence String COMMENT 'what shows it: JSON, or empty' CODEC(ZSTD),
    ADD COLUMN IF NOT EXISTS seen UInt64 DEFAULT 1 COMMENT 'how often, since the row before of the same worker',
    ADD COLUMN IF NOT EXISTS last_seen DateTime64(3, 'UTC') DEFAULT opened_at,
    ADD COLUMN IF NOT EXISTS until DateTime64(3, 'UTC') COMMENT 'when a finding that nothing closes is old; 0: it is closed when its cause is gone',
    ADD COLUMN IF NOT EXISTS reopened UInt32 COMMENT 'how often its cause has come back',
    ADD COLUMN IF NOT EXISTS why String COMMENT 'it was closed' CODEC(ZSTD)`

// The rows of one id add up, whoever wrote them and in whatever order they came. Of two of the same moment the one that is open counts: somebody has seen it.
const createFindingsNow = `
CREATE VIEW IF NOT EXISTS %s.findings_now AS
SELECT
    pipeline, epoch, id,
    any(f.kind) AS kind,
    argMax(f.severity, (f.at, f.state != 'closed')) AS severity,
    multiIf(argMax(f.state, (f.at, f.state != 'closed')) IN ('closed', 'told'), argMax(f.state, (f.at, f.state != 'closed')), max(f.until) > 0 AND max(f.until) < now64(3), 'closed', 'open') AS state,
    any(f.topic) AS topic,
    any(f.partition) AS partition,
    any(f.subject) AS subject,
    minIf(f.first, f.next != 0) AS first,
    max(f.next) AS next,
    argMax(f.batch, (f.at, f.state != 'closed')) AS batch,
    argMax(f.message, (f.at, f.state != 'closed')) AS message,
    argMax(f.action, (f.at, f.state != 'closed')) AS action,
    argMax(f.evidence, (f.at, f.state != 'closed')) AS evidence,
    sum(f.seen) AS seen,
    min(f.opened_at) AS opened_at,
    max(f.last_seen) AS last_seen,
    multiIf(state != 'closed', toDateTime64(0, 3, 'UTC'), argMax(f.state, (f.at, f.state != 'closed')) = 'closed', max(f.at), max(f.until)) AS closed_at,
    multiIf(state != 'closed', '', argMax(f.state, (f.at, f.state != 'closed')) = 'closed', argMax(f.why, (f.at, f.state != 'closed')), 'it is old, and nobody has acknowledged it') AS why,
    max(f.reopened) AS reopened,
    any(f.episode) AS episode,
    max(f.at) AS at,
    max(f.until) AS until,
    groupUniqArray(16)(f.worker) AS workers
FROM %s.findings AS f
GROUP BY pipeline, epoch, id
COMMENT 'What each finding is now: open, closed or told'`

// A row claims an event for one worker, or says what came of it. The token of a claim is the same for all who claim the same, so that one row lands.
var createAlerts = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.alerts (
    at       DateTime64(3, 'UTC'),
    pipeline LowCardinality(String),
    receiver LowCardinality(String) COMMENT 'its name in the pipeline file',
    finding  String,
    event    LowCardinality(String) COMMENT 'opened, closed or told; with severity and how often the finding was opened again',
    attempt  UInt32,
    outcome  LowCardinality(String) COMMENT 'claimed, delivered or refused',
    worker   String
) ENGINE = MergeTree
ORDER BY (pipeline, receiver, finding, event, attempt, at)
TTL toDateTime(at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'What other systems were told of findings, and by which worker'`, quietWindow)
