-- By the time of the span that is scored, so that a late score lies beside the others of its span; the newest version is taken when it is read.
CREATE TABLE IF NOT EXISTS {{.Database}}.{{.Table}}
(
    tenant LowCardinality(String),
    score_id String,
    version UInt32,
    deleted Bool,
    trace_id String,
    span_id String,
    span_start_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    evaluator LowCardinality(String),
    evaluator_version LowCardinality(String),
    name LowCardinality(String),
    value Nullable(Float64),
    label LowCardinality(String),
    explanation String CODEC(ZSTD(3)),
    source LowCardinality(String),
    prompt_version LowCardinality(String),
    model LowCardinality(String),
    run_id String,
    dataset_item_id String,
    scored_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    _rescued String,
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64 CODEC(DoubleDelta, ZSTD),
    _epoch UInt32,
    PROJECTION waybill_offsets (SELECT _topic, _partition, _epoch, intDiv(_offset, 65536), count(), groupBitmapState(_offset) GROUP BY _topic, _partition, _epoch, intDiv(_offset, 65536))
)
ENGINE = MergeTree PARTITION BY toYYYYMM(span_start_time) ORDER BY (tenant, toDate(span_start_time), name, trace_id, span_id, score_id)
SETTINGS non_replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild';

-- The scores that count.
CREATE VIEW IF NOT EXISTS {{.Database}}.{{.Table}}_now AS
SELECT * FROM (SELECT * FROM {{.Database}}.{{.Table}} ORDER BY score_id, version DESC, scored_at DESC LIMIT 1 BY score_id) WHERE NOT deleted;
