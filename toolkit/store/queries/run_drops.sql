-- Prompts without a pair and pairs not trained on, counted by reason: by the gates of this launch's own trainings.
WITH own AS (
    SELECT m.training AS id FROM step s JOIN model m ON m.id = s.subject WHERE s.launch = $launch AND s.stage = 'train'
    UNION SELECT stats->>'training' FROM step WHERE launch = $launch AND stage = 'gate'  -- one that refused made no model
)
SELECT d.pair_set AS "set", d.stage, d.reason, count(*) AS count, min(d.detail) AS "for example"
FROM dropped d
WHERE d.pair_set IN (SELECT subject FROM step WHERE launch = $launch AND stage IN ('pair', 'demonstrate'))
    AND (d.training = '' OR d.training IN (SELECT id FROM own WHERE id IS NOT NULL))
GROUP BY ALL ORDER BY ALL;
