-- What came, for some days: the lines are in the other table.
CREATE TABLE IF NOT EXISTS {{.Database}}.{{.Table}}
(
    received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    resource_logs String CODEC(ZSTD(3)),
    _rescued String,
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64 CODEC(DoubleDelta, ZSTD),
    _epoch UInt32,
    PROJECTION waybill_offsets (SELECT _topic, _partition, _epoch, intDiv(_offset, 65536), count(), groupBitmapState(_offset) GROUP BY _topic, _partition, _epoch, intDiv(_offset, 65536))
)
ENGINE = MergeTree PARTITION BY toDate(received_at) ORDER BY received_at
SETTINGS non_replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild';

CREATE TABLE IF NOT EXISTS {{.Database}}.{{.Table}}_lines
(
    service LowCardinality(String),
    at DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    severity LowCardinality(String),
    severity_number UInt8,
    body String CODEC(ZSTD(3)),
    trace_id String,
    span_id String,
    resource Map(LowCardinality(String), String),
    attributes Map(LowCardinality(String), String)
)
ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (service, toStartOfMinute(at), severity_number)
SETTINGS non_replicated_deduplication_window = 10000;

-- The time of an event, or of its observation where it names none. A body that is no text stays JSON.
CREATE MATERIALIZED VIEW IF NOT EXISTS {{.Database}}.{{.Table}}_take_apart TO {{.Database}}.{{.Table}}_lines AS
WITH kv -> (JSONExtractString(kv, 'key'), trim(BOTH '"' FROM JSONExtractKeysAndValuesRaw(kv, 'value')[1].2)) AS pair,
    arrayJoin(JSONExtractArrayRaw(resource_logs)) AS rl, arrayJoin(JSONExtractArrayRaw(rl, 'scopeLogs')) AS sl, arrayJoin(JSONExtractArrayRaw(sl, 'logRecords')) AS l,
    CAST(arrayMap(pair, JSONExtractArrayRaw(rl, 'resource', 'attributes')), 'Map(LowCardinality(String), String)') AS resource,
    toInt64OrZero(JSONExtractString(l, 'timeUnixNano')) AS happened
SELECT resource['service.name'] AS service, fromUnixTimestamp64Nano(if(happened > 0, happened, toInt64OrZero(JSONExtractString(l, 'observedTimeUnixNano'))), 'UTC') AS at,
    JSONExtractString(l, 'severityText') AS severity, JSONExtractUInt(l, 'severityNumber') AS severity_number,
    if(JSONHas(l, 'body', 'stringValue'), JSONExtractString(l, 'body', 'stringValue'), JSONExtractRaw(l, 'body')) AS body,
    JSONExtractString(l, 'traceId') AS trace_id, JSONExtractString(l, 'spanId') AS span_id, resource,
    CAST(arrayMap(pair, JSONExtractArrayRaw(l, 'attributes')), 'Map(LowCardinality(String), String)') AS attributes
FROM {{.Database}}.{{.Table}};
