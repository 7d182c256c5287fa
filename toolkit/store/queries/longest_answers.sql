-- The fifty longest answers in pairs, with their scores and sides.
SELECT pair_set AS "set", side, answered_by_name AS answered_by, length(text) AS characters, avg(score ORDER BY score) AS score, text
FROM lineage GROUP BY ALL ORDER BY characters DESC, text, "set", side, answered_by LIMIT 50;
