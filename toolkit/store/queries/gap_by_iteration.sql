-- Score gap between chosen and rejected, by set and version: mean, spread, smallest, largest.
-- gap_audit: by the audit judge of the newest launch that had one, over audit_pairs of the pairs. gap: by the run's own
-- judge, which selected the pairs, so it says nothing about quality. gap_held_out: by its draws that did not select.
SELECT
    p.pair_set AS "set", p.iteration, count(*) AS pairs,
    any_value(a.gap) AS gap_audit, any_value(a.judge_name) AS audit_judge, any_value(a.pairs) AS audit_pairs,
    any_value(h.gap) AS gap_held_out,
    avg(p.gap ORDER BY p.gap) AS gap, stddev_samp(p.gap ORDER BY p.gap) AS spread,
    min(p.gap) AS smallest, max(p.gap) AS largest, avg(p.chosen_score ORDER BY p.chosen_score) AS chosen,
    avg(p.rejected_score ORDER BY p.rejected_score) AS rejected
FROM pairs p
LEFT JOIN audit_gaps a ON a.pair_set = p.pair_set AND a.kind = 'audit' AND a.newest
LEFT JOIN audit_gaps h ON h.pair_set = p.pair_set AND h.kind = 'held_out' AND h.newest
GROUP BY p.pair_set, p.iteration ORDER BY p.pair_set;
