-- Every violation of Algorithm 1 in the temporal pair sets of every launch; no rows means that the law holds.
WITH phase AS (  -- a launch notes every pair set and, next, the model trained on it, stored before or not
    SELECT p.launch, p.iteration, s.id AS pair_set, s.name, t.parent AS present, t.model AS result
    FROM step p
    JOIN pair_set s ON s.id = p.subject
    JOIN step t_step ON t_step.launch = p.launch AND t_step.stage = 'train' AND t_step.position = (
        SELECT min(n.position) FROM step n WHERE n.launch = p.launch AND n.stage = 'train' AND n.position > p.position
    )
    JOIN training t ON t.model = t_step.subject
    WHERE p.stage = 'pair' AND s.name IN ('anchored', 'guided')
),
member AS (SELECT x.*, h.launch, h.present, h.result, h.iteration AS turn FROM phase h JOIN pairs x USING (pair_set)),
past AS (SELECT id FROM model WHERE training IS NULL AND name = 'M_0'),
future AS (SELECT DISTINCT result AS id, present FROM phase WHERE name = 'anchored'),
mean_score AS (SELECT response, judge, round(avg(score), 9) AS score FROM judgment GROUP BY ALL)
SELECT DISTINCT 'the judge is not the present model' AS violation, pair_set, id FROM member WHERE judge <> present
UNION
SELECT 'a chosen answer is neither the present''s nor, in phase 2, the future''s', pair_set, id FROM member
WHERE NOT (
    (chosen_role = 'present' AND chosen_model = present)
    OR (
        phase = 'guided' AND chosen_role = 'future'
        AND chosen_model IN (SELECT f.id FROM future f WHERE f.present = member.present)
    )
)
UNION
SELECT 'a rejected answer is neither the past''s nor the present''s', pair_set, id FROM member
WHERE NOT (
    (rejected_role = 'present' AND rejected_model = present)
    OR (rejected_role = 'past' AND rejected_model IN (FROM past))
)
UNION
SELECT 'the phases of one iteration reject different answers', g.pair_set, g.id
FROM member a JOIN member g USING (launch, turn, prompt)
WHERE a.phase = 'anchored' AND g.phase = 'guided' AND a.rejected <> g.rejected
UNION
SELECT 'chosen does not score above rejected', pair_set, id FROM member WHERE NOT chosen_score > rejected_score
UNION
SELECT 'a score is not the mean of the judge''s readable verdicts', m.pair_set, m.id
FROM member m
LEFT JOIN mean_score c ON c.response = m.chosen AND c.judge = m.judge
LEFT JOIN mean_score r ON r.response = m.rejected AND r.judge = m.judge
WHERE c.score IS DISTINCT FROM m.chosen_score OR r.score IS DISTINCT FROM m.rejected_score
UNION
SELECT 'a model descends from a temporary future model', t.pair_set, t.model
FROM training t JOIN future f ON f.id = t.parent
UNION
SELECT 'one prompt serves two iterations of one launch', later.pair_set, later.id
FROM member later JOIN member sooner USING (launch, prompt) WHERE sooner.turn < later.turn
ORDER BY ALL;
