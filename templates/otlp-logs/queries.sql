-- severities: Lines by service and severity
SELECT service, severity, count() AS lines FROM {{from "_lines" "at"}} GROUP BY service, severity ORDER BY service, severity;

-- errors: The newest errors
SELECT toUnixTimestamp(at) AS second, service, body FROM {{from "_lines" "at"}} WHERE severity_number >= 17 ORDER BY at DESC LIMIT 10;

-- of_trace: Lines of a trace
SELECT service, body, attributes['path'] AS path FROM {{from "_lines" "at"}} WHERE trace_id = 'aaaa' ORDER BY at;
