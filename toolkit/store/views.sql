-- Views for people: plural names, stable columns, remade at every open for writing.

CREATE OR REPLACE VIEW prompts AS FROM prompt;
CREATE OR REPLACE VIEW models AS
SELECT m.*, t.pair_set, t.demonstration_set, t.reference FROM model m LEFT JOIN training t ON t.id = m.training;
-- Newest is the order in which this store's launches were written (launch.position), never a clock's; what was merged in
-- comes before all of them.

-- What each run calls its models: M_0, M_f0, M_1 ... A model that two runs both ask for has a name in each. Where a run
-- was begun again with other settings, what its earlier launches had made of a model that has lost its name has none.
CREATE OR REPLACE VIEW model_names AS
WITH RECURSIVE named AS (
    SELECT l.run, s.stats->>'name' AS name, s.subject AS model, (l.position, l.started, l.id, s.position) AS told
    FROM step s JOIN launch l ON l.id = s.launch WHERE s.stats->>'name' IS NOT NULL
),
newest AS (SELECT run, name, arg_max(model, told) AS model FROM named GROUP BY ALL),
kept AS (
    SELECT n.* FROM newest n LEFT JOIN model m ON m.id = n.model
    WHERE n.name = 'M_0' OR (n.run, m.parent) NOT IN (SELECT (run, model) FROM named)
    UNION
    SELECT n.* FROM newest n JOIN model m ON m.id = n.model JOIN kept k ON k.run = n.run AND k.model = m.parent
)
FROM kept;
CREATE OR REPLACE VIEW responses AS
SELECT r.*, m.name AS model_name, p.text AS prompt_text, length(r.text) AS characters
FROM response r JOIN model m ON m.id = r.model JOIN prompt p ON p.id = r.prompt;
CREATE OR REPLACE VIEW judgments AS
SELECT j.*, m.name AS judge_name, b.name AS rubric_name
FROM judgment j JOIN model m ON m.id = j.judge LEFT JOIN rubric b ON b.id = j.rubric;
-- One row per order in which a judge saw two answers.
CREATE OR REPLACE VIEW comparisons AS
SELECT
    c.*, m.name AS judge_name, p.text AS prompt_text, a.text AS first_text, b.text AS second_text
FROM comparison c
JOIN model m ON m.id = c.judge
JOIN response a ON a.id = c.first
JOIN response b ON b.id = c.second
JOIN prompt p ON p.id = a.prompt;
CREATE OR REPLACE VIEW demonstrations AS
SELECT
    s.id AS demonstration_set, s.name, s.iteration, p.text AS prompt_text, r.text, r.role, r.id AS response,
    m.name AS answered_by, length(r.text) AS characters
FROM demonstration_set s
JOIN demonstration d ON d.demonstration_set = s.id
JOIN response r ON r.id = d.response
JOIN prompt p ON p.id = r.prompt
JOIN model m ON m.id = r.model;
CREATE OR REPLACE VIEW items AS
SELECT i.*, m.name AS model_name, r.text FROM item i JOIN model m ON m.id = i.model LEFT JOIN response r ON r.id = i.answer;
CREATE OR REPLACE VIEW scores AS
SELECT s.*, m.name AS model_name FROM score s JOIN model m ON m.id = s.model;

-- Members of sets: of one, members('guided@3'), or of all, pair_set_members. A set stored as a change (base) is what its
-- bases add and remove, the nearest of them last. A base is an older version, so that no chain is without an end.
CREATE OR REPLACE MACRO members(version) AS TABLE
WITH RECURSIVE chain AS (
    SELECT id, base, pair_set.version AS number, 0 AS depth FROM pair_set WHERE id = version
    UNION ALL
    SELECT s.id, s.base, s.version, c.depth + 1 FROM pair_set s JOIN chain c ON s.id = c.base AND s.version < c.number
)
SELECT x.pair FROM pair_set_change x JOIN chain c ON c.id = x.pair_set GROUP BY x.pair HAVING arg_min(x.added, c.depth);

CREATE OR REPLACE VIEW pair_set_members AS
WITH RECURSIVE chain AS (
    SELECT id AS pair_set, id, base, version, 0 AS depth FROM pair_set
    UNION ALL
    SELECT c.pair_set, s.id, s.base, s.version, c.depth + 1
    FROM pair_set s JOIN chain c ON s.id = c.base AND s.version < c.version
)
SELECT c.pair_set, x.pair FROM pair_set_change x JOIN chain c ON c.id = x.pair_set
GROUP BY c.pair_set, x.pair HAVING arg_min(x.added, c.depth);

