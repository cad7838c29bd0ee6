CREATE TABLE IF NOT EXISTS {{.Database}}.{{.Table}}
(
    tenant LowCardinality(String),
    session_id String,
    run_id String,
    step UInt32,
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    type LowCardinality(String),
    agent LowCardinality(String),
    tool LowCardinality(String),
    args String CODEC(ZSTD(3)),
    result String CODEC(ZSTD(3)),
    ok Bool,
    error String,
    latency_ms UInt32 CODEC(T64, ZSTD),
    tokens UInt32 CODEC(T64, ZSTD),
    _rescued String,
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64 CODEC(DoubleDelta, ZSTD),
    _epoch UInt32,
    PROJECTION waybill_offsets (SELECT _topic, _partition, _epoch, intDiv(_offset, 65536), count(), groupBitmapState(_offset) GROUP BY _topic, _partition, _epoch, intDiv(_offset, 65536))
)
ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (tenant, session_id, at)
SETTINGS non_replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild';
