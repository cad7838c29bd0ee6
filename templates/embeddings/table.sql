-- Chunks that are embedded again are rows again: the newest counts, by the view below. The index makes nearest neighbours quick: (method, distance, length of the vector).
CREATE TABLE IF NOT EXISTS {{.Database}}.{{.Table}}
(
    tenant LowCardinality(String),
    collection LowCardinality(String),
    doc_id String,
    chunk UInt32,
    model LowCardinality(String),
    vector Array(Float32) CODEC(NONE),
    text_hash String,
    text_ref String,
    meta Map(LowCardinality(String), String),
    created_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    CONSTRAINT whole_vector CHECK length(vector) = 4,
    INDEX nearest vector TYPE vector_similarity('hnsw', 'cosineDistance', 4),
    _rescued String,
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64 CODEC(DoubleDelta, ZSTD),
    _epoch UInt32,
    PROJECTION waybill_offsets (SELECT _topic, _partition, _epoch, intDiv(_offset, 65536), count(), groupBitmapState(_offset) GROUP BY _topic, _partition, _epoch, intDiv(_offset, 65536))
)
ENGINE = MergeTree PARTITION BY toYYYYMM(created_at) ORDER BY (tenant, collection, doc_id, chunk)
SETTINGS non_replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild';

CREATE VIEW IF NOT EXISTS {{.Database}}.{{.Table}}_now AS
SELECT * FROM {{.Database}}.{{.Table}} ORDER BY created_at DESC, _offset DESC LIMIT 1 BY tenant, collection, doc_id, chunk;
