-- Views for people: plural names, stable columns, remade at every open for writing.

CREATE OR REPLACE VIEW prompts AS FROM prompt;
CREATE OR REPLACE VIEW models AS
SELECT m.*, t.pair_set, t.reference FROM model m LEFT JOIN training t ON t.id = m.training;
CREATE OR REPLACE VIEW responses AS
SELECT r.*, m.name AS model_name, p.text AS prompt_text, length(r.text) AS characters
FROM response r JOIN model m ON m.id = r.model JOIN prompt p ON p.id = r.prompt;
CREATE OR REPLACE VIEW judgments AS
SELECT j.*, m.name AS judge_name, b.name AS rubric_name
FROM judgment j JOIN model m ON m.id = j.judge LEFT JOIN rubric b ON b.id = j.rubric;
CREATE OR REPLACE VIEW scores AS
SELECT s.*, m.name AS model_name FROM score s JOIN model m ON m.id = s.model;

-- One row per pair and set it belongs to, both texts beside their scores and roles.
CREATE OR REPLACE VIEW pairs AS
SELECT
    s.id AS pair_set, s.name AS phase, s.iteration, x.id, x.prompt, p.text AS prompt_text,
    x.chosen, c.text AS chosen_text, x.chosen_score, x.chosen_role, c.model AS chosen_model, c.finish AS chosen_finish,
    x.rejected, r.text AS rejected_text, x.rejected_score, x.rejected_role, r.model AS rejected_model,
    r.finish AS rejected_finish, x.chosen_score - x.rejected_score AS gap, x.judge,
    c.tokens AS chosen_tokens, r.tokens AS rejected_tokens,
    length(c.text) AS chosen_characters, length(r.text) AS rejected_characters
FROM pair_set s
JOIN pair_set_member m ON m.pair_set = s.id
JOIN pair x ON x.id = m.pair
JOIN prompt p ON p.id = x.prompt
JOIN response c ON c.id = x.chosen
JOIN response r ON r.id = x.rejected;

CREATE OR REPLACE VIEW pair_sets AS
SELECT
    s.*,
    (SELECT count(*) FROM pair_set_member m WHERE m.pair_set = s.id) AS pairs,
    (SELECT count(*) FROM dropped d WHERE d.pair_set = s.id AND d.stage = 'selection') AS dropped_in_selection,
    (SELECT count(*) FROM dropped d WHERE d.pair_set = s.id AND d.stage = 'gate') AS dropped_at_gate
FROM pair_set s;

CREATE OR REPLACE VIEW training_steps AS
SELECT t.model, t.pair_set, s.* FROM training_step s JOIN training t ON t.id = s.training;

-- One row per pair set: how far apart its sides are, and whose answers they are.
CREATE OR REPLACE VIEW iterations AS
SELECT
    pair_set, phase, iteration, count(*) AS pairs,
    avg(chosen_score) AS chosen_score, avg(rejected_score) AS rejected_score, avg(gap) AS gap,
    avg(chosen_characters) AS chosen_characters, avg(rejected_characters) AS rejected_characters,
    avg((chosen_role = 'future')::INT) AS chosen_by_future, avg((rejected_role = 'past')::INT) AS rejected_by_past
FROM pairs GROUP BY ALL;

CREATE OR REPLACE VIEW launches AS FROM launch;
CREATE OR REPLACE VIEW steps AS SELECT l.run, l.started, s.* FROM step s JOIN launch l ON l.id = s.launch;
