-- Pairs whose sides another judge puts the other way round, by one of its methods, rubrics and samplings.
SELECT DISTINCT
    x.pair_set AS "set", x.prompt_text, mine.name AS judge, x.gap, theirs.name AS other_judge, c.score - r.score AS other_gap,
    x.chosen_text, x.rejected_text
FROM pairs x
JOIN answer_scores c ON c.response = x.chosen AND c.judge <> x.judge
JOIN answer_scores r
    ON r.response = x.rejected AND r.judge = c.judge AND r.method = c.method AND r.rubric IS NOT DISTINCT FROM c.rubric
    AND r.sampling IS NOT DISTINCT FROM c.sampling
JOIN model mine ON mine.id = x.judge
JOIN model theirs ON theirs.id = c.judge
WHERE c.score < r.score
ORDER BY other_gap, "set", prompt_text, other_judge, chosen_text, rejected_text;
