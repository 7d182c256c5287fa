-- Seconds by stage over every launch of the run, and how much of the work each launch found stored.
SELECT s.stage, count(DISTINCT s.launch) AS launches, sum(s.seconds ORDER BY s.seconds) AS seconds, sum(s.total - s.cached) AS made
FROM step s JOIN launch l ON l.id = s.launch
WHERE l.run = (SELECT run FROM launch WHERE id = $launch) AND s.stage <> 'start'
GROUP BY s.stage ORDER BY seconds DESC, s.stage;
