-- Pairs of equal content in sets of several names or iterations, or under several ids; versions of one set share theirs.
SELECT
    x.content, any_value(p.text) AS prompt_text, count(DISTINCT x.id) AS pairs,
    list(DISTINCT s.name ORDER BY s.name) AS names, list(DISTINCT s.id ORDER BY s.id) AS sets,
    list(DISTINCT s.iteration ORDER BY s.iteration) AS iterations
FROM pair_set_members m
JOIN pair_set s ON s.id = m.pair_set
JOIN pair x ON x.id = m.pair
JOIN prompt p ON p.id = x.prompt
GROUP BY x.content HAVING count(DISTINCT (s.name, s.iteration)) > 1 OR count(DISTINCT x.id) > 1
ORDER BY x.content;
