-- The last set of every iteration and recipe, by prompt: its gap by each judge that scored both sides; a tie counts as 0.
-- judge is its id; sampling its way of drawing verdicts.
WITH last AS (
    SELECT l.run AS recipe, l.id AS launch, s.iteration, arg_max(s.subject, s.position) AS pair_set
    FROM step s JOIN launch l ON l.id = s.launch
    WHERE s.stage = 'pair' AND s.launch IN (SELECT unnest(string_split($launches, ','))) GROUP BY ALL
),
judged AS (
    SELECT
        t.recipe, t.iteration, t.pair_set, x.prompt, m.name AS judge, c.judge AS judge_id, c.method, c.rubric, c.sampling,
        avg(c.score - r.score) AS gap, bool_or(c.draws <> r.draws) AS unequal
    FROM last t
    JOIN pairs x ON x.pair_set = t.pair_set
    JOIN answer_scores c ON c.response = x.chosen
    JOIN answer_scores r ON r.response = x.rejected AND r.judge = c.judge AND r.method = c.method
        AND r.rubric IS NOT DISTINCT FROM c.rubric AND r.sampling IS NOT DISTINCT FROM c.sampling
    JOIN model m ON m.id = c.judge
    GROUP BY ALL
),
way AS (SELECT DISTINCT recipe, iteration, pair_set, judge, judge_id, method, rubric, sampling FROM judged)
FROM judged
UNION ALL
SELECT w.recipe, w.iteration, w.pair_set, d.prompt, w.judge, w.judge_id, w.method, w.rubric, w.sampling, 0.0, false
FROM way w JOIN (SELECT DISTINCT pair_set, prompt FROM dropped WHERE stage = 'selection' AND reason = 'tie') d
    ON d.pair_set = w.pair_set
ORDER BY recipe, iteration, judge, judge_id, method, rubric, sampling, prompt;
