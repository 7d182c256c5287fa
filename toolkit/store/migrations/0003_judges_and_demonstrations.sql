-- Labels as answers, reward functions and pairwise judges, trainings by SFT on demonstrations, graded questions.

DROP VIEW IF EXISTS lineage;
DROP VIEW IF EXISTS iterations;
DROP VIEW IF EXISTS pairs;
DROP VIEW IF EXISTS pair_contents;
DROP VIEW IF EXISTS responses;
DROP VIEW IF EXISTS judgments;
DROP VIEW IF EXISTS models;
DROP VIEW IF EXISTS training_steps;
CREATE TABLE response_3 (
    id VARCHAR PRIMARY KEY,
    prompt VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    role VARCHAR NOT NULL CHECK (role IN ('past', 'present', 'future', 'label', 'exam', 'unknown')),
    draw INTEGER NOT NULL,
    sampling JSON,
    seed BIGINT,
    text VARCHAR NOT NULL,
    tokens INTEGER,
    prompt_tokens INTEGER,
    finish VARCHAR CHECK (finish IN ('stop', 'length')),
    launch VARCHAR NOT NULL,
    CHECK ((sampling IS NULL) = (seed IS NULL))
);
INSERT INTO response_3 FROM response;
DROP TABLE response;
ALTER TABLE response_3 RENAME TO response;
CREATE TABLE judgment_3 (
    id VARCHAR PRIMARY KEY,
    response VARCHAR NOT NULL,
    judge VARCHAR NOT NULL,
    rubric VARCHAR,
    method VARCHAR NOT NULL CHECK (method IN ('generated', 'expected', 'reward', 'given')),
    sampling JSON,
    draw INTEGER NOT NULL,
    seed BIGINT,
    reply VARCHAR NOT NULL,
    status VARCHAR NOT NULL CHECK (status IN ('scored', 'unreadable', 'out_of_range', 'truncated')),
    reason VARCHAR NOT NULL,
    score DOUBLE,
    launch VARCHAR NOT NULL,
    CHECK ((status = 'scored') = (score IS NOT NULL)),
    CHECK (method IN ('given', 'reward') OR (rubric IS NOT NULL AND sampling IS NOT NULL AND seed IS NOT NULL))
);
INSERT INTO judgment_3 FROM judgment;
DROP TABLE judgment;
ALTER TABLE judgment_3 RENAME TO judgment;

-- One order of one pair before one judge; the other order is another row.
CREATE TABLE comparison (
    id VARCHAR PRIMARY KEY,
    first VARCHAR NOT NULL,
    second VARCHAR NOT NULL,
    judge VARCHAR NOT NULL,
    rubric VARCHAR NOT NULL,
    sampling JSON NOT NULL,
    draw INTEGER NOT NULL,
    seed BIGINT NOT NULL,
    reply VARCHAR NOT NULL,
    status VARCHAR NOT NULL CHECK (status IN ('decided', 'tie', 'unreadable', 'truncated')),
    reason VARCHAR NOT NULL,
    winner VARCHAR CHECK (winner IN (first, second)),
    launch VARCHAR NOT NULL,
    CHECK ((status = 'decided') = (winner IS NOT NULL))
);

CREATE TABLE demonstration_set (
    id VARCHAR PRIMARY KEY,      -- name@start of the fingerprint
    name VARCHAR NOT NULL,
    iteration INTEGER,
    fingerprint VARCHAR NOT NULL,
    size BIGINT NOT NULL,
    launch VARCHAR NOT NULL
);
CREATE TABLE demonstration (
    demonstration_set VARCHAR NOT NULL,
    response VARCHAR NOT NULL,
    PRIMARY KEY (demonstration_set, response)
);

CREATE TABLE training_3 (
    id VARCHAR PRIMARY KEY,
    parent VARCHAR NOT NULL,
    reference VARCHAR,           -- NULL: SFT
    data VARCHAR NOT NULL,       -- fingerprint of the pairs or the demonstrations, before the gate
    settings JSON NOT NULL,
    pair_set VARCHAR,
    demonstration_set VARCHAR,
    model VARCHAR NOT NULL,      -- the result
    row_count INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    unseen INTEGER NOT NULL,     -- rows per epoch that fill no batch
    seconds DOUBLE NOT NULL,
    launch VARCHAR NOT NULL,
    CHECK ((pair_set IS NULL) = (reference IS NULL)),
    CHECK ((pair_set IS NULL) <> (demonstration_set IS NULL))
);
INSERT INTO training_3
SELECT id, parent, reference, pairs, settings, pair_set, NULL, model, row_count, batch, unseen, seconds, launch
FROM training;
DROP TABLE training;
ALTER TABLE training_3 RENAME TO training;

-- One question of an evaluation, graded by one metric.
CREATE TABLE item (
    id VARCHAR PRIMARY KEY,
    model VARCHAR NOT NULL,
    task VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    question VARCHAR NOT NULL,
    settings JSON NOT NULL,
    answer VARCHAR,              -- the graded response; NULL: log-likelihoods
    value DOUBLE,                -- NULL: could not be graded
    detail VARCHAR NOT NULL,
    launch VARCHAR NOT NULL
);
