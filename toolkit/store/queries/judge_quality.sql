-- How good every measured judge is on every labelled set (judge-quality), with the iteration that made the judge.
-- Agreement with ratings has a row of its own for each rater. Of comparisons, both orders count as pairs.
SELECT
    s.settings->>'set' AS "set", m.name AS judge, p.iteration, s.settings->>'method' AS method, b.name AS rubric,
    r.name AS rater,
    max(s.n) FILTER (s.metric = 'accuracy') AS pairs,
    max(s.n) FILTER (s.metric IN ('saturation', 'kendall')) AS answers,
    max(s.value) FILTER (s.metric = 'accuracy') AS accuracy,
    max(s.value) FILTER (s.metric = 'ties') AS ties,
    max(s.value) FILTER (s.metric = 'unreadable') AS unreadable,
    max(s.value) FILTER (s.metric = 'saturation') AS saturation,
    max(s.value) FILTER (s.metric = 'consistency') AS consistency,
    max(s.value) FILTER (s.metric = 'first_chosen') AS first_chosen,
    max(s.value) FILTER (s.metric = 'kendall') AS kendall,
    max(s.value) FILTER (s.metric = 'spearman') AS spearman,
    max(s.value) FILTER (s.metric = 'ordered_alike') AS ordered_alike
FROM score s
JOIN model m ON m.id = s.model
LEFT JOIN training t ON t.model = s.model
LEFT JOIN pair_set p ON p.id = t.pair_set
LEFT JOIN rubric b ON b.id = s.settings->>'rubric'
LEFT JOIN model r ON r.id = s.settings->>'rater'
WHERE s.task = 'judge'
GROUP BY s.model, m.name, p.iteration, s.settings::VARCHAR, s.settings->>'set', s.settings->>'method', b.name, r.name
ORDER BY "set", method, rater NULLS FIRST, p.iteration NULLS FIRST, judge, s.model, s.settings::VARCHAR;
