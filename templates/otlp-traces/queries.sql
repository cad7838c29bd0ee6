-- services: Spans and errors by service
SELECT service, count() AS spans, countIf(status_code = 2) AS errors FROM {{from "_spans" "start_time"}} GROUP BY service ORDER BY service;

-- latency: Latency by name, p50 and p95 in milliseconds
SELECT service, name, quantileExact(0.5)((toUnixTimestamp64Nano(end_time) - toUnixTimestamp64Nano(start_time)) / 1000000) AS p50_ms, quantileExact(0.95)((toUnixTimestamp64Nano(end_time) - toUnixTimestamp64Nano(start_time)) / 1000000) AS p95_ms
FROM {{from "_spans" "start_time"}} GROUP BY service, name ORDER BY service, name;

-- status_codes: Answers by their status
SELECT attributes['http.status_code'] AS status, count() AS spans FROM {{from "_spans" "start_time"}} WHERE has(mapKeys(attributes), 'http.status_code') GROUP BY status ORDER BY status;

-- traces: Traces and how many spans they have
SELECT trace_id, count() AS spans, uniqExact(service) AS services FROM {{from "_spans" "start_time"}} GROUP BY trace_id ORDER BY trace_id;
