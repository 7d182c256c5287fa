-- From a model, score, pair set, pair or answer (target) back to every raw judge reply behind it.
WITH RECURSIVE ancestry AS (
    SELECT id, parent FROM model
    WHERE name = $target OR (length($target) >= 6 AND starts_with(id, $target))
    OR id IN (SELECT s.model FROM score s WHERE s.id = $target)
    UNION
    SELECT p.id, p.parent FROM model p JOIN ancestry child ON p.id = child.parent
)
SELECT
    model_name AS model, weights, pair_set, pair, prompt_text, role, side, text, answered_by_name AS answered_by,
    sampling, seed, judge_name AS judged_by, method, draw, reply, status, score
FROM lineage
WHERE model IN (SELECT id FROM ancestry) OR $target IN (pair_set, pair, response)
ORDER BY ALL;
