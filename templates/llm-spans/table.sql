-- ORDER BY tenant, then minutes: most questions are about one tenant and a time. xxHash32 keeps a trace together without sorting by text.
-- PARTITION BY month: days make small parts of late spans. Let rows go by TTL start_time + INTERVAL 90 DAY.
CREATE TABLE IF NOT EXISTS {{.Database}}.{{.Table}}
(
    tenant LowCardinality(String),
    service LowCardinality(String),
    release LowCardinality(String),
    environment LowCardinality(String),
    trace_id String,
    span_id String,
    parent_span_id String,
    name LowCardinality(String),
    start_time DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    end_time DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    latency_ms Float64 DEFAULT (toUnixTimestamp64Micro(end_time) - toUnixTimestamp64Micro(start_time)) / 1000,
    status LowCardinality(String),
    status_message String,
    error_type LowCardinality(String),
    operation LowCardinality(String),
    provider LowCardinality(String),
    request_model LowCardinality(String),
    response_model LowCardinality(String),
    conversation_id String,
    agent LowCardinality(String),
    tool LowCardinality(String),
    prompt_version LowCardinality(String),
    finish_reasons Array(String),
    input_tokens UInt32 CODEC(T64, ZSTD),
    output_tokens UInt32 CODEC(T64, ZSTD),
    cache_read_tokens UInt32 CODEC(T64, ZSTD),
    cache_write_tokens UInt32 CODEC(T64, ZSTD),
    reasoning_tokens UInt32 CODEC(T64, ZSTD),
    time_to_first_chunk Nullable(Float64),
    attributes String CODEC(ZSTD(3)),
    resource String CODEC(ZSTD(3)),
    _rescued String,
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64 CODEC(DoubleDelta, ZSTD),
    _epoch UInt32,
    PROJECTION waybill_offsets (SELECT _topic, _partition, _epoch, intDiv(_offset, 65536), count(), groupBitmapState(_offset) GROUP BY _topic, _partition, _epoch, intDiv(_offset, 65536))
)
ENGINE = MergeTree PARTITION BY toYYYYMM(start_time) ORDER BY (tenant, toStartOfMinute(start_time), xxHash32(trace_id), span_id)
SETTINGS non_replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild';
