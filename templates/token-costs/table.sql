CREATE TABLE IF NOT EXISTS {{.Database}}.{{.Table}}
(
    tenant LowCardinality(String),
    user String,
    feature LowCardinality(String),
    provider LowCardinality(String),
    model LowCardinality(String),
    request_id String,
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    tokens Map(LowCardinality(String), UInt64),
    _rescued String,
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64 CODEC(DoubleDelta, ZSTD),
    _epoch UInt32,
    PROJECTION waybill_offsets (SELECT _topic, _partition, _epoch, intDiv(_offset, 65536), count(), groupBitmapState(_offset) GROUP BY _topic, _partition, _epoch, intDiv(_offset, 65536))
)
ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (tenant, toDate(at), model)
SETTINGS non_replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild';

-- Prices of a million tokens, each from a moment on. Yours to fill: INSERT INTO ... VALUES ('p-one', 'm-large', 'input', '2026-01-01', 3.00, 1).
CREATE TABLE IF NOT EXISTS {{.Database}}.{{.Table}}_prices
(
    provider LowCardinality(String),
    model LowCardinality(String),
    kind LowCardinality(String),
    valid_from DateTime64(3, 'UTC'),
    per_million Decimal(18, 6),
    version UInt32
)
ENGINE = ReplacingMergeTree(version) ORDER BY (provider, model, kind, valid_from);

-- What each kind of token of each call cost, by the price of its time. priced is false where no price is known: such tokens cost nothing here, and can be counted.
CREATE VIEW IF NOT EXISTS {{.Database}}.{{.Table}}_priced AS
SELECT u.tenant AS tenant, u.user AS user, u.feature AS feature, u.provider AS provider, u.model AS model, u.request_id AS request_id, u.at AS at, u.kind AS kind, u.n AS tokens,
    p.per_million AS per_million, p.version AS price_version, p.version > 0 AS priced, toDecimal128(u.n, 0) * p.per_million / 1000000 AS cost
FROM (SELECT tenant, user, feature, provider, model, request_id, at, kv.1 AS kind, kv.2 AS n FROM {{.Database}}.{{.Table}} ARRAY JOIN CAST(tokens, 'Array(Tuple(LowCardinality(String), UInt64))') AS kv) AS u
ASOF LEFT JOIN (SELECT * FROM {{.Database}}.{{.Table}}_prices FINAL) AS p ON u.provider = p.provider AND u.model = p.model AND u.kind = p.kind AND u.at >= p.valid_from;
