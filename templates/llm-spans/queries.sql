-- tokens_by_model: Tokens by tenant and model
SELECT tenant, request_model, count() AS calls, sum(input_tokens) AS input, sum(output_tokens) AS output, sum(cache_read_tokens) AS cached
FROM {{from "" "start_time"}} WHERE request_model != '' GROUP BY tenant, request_model ORDER BY tenant, request_model;

-- cache_share: Share of input tokens that came from a cache
SELECT request_model, round(sum(cache_read_tokens) / sum(input_tokens), 4) AS share
FROM {{from "" "start_time"}} WHERE input_tokens > 0 GROUP BY request_model ORDER BY request_model;

-- latency: Latency and time to first chunk by model, p50 and p95
SELECT request_model, quantileExact(0.5)(latency_ms) AS p50_ms, quantileExact(0.95)(latency_ms) AS p95_ms, quantileExact(0.95)(time_to_first_chunk) AS p95_first_chunk_s
FROM {{from "" "start_time"}} WHERE request_model != '' GROUP BY request_model ORDER BY request_model;

-- errors: Error mix
SELECT error_type, operation, count() AS spans FROM {{from "" "start_time"}} WHERE status = 'ERROR' GROUP BY error_type, operation ORDER BY spans DESC, error_type, operation;

-- finish_reasons: Why answers ended
SELECT arrayJoin(finish_reasons) AS reason, count() AS spans FROM {{from "" "start_time"}} GROUP BY reason ORDER BY spans DESC, reason;

-- tools: Tools and how often they fail
SELECT tool, count() AS calls, round(countIf(status = 'ERROR') / count(), 4) AS failed FROM {{from "" "start_time"}} WHERE tool != '' GROUP BY tool ORDER BY tool;

-- tokens_by_prompt_version: What a version of the prompt costs
SELECT prompt_version, count() AS calls, round(avg(input_tokens + output_tokens), 1) AS tokens_per_call
FROM {{from "" "start_time"}} WHERE prompt_version != '' GROUP BY prompt_version ORDER BY prompt_version;
