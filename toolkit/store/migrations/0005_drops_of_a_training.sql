-- What the token gate drops is of one training: of the same set, other settings drop others.

CREATE TABLE dropped_5 (
    pair_set VARCHAR NOT NULL,
    stage VARCHAR NOT NULL CHECK (stage IN ('selection', 'filter', 'gate')),
    prompt VARCHAR NOT NULL,
    pair VARCHAR,
    reason VARCHAR NOT NULL,
    detail VARCHAR NOT NULL,
    training VARCHAR NOT NULL DEFAULT '',  -- whose gate; '': another stage, or a gate that an older schema noted
    UNIQUE (pair_set, stage, prompt, pair, reason, training)
);
INSERT INTO dropped_5 SELECT *, '' FROM dropped;
DROP TABLE dropped;
ALTER TABLE dropped_5 RENAME TO dropped;
