-- What was said in calls of models. Long texts are in {{.Database}}.llm_messages, once each, by SHA-256: a row has a text's first 200 bytes, its name (empty: the row has all of
-- it) and its length. `waybill content sweep` removes texts that no row refers to any more.
CREATE TABLE IF NOT EXISTS {{.Database}}.{{.Table}}
(
    tenant LowCardinality(String),
    trace_id String CODEC(ZSTD),
    span_id String CODEC(ZSTD),
    start_time DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    model LowCardinality(String),
    system String CODEC(ZSTD(3)),
    input String CODEC(ZSTD(3)),
    output String CODEC(ZSTD(3)),
    system_ref String CODEC(ZSTD),
    system_bytes UInt64 CODEC(T64, ZSTD),
    input_ref String CODEC(ZSTD),
    input_bytes UInt64 CODEC(T64, ZSTD),
    output_ref String CODEC(ZSTD),
    output_bytes UInt64 CODEC(T64, ZSTD),
    _rescued String,
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64 CODEC(DoubleDelta, ZSTD),
    _epoch UInt32,
    PROJECTION waybill_offsets (SELECT _topic, _partition, _epoch, intDiv(_offset, 65536), count(), groupBitmapState(_offset) GROUP BY _topic, _partition, _epoch, intDiv(_offset, 65536))
)
ENGINE = MergeTree PARTITION BY toYYYYMM(start_time) ORDER BY (tenant, toStartOfMinute(start_time), trace_id, span_id)
SETTINGS non_replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild';

-- The texts, for the views below. Waybill would make the table as well.
CREATE TABLE IF NOT EXISTS {{.Database}}.llm_messages
(
    hash String COMMENT 'SHA-256 of the content, in hexadecimal digits' CODEC(ZSTD),
    content String CODEC(ZSTD(3)),
    bytes UInt64 MATERIALIZED length(content) CODEC(ZSTD),
    stored_at DateTime('UTC') DEFAULT now() COMMENT 'last' CODEC(ZSTD)
)
ENGINE = ReplacingMergeTree(stored_at) ORDER BY hash
SETTINGS index_granularity_bytes = 16777216, max_compress_block_size = 4194304;

-- What was said in a trace, whole: SELECT * FROM {{.Database}}.{{.Table}}_whole(trace = '...') reads the texts of that trace and no others.
CREATE VIEW IF NOT EXISTS {{.Database}}.{{.Table}}_whole AS
WITH texts AS (SELECT hash, any(content) AS content FROM {{.Database}}.llm_messages
        WHERE hash IN (SELECT arrayJoin([system_ref, input_ref, output_ref]) FROM {{.Database}}.{{.Table}} WHERE trace_id = {trace:String}) GROUP BY hash)
SELECT s.tenant AS tenant, s.trace_id AS trace_id, s.span_id AS span_id, s.start_time AS start_time, s.model AS model,
    if(s.system_ref = '', s.system, a.content) AS system, if(s.input_ref = '', s.input, b.content) AS input, if(s.output_ref = '', s.output, c.content) AS output
FROM {{.Database}}.{{.Table}} AS s
LEFT JOIN texts AS a ON a.hash = s.system_ref LEFT JOIN texts AS b ON b.hash = s.input_ref LEFT JOIN texts AS c ON c.hash = s.output_ref
WHERE s.trace_id = {trace:String};
