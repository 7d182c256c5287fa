"""Algorithm 1's selection as SQL: from judged answers in the store to a committed version, no row through Python.

    chosen   = the highest of present                phase 1 (models names no future)
             = the highest of present and future     phase 2: the future must be strictly better
    rejected = the lowest of present and past        both phases: the past must be strictly worse

The pairs, their ids and contents, the drops and the fingerprint are those of selection.py and `versions.freeze`. An id
hashes canonical JSON, so SQL must write a score as Python's repr does. It does: means are whole billionths below
MOST_SCORE, hence at most 15 digits, whose shortest text is one; measured equal on 1.7 million values. DuckDB's own
round(x, 9) takes an exact half away from zero and Python's to even, so the rounding is done in whole numbers.

It works in slices of prompts, so that memory holds the scores of about SLICE answers, however many there are.

Left out, for `pair()`: `pairs.rejected` other than "worst", which is refused; `pairs.ties` other than "first",
`judge.unreadable = "drop_prompt"`, the stop rule. Two known ways to differ: the mean of three or more verdicts that are
no whole numbers may be one billionth off, where their sum lies within the last bit of a half; and a mean in (-5e-10, 0)
is 0.0 here and -0.0 there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.errors import InputError, RecipeError
from toolkit.identity import canonical
from toolkit.pairs.versions import Version, commit
from toolkit.records import PairSet, Role
from toolkit.store.database import Store

MOST_SCORE = 1e6  # larger scores need more than 15 digits, and the packed key below more than 63 bits
MOST_DRAWS = 4096
REMEDY = "select with toolkit.pairs.pair, which takes the very answers and verdicts of a run"
SLICE = 8_000_000  # answers; 21 million of them then take 2.9 GB, most of it cached blocks of the file

POOLS = """(
    (r.role = 'present' AND r.model = $present) OR (r.role = 'past' AND r.model = $past)
    OR (r.role = 'future' AND r.model = $future)
)"""
_ANSWERS = f"{POOLS} AND hash(r.prompt) % $slices = $slice"
_VERDICTS = f"judgment j JOIN response r ON r.id = j.response WHERE {_ANSWERS} AND j.judge = $judge"

# Exact: a double times 2^75 is a whole number from 1e-7 up, times 2^95 from 1e-13 up, and HUGEINT holds it times 1e9.
_MEANS = f"""
CREATE OR REPLACE TEMP TABLE means AS
WITH mean AS (
    SELECT r.rowid AS place, fsum(j.score) / count(j.score) AS m, count(*) > max(j.draw) + 1 AS twice
    FROM {_VERDICTS} GROUP BY ALL
),
bits AS (SELECT *, CASE WHEN abs(m) < 1e-6 THEN 95 ELSE 75 END AS bits FROM mean),
wide AS (SELECT *, (abs(m) * power(2, bits))::HUGEINT * 1000000000 AS t FROM bits),
parted AS (
    SELECT *, t >> bits AS whole, (t & ((1::HUGEINT << bits) - 1)) - (1::HUGEINT << (bits - 1)) AS over FROM wide
)
SELECT place, (sign(m) * (whole + (over > 0 OR (over = 0 AND whole & 1 = 1))::INT))::BIGINT AS nanos, twice FROM parted
"""
_RULES = """
SELECT DISTINCT coalesce(l.recipe->'pairs'->>'rejected', 'worst') AS rejected
FROM step s JOIN launch l ON l.id = s.launch WHERE s.stage = 'judge' AND s.subject = $judge ORDER BY rejected
"""
_EMPTY = """
CREATE OR REPLACE TEMP TABLE picked (
    prompt VARCHAR, chosen BIGINT, rejected BIGINT, chosen_score DOUBLE, rejected_score DOUBLE, chosen_role VARCHAR,
    rejected_role VARCHAR
)
"""
# One number orders (score, pool, draw), so that one aggregate finds the winner: 51 bits, 1 bit, 12 bits. The bit of the
# chosen says "present", that of the rejected "past": the larger wins the first, the smaller the second.
_PICKED = f"""
INSERT INTO picked
WITH answer AS (
    SELECT r.rowid AS place, r.prompt, r.role, r.draw, means.nanos
    FROM response r LEFT JOIN means ON means.place = r.rowid WHERE {_ANSWERS}
),
keyed AS (
    SELECT *,
        CASE WHEN role <> 'past' THEN nanos * 8192 + (role = 'present')::INT * 4096 + 4095 - draw END AS up,
        CASE WHEN role <> 'future' THEN nanos * 8192 + (role = 'past')::INT * 4096 + draw END AS down
    FROM answer
),
won AS (
    SELECT prompt, arg_max(place, up) AS chosen, max(up) AS up, arg_min(place, down) AS rejected, min(down) AS down
    FROM keyed GROUP BY prompt HAVING bool_or(role <> 'past')
)
SELECT prompt, chosen, rejected, (up - (up & 8191)) // 8192 / 1e9 AS chosen_score,
    (down - (down & 8191)) // 8192 / 1e9 AS rejected_score,
    CASE WHEN up & 4096 = 0 THEN 'future' ELSE 'present' END AS chosen_role,
    CASE WHEN down & 4096 = 0 THEN 'present' ELSE 'past' END AS rejected_role
