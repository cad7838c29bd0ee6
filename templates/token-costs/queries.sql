-- spend: Spend by tenant and model
SELECT tenant, model, toFloat64(sum(cost)) AS spend FROM {{from "_priced" "at"}} GROUP BY tenant, model ORDER BY tenant, model;

-- spend_by_day: Spend by day
SELECT toDate(at) AS day, toFloat64(sum(cost)) AS spend FROM {{from "_priced" "at"}} GROUP BY day ORDER BY day;

-- spend_by_feature: Spend by feature
SELECT feature, toFloat64(sum(cost)) AS spend FROM {{from "_priced" "at"}} GROUP BY feature ORDER BY feature;

-- unpriced: Tokens without a price
SELECT provider, model, kind, sum(tokens) AS n FROM {{from "_priced" "at"}} WHERE NOT priced GROUP BY provider, model, kind ORDER BY provider, model, kind;

-- cache_share: Share of input tokens that came from a cache
SELECT model, round(sumIf(tokens, kind = 'cache_read') / sumIf(tokens, kind = 'input'), 4) AS share FROM {{from "_priced" "at"}} GROUP BY model ORDER BY model;
