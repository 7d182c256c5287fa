-- Score gap of every pair set by every judge that scored both sides, beside the gap that the set itself states.
-- A judge's methods, rubrics and samplings are kept apart. own_gap: by the scores that ordered the pairs, over the same
-- pairs. unequal_draws: pairs whose sides are means of unequal numbers of readable verdicts.
SELECT
    x.pair_set AS "set", x.iteration, m.name AS judge, c.method, b.name AS rubric, count(*) AS pairs,
    avg(c.score - r.score ORDER BY c.score - r.score) AS gap, avg(x.gap ORDER BY x.gap) AS own_gap,
    avg(c.score ORDER BY c.score) AS chosen, avg(r.score ORDER BY r.score) AS rejected,
    avg(CASE WHEN c.score > r.score THEN 1 WHEN c.score = r.score THEN 0.5 ELSE 0 END) AS ordered_alike,
    count(*) FILTER (c.draws <> r.draws) AS unequal_draws, any_value(c.sampling) AS sampling,
    coalesce(bool_and(c.judge = x.judge), false) AS own_judge
FROM pairs x
JOIN answer_scores c ON c.response = x.chosen
JOIN answer_scores r
    ON r.response = x.rejected AND r.judge = c.judge AND r.method = c.method AND r.rubric IS NOT DISTINCT FROM c.rubric
    AND r.sampling IS NOT DISTINCT FROM c.sampling
JOIN model m ON m.id = c.judge
LEFT JOIN rubric b ON b.id = c.rubric
GROUP BY x.pair_set, x.iteration, c.judge, m.name, c.method, c.rubric, c.sampling, b.name
ORDER BY x.pair_set, own_judge DESC, m.name, c.method, b.name, c.judge, c.rubric, c.sampling;
