-- What each stage asked for and how long it took, by machine, dtype, model and method: what `--plan --hardware` counts by.
-- A launch that keeps no dtype is of before `dtype = "auto"`: its recipe names the engine's, its trainer's was bfloat16.
WITH asked AS (
    SELECT
        l.hardware, l.recipe->'engine'->>'kind' AS engine, CASE s.stage WHEN 'audit' THEN 'judge' ELSE s.stage END AS stage,
        CASE WHEN (l.hardware->'dtype') IS NULL THEN coalesce(nullif(l.recipe->'engine'->>'dtype', 'auto'), 'bfloat16')
            ELSE coalesce(l.hardware->'dtype'->>'engine', '') END AS dtype,  -- '': an engine that does not compute here
        CASE WHEN v.by NOT IN ('present', 'past') THEN v.by ELSE l.recipe->>'model' END AS model,
        coalesce(v.method, '') AS method, coalesce(v.most, (l.recipe->'answers'->>'max_tokens')::INT) AS most,
        (l.recipe->'engine'->>'tensor_parallel_size')::INT * (l.recipe->'engine'->>'pipeline_parallel_size')::INT
            * (l.recipe->'engine'->>'data_parallel_size')::INT AS parallel,
        s.total - s.cached AS requests, (s.stats->>'prompt_tokens')::BIGINT AS read,
        (s.stats->>'prompt_tokens_reused')::BIGINT AS reused, (s.stats->>'new_tokens')::BIGINT AS written,
        s.seconds - x.started AS seconds, x.started AS start_seconds
    FROM step s
    JOIN launch l ON l.id = s.launch
    CROSS JOIN LATERAL (SELECT l.recipe->'judge' AS judge, l.recipe->'judge'->'audit' AS audit) j
    CROSS JOIN LATERAL (  -- who gives the verdicts of a stage, and how; an audit's field that is left out is the judge's
        SELECT
            CASE s.stage WHEN 'judge' THEN j.judge->>'by' WHEN 'audit' THEN j.audit->>'by' END AS by,
            CASE s.stage WHEN 'judge' THEN j.judge->>'method' WHEN 'audit' THEN s.stats->'way'->>'method' END AS method,
            CASE s.stage WHEN 'judge' THEN j.judge->>'max_tokens'
                WHEN 'audit' THEN coalesce(j.audit->>'max_tokens', j.judge->>'max_tokens') END::INT AS most
    ) v
    CROSS JOIN LATERAL (
        SELECT (s.stats->>'start_seconds')::DOUBLE + coalesce((s.stats->>'tokenizer_seconds')::DOUBLE, 0) AS started
    ) x
    WHERE s.stats->>'engine_seconds' IS NOT NULL
),
-- An optimizer step takes what lies between two lines of the trainer's log; what is left is starting and saving.
paced AS (
    SELECT training, count(*) AS steps, count(*) * (max(value) - min(value)) / (count(*) - 1) AS seconds
    FROM training_step WHERE metric = 'seconds' GROUP BY training HAVING count(*) > 1
),
trained AS (
    SELECT
        l.hardware, 'openrlhf' AS engine, s.stage,
        coalesce(l.hardware->'dtype'->>'trainer', 'bfloat16') AS dtype, l.recipe->>'model' AS model, s.stats->>'method' AS method,
        NULL::INT AS most, NULL::INT AS parallel, p.steps * t.batch AS requests,
        ((g.stats->>'tokens')::BIGINT * p.steps * t.batch / t.row_count)::BIGINT AS read, 0 AS reused, 0 AS written,
        p.seconds, s.seconds - g.seconds - p.seconds AS start_seconds
    FROM step s
    JOIN launch l ON l.id = s.launch
    JOIN step g ON g.launch = s.launch AND g.position = s.position - 1 AND g.stage = 'gate'
    JOIN model m ON m.id = s.subject
    JOIN training t ON t.id = m.training
    JOIN paced p ON p.training = t.id
    WHERE s.stage = 'train' AND s.stats->>'trainer_seconds' IS NOT NULL AND g.stats->>'tokens' IS NOT NULL
)
SELECT
    hardware, engine, stage, dtype, model, method, most, parallel, count(*) AS steps, sum(requests)::BIGINT AS requests,
    sum(read)::BIGINT AS read, sum(reused)::BIGINT AS reused, sum(written)::BIGINT AS written,
    sum(seconds) AS seconds, sum(start_seconds) AS start_seconds
FROM (FROM asked UNION ALL BY NAME FROM trained) GROUP BY ALL ORDER BY ALL;
