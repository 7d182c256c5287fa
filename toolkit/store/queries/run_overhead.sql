-- Wall seconds of each stage of a launch and whose they were; the share is all that was no engine's or trainer's.
WITH told AS (
    SELECT
        s.stage, s.total - s.cached AS made,
        -- a training's token gate is a step of its own
        s.seconds - CASE WHEN s.stage = 'train' THEN coalesce(g.seconds, 0) ELSE 0 END AS seconds,
        coalesce((s.stats->>'engine_seconds')::DOUBLE, (s.stats->>'trainer_seconds')::DOUBLE, 0) AS worked,
        coalesce((s.stats->>'start_seconds')::DOUBLE, 0) AS started,
        coalesce((s.stats->>'check_seconds')::DOUBLE, 0) AS checked,
        coalesce((s.stats->>'tokenizer_seconds')::DOUBLE, 0) AS loaded
    FROM step s
    LEFT JOIN step g ON g.launch = s.launch AND g.position = s.position - 1 AND g.stage = 'gate'
    WHERE s.launch = $launch AND s.stage <> 'start'
)
SELECT
    stage, count(*) AS steps, sum(made)::BIGINT AS made, sum(seconds) AS wall, sum(worked) AS "engine or trainer",
    sum(started) AS starts, sum(checked) AS "checking weights", sum(loaded) AS "loading the tokenizer",
    greatest(sum(seconds - worked - started - checked - loaded), 0) AS "the rest",
    greatest(sum(seconds - worked - started), 0) / greatest(sum(sum(seconds)) OVER (), 1e-9) AS "share of all stages"
FROM told GROUP BY stage ORDER BY wall DESC, stage;
