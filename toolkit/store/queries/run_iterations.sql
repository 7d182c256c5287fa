-- Per iteration and phase of a launch: pairs, score gap, roles, lengths.
SELECT
    s.iteration, i.phase AS "pairs of", s.subject AS "set",
    i.pairs, coalesce((s.stats->>'tie')::INT, 0) AS ties, coalesce((s.stats->>'no_score')::INT, 0) AS "no score",
    i.chosen_score AS chosen, i.rejected_score AS rejected, i.gap,
    i.chosen_by_future AS "by future", i.rejected_by_past AS "by past",
    i.chosen_characters AS "chosen length", i.rejected_characters AS "rejected length"
FROM step s JOIN iterations i ON i.pair_set = s.subject
WHERE s.launch = $launch AND s.stage = 'pair'
ORDER BY s.position;
