-- From a model back to every raw judge reply that shaped it: trainings, pairs, answers, verdicts.
WITH RECURSIVE ancestry AS (
    SELECT * FROM model WHERE starts_with(id, $model) OR name = $model
    UNION
    SELECT parent.* FROM model parent JOIN ancestry child ON parent.id = child.parent
)
SELECT
    a.name AS model, a.weights, t.pair_set, x.prompt_text, side.role, side.side, side.text, maker.name AS answered_by,
    r.sampling, r.seed, judge.name AS judged_by, j.method, j.draw, j.reply, j.status, j.score
FROM ancestry a
JOIN training t ON t.id = a.training
JOIN pairs x ON x.pair_set = t.pair_set
CROSS JOIN LATERAL (
    SELECT 'chosen' AS side, x.chosen AS response, x.chosen_text AS text, x.chosen_role AS role
    UNION ALL
    SELECT 'rejected', x.rejected, x.rejected_text, x.rejected_role
) AS side
JOIN response r ON r.id = side.response
JOIN model maker ON maker.id = r.model
JOIN judgment j ON j.response = side.response AND j.judge = x.judge
JOIN model judge ON judge.id = j.judge
ORDER BY a.name, t.pair_set, x.prompt, side.side, j.draw;
