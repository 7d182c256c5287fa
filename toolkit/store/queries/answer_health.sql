-- Answers per model and role, without a judge: lengths, and shares that are empty, refusals, cut, or mostly repetition.
WITH said AS (
    SELECT r.*, string_split_regex(trim(lower(r.text)), '\s+') AS words FROM response r WHERE r.sampling IS NOT NULL
)
SELECT
    m.name AS model, s.role, count(*) AS answers, avg(length(s.text)) AS characters,
    quantile_cont(length(s.text), 0.1) AS "10 %", quantile_cont(length(s.text), 0.5) AS median,
    quantile_cont(length(s.text), 0.9) AS "90 %", avg((trim(s.text) = '')::INT) AS empty,
    avg(regexp_matches(lower(s.text), '^\W*(i''m sorry|i am sorry|sorry,|i cannot|i can''t|i can not|i''m not able|i am unable|as an ai)')::INT)
        AS refusals,
    avg((s.finish = 'length')::INT) AS cut,
    avg((len(s.words) >= 20 AND list_unique(s.words) < 0.4 * len(s.words))::INT) AS repetitive
FROM said s JOIN model m ON m.id = s.model
GROUP BY s.model, m.name, s.role ORDER BY m.name, s.model, s.role;
