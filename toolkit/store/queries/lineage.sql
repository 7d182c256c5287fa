-- From a model, score, pair set, pair or answer (target) back to every raw judge reply behind it.
WITH RECURSIVE ancestry AS (
    SELECT id, parent FROM model
    WHERE name = $target OR (length($target) >= 6 AND starts_with(id, $target))
    OR id IN (SELECT s.model FROM score s WHERE s.id = $target)
    UNION
    SELECT p.id, p.parent FROM model p JOIN ancestry child ON p.id = child.parent
),
wanted AS (
    SELECT pair_set FROM training WHERE model IN (SELECT id FROM ancestry)
    UNION
    SELECT id FROM pair_set WHERE id = $target
),
asked AS (SELECT id FROM pair WHERE $target IN (id, chosen, rejected)),
chain AS (
    SELECT id AS pair_set, id, base, 0 AS depth FROM pair_set
    UNION ALL
    SELECT c.pair_set, s.id, s.base, c.depth + 1 FROM pair_set s JOIN chain c ON s.id = c.base
),
traced AS (  -- pairs first, texts and verdicts of them alone afterwards
    SELECT c.pair_set, x.pair FROM (FROM chain WHERE pair_set IN (FROM wanted)) c JOIN pair_set_change x ON x.pair_set = c.id
    GROUP BY c.pair_set, x.pair HAVING arg_min(x.added, c.depth)
    UNION
    SELECT c.pair_set, x.pair FROM (FROM pair_set_change WHERE pair IN (FROM asked)) x JOIN chain c ON c.id = x.pair_set
    GROUP BY c.pair_set, x.pair HAVING arg_min(x.added, c.depth)
),
side AS (
    SELECT d.pair_set, x.id AS pair, x.prompt, x.judge, 'chosen' AS side, x.chosen AS response, x.chosen_role AS role
    FROM traced d JOIN pair x ON x.id = d.pair
    UNION ALL
    SELECT d.pair_set, x.id, x.prompt, x.judge, 'rejected', x.rejected, x.rejected_role
    FROM traced d JOIN pair x ON x.id = d.pair
)
SELECT
    m.name AS model, m.weights, e.pair_set, e.pair, p.text AS prompt_text, e.role, e.side, r.text, maker.name AS answered_by,
    r.sampling, r.seed, judge.name AS judged_by, j.method, j.draw, j.reply, j.status, j.score
FROM side e
JOIN prompt p ON p.id = e.prompt
JOIN response r ON r.id = e.response
JOIN model maker ON maker.id = r.model
LEFT JOIN training t ON t.pair_set = e.pair_set
    AND (t.model IN (SELECT id FROM ancestry) OR NOT EXISTS (FROM ancestry))
LEFT JOIN model m ON m.id = t.model
LEFT JOIN judgment j ON j.response = e.response AND j.judge = e.judge
LEFT JOIN model judge ON judge.id = j.judge
ORDER BY ALL;
