-- The order of this store's own launches, by which the newest is found: clocks go back, and other stores' clocks differ.
-- 0: merged from another store, and never the newest.

ALTER TABLE launch ADD COLUMN position BIGINT DEFAULT 0;
UPDATE launch SET position = x.n
FROM (SELECT id, row_number() OVER (ORDER BY started, id) AS n FROM launch) x WHERE x.id = launch.id;
