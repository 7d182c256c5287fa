-- What is measured of pairs: numbers of two answers, controls, summaries of sets, changes between sets.

-- Keyed by the answers, not by the pair: whoever pairs the same two shares the numbers.
CREATE TABLE metric (
    id VARCHAR PRIMARY KEY,
    chosen VARCHAR NOT NULL,
    rejected VARCHAR NOT NULL,
    model VARCHAR,               -- NULL: of the texts alone
    kind VARCHAR NOT NULL CHECK (kind IN ('text', 'forward', 'gradient')),
    settings JSON NOT NULL,
    found JSON NOT NULL,         -- name: number; null: not finite, or not measurable
    reason VARCHAR NOT NULL,
    launch VARCHAR NOT NULL,
    CHECK ((kind = 'text') = (model IS NULL))
);

-- Two draws of one model for a prompt of a set, the better one first: what no selection looks like.
CREATE TABLE control (
    pair_set VARCHAR NOT NULL,
    prompt VARCHAR NOT NULL,
    chosen VARCHAR NOT NULL,
    rejected VARCHAR NOT NULL,
    chosen_score DOUBLE,
    rejected_score DOUBLE,
    launch VARCHAR NOT NULL,
    PRIMARY KEY (pair_set, prompt)
);

CREATE TABLE summary (
    id VARCHAR PRIMARY KEY,
    pair_set VARCHAR NOT NULL,
    control VARCHAR NOT NULL CHECK (control IN ('', 'draws', 'shuffled')),
    metric VARCHAR NOT NULL,
    under VARCHAR NOT NULL CHECK (under IN ('parent', 'result', 'base', '')),
    model VARCHAR,
    settings JSON NOT NULL,
    content VARCHAR NOT NULL,    -- digest of the values
    n INTEGER NOT NULL,
    missing INTEGER NOT NULL,
    mean DOUBLE,
    sd DOUBLE,
    low DOUBLE,
    high DOUBLE,
    q05 DOUBLE,
    q25 DOUBLE,
    q50 DOUBLE,
    q75 DOUBLE,
    q95 DOUBLE,
    launch VARCHAR NOT NULL
);

CREATE TABLE change (
    id VARCHAR PRIMARY KEY,
    run VARCHAR NOT NULL,
    before VARCHAR NOT NULL,
    after VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    under VARCHAR NOT NULL CHECK (under IN ('parent', 'result', 'base', '')),
    settings JSON NOT NULL,
    ratio DOUBLE,
    low DOUBLE,
    high DOUBLE,
    p DOUBLE,
    floor_ratio DOUBLE,
    floor_low DOUBLE,
    floor_high DOUBLE,
    detectable DOUBLE,
    needed BIGINT,
    launch VARCHAR NOT NULL
);
