-- Per training of a launch: rows, steps, and the first and last value of what the trainer logged.
WITH ends AS (
    SELECT training, metric, min_by(value, step) AS first, max_by(value, step) AS last, max(step) AS steps
    FROM training_step GROUP BY ALL
),
named AS (SELECT launch, subject, arg_max(stats->>'name', position) AS name FROM step WHERE stats->>'name' IS NOT NULL GROUP BY ALL)
SELECT
    coalesce(s.stats->>'name', m.name) AS model, coalesce(n.name, p.name) AS "from",
    (  -- of this launch; the training itself may have been another recipe's, on a set of the same content
        SELECT arg_max(q.subject, q.position) FROM step q
        WHERE q.launch = s.launch AND q.stage IN ('pair', 'demonstrate') AND q.position < s.position
    ) AS "on",
    t.row_count AS rows, t.batch, t.unseen,
    max(e.steps) AS steps,
    max(e.first) FILTER (e.metric = 'loss') AS "first loss", max(e.last) FILTER (e.metric = 'loss') AS "last loss",
    max(e.last) FILTER (e.metric = 'chosen_reward') - max(e.last) FILTER (e.metric = 'reject_reward') AS "last margin",
    max(e.last) FILTER (e.metric = 'acc') AS "last accuracy",
    max(e.last) FILTER (e.metric = 'grad_norm') AS "last gradient norm"
FROM step s
JOIN model m ON m.id = s.subject
JOIN training t ON t.id = m.training
JOIN model p ON p.id = t.parent
LEFT JOIN named n ON n.launch = s.launch AND n.subject = t.parent
LEFT JOIN ends e ON e.training = t.id
WHERE s.launch = $launch AND s.stage = 'train'
GROUP BY s.position, s.launch, s.stats, m.name, n.name, p.name, t.row_count, t.batch, t.unseen
ORDER BY s.position;
