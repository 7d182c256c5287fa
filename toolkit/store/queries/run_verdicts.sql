-- Per judging of a launch, by the selecting judge and by the audit judge: how many verdicts were readable, and the share that was not.
SELECT
    s.iteration, m.name AS judge, s.label AS what, s.total AS verdicts,
    coalesce((s.stats->>'scored')::INT, 0) AS scored,
    coalesce((s.stats->>'unreadable')::INT, 0) AS unreadable,
    coalesce((s.stats->>'out_of_range')::INT, 0) AS "out of range",
    coalesce((s.stats->>'truncated')::INT, 0) AS truncated,
    1 - coalesce((s.stats->>'scored')::INT, 0) / greatest(s.total, 1) AS "unreadable share"
FROM step s JOIN model m ON m.id = s.subject
WHERE s.launch = $launch AND s.stage IN ('judge', 'audit')
ORDER BY s.position;
