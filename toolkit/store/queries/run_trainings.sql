-- Per training of a launch: rows, steps, and the first and last value of what the trainer logged.
WITH ends AS (
    SELECT training, metric, min_by(value, step) AS first, max_by(value, step) AS last, max(step) AS steps
    FROM training_step GROUP BY ALL
)
SELECT
    m.name AS model, p.name AS "from", t.pair_set AS "on", t.row_count AS pairs, t.batch, t.unseen,
    max(e.steps) AS steps,
    max(e.first) FILTER (e.metric = 'loss') AS "first loss", max(e.last) FILTER (e.metric = 'loss') AS "last loss",
    max(e.last) FILTER (e.metric = 'chosen_reward') - max(e.last) FILTER (e.metric = 'reject_reward') AS "last margin",
    max(e.last) FILTER (e.metric = 'acc') AS "last accuracy",
    max(e.last) FILTER (e.metric = 'grad_norm') AS "last gradient norm"
FROM step s
JOIN model m ON m.id = s.subject
JOIN training t ON t.id = m.training
JOIN model p ON p.id = t.parent
LEFT JOIN ends e ON e.training = t.id
WHERE s.launch = $launch AND s.stage = 'train'
GROUP BY s.position, m.name, p.name, t.pair_set, t.row_count, t.batch, t.unseen
ORDER BY s.position;