-- The content of every pair computed from its texts again, to hold against the stored one.
CREATE OR REPLACE VIEW pair_contents AS
SELECT
    x.id AS pair, x.content AS stored,
    sha256(concat_ws(
        chr(10), x.prompt, sha256(c.text), sha256(r.text), TRY_CAST(round_even(x.chosen_score * 1e9, 0) AS BIGINT),
        TRY_CAST(round_even(x.rejected_score * 1e9, 0) AS BIGINT), x.chosen_role, x.rejected_role
    ))[:24] AS content
FROM pair x JOIN response c ON c.id = x.chosen JOIN response r ON r.id = x.rejected;

CREATE OR REPLACE VIEW tags AS
SELECT
    t.name, t.tag, arg_max(t.pair_set, (coalesce(l.position, 0), t.created)) AS pair_set,
    arg_max(t.created, (coalesce(l.position, 0), t.created)) AS created
FROM tag t LEFT JOIN launch l ON l.id = t.launch GROUP BY t.name, t.tag;

-- One row per pair and set it belongs to, both texts beside their scores and roles. A score that is not finite is none.
CREATE OR REPLACE VIEW pairs AS
SELECT
    s.id AS pair_set, s.name AS phase, s.iteration, x.id, x.prompt, p.text AS prompt_text,
    x.chosen, c.text AS chosen_text, CASE WHEN isfinite(x.chosen_score) THEN x.chosen_score END AS chosen_score, x.chosen_role, c.model AS chosen_model, c.finish AS chosen_finish,
    x.rejected, r.text AS rejected_text, CASE WHEN isfinite(x.rejected_score) THEN x.rejected_score END AS rejected_score,
    x.rejected_role, r.model AS rejected_model, r.finish AS rejected_finish,
    CASE WHEN isfinite(x.chosen_score - x.rejected_score) THEN x.chosen_score - x.rejected_score END AS gap, x.judge,
    c.tokens AS chosen_tokens, r.tokens AS rejected_tokens,
    length(c.text) AS chosen_characters, length(r.text) AS rejected_characters
FROM pair_set s
JOIN pair_set_members m ON m.pair_set = s.id
JOIN pair x ON x.id = m.pair
JOIN prompt p ON p.id = x.prompt
JOIN response c ON c.id = x.chosen
JOIN response r ON r.id = x.rejected;

CREATE OR REPLACE VIEW pair_sets AS
SELECT
    s.*, s.size AS pairs, l.run, l.author,
    (SELECT list(t.tag ORDER BY t.tag) FROM tags t WHERE t.pair_set = s.id) AS tags,
    (SELECT count(*) FROM dropped d WHERE d.pair_set = s.id AND d.stage = 'selection') AS dropped_in_selection,
    (SELECT count(DISTINCT d.pair) FROM dropped d WHERE d.pair_set = s.id AND d.stage = 'gate') AS dropped_at_gate,
    (SELECT count(*) FROM rejected_row r WHERE r.pair_set = s.id) AS rejected_rows
FROM pair_set s LEFT JOIN launch l ON l.id = s.launch;

-- What was dropped of a set, also by the gate of a training on another set of the same content: FROM drops('guided@1').
CREATE OR REPLACE MACRO drops(made) AS TABLE
SELECT d.* FROM dropped d WHERE d.pair_set = made OR d.training IN (
    SELECT t.id FROM training t JOIN pair_set s ON s.fingerprint = t.data WHERE s.id = made
);

CREATE OR REPLACE VIEW rejected_rows AS FROM rejected_row;

CREATE OR REPLACE VIEW training_steps AS
SELECT t.model, t.pair_set, t.demonstration_set, s.* FROM training_step s JOIN training t ON t.id = s.training;

-- One row per pair set: how far apart its sides are, and whose answers they are. Means are taken in the order of what
-- they are taken of: rows come in any order, and a sum of floats depends on it in its last digits.
-- The newest measurement of what each set's selection gives by chance. yield: pairs per prompt.
CREATE OR REPLACE VIEW selections AS
SELECT x.* EXCLUDE (launch), x.pairs / nullif(x.prompts, 0) AS yield
FROM selection x JOIN launch l ON l.id = x.launch
QUALIFY row_number() OVER (PARTITION BY x.pair_set ORDER BY l.position DESC, l.started DESC, x.content) = 1;

CREATE OR REPLACE VIEW iterations AS
SELECT
    pair_set, phase, iteration, count(*) AS pairs,
    avg(chosen_score ORDER BY chosen_score) AS chosen_score, avg(rejected_score ORDER BY rejected_score) AS rejected_score,
    avg(gap ORDER BY gap) AS gap,
    avg(chosen_characters) AS chosen_characters, avg(rejected_characters) AS rejected_characters,
    avg((chosen_role = 'future')::INT) AS chosen_by_future, avg((rejected_role = 'past')::INT) AS rejected_by_past
FROM pairs GROUP BY ALL;

CREATE OR REPLACE VIEW launches AS FROM launch;
CREATE OR REPLACE VIEW steps AS SELECT l.run, l.started, s.* FROM step s JOIN launch l ON l.id = s.launch;

