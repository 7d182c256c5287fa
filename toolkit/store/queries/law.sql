-- Every violation of Algorithm 1 in the temporal pair sets; no rows means that the law holds.
WITH member AS (
    SELECT x.*, t.parent AS present, t.model AS result
    FROM pairs x JOIN training t ON t.pair_set = x.pair_set
    WHERE x.phase IN ('anchored', 'guided')
),
past AS (SELECT id FROM model WHERE training IS NULL AND name = 'M_0'),
future AS (SELECT t.model AS id, t.parent FROM training t JOIN pair_set s ON s.id = t.pair_set WHERE s.name = 'anchored'),
mean_score AS (SELECT response, judge, round(avg(score), 9) AS score FROM judgment GROUP BY ALL)
SELECT 'the judge is not the present model' AS violation, pair_set, id FROM member WHERE judge <> present
UNION ALL
SELECT 'a chosen answer is neither the present''s nor, in phase 2, the future''s', pair_set, id FROM member
WHERE NOT (
    (chosen_role = 'present' AND chosen_model = present)
    OR (
        phase = 'guided' AND chosen_role = 'future'
        AND chosen_model IN (SELECT f.id FROM future f WHERE f.parent = present)
    )
)
UNION ALL
SELECT 'a rejected answer is neither the past''s nor the present''s', pair_set, id FROM member
WHERE NOT (
    (rejected_role = 'present' AND rejected_model = present)
    OR (rejected_role = 'past' AND rejected_model IN (FROM past))
)
UNION ALL
SELECT 'the phases of one iteration reject different answers', g.pair_set, g.id
FROM member a JOIN member g ON a.prompt = g.prompt AND a.present = g.present
WHERE a.phase = 'anchored' AND g.phase = 'guided' AND a.rejected <> g.rejected
UNION ALL
SELECT 'chosen does not score above rejected', pair_set, id FROM member WHERE NOT chosen_score > rejected_score
UNION ALL
SELECT 'a score is not the mean of the judge''s readable verdicts', m.pair_set, m.id
FROM member m
LEFT JOIN mean_score c ON c.response = m.chosen AND c.judge = m.judge
LEFT JOIN mean_score r ON r.response = m.rejected AND r.judge = m.judge
WHERE c.score IS DISTINCT FROM m.chosen_score OR r.score IS DISTINCT FROM m.rejected_score
UNION ALL
SELECT 'a model descends from a temporary future model', t.pair_set, t.model
FROM training t JOIN future f ON f.id = t.parent
UNION ALL
SELECT 'one prompt serves two iterations of one chain', later.pair_set, later.id
FROM member later JOIN member sooner ON sooner.prompt = later.prompt AND sooner.result = later.present;
