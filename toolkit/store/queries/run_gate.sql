-- Per pair set of a launch: what the token gate kept for the trainer, and how many kept pairs hold a cut answer.
SELECT
    g.subject AS "set", g.total AS rows, (g.stats->>'kept')::INT AS kept,
    coalesce((g.stats->>'cut_answer')::INT, 0) AS "kept though cut"
FROM step g
WHERE g.stage = 'gate' AND g.subject IN (SELECT subject FROM step WHERE launch = $launch AND stage IN ('pair', 'demonstrate'))
QUALIFY row_number() OVER (PARTITION BY g.subject ORDER BY g.launch DESC, g.position DESC) = 1
ORDER BY g.subject;