-- What version b says that a does not: FROM pair_diff('anchored@1', 'guided@1'). Pairs with equal content are left out;
-- where a prompt has several pairs in a set, they are compared in the order of their ids.
CREATE OR REPLACE MACRO pair_diff(a, b) AS TABLE
WITH before AS (
    SELECT x.*, row_number() OVER (PARTITION BY x.prompt ORDER BY x.id) AS place FROM members(a) m JOIN pair x ON x.id = m.pair
    WHERE x.content NOT IN (SELECT y.content FROM members(b) n JOIN pair y ON y.id = n.pair)
),
after AS (
    SELECT x.*, row_number() OVER (PARTITION BY x.prompt ORDER BY x.id) AS place FROM members(b) m JOIN pair x ON x.id = m.pair
    WHERE x.content NOT IN (SELECT y.content FROM members(a) n JOIN pair y ON y.id = n.pair)
),
joined AS (
    SELECT
        coalesce(o.prompt, n.prompt) AS prompt, o.id AS before, n.id AS after,
        oc.text AS chosen_before, nc.text AS chosen_after, r.text AS rejected_before, s.text AS rejected_after,
        o.chosen_score AS chosen_score_before, n.chosen_score AS chosen_score_after,
        o.rejected_score AS rejected_score_before, n.rejected_score AS rejected_score_after,
        o.chosen_role AS chosen_role_before, n.chosen_role AS chosen_role_after,
        o.rejected_role AS rejected_role_before, n.rejected_role AS rejected_role_after
    FROM before o FULL JOIN after n ON o.prompt = n.prompt AND o.place = n.place
    LEFT JOIN response oc ON oc.id = o.chosen LEFT JOIN response nc ON nc.id = n.chosen
    LEFT JOIN response r ON r.id = o.rejected LEFT JOIN response s ON s.id = n.rejected
)
SELECT
    CASE WHEN before IS NULL THEN 'added' WHEN after IS NULL THEN 'removed' ELSE 'changed' END AS change,
    CASE
        WHEN before IS NULL OR after IS NULL THEN NULL
        ELSE concat_ws(
            '+',
            CASE WHEN chosen_before <> chosen_after THEN 'chosen' END,
            CASE WHEN rejected_before <> rejected_after THEN 'rejected' END,
            CASE
                WHEN chosen_score_before IS DISTINCT FROM chosen_score_after
                OR rejected_score_before IS DISTINCT FROM rejected_score_after THEN 'score'
            END,
            CASE WHEN chosen_role_before <> chosen_role_after OR rejected_role_before <> rejected_role_after THEN 'role' END
        )
    END AS what,
    p.text AS prompt_text,
    (chosen_score_after - rejected_score_after) - (chosen_score_before - rejected_score_before) AS gap_change,
    joined.*
FROM joined JOIN prompt p ON p.id = joined.prompt;

-- One row per verdict that ordered a pair, from the model that was trained on it (if one was) down to the raw reply.
CREATE OR REPLACE VIEW lineage AS
SELECT
    t.model, m.name AS model_name, m.weights, t.id AS training, x.pair_set, x.id AS pair, x.prompt, x.prompt_text,
    side.side, side.role, side.response, side.text, maker.id AS answered_by, maker.name AS answered_by_name,
    r.sampling, r.seed, j.judge, judge.name AS judge_name, j.method, j.rubric, j.draw, j.reply, j.status, j.score
FROM pairs x
LEFT JOIN training t ON t.pair_set = x.pair_set
LEFT JOIN model m ON m.id = t.model
CROSS JOIN LATERAL (
    SELECT 'chosen' AS side, x.chosen AS response, x.chosen_text AS text, x.chosen_role AS role
    UNION ALL
    SELECT 'rejected', x.rejected, x.rejected_text, x.rejected_role
) AS side
JOIN response r ON r.id = side.response
JOIN model maker ON maker.id = r.model
LEFT JOIN judgment j ON j.response = side.response AND j.judge = x.judge
LEFT JOIN model judge ON judge.id = j.judge;

-- The pair sets of each run with the training on each: of several for a phase and turn the newest launch's, there the last
-- set, and of its trainings the turn's own, the last. position: the order of a run's sets, by turn and then as in a launch.
CREATE OR REPLACE VIEW run_sets AS
SELECT
    l.run, p.iteration, s.name AS phase, p.subject AS pair_set, t.id AS training, t.parent, t.reference,
    t.model AS result, p.launch,
    row_number() OVER (PARTITION BY l.run ORDER BY p.iteration, p.place, l.position, l.started, l.id, n.position) AS position
