-- Score gap between chosen and rejected, by set and version: mean, spread, smallest, largest; over the pairs with scores.
SELECT
    pair_set AS "set", iteration, count(*) AS pairs, count(gap) AS scored, avg(gap ORDER BY gap) AS gap, stddev_samp(gap ORDER BY gap) AS spread,
    min(gap) AS smallest, max(gap) AS largest, avg(chosen_score ORDER BY chosen_score) AS chosen,
    avg(rejected_score ORDER BY rejected_score) AS rejected
FROM pairs GROUP BY pair_set, iteration ORDER BY pair_set;
