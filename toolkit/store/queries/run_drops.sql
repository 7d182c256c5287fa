-- Prompts without a pair and pairs not trained on, counted by reason.
SELECT d.pair_set AS "set", d.stage, d.reason, count(*) AS count, any_value(d.detail) AS "for example"
FROM dropped d
WHERE d.pair_set IN (SELECT subject FROM step WHERE launch = $launch AND stage IN ('pair', 'demonstrate'))
GROUP BY ALL ORDER BY ALL;