FROM (
    SELECT *, row_number() OVER (PARTITION BY launch, iteration ORDER BY position) AS place FROM step WHERE stage = 'pair'
) p
JOIN launch l ON l.id = p.launch
JOIN pair_set s ON s.id = p.subject
JOIN step n ON n.launch = p.launch AND n.stage = 'train' AND n.position > p.position
JOIN model m ON m.id = n.subject
JOIN training t ON t.id = m.training AND (t.data = s.fingerprint OR t.pair_set = s.id)
WHERE  -- what it was trained from is the run's still, or never had a name in it
    (l.run, t.parent) IN (SELECT (run, model) FROM model_names)
    OR (l.run, t.parent) NOT IN (
        SELECT (x.run, y.subject) FROM step y JOIN launch x ON x.id = y.launch WHERE y.stats->>'name' IS NOT NULL
    )
QUALIFY row_number() OVER (
    PARTITION BY l.run, p.iteration, s.name
    ORDER BY l.position DESC, l.started DESC, l.id DESC, p.position DESC, n.iteration = p.iteration DESC, n.position DESC
) = 1;

-- What is compared: the pairs of every set (control = ''), and its controls: two draws of the present ('draws'), and
-- unselected pairs of the same roles ('present_past', 'future_past', 'future_present': chosen role, then rejected role).
CREATE OR REPLACE VIEW compared AS
SELECT pair_set, '' AS control, id AS pair, prompt, chosen, rejected, chosen_score, rejected_score, gap FROM pairs
UNION ALL
SELECT
    pair_set, control, NULL, prompt, chosen, rejected, chosen_score, rejected_score,
    CASE WHEN isfinite(chosen_score - rejected_score) THEN chosen_score - rejected_score END
FROM control;

-- The newest measurement of each two answers, kind and model.
CREATE OR REPLACE VIEW measured AS
SELECT x.*, n.name AS model_name FROM metric x JOIN launch l ON l.id = x.launch LEFT JOIN model n ON n.id = x.model
QUALIFY row_number() OVER (PARTITION BY x.chosen, x.rejected, x.model, x.kind ORDER BY l.position DESC, l.started DESC, x.id) = 1;

-- One row per number: FROM metrics WHERE pair_set = 'guided@2' AND metric = 'gradient.norm'.
CREATE OR REPLACE VIEW metrics AS
SELECT
    c.pair_set, c.control, c.pair, c.prompt, c.chosen, c.rejected, x.model, x.model_name,
    x.kind || '.' || f.key AS metric, f.value::DOUBLE AS value, x.reason, x.settings
FROM compared c
JOIN measured x ON x.chosen = c.chosen AND x.rejected = c.rejected,
LATERAL json_each(x.found) AS f;

-- One row per pair and training on its set: log-probabilities before and after, the margin, and the weight by the loss
-- that was trained. The loss gradient of a pair is -beta * weight * (grad log pi(chosen) - grad log pi(rejected)), minus
-- nll / chosen_tokens * grad log pi(chosen) where an NLL term was trained (dpo_gradient of pair_values has both parts).
--   DPO                  weight = sigma(-margin): 0.5 where policy and reference agree        arXiv 2305.18290
--   label smoothing e    weight = sigma(-margin) - e: below 0 once the margin is large        ericmitchell.ai/cdpo.pdf
--   IPO                  weight = (1 - 2 * margin) / beta^2: below 0 past a margin of 1/2     arXiv 2310.12036
-- margin = beta * (change of the log-ratio against the reference). As in OpenRLHF, label smoothing is ignored under IPO.
-- refused: why weight and dpo_gradient are NULL, or ''.
CREATE OR REPLACE VIEW trained_pairs AS
WITH likelihood AS (
    SELECT
        chosen, rejected, model,
        (found->>'chosen_logprob')::DOUBLE AS w, (found->>'rejected_logprob')::DOUBLE AS l
    FROM measured WHERE kind = 'forward'
),
option AS (
    SELECT
        id, (settings->>'beta')::DOUBLE AS beta, coalesce(settings->'options'->>'model.ipo_enable', 'false') AS ipo,
        coalesce(settings->'options'->>'model.label_smoothing', '0') AS smoothing,
        coalesce(settings->'options'->>'model.nll_loss_coef', '0') AS nll,
        coalesce(settings->'options'->>'model.aux_loss_coef', '0') AS aux
    FROM training
),
loss AS (
    SELECT
        id AS training, beta, ipo = 'true' AS ipo, TRY_CAST(smoothing AS DOUBLE) AS smoothing,
        TRY_CAST(nll AS DOUBLE) AS nll,
        CASE
            WHEN ipo NOT IN ('true', 'false') THEN 'model.ipo_enable is neither true nor false'
            WHEN TRY_CAST(smoothing AS DOUBLE) IS NULL THEN 'model.label_smoothing is not a number'
            WHEN TRY_CAST(nll AS DOUBLE) IS NULL THEN 'model.nll_loss_coef is not a number'
            WHEN TRY_CAST(aux AS DOUBLE) IS DISTINCT FROM 0
                THEN 'model.aux_loss_coef adds a loss of the router, which is not computed here'
            ELSE ''
        END AS refused
    FROM option
),
joined AS (
    SELECT
        s.run, s.iteration, s.phase, s.training, c.*, t.* EXCLUDE (training),
        b.w AS chosen_before, b.l AS rejected_before, a.w AS chosen_after, a.l AS rejected_after,
        r.w AS chosen_reference, r.l AS rejected_reference
    FROM run_sets s
    JOIN loss t ON t.training = s.training
    JOIN compared c ON c.pair_set = s.pair_set
    LEFT JOIN likelihood b ON b.chosen = c.chosen AND b.rejected = c.rejected AND b.model = s.parent
    LEFT JOIN likelihood a ON a.chosen = c.chosen AND a.rejected = c.rejected AND a.model = s.result
    LEFT JOIN likelihood r ON r.chosen = c.chosen AND r.rejected = c.rejected AND r.model = s.reference
),
margins AS (
    SELECT
        *,
        beta * ((chosen_before - chosen_reference) - (rejected_before - rejected_reference)) AS margin_before,
        beta * ((chosen_after - chosen_reference) - (rejected_after - rejected_reference)) AS margin
    FROM joined
)
SELECT
    *,
    CASE WHEN refused <> '' THEN NULL WHEN ipo THEN (1 - 2 * margin_before) / (beta * beta)
        ELSE 1 / (1 + exp(margin_before)) - smoothing END AS weight_before,
    CASE WHEN refused <> '' THEN NULL WHEN ipo THEN (1 - 2 * margin) / (beta * beta)
        ELSE 1 / (1 + exp(margin)) - smoothing END AS weight,
    chosen_before > rejected_before AS ranked_before, chosen_after > rejected_after AS ranked_after,
    chosen_after < chosen_before AND rejected_after < rejected_before AS displaced
