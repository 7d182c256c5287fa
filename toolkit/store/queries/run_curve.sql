-- Every optimizer step of a launch's trainings: loss, accuracy, rewards, margin, gradient norm, learning rate.
SELECT
    coalesce(s.stats->>'name', m.name) AS model, x.step,
    max(x.value) FILTER (x.metric = 'loss') AS loss, max(x.value) FILTER (x.metric = 'acc') AS accuracy,
    max(x.value) FILTER (x.metric = 'chosen_reward') AS "chosen reward",
    max(x.value) FILTER (x.metric = 'reject_reward') AS "rejected reward",
    max(x.value) FILTER (x.metric = 'chosen_reward') - max(x.value) FILTER (x.metric = 'reject_reward') AS margin,
    max(x.value) FILTER (x.metric = 'grad_norm') AS "gradient norm",
    max(x.value) FILTER (x.metric = 'lr') AS "learning rate"
FROM step s JOIN model m ON m.id = s.subject JOIN training_step x ON x.training = m.training
WHERE s.launch = $launch AND s.stage = 'train'
GROUP BY s.position, s.stats, m.name, x.step
ORDER BY s.position, x.step;
