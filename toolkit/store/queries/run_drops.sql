-- Prompts without a pair and pairs not trained on, counted by reason: by the gates of this launch's own trainings.
WITH made AS (SELECT subject AS id FROM step WHERE launch = $launch AND stage IN ('pair', 'demonstrate')),
own AS (
    SELECT m.training AS id, (
        SELECT arg_max(q.subject, q.position) FROM step q
        WHERE q.launch = s.launch AND q.stage IN ('pair', 'demonstrate') AND q.position < s.position
    ) AS trained_on
    FROM step s JOIN model m ON m.id = s.subject WHERE s.launch = $launch AND s.stage = 'train'
    UNION SELECT stats->>'training', subject FROM step WHERE launch = $launch AND stage = 'gate'  -- one that refused
),
lost AS (
    SELECT pair_set AS "set", d.* FROM dropped d WHERE training = '' AND pair_set IN (SELECT id FROM made)
    UNION ALL
    SELECT own.trained_on, d.* FROM own JOIN dropped d ON d.training = own.id
)
SELECT "set", stage, reason, count(DISTINCT (prompt, pair)) AS count, min(detail) AS "for example"
FROM lost GROUP BY ALL ORDER BY ALL;