FROM margins;

-- A stored sampling as a value that compares, whatever order and form its numbers are written in.
CREATE OR REPLACE MACRO sampled(written) AS {
    'temperature': (written->>'temperature')::DOUBLE, 'top_p': (written->>'top_p')::DOUBLE,
    'max_tokens': (written->>'max_tokens')::INT, 'min_mass': (written->>'min_mass')::DOUBLE
};

-- The score of every answer by each judge in one way of judging (method, rubric, sampling): the mean of its readable
-- verdicts. draws: how many those are; means of unequal numbers of draws are not equally precise.
CREATE OR REPLACE VIEW answer_scores AS
SELECT
    r.prompt, j.response, j.judge, j.method, j.rubric, j.sampling::VARCHAR AS sampling, round(avg(j.score), 9) AS score,
    count(*) AS draws
FROM judgment j JOIN response r ON r.id = j.response WHERE isfinite(j.score) GROUP BY ALL;

-- One row per pair and launch that measured its set by verdicts which took no part in selecting it: kind 'audit' by the
-- recipe's audit judge, 'held_out' by the draws of the set's own judge that judge.select_draws left out. A pair with a
-- side that has no readable verdict is left out. newest: the newest launch that measured this set in this way.
CREATE OR REPLACE VIEW audit_pairs AS
WITH way AS (
    SELECT DISTINCT
        s.launch, l.position, 'audit' AS kind, s.stats->>'set' AS pair_set, s.stats->'way' AS way
    FROM step s JOIN launch l ON l.id = s.launch WHERE s.stage = 'audit'
    UNION ALL
    SELECT DISTINCT s.launch, l.position, 'held_out', s.subject, s.stats->'held_out'
    FROM step s JOIN launch l ON l.id = s.launch WHERE s.stage = 'pair' AND (s.stats->'held_out') IS NOT NULL
),
named AS (
    SELECT
        launch, kind, pair_set, way->>'judge' AS judge, way->>'method' AS method, way->>'rubric' AS rubric,
        way->>'sampling' AS sampling, (way->>'first')::INT AS first_draw, (way->>'end')::INT AS end_draw,
        row_number() OVER (PARTITION BY pair_set, kind ORDER BY position DESC, launch DESC, way::VARCHAR) = 1 AS newest
    FROM way
),
side AS (
    SELECT n.*, x.id AS pair, u.response, u.sign
    FROM named n JOIN pair_set_members m ON m.pair_set = n.pair_set JOIN pair x ON x.id = m.pair,
    LATERAL (VALUES (x.chosen, 1), (x.rejected, -1)) AS u(response, sign)
),
scored AS (
    SELECT
        s.launch, s.kind, s.pair_set, s.newest, s.judge, s.method, s.rubric, s.pair, s.sign, round(avg(j.score), 9) AS score
    FROM side s
    JOIN judgment j ON j.response = s.response AND j.judge = s.judge AND j.method = s.method
        AND j.rubric IS NOT DISTINCT FROM s.rubric AND (j.sampling->>'$') IS NOT DISTINCT FROM s.sampling
        AND j.draw >= s.first_draw AND j.draw < s.end_draw
    WHERE j.score IS NOT NULL GROUP BY ALL
)
SELECT
    launch, kind, pair_set, newest, judge, method, rubric, pair, sum(score) FILTER (sign = 1) AS chosen_score,
    sum(score) FILTER (sign = -1) AS rejected_score, chosen_score - rejected_score AS gap
