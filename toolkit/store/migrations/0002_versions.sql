-- Versions of pair sets as changes, imported data (no sampling, no scores, several turns), tags, deletions.

-- What was imported knows neither sampling nor seed, and often neither its role nor token counts nor scores.
DROP VIEW IF EXISTS iterations;
DROP VIEW IF EXISTS pairs;
DROP VIEW IF EXISTS pair_sets;
DROP VIEW IF EXISTS responses;
DROP VIEW IF EXISTS judgments;
CREATE TABLE response_2 (
    id VARCHAR PRIMARY KEY,
    prompt VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    role VARCHAR NOT NULL CHECK (role IN ('past', 'present', 'future', 'unknown')),
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
INSERT INTO response_2 FROM response;
DROP TABLE response;
ALTER TABLE response_2 RENAME TO response;
CREATE TABLE judgment_2 (
    id VARCHAR PRIMARY KEY,
    response VARCHAR NOT NULL,
    judge VARCHAR NOT NULL,
    rubric VARCHAR,
    method VARCHAR NOT NULL CHECK (method IN ('generated', 'expected', 'given')),
    sampling JSON,
    draw INTEGER NOT NULL,
    seed BIGINT,
    reply VARCHAR NOT NULL,
    status VARCHAR NOT NULL CHECK (status IN ('scored', 'unreadable', 'out_of_range', 'truncated')),
    reason VARCHAR NOT NULL,
    score DOUBLE,
    launch VARCHAR NOT NULL,
    CHECK ((status = 'scored') = (score IS NOT NULL)),
    CHECK (method = 'given' OR (rubric IS NOT NULL AND sampling IS NOT NULL AND seed IS NOT NULL))
);
INSERT INTO judgment_2 FROM judgment;
DROP TABLE judgment;
ALTER TABLE judgment_2 RENAME TO judgment;
ALTER TABLE pair ALTER chosen_score DROP NOT NULL;
ALTER TABLE pair ALTER rejected_score DROP NOT NULL;
ALTER TABLE pair ALTER judge DROP NOT NULL;
ALTER TABLE prompt ADD COLUMN history JSON DEFAULT '[]';
ALTER TABLE launch ADD COLUMN author VARCHAR DEFAULT '';

-- content: what the pair says, without who made it (records.pair_content).
ALTER TABLE pair ADD COLUMN content VARCHAR;
UPDATE pair SET content = sha256(concat_ws(
    chr(10), prompt, (SELECT sha256(text) FROM response WHERE id = chosen),
    (SELECT sha256(text) FROM response WHERE id = rejected),
    round_even(chosen_score * 1e9, 0)::BIGINT, round_even(rejected_score * 1e9, 0)::BIGINT, chosen_role, rejected_role
))[:24];

-- A set is stored whole (base NULL) or as what it adds to and removes from its base.
CREATE TABLE pair_set_change (
    pair_set VARCHAR NOT NULL,
    pair VARCHAR NOT NULL,
    added BOOLEAN NOT NULL
);
INSERT INTO pair_set_change SELECT pair_set, pair, true FROM pair_set_member ORDER BY pair_set, pair;

CREATE TABLE pair_set_2 (
    id VARCHAR PRIMARY KEY,  -- name@version
    name VARCHAR NOT NULL,
    version INTEGER NOT NULL,
    iteration INTEGER,           -- NULL: not made by a recipe
    fingerprint VARCHAR NOT NULL,
    size BIGINT NOT NULL,
    parent VARCHAR,              -- the version before
    base VARCHAR,                -- the version it is stored as a change of
    message VARCHAR NOT NULL,
    created TIMESTAMPTZ NOT NULL,
    launch VARCHAR NOT NULL,
    UNIQUE (name, version)
);
INSERT INTO pair_set_2
SELECT
    s.id, s.name, s.version, s.iteration,
    sha256('set' || chr(10) || '[' || coalesce(string_agg('"' || p.content || '"', ',' ORDER BY p.content), '') || ']')[:24],
    count(p.id), s.parent, NULL, '', s.created, s.launch
FROM pair_set s LEFT JOIN pair_set_member m ON m.pair_set = s.id LEFT JOIN pair p ON p.id = m.pair
GROUP BY ALL;
DROP TABLE pair_set_member;
DROP TABLE pair_set;
ALTER TABLE pair_set_2 RENAME TO pair_set;

-- Why a prompt gave no pair (selection), a filter took one out, or a pair was not trained on (gate).
CREATE TABLE dropped_2 (
    pair_set VARCHAR NOT NULL,
    stage VARCHAR NOT NULL CHECK (stage IN ('selection', 'filter', 'gate')),
    prompt VARCHAR NOT NULL,
    pair VARCHAR,
    reason VARCHAR NOT NULL,
    detail VARCHAR NOT NULL,
    UNIQUE (pair_set, stage, prompt, pair, reason)
);
INSERT INTO dropped_2 FROM dropped;
DROP TABLE dropped;
ALTER TABLE dropped_2 RENAME TO dropped;

-- A name for a version. A tag that moves is a new row; the newest counts.
CREATE TABLE tag (
    name VARCHAR NOT NULL,
    tag VARCHAR NOT NULL,
    pair_set VARCHAR NOT NULL,
    created TIMESTAMPTZ NOT NULL,
    launch VARCHAR NOT NULL,
    PRIMARY KEY (name, tag, created)
);

-- What a deletion leaves: the number is never given again, and what it was stays known.
CREATE TABLE pair_set_deleted (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    version INTEGER NOT NULL,
    fingerprint VARCHAR NOT NULL,
    size BIGINT NOT NULL,
    reason VARCHAR NOT NULL,
    referred_by JSON NOT NULL,   -- what still refers to it, where the deletion was forced
    deleted TIMESTAMPTZ NOT NULL,
    launch VARCHAR NOT NULL
);

-- A row of an import that became no pair: where it stood, why, and what it said.
CREATE TABLE rejected_row (
    pair_set VARCHAR NOT NULL,
    place VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    detail VARCHAR NOT NULL,
    row VARCHAR NOT NULL,
    launch VARCHAR NOT NULL,
    PRIMARY KEY (pair_set, place, reason)
);
