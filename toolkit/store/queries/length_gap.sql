-- How much longer chosen answers are than rejected ones, by set, in characters and as a share of pairs.
SELECT
    pair_set AS "set", count(*) AS pairs, avg(chosen_characters) AS chosen, avg(rejected_characters) AS rejected,
    avg(chosen_characters - rejected_characters) AS longer, avg((chosen_characters > rejected_characters)::INT) AS share_longer,
    CASE WHEN isfinite(corr(gap, chosen_characters - rejected_characters)) THEN
        corr(gap, chosen_characters - rejected_characters ORDER BY gap, chosen_characters - rejected_characters)
    END AS correlation_with_gap  -- none where all gaps, or all lengths, are equal
FROM pairs GROUP BY pair_set ORDER BY pair_set;