FROM scored GROUP BY ALL HAVING count(*) = 2;

-- The mean of those gaps, for each set and launch that measured it.
CREATE OR REPLACE VIEW audit_gaps AS
SELECT
    a.launch, a.kind, a.pair_set, a.newest, a.judge, m.name AS judge_name, a.method, a.rubric, count(*) AS pairs,
    avg(a.gap ORDER BY a.gap) AS gap
FROM audit_pairs a JOIN model m ON m.id = a.judge GROUP BY ALL;

-- Where an answer stands among the answers that the set could be chosen from: 0 the lowest, 1 the highest. Those are the
-- run's own, of the roles that its sets of this phase have: what another recipe asked the same models for is left out.
CREATE OR REPLACE VIEW ranks AS
WITH role AS (
    SELECT DISTINCT s.run, s.phase, u.role
    FROM run_sets s JOIN pairs p ON p.pair_set = s.pair_set, LATERAL (VALUES (p.chosen_role), (p.rejected_role)) AS u(role)
),
sets AS (SELECT s.*, l.recipe->'answers' AS asked, l.recipe->'seed' AS seed FROM run_sets s JOIN launch l ON l.id = s.launch),
answerer AS (
    SELECT run, pair_set, phase, asked, seed, 'present' AS role, parent AS model FROM sets
    UNION ALL
    SELECT s.run, s.pair_set, s.phase, s.asked, s.seed, 'past', n.model
    FROM sets s JOIN model_names n ON n.run = s.run AND n.name = 'M_0'
    UNION ALL
    SELECT s.run, s.pair_set, s.phase, s.asked, s.seed, 'future', f.result
    FROM sets s JOIN run_sets f ON f.run = s.run AND f.iteration = s.iteration
),
placed AS (
    SELECT
        a.run, a.pair_set, x.*, count(*) OVER pool AS n, rank() OVER (pool ORDER BY x.score) - 1 AS lower,
        rank() OVER (pool ORDER BY x.score DESC) - 1 AS higher
    FROM answerer a
    JOIN role o ON o.run = a.run AND o.phase = a.phase AND o.role = a.role
    JOIN response r ON r.model = a.model AND r.role = a.role AND r.draw < (a.asked->>'k')::INT
        AND (r.sampling->>'temperature')::DOUBLE = (a.asked->>'temperature')::DOUBLE
        AND (r.sampling->>'top_p')::DOUBLE = (a.asked->>'top_p')::DOUBLE
        AND (r.sampling->>'max_tokens')::INT = (a.asked->>'max_tokens')::INT
        AND r.seed = ('0x' || sha256(concat(  -- identity.derive_seed of what generate() derives it from
            'seed', chr(10), '[', a.seed, ',"', r.prompt, '","', r.model, '","', r.role, '",', r.draw, ']'
        ))[:8])::BIGINT & 2147483647
        AND r.prompt IN (SELECT p.prompt FROM pairs p WHERE p.pair_set = a.pair_set)
    JOIN answer_scores x ON x.response = r.id
    WINDOW pool AS (PARTITION BY a.run, a.pair_set, x.prompt, x.judge, x.method, x.rubric, x.sampling)
)
SELECT *, (lower + (n - lower - higher - 1) / 2) / nullif(n - 1, 0) AS rank FROM placed;

