-- What came, for some days: the spans are in the other table.
CREATE TABLE IF NOT EXISTS {{.Database}}.{{.Table}}
(
    received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    resource_spans String CODEC(ZSTD(3)),
    _rescued String,
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64 CODEC(DoubleDelta, ZSTD),
    _epoch UInt32,
    PROJECTION waybill_offsets (SELECT _topic, _partition, _epoch, intDiv(_offset, 65536), count(), groupBitmapState(_offset) GROUP BY _topic, _partition, _epoch, intDiv(_offset, 65536))
)
ENGINE = MergeTree PARTITION BY toDate(received_at) ORDER BY received_at
SETTINGS non_replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild';

CREATE TABLE IF NOT EXISTS {{.Database}}.{{.Table}}_spans
(
    service LowCardinality(String),
    trace_id String,
    span_id String,
    parent_span_id String,
    name LowCardinality(String),
    kind UInt8,
    start_time DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    end_time DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    status_code UInt8,
    status_message String,
    resource Map(LowCardinality(String), String),
    attributes Map(LowCardinality(String), String),
    scope LowCardinality(String)
)
ENGINE = MergeTree PARTITION BY toYYYYMM(start_time) ORDER BY (service, toStartOfMinute(start_time), trace_id, span_id)
SETTINGS non_replicated_deduplication_window = 10000;

-- A value of an attribute is {"stringValue": ...}, {"intValue": ...} and so on: its text is taken, arrays and maps as JSON.
CREATE MATERIALIZED VIEW IF NOT EXISTS {{.Database}}.{{.Table}}_take_apart TO {{.Database}}.{{.Table}}_spans AS
WITH kv -> (JSONExtractString(kv, 'key'), trim(BOTH '"' FROM JSONExtractKeysAndValuesRaw(kv, 'value')[1].2)) AS pair,
    arrayJoin(JSONExtractArrayRaw(resource_spans)) AS rs, arrayJoin(JSONExtractArrayRaw(rs, 'scopeSpans')) AS ss, arrayJoin(JSONExtractArrayRaw(ss, 'spans')) AS s,
    CAST(arrayMap(pair, JSONExtractArrayRaw(rs, 'resource', 'attributes')), 'Map(LowCardinality(String), String)') AS resource
SELECT resource['service.name'] AS service, JSONExtractString(s, 'traceId') AS trace_id, JSONExtractString(s, 'spanId') AS span_id, JSONExtractString(s, 'parentSpanId') AS parent_span_id,
    JSONExtractString(s, 'name') AS name, JSONExtractUInt(s, 'kind') AS kind,
    fromUnixTimestamp64Nano(toInt64OrZero(JSONExtractString(s, 'startTimeUnixNano')), 'UTC') AS start_time, fromUnixTimestamp64Nano(toInt64OrZero(JSONExtractString(s, 'endTimeUnixNano')), 'UTC') AS end_time,
    JSONExtractUInt(s, 'status', 'code') AS status_code, JSONExtractString(s, 'status', 'message') AS status_message, resource,
    CAST(arrayMap(pair, JSONExtractArrayRaw(s, 'attributes')), 'Map(LowCardinality(String), String)') AS attributes, JSONExtractString(ss, 'scope', 'name') AS scope
FROM {{.Database}}.{{.Table}};
