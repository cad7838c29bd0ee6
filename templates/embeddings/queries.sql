-- nearest: The nearest chunks of a vector
SELECT doc_id, chunk, round(cosineDistance(vector, [0.5, 0.5, 0.5, 0.6]), 4) AS distance FROM {{from "_now" "created_at"}} WHERE tenant = 'acme' AND collection = 'docs' ORDER BY distance, doc_id, chunk LIMIT 2;

-- by_model: Chunks by collection and the model that embedded them last
SELECT collection, model, count() AS chunks FROM {{from "_now" "created_at"}} GROUP BY collection, model ORDER BY collection, model;

-- embedded_again: Chunks that were embedded more than once
SELECT tenant, collection, doc_id, chunk, count() AS times FROM {{from "" "created_at"}} GROUP BY tenant, collection, doc_id, chunk HAVING times > 1 ORDER BY ALL;

-- refused: Events that are no vectors of this length
SELECT column, count() AS events FROM waybill.dead_letters WHERE pipeline = '{{.Name}}' GROUP BY column;
