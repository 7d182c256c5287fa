-- Score gap between chosen and rejected, by set and version: mean, spread, smallest, largest.
SELECT
    pair_set AS "set", iteration, count(*) AS pairs, avg(gap) AS gap, stddev_samp(gap) AS spread, min(gap) AS smallest,
    max(gap) AS largest, avg(chosen_score) AS chosen, avg(rejected_score) AS rejected
FROM pairs GROUP BY pair_set, iteration ORDER BY pair_set;
