-- trace: What was said in a trace, whole
SELECT span_id, length(system) AS system, length(input) AS input, JSONExtractString(output, 1, 'content') AS answer FROM {{.Database}}.{{.Table}}_whole(trace = 't2') ORDER BY start_time, span_id;

-- bytes: Bytes that were said, by tenant and model
SELECT tenant, model, count() AS calls, sum(system_bytes + input_bytes + output_bytes) AS said FROM {{from "" "start_time"}} GROUP BY tenant, model ORDER BY tenant, model;

-- repeated: Long system prompts by how often they came
SELECT system_ref AS prompt, count() AS calls, uniqExact(tenant) AS tenants FROM {{from "" "start_time"}} WHERE system_ref != '' GROUP BY prompt ORDER BY calls DESC, prompt;

-- saved: Bytes of long texts as they came, and of those that are kept
SELECT sum(bytes) AS came, sumIf(bytes, first) AS kept FROM (
    SELECT bytes, row_number() OVER (PARTITION BY ref) = 1 AS first FROM (
        SELECT arrayJoin([(system_ref, system_bytes), (input_ref, input_bytes), (output_ref, output_bytes)]) AS text, text.1 AS ref, text.2 AS bytes FROM {{from "" "start_time"}}) WHERE ref != '');

-- longest: The longest calls
SELECT trace_id, span_id, system_bytes + input_bytes + output_bytes AS said FROM {{from "" "start_time"}} ORDER BY said DESC, trace_id, span_id LIMIT 3;
