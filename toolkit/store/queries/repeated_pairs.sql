-- Pairs with equal content in more than one set or iteration.
SELECT p.content, any_value(q.text) AS prompt_text, count(*) AS sets, list(DISTINCT m.pair_set ORDER BY m.pair_set) AS "in"
FROM pair_set_members m JOIN pair p ON p.id = m.pair JOIN prompt q ON q.id = p.prompt
GROUP BY p.content HAVING count(*) > 1 ORDER BY sets DESC, p.content;