-- Every number of every pair of a run's sets and controls, one a row: what summaries are made of.
--   FROM pair_values WHERE run = 'temporal' AND pair_set = 'guided@2' AND metric = 'gradient.norm' AND under = 'parent'
-- under: the model it was measured under, "parent" (trained from), "result" (trained to), "base" (M_0), "" (none).
-- control 'shuffled': sides swapped where the chosen's id is above the rejected's, and ids are hashes.
-- gradient.norm_per_sqrt_token: the norm over the square root of the answers' tokens, both sides and their ends counted:
-- the norm is of a sum over these tokens, so longer answers raise it. dpo_gradient: the norm of the gradient of the loss
-- that was trained, by the options of trained_pairs; NULL where they are refused.
CREATE OR REPLACE VIEW pair_values AS
WITH site AS (
    SELECT run, pair_set, 'parent' AS under, parent AS model FROM run_sets
    UNION ALL
    SELECT run, pair_set, 'result', result FROM run_sets
    UNION ALL
    SELECT s.run, s.pair_set, 'base', n.model FROM run_sets s JOIN model_names n ON n.run = s.run AND n.name = 'M_0'
),
member AS (
    SELECT
        s.run, l.recipe->'judge'->>'method' AS method, CASE WHEN l.recipe->'judge'->>'method' = 'generated'
            THEN sampled(l.recipe->'judge') END AS sampling, any_value(x.judge) OVER (PARTITION BY s.run, s.pair_set) AS judge, c.*
    FROM run_sets s
    JOIN launch l ON l.id = s.launch
    JOIN compared c ON c.pair_set = s.pair_set
    LEFT JOIN pair x ON x.id = c.pair
),
way AS (  -- of judging: who, how, by which rubric and sampling; the ids and the temperature stand where names repeat
    SELECT
        x.*, n.name || '/' || x.method || CASE WHEN count(*) OVER (PARTITION BY n.name, x.method) > 1
            THEN concat('/', x.judge[:6], '/' || x.rubric[:6]) ELSE '' END
        || CASE WHEN count(*) OVER (PARTITION BY x.judge, x.method, x.rubric) > 1
            THEN concat('/T', x.sampling->>'temperature', '/p', x.sampling->>'top_p', '/', x.sampling->>'max_tokens')
            ELSE '' END AS name
    FROM (SELECT DISTINCT judge, method, rubric, sampling::VARCHAR AS sampling FROM judgment WHERE score IS NOT NULL) x
    JOIN model n ON n.id = x.judge
),
judged AS (  -- by every judge that scored both sides; own: the judge, method and sampling that ordered the pairs
    SELECT
        m.run, m.pair_set, m.control, m.chosen, m.rejected, y.name AS judge,
        coalesce(w.judge = m.judge AND w.method = m.method AND (m.sampling IS NULL OR sampled(w.sampling) = m.sampling), false) AS own, w.score - l.score AS gap
    FROM member m
    JOIN answer_scores w ON w.response = m.chosen
    JOIN answer_scores l ON l.response = m.rejected AND l.judge = w.judge AND l.method = w.method
        AND l.rubric IS NOT DISTINCT FROM w.rubric AND l.sampling IS NOT DISTINCT FROM w.sampling
    JOIN way y ON y.judge = w.judge AND y.method = w.method AND y.rubric IS NOT DISTINCT FROM w.rubric
        AND y.sampling IS NOT DISTINCT FROM w.sampling
),
ranked AS (
    SELECT m.run, m.pair_set, m.control, m.chosen, m.rejected, w.rank - l.rank AS rank_gap
    FROM member m
    JOIN ranks w ON w.run = m.run AND w.pair_set = m.pair_set AND w.response = m.chosen
        AND w.judge = m.judge AND w.method = m.method AND (m.sampling IS NULL OR sampled(w.sampling) = m.sampling)
    JOIN ranks l ON l.run = m.run AND l.pair_set = m.pair_set AND l.response = m.rejected
        AND l.judge = w.judge AND l.method = w.method AND l.rubric IS NOT DISTINCT FROM w.rubric
        AND l.sampling IS NOT DISTINCT FROM w.sampling
),
under_model AS (
    SELECT s.run, s.pair_set, m.control, m.chosen, m.rejected, s.under, s.model, m.metric, m.value
    FROM site s JOIN metrics m ON m.pair_set = s.pair_set AND m.model = s.model
),
number AS (
    SELECT run, pair_set, control, chosen, rejected, '' AS under, NULL AS model, 'gap' AS metric, gap AS value FROM member
    UNION ALL
    SELECT run, pair_set, control, chosen, rejected, '', NULL, 'rank_gap', rank_gap FROM ranked
    UNION ALL
    SELECT run, pair_set, control, chosen, rejected, '', NULL, 'gap/' || judge, gap FROM judged WHERE NOT own
    UNION ALL
    SELECT s.run, m.pair_set, m.control, m.chosen, m.rejected, '', NULL, m.metric, m.value
    FROM metrics m JOIN run_sets s ON s.pair_set = m.pair_set WHERE m.model IS NULL
    UNION ALL
    FROM under_model
    UNION ALL
    SELECT * REPLACE ('distance' AS metric, 1 - value AS value) FROM under_model WHERE metric = 'forward.cosine_mean'
    UNION ALL
    SELECT w.* REPLACE ('logratio' AS metric, w.value - l.value AS value)
    FROM under_model w JOIN under_model l USING (run, pair_set, control, chosen, rejected, under)
    WHERE w.metric = 'forward.chosen_logprob' AND l.metric = 'forward.rejected_logprob'
    UNION ALL
    SELECT m.* REPLACE ('gradient.norm_per_sqrt_token' AS metric, m.value / sqrt(w.value + l.value) AS value)
    FROM under_model m
    JOIN under_model w USING (run, pair_set, control, chosen, rejected, under)
    JOIN under_model l USING (run, pair_set, control, chosen, rejected, under)
    WHERE m.metric = 'gradient.norm' AND w.metric = 'forward.chosen_tokens' AND l.metric = 'forward.rejected_tokens'
    UNION ALL
    SELECT
        p.run, p.pair_set, p.control, p.chosen, p.rejected, p.under, p.model, 'dpo_gradient',
        CASE
            WHEN p.nll = 0 THEN abs(p.push) * p.norm
            -- |a g_c - b g_r| of the two answers' gradients, never below 0 but for rounding
            ELSE sqrt(greatest(0, p.pull * p.pull * p.chosen_norm * p.chosen_norm
                + p.push * p.push * p.rejected_norm * p.rejected_norm
                - 2 * p.pull * p.push * p.chosen_norm * p.rejected_norm * p.cosine))
        END
    FROM (
        SELECT
            g.*, t.nll, t.beta * CASE g.under WHEN 'parent' THEN t.weight_before ELSE t.weight END AS push,
            push + t.nll / g.tokens AS pull
        FROM (
            SELECT
                run, pair_set, control, chosen, rejected, under, model,
                max(value) FILTER (metric = 'gradient.norm') AS norm,
                max(value) FILTER (metric = 'gradient.chosen_norm') AS chosen_norm,
                max(value) FILTER (metric = 'gradient.rejected_norm') AS rejected_norm,
                max(value) FILTER (metric = 'gradient.cosine') AS cosine,
                max(value) FILTER (metric = 'forward.chosen_tokens') AS tokens
            FROM under_model WHERE under IN ('parent', 'result') GROUP BY ALL
            HAVING count(*) FILTER (metric = 'gradient.norm') > 0
        ) g JOIN trained_pairs t USING (run, pair_set, control, chosen, rejected)
    ) p
    UNION ALL
    SELECT t.run, t.pair_set, t.control, t.chosen, t.rejected, 'result', s.result, u.metric, u.value
    FROM trained_pairs t
    JOIN run_sets s ON s.run = t.run AND s.pair_set = t.pair_set,
    LATERAL (
        VALUES
        ('margin', t.margin), ('weight', t.weight), ('displaced', t.displaced::INT),
        ('ranked_before', t.ranked_before::INT), ('ranked', t.ranked_after::INT)
    ) AS u(metric, value)
)
FROM number
UNION ALL
SELECT * REPLACE ('shuffled' AS control, CASE WHEN chosen < rejected THEN value ELSE -value END AS value)
FROM number WHERE control = '' AND (
    metric IN ('gap', 'rank_gap', 'text.length_gap', 'text.token_gap', 'logratio', 'margin') OR metric LIKE 'gap/%'
);

