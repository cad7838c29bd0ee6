package ledger

import "fmt"

// Version 9: what was taken out of archives on purpose. See docs/adr/0016.

// TableArchiveErased is where erasures of archived records are on record.
const TableArchiveErased = "archive_erased"

var createArchiveErased = fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %%s.archive_erased (
    pipeline  LowCardinality(String) COMMENT 'the archive''s: NAME.archive',
    topic     LowCardinality(String),
    partition Int32,
    first     Int64 CODEC(DoubleDelta, ZSTD),
    next      Int64 CODEC(DoubleDelta, ZSTD),
    why       String CODEC(ZSTD),
    at        DateTime64(3, 'UTC')
) ENGINE = MergeTree
ORDER BY (pipeline, topic, partition, first)
SETTINGS non_replicated_deduplication_window = %d
COMMENT 'Offsets whose records were erased from an archive: nobody reads them from it again'`, quietWindow)
