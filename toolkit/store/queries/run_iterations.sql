-- Per iteration and phase of a launch: pairs per prompt, gap by the audit judge, own gap by chance too, roles, lengths.
SELECT
    s.iteration, i.phase AS "pairs of", s.subject AS "set", i.pairs, c.yield,
    a.gap AS "audit gap", a.pairs AS "audit pairs", h.gap AS "held-out gap",
    i.gap, c.gap_chance AS "gap by chance", c.p_roles AS "p roles",
    i.chosen_by_future AS "by future", i.rejected_by_past AS "by past",
    i.chosen_score AS chosen, i.rejected_score AS rejected,
    i.chosen_characters AS "chosen length", i.rejected_characters AS "rejected length"
FROM step s JOIN iterations i ON i.pair_set = s.subject
LEFT JOIN selections c ON c.pair_set = s.subject
LEFT JOIN audit_gaps a ON a.pair_set = s.subject AND a.kind = 'audit' AND a.launch = s.launch
LEFT JOIN audit_gaps h ON h.pair_set = s.subject AND h.kind = 'held_out' AND h.launch = s.launch
WHERE s.launch = $launch AND s.stage = 'pair'
ORDER BY s.position;
