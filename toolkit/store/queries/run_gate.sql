-- Per pair set of a launch: what the token gate kept for the trainer, and how many kept pairs hold a cut answer.
-- Of several gates of a set the run's own newest; where it has none, its training being another run's, the newest.
SELECT
    g.subject AS "set", g.total AS rows, (g.stats->>'kept')::INT AS kept,
    coalesce((g.stats->>'cut_answer')::INT, 0) AS "kept though cut"
FROM step g JOIN launch l ON l.id = g.launch
WHERE g.stage = 'gate' AND g.subject IN (SELECT subject FROM step WHERE launch = $launch AND stage IN ('pair', 'demonstrate'))
QUALIFY row_number() OVER (
    PARTITION BY g.subject ORDER BY l.run = (SELECT run FROM launch WHERE id = $launch) DESC, l.position DESC, l.started DESC,
        g.position DESC
) = 1
ORDER BY g.subject;
