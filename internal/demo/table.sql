CREATE TABLE demo.llm_calls
(
    seq           UInt64 COMMENT 'the generator''s own number of the event' CODEC(T64, ZSTD),
    trace_id      UUID,
    ts            DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD),
    tenant        LowCardinality(String),
    environment   LowCardinality(String),
    release       LowCardinality(String),
    model         LowCardinality(String),
    provider      LowCardinality(String),
    temperature   Float32,
    max_tokens    UInt32 CODEC(T64, ZSTD),
    input_tokens  UInt32 CODEC(T64, ZSTD),
    output_tokens UInt32 CODEC(T64, ZSTD),
    cached_tokens UInt32 CODEC(T64, ZSTD),
    latency_ms    UInt32 CODEC(T64, ZSTD),
    ttft_ms       Nullable(UInt32) CODEC(ZSTD),
    status        LowCardinality(String),
    error         Nullable(String) CODEC(ZSTD),
    cost          Float64 COMMENT 'US dollars' CODEC(ZSTD),
    messages      String COMMENT 'JSON, as it came' CODEC(ZSTD),
    tags          Array(LowCardinality(String)),
    metadata      Map(LowCardinality(String), String) CODEC(ZSTD),

    -- What fits no other column, with the reason.
    _rescued      String CODEC(ZSTD),

    -- Lineage: which record of Kafka a row came from. It makes the table the
    -- proof of its own completeness.
    _topic     LowCardinality(String) CODEC(ZSTD),
    _partition UInt16 CODEC(T64, ZSTD),
    _offset    UInt64 CODEC(T64, ZSTD),
    _epoch     UInt32 CODEC(T64, ZSTD),

    -- A bitmap of offsets per 65,536: says in milliseconds which are here.
    {{.Projection}}
)
ENGINE = MergeTree
PARTITION BY toDate(ts)
ORDER BY (tenant, toStartOfHour(ts), trace_id)
SETTINGS non_replicated_deduplication_window = 10000,
         lightweight_mutation_projection_mode = 'rebuild'
