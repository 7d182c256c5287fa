-- From a prompt (its id, or its very text) to every answer, verdict and pair made of it.
SELECT
    m.name AS answered_by, r.role, r.draw, r.text, r.finish, judge.name AS judged_by, j.method, j.reply, j.status, j.score,
    x.pair_set, CASE x.chosen WHEN r.id THEN 'chosen' ELSE CASE x.rejected WHEN r.id THEN 'rejected' END END AS side
FROM prompt p
JOIN response r ON r.prompt = p.id
JOIN model m ON m.id = r.model
LEFT JOIN judgment j ON j.response = r.id
LEFT JOIN model judge ON judge.id = j.judge
LEFT JOIN pairs x ON r.id IN (x.chosen, x.rejected) AND x.judge IS NOT DISTINCT FROM j.judge
WHERE p.id = $prompt OR p.text = $prompt
ORDER BY ALL;
