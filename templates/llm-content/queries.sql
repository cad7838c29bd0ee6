-- trace: What was said in a trace, whole
WITH said AS (SELECT * FROM {{from "" "start_time"}} WHERE trace_id = 't2'),
    texts AS (SELECT hash, any(content) AS content FROM {{.Database}}.llm_messages WHERE hash IN (SELECT arrayJoin([system_ref, input_ref, output_ref]) FROM said) GROUP BY hash)
SELECT s.span_id AS span_id, length(if(s.system_ref = '', s.system, a.content)) AS system, length(if(s.input_ref = '', s.input, b.content)) AS input,
    JSONExtractString(if(s.output_ref = '', s.output, c.content), 1, 'content') AS answer
FROM said AS s LEFT JOIN texts AS a ON a.hash = s.system_ref LEFT JOIN texts AS b ON b.hash = s.input_ref LEFT JOIN texts AS c ON c.hash = s.output_ref
ORDER BY s.start_time, span_id;

-- bytes: Bytes that were said, by tenant and model
SELECT tenant, model, count() AS calls, sum(system_bytes + input_bytes + output_bytes) AS said FROM {{from "" "start_time"}} GROUP BY tenant, model ORDER BY tenant, model;

-- repeated: Long system prompts by how often they came
SELECT system_ref AS prompt, count() AS calls, uniqExact(tenant) AS tenants FROM {{from "" "start_time"}} WHERE system_ref != '' GROUP BY prompt ORDER BY calls DESC, prompt;

-- saved: Bytes of long texts as they came, and of those that are kept
SELECT sum(bytes) AS came, sumIf(bytes, first) AS kept FROM (
    SELECT bytes, row_number() OVER (PARTITION BY ref) = 1 AS first FROM (
        SELECT arrayJoin([(system_ref, system_bytes), (input_ref, input_bytes), (output_ref, output_bytes)]) AS text, text.1 AS ref, text.2 AS bytes FROM {{from "" "start_time"}}) WHERE ref != '') HAVING came > 0;

-- longest: The longest calls
SELECT trace_id, span_id, system_bytes + input_bytes + output_bytes AS said FROM {{from "" "start_time"}} ORDER BY said DESC, trace_id, span_id LIMIT 3;
