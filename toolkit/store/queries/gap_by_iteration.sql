-- Score gap by set: by the audit judge; by the own judge over pairs, over all prompts (ties 0), by chance; yield; spread.
-- gap_audit: by the audit judge of the newest launch that had one, over audit_pairs of the pairs. gap: by the run's own
-- judge, which selected the pairs, so it says nothing about quality. gap_held_out: by its draws that did not select.
SELECT
    s.id AS "set", s.iteration, s.size AS pairs, count(p.gap) AS scored,
    any_value(a.gap) AS gap_audit, any_value(a.judge_name) AS audit_judge, any_value(a.pairs) AS audit_pairs,
    any_value(h.gap) AS gap_held_out, avg(p.gap ORDER BY p.gap) AS gap,
    any_value(c.gap_all) AS gap_all, any_value(c.gap_chance) AS gap_chance, any_value(c.gap_all_chance) AS gap_all_chance,
    any_value(c.p_roles) AS p_roles, any_value(c.yield) AS yield,
    stddev_samp(p.gap ORDER BY p.gap) AS spread, min(p.gap) AS smallest, max(p.gap) AS largest,
    avg(p.chosen_score ORDER BY p.chosen_score) AS chosen, avg(p.rejected_score ORDER BY p.rejected_score) AS rejected,
    coalesce(any_value(c.reason), 'made without a selection that this version measures') AS "without chance value"
FROM pair_set s
LEFT JOIN pairs p ON p.pair_set = s.id
LEFT JOIN selections c ON c.pair_set = s.id
LEFT JOIN audit_gaps a ON a.pair_set = s.id AND a.kind = 'audit' AND a.newest
LEFT JOIN audit_gaps h ON h.pair_set = s.id AND h.kind = 'held_out' AND h.newest
GROUP BY s.id, s.iteration, s.size ORDER BY s.id;