FROM won
"""
_PAIRS = """
CREATE OR REPLACE TEMP TABLE picked_pairs AS
SELECT
    sha256(concat(
        'Pair', chr(10), '{"chosen":"', c.id, '","chosen_role":"', x.chosen_role, '","chosen_score":', x.chosen_score,
        ',"judge":', $judge_json, ',"prompt":"', x.prompt, '","rejected":"', r.id, '","rejected_role":"',
        x.rejected_role, '","rejected_score":', x.rejected_score, '}'
    ))[:24] AS id,
    x.prompt, c.id AS chosen, r.id AS rejected, x.chosen_score, x.rejected_score, x.chosen_role, x.rejected_role,
    sha256(concat_ws(
        chr(10), x.prompt, sha256(c.text), sha256(r.text), round_even(x.chosen_score * 1e9, 0)::BIGINT,
        round_even(x.rejected_score * 1e9, 0)::BIGINT, x.chosen_role, x.rejected_role
    ))[:24] AS content
FROM picked x JOIN response c ON c.rowid = x.chosen JOIN response r ON r.rowid = x.rejected
WHERE x.chosen_score > x.rejected_score
"""
_STORE_PAIRS = """
INSERT INTO pair (
    id, prompt, chosen, rejected, chosen_score, rejected_score, chosen_role, rejected_role, content, judge, launch
)
SELECT *, $judge, $launch FROM picked_pairs ON CONFLICT DO NOTHING
"""
_STORE_DROPS = """
INSERT INTO dropped (pair_set, stage, prompt, reason, detail)
SELECT $version, 'selection', prompt,
    CASE WHEN chosen IS NULL OR rejected IS NULL THEN 'no_score' ELSE 'tie' END,
    CASE WHEN chosen IS NULL OR rejected IS NULL THEN 'no answer has a readable verdict'
    ELSE printf('chosen %g is not above rejected %g', chosen_score, rejected_score) END
FROM picked WHERE (chosen_score > rejected_score) IS NOT TRUE
"""


@dataclass(frozen=True)
class Selection:
    """What is asked for: the next version of `name`, of the pairs that `judge`'s stored verdicts give.

    models: the ids of the present and the past and, for phase 2, the future; the answers are all that they gave in
    that role, the prompts those that the present or the future answered.
    """

    name: str
    iteration: int | None
    judge: str
    models: Mapping[Role, str]
    message: str = ""

    @property
    def pools(self) -> dict[str, str | None]:
        """A model for every role, None where there is none."""
        return {"present": None, "past": None, "future": None} | dict(self.models)


def select_in_sql(store: Store, asked: Selection, launch: str) -> Version:
    """The selected pairs as a version, new or the one that says the same.

    Raises InputError where the store holds answers or verdicts of more than one recipe for them.
    """
    check(store, asked)
    with store.transaction():
        _pick(store, asked)
        store.query(_PAIRS, {"judge_json": canonical(asked.judge)})
        store.query(_STORE_PAIRS, {"judge": asked.judge, "launch": launch})
        store.query("CREATE OR REPLACE TEMP TABLE staged AS SELECT id AS pair FROM picked_pairs")
        version, found = commit(store, PairSet(asked.name, 0, asked.iteration, (), message=asked.message), launch)
        if not found:
            store.query(_STORE_DROPS, {"version": version.id})
        for table in ("picked", "picked_pairs", "staged"):
            store.query(f"DROP TABLE {table}")
    return version


def _pick(store: Store, asked: Selection) -> None:
    """The temporary table `picked`, slice after slice: the winners of each prompt, by row number."""
    answers = store.query(f"SELECT count(*) AS n FROM response r WHERE {POOLS}", asked.pools)[0]["n"]
    slices = answers // SLICE + 1
    store.query(_EMPTY)
    for number in range(slices):
        part = {**asked.pools, "slices": slices, "slice": number}
        store.query(_MEANS, {**part, "judge": asked.judge})
        for row in store.query("SELECT r.id FROM means JOIN response r ON r.rowid = place WHERE twice LIMIT 1"):
            raise InputError(f"verdicts of two seeds judged answer {row['id']}", where="the store", remedy=REMEDY)
        store.query(_PICKED, part)
    store.query("DROP TABLE means")


def check(store: Store, asked: Selection) -> None:
    """Refuse what has no one scale or order: missing pools, scores out of range, two recipes' answers or verdicts.

    Raises RecipeError where every run that this judge scored for has another rule than Algorithm 1's.
    """
    rules = [row["rejected"] for row in store.query(_RULES, {"judge": asked.judge})]
    if rules and "worst" not in rules:
        raise RecipeError(
            f"pairs.rejected = {rules[0]!r} in the recipe of these verdicts: SQL selects by 'worst' alone",
            remedy=REMEDY,
        )
    if not asked.pools["present"] or not asked.pools["past"]:
        raise InputError("no model for the present or the past", where="models", remedy="name both by their ids")
    scales = (
        "SELECT count(DISTINCT (rubric, method, sampling)) AS n, max(abs(score)) AS most, "
        f"(SELECT max(r.draw) FROM response r WHERE {POOLS}) AS draw FROM judgment WHERE judge = $judge"
    )
    found = store.query(scales, {**asked.pools, "judge": asked.judge})[0]
    if found["n"] > 1:
        raise InputError(f"judge {asked.judge} scored in {found['n']} ways: no common scale", remedy=REMEDY)
    if (found["most"] or 0) > MOST_SCORE or (found["draw"] or 0) >= MOST_DRAWS:
        raise InputError(
            f"a score of {found['most']} or draw {found['draw']} is beyond {MOST_SCORE:g} or {MOST_DRAWS}",
            remedy=REMEDY,
        )
    twice = (
        f"SELECT r.prompt, r.role, count(*) AS n, max(r.draw) AS last FROM response r WHERE {POOLS} "
        "GROUP BY ALL HAVING count(*) > max(r.draw) + 1 LIMIT 1"
    )
    for row in store.query(twice, asked.pools):
        raise InputError(
            f"{row['n']} {row['role']} answers to prompt {row['prompt']}, the last of them draw {row['last']}: "
            "two samplings or seeds",
            where="the store",
            remedy=REMEDY,
        )
