-- One table for each record, named as the record; append-only. Views for people are in views.sql.
-- launch: which start of the program wrote the row (provenance, never identity).

CREATE TABLE launch (
    id VARCHAR PRIMARY KEY,
    run VARCHAR NOT NULL,
    started TIMESTAMPTZ NOT NULL,
    recipe JSON NOT NULL,
    commit_hash VARCHAR,
    arguments JSON NOT NULL,
    versions JSON NOT NULL,
    hardware JSON NOT NULL
);

CREATE TABLE prompt (
    id VARCHAR PRIMARY KEY,
    text VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    launch VARCHAR NOT NULL
);

CREATE TABLE model (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    weights VARCHAR NOT NULL,
    template VARCHAR NOT NULL,
    parent VARCHAR,
    training VARCHAR,
    launch VARCHAR NOT NULL
);

CREATE TABLE response (
    id VARCHAR PRIMARY KEY,
    prompt VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    role VARCHAR NOT NULL CHECK (role IN ('past', 'present', 'future')),
    draw INTEGER NOT NULL,
    sampling JSON NOT NULL,
    seed BIGINT NOT NULL,
    text VARCHAR NOT NULL,
    tokens INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    finish VARCHAR NOT NULL CHECK (finish IN ('stop', 'length')),
    launch VARCHAR NOT NULL
);

CREATE TABLE rubric (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    body JSON NOT NULL,
    launch VARCHAR NOT NULL
);

CREATE TABLE judgment (
    id VARCHAR PRIMARY KEY,
    response VARCHAR NOT NULL,
    judge VARCHAR NOT NULL,
    rubric VARCHAR NOT NULL,
    method VARCHAR NOT NULL CHECK (method IN ('generated', 'expected')),
    sampling JSON NOT NULL,
    draw INTEGER NOT NULL,
    seed BIGINT NOT NULL,
    reply VARCHAR NOT NULL,
    status VARCHAR NOT NULL CHECK (status IN ('scored', 'unreadable', 'out_of_range', 'truncated')),
    reason VARCHAR NOT NULL,
    score DOUBLE,
    launch VARCHAR NOT NULL,
    CHECK ((status = 'scored') = (score IS NOT NULL))
);

CREATE TABLE pair (
    id VARCHAR PRIMARY KEY,
    prompt VARCHAR NOT NULL,
    chosen VARCHAR NOT NULL,
    rejected VARCHAR NOT NULL,
    chosen_score DOUBLE NOT NULL,
    rejected_score DOUBLE NOT NULL,
    chosen_role VARCHAR NOT NULL,
    rejected_role VARCHAR NOT NULL,
    judge VARCHAR NOT NULL,
    launch VARCHAR NOT NULL,
    CHECK (chosen_score > rejected_score)
);

CREATE TABLE pair_set (
    id VARCHAR PRIMARY KEY,  -- name@version
    name VARCHAR NOT NULL,
    version INTEGER NOT NULL,
    iteration INTEGER NOT NULL,
    fingerprint VARCHAR NOT NULL,
    parent VARCHAR,
    created TIMESTAMPTZ NOT NULL,
    launch VARCHAR NOT NULL,
    UNIQUE (name, version),
    UNIQUE (name, iteration, fingerprint)
);

CREATE TABLE pair_set_member (
    pair_set VARCHAR NOT NULL,
    pair VARCHAR NOT NULL,
    PRIMARY KEY (pair_set, pair)
);

-- Why a prompt gave no pair (selection), or a pair was not trained on (gate).
CREATE TABLE dropped (
    pair_set VARCHAR NOT NULL,
    stage VARCHAR NOT NULL CHECK (stage IN ('selection', 'gate')),
    prompt VARCHAR NOT NULL,
    pair VARCHAR,
    reason VARCHAR NOT NULL,
    detail VARCHAR NOT NULL,
    UNIQUE (pair_set, stage, prompt, reason)
);

CREATE TABLE training (
    id VARCHAR PRIMARY KEY,
    parent VARCHAR NOT NULL,
    reference VARCHAR NOT NULL,
    pairs VARCHAR NOT NULL,      -- fingerprint of the pair set, before the gate
    settings JSON NOT NULL,
    pair_set VARCHAR NOT NULL,
    model VARCHAR NOT NULL,      -- the result
    row_count INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    unseen INTEGER NOT NULL,     -- rows per epoch that fill no batch
    seconds DOUBLE NOT NULL,
    launch VARCHAR NOT NULL
);

CREATE TABLE training_step (
    training VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    metric VARCHAR NOT NULL,
    value DOUBLE,
    PRIMARY KEY (training, step, metric)
);

CREATE TABLE score (
    id VARCHAR PRIMARY KEY,
    model VARCHAR NOT NULL,
    task VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    settings JSON NOT NULL,
    value DOUBLE NOT NULL,
    n INTEGER NOT NULL,
    launch VARCHAR NOT NULL
);

-- What a launch did: one row per verb call, cached or not.
CREATE TABLE step (
    launch VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    iteration INTEGER NOT NULL,
    stage VARCHAR NOT NULL,
    label VARCHAR NOT NULL,
    subject VARCHAR NOT NULL,    -- the model or pair set it was about
    total INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    seconds DOUBLE NOT NULL,
    stats JSON NOT NULL,         -- counts of the verb: tokens, verdicts by status, drops by reason ...
    PRIMARY KEY (launch, position)
);
