package ledger

import "fmt"

// Version 8: which epoch each table is written under, and who may not write. See docs/adr/0015.

// Names of the tables of the handover.
const (
	TableGenerations = "generations"
	TableControls    = "controls"
)

var createGenerations = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.generations (
    pipeline   LowCardinality(String),
    table      UUID COMMENT 'of the physical table: a name can mean another one tomorrow',
    epoch      UInt32 COMMENT 'that the table is written under from here on; of several the highest counts',
    file_epoch UInt32 COMMENT 'what the pipeline file said then',
    job        String COMMENT 'that made it so',
    at         DateTime64(3, 'UTC')
) ENGINE = MergeTree
ORDER BY (pipeline, table, epoch)
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'Which epoch each table is written under; a table that is not here is written under that of the pipeline file'`, quietWindow)

// A hold is renewed every few seconds while it lasts. The rows of one that is over say nothing any more.
var createControls = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.controls (
    pipeline LowCardinality(String),
    job      String COMMENT 'that holds the pipeline',
    at       DateTime64(6, 'UTC') COMMENT 'by the server''s clock; of one job''s rows the last counts',
    until    DateTime64(3, 'UTC') COMMENT 'the hold ends by itself then; 1970: it was lifted'
) ENGINE = MergeTree
ORDER BY (pipeline, job, at)
TTL toDateTime(greatest(at, until)) + INTERVAL 7 DAY
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'Holds: while one lasts, the pipeline''s workers settle what they have, leave the group and wait'`, quietWindow)
