-- Pairs whose sides another judge puts the other way round.
WITH verdict AS (SELECT response, judge, avg(score) AS score FROM judgment WHERE score IS NOT NULL GROUP BY ALL)
SELECT DISTINCT
    x.pair_set AS "set", x.prompt_text, mine.name AS judge, x.gap, theirs.name AS other_judge, c.score - r.score AS other_gap,
    x.chosen_text, x.rejected_text
FROM pairs x
JOIN verdict c ON c.response = x.chosen AND c.judge <> x.judge
JOIN verdict r ON r.response = x.rejected AND r.judge = c.judge
JOIN model mine ON mine.id = x.judge
JOIN model theirs ON theirs.id = c.judge
WHERE c.score < r.score
ORDER BY other_gap;
