-- tools: Tools: calls, failures, calls after a failure of the same run
SELECT tool, count() AS calls, round(countIf(NOT ok) / count(), 4) AS failed, count() - uniqExact(run_id) AS retries
FROM {{from "" "at"}} WHERE type = 'tool_called' GROUP BY tool ORDER BY tool;

-- runs: Runs by how they ended
SELECT agent, multiIf(ended = 0, 'open', succeeded > 0, 'succeeded', 'failed') AS outcome, count() AS runs
FROM (SELECT run_id, any(agent) AS agent, countIf(type = 'run_ended') AS ended, countIf(type = 'run_ended' AND ok) AS succeeded FROM {{from "" "at"}} GROUP BY run_id)
GROUP BY agent, outcome ORDER BY agent, outcome;

-- effort: Tokens and seconds of a run that succeeded
SELECT round(avg(tokens), 1) AS tokens_per_run, round(avg(seconds), 1) AS seconds_per_run
FROM (SELECT run_id, sum(tokens) AS tokens, dateDiff('second', min(at), max(at)) AS seconds, countIf(type = 'run_ended' AND ok) AS succeeded FROM {{from "" "at"}} GROUP BY run_id HAVING succeeded > 0);

-- timeline: What happened in a session
SELECT step, type, tool, ok FROM {{from "" "at"}} WHERE tenant = 'acme' AND session_id = 's1' ORDER BY at, step;
