-- Prompts without a pair and pairs not trained on, counted by reason: by the gates of this launch's own trainings.
WITH made AS (
    SELECT DISTINCT s.subject AS id, coalesce(x.fingerprint, y.fingerprint) AS content
    FROM step s LEFT JOIN pair_set x ON x.id = s.subject LEFT JOIN demonstration_set y ON y.id = s.subject
    WHERE s.launch = $launch AND s.stage IN ('pair', 'demonstrate', 'gate')
),
own AS (  -- also of a gate that refused, and of a training that was another run's, on a set of the same content
    SELECT t.id, t.data AS content FROM step s JOIN model m ON m.id = s.subject JOIN training t ON t.id = m.training
    WHERE s.launch = $launch AND s.stage = 'train'
    UNION SELECT s.stats->>'training', made.content FROM step s JOIN made ON made.id = s.subject
    WHERE s.launch = $launch AND s.stage = 'gate'
),
lost AS (
    SELECT made.id AS "set", d.* FROM made JOIN dropped d ON d.pair_set = made.id AND d.training = ''
    UNION ALL
    SELECT made.id, d.* FROM made JOIN own ON own.content = made.content JOIN dropped d ON d.training = own.id
)
SELECT "set", stage, reason, count(DISTINCT (prompt, pair)) AS count, min(detail) AS "for example"
FROM lost GROUP BY ALL ORDER BY ALL;
