-- Whose answers were chosen and rejected, by set: shares of past, present, future and unknown.
SELECT pair_set AS "set", chosen_role, rejected_role, count(*) AS pairs, count(*) / sum(count(*)) OVER (PARTITION BY pair_set) AS share
FROM pairs GROUP BY pair_set, chosen_role, rejected_role ORDER BY ALL;
