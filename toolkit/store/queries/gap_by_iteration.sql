-- Score gap by set: over pairs, over all prompts (ties 0), by chance; p of no difference between roles; yield; spread.
SELECT
    s.id AS "set", s.iteration, s.size AS pairs, avg(p.gap ORDER BY p.gap) AS gap,
    any_value(c.gap_all) AS gap_all, any_value(c.gap_chance) AS gap_chance, any_value(c.gap_all_chance) AS gap_all_chance,
    any_value(c.p_roles) AS p_roles, any_value(c.yield) AS yield,
    stddev_samp(p.gap ORDER BY p.gap) AS spread, min(p.gap) AS smallest, max(p.gap) AS largest,
    avg(p.chosen_score ORDER BY p.chosen_score) AS chosen, avg(p.rejected_score ORDER BY p.rejected_score) AS rejected,
    coalesce(any_value(c.reason), 'made without a selection that this version measures') AS "without chance value"
FROM pair_set s LEFT JOIN pairs p ON p.pair_set = s.id LEFT JOIN selections c ON c.pair_set = s.id
GROUP BY s.id, s.iteration, s.size ORDER BY s.id;
