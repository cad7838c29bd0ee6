-- by_prompt_version: Scores by version of the prompt
SELECT name, prompt_version, count() AS scores, round(avg(value), 4) AS mean, round(countIf(value >= 0.7) / count(), 4) AS passed
FROM {{from "_now" "scored_at"}} WHERE prompt_version != '' GROUP BY name, prompt_version ORDER BY name, prompt_version;

-- by_model: Scores by model
SELECT name, model, count() AS scores, round(avg(value), 4) AS mean FROM {{from "_now" "scored_at"}} WHERE model != '' GROUP BY name, model ORDER BY name, model;

-- worst: The worst traces of a score
SELECT name, trace_id, value, explanation FROM {{from "_now" "scored_at"}} WHERE value IS NOT NULL ORDER BY value, name, trace_id LIMIT 3;

-- lag: How long after their span scores come, at the most, by evaluator
SELECT evaluator, max(dateDiff('second', span_start_time, scored_at)) AS seconds FROM {{from "_now" "scored_at"}} GROUP BY evaluator ORDER BY evaluator;

-- corrected: Scores that were given anew, or taken back
SELECT score_id, max(version) AS versions FROM {{from "" "scored_at"}} GROUP BY score_id HAVING versions > 1 ORDER BY score_id;
