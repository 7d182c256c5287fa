-- What the selection of a pair set gives by chance: toolkit/pairs/chance.py. Gaps are in points, shares from 0 to 1.
CREATE TABLE selection (
    pair_set VARCHAR NOT NULL,
    content VARCHAR NOT NULL,    -- digest of the scored answers that the set was selected from
    prompts INTEGER NOT NULL,
    scored INTEGER NOT NULL,     -- prompts with a score on both sides
    pairs INTEGER NOT NULL,
    gap DOUBLE,                  -- over pairs
    gap_all DOUBLE,              -- over scored prompts; a tie counts as 0
    gap_chance DOUBLE,
    gap_all_chance DOUBLE,
    p_roles DOUBLE,
    future DOUBLE,               -- share of chosen answers that the future wrote
    future_chance DOUBLE,
    p_future DOUBLE,
    past DOUBLE,                 -- share of rejected answers that the past wrote
    past_chance DOUBLE,
    p_past DOUBLE,
    permutations INTEGER NOT NULL,
    seed BIGINT NOT NULL,
    reason VARCHAR NOT NULL,     -- why a number is missing
    launch VARCHAR NOT NULL,
    PRIMARY KEY (pair_set, content)
);

-- A change answers one question: did the signal fall by more than the margin, relative to its control?
-- Older rows keep their ratios; their p, detectable and needed were of another question and are dropped.

CREATE TABLE change_7 (
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
    p DOUBLE,                    -- one-sided, of relative >= the margin; not corrected
    p_holm DOUBLE,               -- corrected for the family; NULL: descriptive
    control VARCHAR NOT NULL,    -- '': not measured
    control_ratio DOUBLE,
    control_low DOUBLE,
    control_high DOUBLE,
    relative DOUBLE,             -- ratio / control_ratio, or ratio alone
    relative_low DOUBLE,
    relative_high DOUBLE,
    prompts_before INTEGER,
    prompts_after INTEGER,
    detectable DOUBLE,
    needed BIGINT,
    launch VARCHAR NOT NULL
);
INSERT INTO change_7
SELECT
    id, run, before, after, metric, under, settings, ratio, low, high, NULL, NULL,
    CASE WHEN floor_ratio IS NULL THEN '' ELSE 'draws' END, floor_ratio, floor_low, floor_high, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, launch
FROM change;
DROP TABLE change;
ALTER TABLE change_7 RENAME TO change;

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

-- The launches of a study with what was declared before they ran: toolkit/study/declaration.py.
CREATE TABLE study_run (
    launch VARCHAR PRIMARY KEY,
    study VARCHAR NOT NULL,
    condition VARCHAR NOT NULL,
    seed BIGINT NOT NULL,
    arm VARCHAR NOT NULL,
    digest VARCHAR NOT NULL,     -- of the declaration without its seeds
    declaration JSON NOT NULL
);
