-- Controls have names: unselected pairs of the same roles beside the two draws of the present.

CREATE TABLE control_7 (
    pair_set VARCHAR NOT NULL,
    control VARCHAR NOT NULL DEFAULT 'draws'
        CHECK (control IN ('draws', 'present_past', 'future_past', 'future_present')),
    prompt VARCHAR NOT NULL,
    chosen VARCHAR NOT NULL,
    rejected VARCHAR NOT NULL,
    chosen_score DOUBLE,
    rejected_score DOUBLE,
    launch VARCHAR NOT NULL,
    PRIMARY KEY (pair_set, control, prompt)
);
INSERT INTO control_7 BY NAME SELECT *, 'draws' AS control FROM control;
DROP TABLE control;
ALTER TABLE control_7 RENAME TO control;

CREATE TABLE summary_7 (
    id VARCHAR PRIMARY KEY,
    pair_set VARCHAR NOT NULL,
    control VARCHAR NOT NULL
        CHECK (control IN ('', 'draws', 'present_past', 'future_past', 'future_present', 'shuffled')),
    metric VARCHAR NOT NULL,
    under VARCHAR NOT NULL CHECK (under IN ('parent', 'result', 'base', '')),
    model VARCHAR,
    settings JSON NOT NULL,
    content VARCHAR NOT NULL,    -- digest of the values; of a coherence: of the answers
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
INSERT INTO summary_7 BY NAME FROM summary;
DROP TABLE summary;
ALTER TABLE summary_7 RENAME TO summary;