CREATE OR REPLACE VIEW summaries AS
SELECT x.*, s.name AS phase, s.iteration, m.name AS model_name
FROM summary x
JOIN pair_set s ON s.id = x.pair_set
JOIN launch l ON l.id = x.launch
LEFT JOIN model m ON m.id = x.model
QUALIFY row_number() OVER (
    PARTITION BY x.pair_set, x.control, x.metric, x.under, x.model ORDER BY l.position DESC, l.started DESC, x.id
) = 1;
-- Coherence of a set or control: the norm of its mean gradient over the mean of its pairs' norms. 1: all pairs ask for the
-- same step. chance: 1/sqrt(n), of orthogonal gradients of equal norm. swapped: the root mean square of the coherence if
-- the sides of every pair were swapped at random, which also holds for unequal norms: sqrt(sum norm^2) / sum norm.
CREATE OR REPLACE VIEW coherence AS
SELECT
    c.pair_set, c.phase, c.iteration, c.control, c.under, c.model, c.model_name, c.n, c.missing, c.mean AS coherence,
    1 / sqrt(nullif(c.n, 0)) AS chance, s.mean AS swapped
FROM summaries c
LEFT JOIN summaries s ON s.metric = 'coherence.swapped' AND s.pair_set = c.pair_set AND s.control = c.control
    AND s.under = c.under AND s.model = c.model AND s.content = c.content
WHERE c.metric = 'coherence';
-- Between two sets of a run; what a run begun again with other settings has left behind is no change of it.
CREATE OR REPLACE VIEW changes AS
SELECT x.*, b.phase, b.iteration AS iteration_before, a.iteration AS iteration_after
FROM change x
JOIN run_sets b ON b.run = x.run AND b.pair_set = x.before
JOIN run_sets a ON a.run = x.run AND a.pair_set = x.after
JOIN launch l ON l.id = x.launch
QUALIFY row_number() OVER (
    PARTITION BY x.run, x.before, x.after, x.metric, x.under ORDER BY l.position DESC, l.started DESC, x.id
) = 1;
