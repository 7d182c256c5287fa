-- Recipes side by side: prompts, trainings, answers, verdicts, new tokens, what was shared, and seconds of all launches.
WITH total AS (
    SELECT
        launch, count(*) FILTER (stage = 'train') AS trainings, sum(total) FILTER (stage = 'generate') AS answers,
        sum(total) FILTER (stage IN ('judge', 'audit')) AS verdicts,
        sum((stats->>'tokens')::BIGINT) FILTER (stage = 'generate') AS tokens
    FROM step GROUP BY launch
),
made AS (  -- over every launch of the run: what this run itself made, and the time it took
    SELECT
        l.run, sum(s.seconds) AS seconds, sum(s.total - s.cached) FILTER (s.stage = 'generate') AS answers,
        sum(s.total - s.cached) FILTER (s.stage IN ('judge', 'audit')) AS verdicts,
        sum(s.total - s.cached) FILTER (s.stage = 'train') AS trainings
    FROM step s JOIN launch l ON l.id = s.launch GROUP BY l.run
)
SELECT
    l.run AS recipe, (l.recipe->>'iterations')::INT AS iterations,
    (l.recipe->>'iterations')::INT * (l.recipe->'prompts'->>'part_size')::INT AS prompts,
    t.trainings, t.answers, t.tokens, t.verdicts,
    t.answers - made.answers AS "answers shared", t.verdicts - made.verdicts AS "verdicts shared",
    t.trainings - made.trainings AS "trainings shared", made.seconds
FROM launch l JOIN total t ON t.launch = l.id JOIN made ON made.run = l.run
WHERE l.id IN (SELECT unnest(string_split($launches, ',')))
ORDER BY list_position(string_split($launches, ','), l.id);
