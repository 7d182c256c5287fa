-- Recipes side by side, by iteration and set: audit gap, own gap and roles with chance values, lengths, the trained model.
SELECT
    l.run AS recipe, s.iteration, s.subject AS "set", i.pairs, c.yield,
    a.judge_name AS "audit judge", a.gap AS "audit gap", a.pairs AS "audit pairs", h.gap AS "held-out gap",
    i.gap, c.gap_chance AS "gap by chance",
    c.gap_all AS "gap all", c.gap_all_chance AS "gap all by chance", c.p_roles AS "p roles",
    i.chosen_by_future AS "by future", c.future_chance AS "future by chance", c.p_future AS "p future",
    i.rejected_by_past AS "by past", c.past_chance AS "past by chance", c.p_past AS "p past",
    i.chosen_score AS chosen, i.rejected_score AS rejected,
    i.chosen_characters AS "chosen length", i.rejected_characters AS "rejected length", t.stats->>'name' AS model
FROM step s
JOIN launch l ON l.id = s.launch
JOIN iterations i ON i.pair_set = s.subject
LEFT JOIN selections c ON c.pair_set = s.subject
LEFT JOIN audit_gaps a ON a.pair_set = s.subject AND a.kind = 'audit' AND a.launch = s.launch
LEFT JOIN audit_gaps h ON h.pair_set = s.subject AND h.kind = 'held_out' AND h.launch = s.launch
LEFT JOIN step t ON t.launch = s.launch AND t.stage = 'train' AND t.position = (
    SELECT min(n.position) FROM step n WHERE n.launch = s.launch AND n.stage = 'train' AND n.position > s.position
)
WHERE s.launch IN (SELECT unnest(string_split($launches, ','))) AND s.stage = 'pair'
ORDER BY list_position(string_split($launches, ','), s.launch), s.position;
