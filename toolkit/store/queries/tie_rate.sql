-- Share of prompts without a strict order, by set, and why.
WITH asked AS (
    SELECT s.id, s.size, count(d.prompt) FILTER (d.stage = 'selection') AS lost,
        count(d.prompt) FILTER (d.reason = 'tie') AS ties, count(d.prompt) FILTER (d.reason = 'no_score') AS no_score
    FROM pair_set s LEFT JOIN dropped d ON d.pair_set = s.id GROUP BY s.id, s.size
)
SELECT id AS "set", size AS pairs, ties, no_score, ties / greatest(size + lost, 1) AS tie_rate FROM asked ORDER BY id;
