-- Per generation of a launch: answers, new tokens, and how many were cut by max_tokens.
SELECT
    s.iteration, s.label AS what, s.total AS answers, (s.stats->>'tokens')::BIGINT AS tokens,
    (s.stats->>'tokens')::BIGINT / greatest(s.total, 1) AS "mean tokens", (s.stats->>'cut')::INT AS cut
FROM step s WHERE s.launch = $launch AND s.stage = 'generate'
ORDER BY s.position;
