-- Per iteration and phase of a launch: pairs, pairs per prompt, score gap beside its chance value, roles, lengths.
SELECT
    s.iteration, i.phase AS "pairs of", s.subject AS "set", i.pairs, c.yield,
    i.gap, c.gap_chance AS "gap by chance", c.p_roles AS "p roles",
    i.chosen_by_future AS "by future", i.rejected_by_past AS "by past",
    i.chosen_score AS chosen, i.rejected_score AS rejected,
    i.chosen_characters AS "chosen length", i.rejected_characters AS "rejected length"
FROM step s JOIN iterations i ON i.pair_set = s.subject LEFT JOIN selections c ON c.pair_set = s.subject
WHERE s.launch = $launch AND s.stage = 'pair'
ORDER BY s.position;
