package ledger

import "fmt"

// Version 12: pipelines that a person has paused, which consumer group each has, and which older binaries may go on after a migration. See docs/adr/0022.

// Names of its tables.
const (
	TablePauses = "pauses"
	TableGroups = "groups"
)

// versionCompatible is the first one that says which older binaries may go on.
const versionCompatible = 12

const widenMeta = `
ALTER TABLE %s.meta
    ADD COLUMN IF NOT EXISTS oldest UInt32 COMMENT 'the oldest schema version whose binaries may go on after this migration; 0: those before version 12 refuse by themselves'`

// Nothing of it expires: a pipeline that is paused stays so.
var createPauses = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.pauses (
    pipeline LowCardinality(String),
    at       DateTime64(6, 'UTC') COMMENT 'by the server''s clock; of a pipeline''s rows the last counts',
    paused   Bool COMMENT 'false: it was resumed',
    who      String,
    why      String
) ENGINE = MergeTree
ORDER BY (pipeline, at)
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'Pipelines that a person has paused: their workers settle what they have, leave the group and wait until somebody resumes them'`, quietWindow)

var createGroups = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.groups (
    pipeline LowCardinality(String),
    at       DateTime64(6, 'UTC') COMMENT 'by the server''s clock; of a pipeline''s rows the last counts',
    group    String COMMENT 'that the pipeline''s workers join from then on'
) ENGINE = MergeTree
ORDER BY (pipeline, at)
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'Which consumer group each pipeline has: workers of two groups would both read everything'`, quietWindow)
