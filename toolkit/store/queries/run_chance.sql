-- Per pair set of a launch: gaps and shares of roles beside what permuted roles give, with p-values (pairs/chance.py).
SELECT
    s.iteration, p.name AS "pairs of", s.subject AS "set", c.scored AS prompts,
    c.gap_all AS "gap all", c.gap_all_chance AS "gap all by chance", c.p_roles AS "p roles",
    c.future AS "by future", c.future_chance AS "future by chance", c.p_future AS "p future",
    c.past AS "by past", c.past_chance AS "past by chance", c.p_past AS "p past", c.permutations, c.reason
FROM step s JOIN pair_set p ON p.id = s.subject JOIN selections c ON c.pair_set = s.subject
WHERE s.launch = $launch AND s.stage = 'pair'
ORDER BY s.position;
