-- Every violation of what the recipes promise, in the pair sets and demonstrations of every launch; no rows means none.
-- Sets whose rejected side has another rule than Algorithm 1 (pairs.rejected) are listed as not checked for that rule.
WITH rule(name, chosen, rejected, lends) AS (  -- whose answers may stand where; lends: its model is never a parent
    VALUES
    ('anchored', ['present'], ['present', 'past'], true),
    ('guided', ['present', 'future'], ['present', 'past'], false),
    ('self_rewarding', ['present'], ['present'], false),
    ('anchored_only', ['present'], ['present', 'past'], false),
    ('unanchored', ['present'], ['present'], true),
    ('future_only', ['present', 'future'], ['present'], false),
    ('spin', ['label'], ['present'], false),
    ('spin_fair', ['label'], ['present'], false)
),
made AS (  -- a launch notes every set and, next, the model trained on it, stored before or not
    SELECT p.launch, p.stage, p.iteration AS turn, p.subject AS made_set, t.parent AS present, t.model AS result
    FROM step p
    JOIN step t_step ON t_step.launch = p.launch AND t_step.stage = 'train' AND t_step.position = (
        SELECT min(n.position) FROM step n WHERE n.launch = p.launch AND n.stage = 'train' AND n.position > p.position
    )
    JOIN training t ON t.model = t_step.subject
    WHERE p.stage IN ('pair', 'demonstrate')
),
phase AS (
    SELECT made.*, rule.*,
        CASE l.recipe->'judge'->>'method' WHEN 'reward' THEN 'function'
            ELSE coalesce(l.recipe->'judge'->>'by', 'present') END AS judged_by,
        CASE s.name WHEN 'spin' THEN 'worst'  -- nobody scores its rejected side
            ELSE coalesce(l.recipe->'pairs'->>'rejected', 'worst') END AS rejected_by
    FROM made JOIN pair_set s ON s.id = made_set JOIN rule ON rule.name = s.name JOIN launch l ON l.id = made.launch
    WHERE stage = 'pair'
),
member AS (
    SELECT x.*, h.launch, h.turn, h.present, h.result, h.chosen AS choosers, h.rejected AS rejecters, h.judged_by
    FROM phase h JOIN pairs x ON x.pair_set = h.made_set
),
past AS (
    SELECT launch, subject AS id FROM step WHERE stage = 'start'
    UNION
    SELECT l.id, m.id FROM launch l, model m WHERE m.training IS NULL AND m.name = 'M_0'
    AND NOT EXISTS (FROM step s WHERE s.launch = l.id AND s.stage = 'start')  -- launches before there was this step
),
future AS (SELECT DISTINCT launch, turn, present, result AS id FROM phase WHERE lends),
owner AS (  -- whose answers a role means, in a turn of a launch
    SELECT launch, turn, 'present' AS role, present AS model FROM phase
    UNION SELECT h.launch, turn, 'past', past.id FROM phase h JOIN past ON past.launch = h.launch
    UNION SELECT launch, turn, 'future', id FROM future
    UNION SELECT h.launch, turn, 'label', r.model FROM phase h, (SELECT DISTINCT model FROM response WHERE role = 'label') r
),
mean_score AS (
    SELECT response, judge, round(avg(score), 9) AS score FROM judgment GROUP BY response, judge, method, rubric, sampling
)
SELECT DISTINCT 'the judge is not the one the recipe names' AS violation, pair_set, id FROM member m
WHERE (judged_by = 'present' AND judge <> present)
OR (judged_by = 'past' AND judge NOT IN (SELECT p.id FROM past p WHERE p.launch = m.launch))
UNION
SELECT 'one set has two judges', pair_set, max(id) FROM member GROUP BY launch, pair_set HAVING count(DISTINCT judge) > 1
UNION
SELECT 'a chosen answer is of another role or model than the recipe allows', pair_set, id FROM member m
WHERE chosen_role NOT IN (SELECT unnest(m.choosers)) OR NOT EXISTS (
    FROM owner o WHERE (o.launch, o.turn, o.role, o.model) = (m.launch, m.turn, m.chosen_role, m.chosen_model)
)
UNION
SELECT 'a rejected answer is of another role or model than the recipe allows', pair_set, id FROM member m
WHERE rejected_role NOT IN (SELECT unnest(m.rejecters)) OR NOT EXISTS (
    FROM owner o WHERE (o.launch, o.turn, o.role, o.model) = (m.launch, m.turn, m.rejected_role, m.rejected_model)
)
UNION
SELECT 'the phases of one iteration reject different answers', b.pair_set, b.id
FROM member a JOIN member b USING (launch, turn, prompt) WHERE a.phase <> b.phase AND a.rejected <> b.rejected
UNION
SELECT 'chosen does not score above rejected', pair_set, id FROM member
WHERE choosers <> ['label'] AND (chosen_score > rejected_score) IS NOT TRUE
UNION
SELECT 'a score is not the mean of the judge''s readable verdicts', m.pair_set, m.id FROM member m
WHERE (chosen_score IS NOT NULL AND (chosen, judge, chosen_score) NOT IN (SELECT (response, judge, score) FROM mean_score))
OR (rejected_score IS NOT NULL AND (rejected, judge, rejected_score) NOT IN (SELECT (response, judge, score) FROM mean_score))
UNION
SELECT 'a model descends from a temporary future model', h.made_set, h.result
FROM made h JOIN future f ON f.launch = h.launch AND f.id = h.present
UNION
SELECT 'one prompt serves two iterations of one launch', later.pair_set, later.id
FROM member later JOIN member sooner USING (launch, prompt) WHERE sooner.turn < later.turn
UNION
SELECT 'a demonstrated answer is not the present''s own', d.demonstration_set, d.response
FROM made h JOIN demonstration d ON d.demonstration_set = h.made_set JOIN response r ON r.id = d.response
WHERE d.demonstration_set LIKE 'best@%' AND (r.role <> 'present' OR r.model <> h.present)
UNION
SELECT 'not checked: that pairs.rejected = ''' || rejected_by || ''' picked the rejected answers', made_set, NULL
FROM phase WHERE rejected_by <> 'worst'
ORDER BY ALL;
