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
