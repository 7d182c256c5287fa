"""Contenders of the selection: flat rows (prompt, pool, draw, response, score) to the pairs of both phases.

They write Parquet without compression, which makes hex digits no smaller; only `datasets` has no such choice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clock import FUTURE, LAUNCH, PAST, PRESENT, Clock, K, peak


def rows(clock: Clock, path: str, prompts: int, ids: str) -> dict[str, Any]:
    """Whole points 0 to 5 from a hash, in the order in which answers are made: pool, prompt, draw.

    ids: "hex" as records have them (24 digits of a hash), or "integer", the friendliest case for whole-column code.
    """
    import duckdb

    forms = {"hex": "sha256('{0}' || ({1}))[:24]", "integer": "({1})"}
    response = f"prompt * {3 * K} + pool * {K} + draw"
    with clock.measure():
        duckdb.sql(f"""
            COPY (
                SELECT {forms[ids].format("p", "prompt")} AS prompt, pool, draw,
                    {forms[ids].format("r", response)} AS response, (hash(prompt, pool, draw) % 6)::DOUBLE AS score
                FROM (
                    SELECT i // {K} % {prompts} AS prompt, (i // ({K} * {prompts}))::TINYINT AS pool,
                        (i % {K})::TINYINT AS draw
                    FROM range({prompts * 3 * K}) t(i)
                )
            ) TO '{path}' (FORMAT parquet)
        """)
    return {"rows": prompts * 3 * K, "bytes": Path(path).stat().st_size}


def select_sql(clock: Clock, path: str, out: str, prompts: int) -> dict[str, Any]:
    """As toolkit/pairs/at_scale.py: one number orders (score, pool, draw), one pass finds all winners.

    The best of the present and of the future apart, and the better of them afterwards: a present answer is then
    compared twice, not three times, and an answer's id is carried as seldom.
    """
    import duckdb

    with clock.measure():
        duckdb.sql(f"""
            CREATE TABLE picked AS
            WITH numbered AS (SELECT *, (score * 1e9)::BIGINT * 8192 AS n FROM '{path}'),
            keyed AS (
                SELECT prompt, response,
                    CASE WHEN pool = {PRESENT} THEN n + 4095 - draw END AS now,
                    CASE WHEN pool = {FUTURE} THEN n + 4095 - draw END AS soon,
                    CASE WHEN pool <> {FUTURE} THEN n + (pool = {PAST})::INT * 4096 + draw END AS down
                FROM numbered
            ),
            won AS (
                SELECT prompt, arg_max(response, now) AS now, max(now) // 8192 AS best_now,
                    arg_max(response, soon) AS soon, max(soon) // 8192 AS best_soon,
                    arg_min(response, down) AS rejected, min(down) // 8192 AS worst
                FROM keyed GROUP BY prompt
            )
            SELECT prompt, rejected, worst, now AS chosen_1, best_now AS best_1,
                CASE WHEN best_soon > best_now THEN soon ELSE now END AS chosen_2,
                greatest(best_soon, best_now) AS best_2
            FROM won
        """)
        for phase in (1, 2):
            duckdb.sql(f"""
                COPY (
                    SELECT prompt, chosen_{phase} AS chosen, rejected, best_{phase} / 1e9 AS chosen_score,
                        worst / 1e9 AS rejected_score
                    FROM picked WHERE best_{phase} > worst
                ) TO '{out}-{phase}.parquet' (COMPRESSION uncompressed)
            """)
    return _answer(out)


def select_pandas(clock: Clock, path: str, out: str, prompts: int) -> dict[str, Any]:
    """Whole columns: idxmax and idxmin of each group take the first of equals, in (pool, prompt, draw) order."""
    import pandas as pd

    with clock.measure():
        frame = pd.read_parquet(path)
        now = frame[frame["pool"] == PRESENT]
        high = {1: now, 2: frame[frame["pool"] != PAST]}
        low = frame[frame["pool"] != FUTURE]
        worst = low.loc[low.groupby("prompt")["score"].idxmin()].set_index("prompt")
        for phase, candidates in high.items():
            best = candidates.loc[candidates.groupby("prompt")["score"].idxmax()].set_index("prompt")
            sides = best[["response", "score"]], worst[["response", "score"]]
            pairs = pd.merge(*sides, left_index=True, right_index=True, suffixes=("_c", "_r"))
            pairs = pairs[pairs["score_c"] > pairs["score_r"]].reset_index()
            pairs.columns = ["prompt", "chosen", "chosen_score", "rejected", "rejected_score"]
            pairs.to_parquet(f"{out}-{phase}.parquet", compression=None)
    return _answer(out)


def select_pandas_apply(clock: Clock, path: str, out: str, prompts: int) -> dict[str, Any]:
    """A function for each prompt: groupby.apply, as preference-data scripts commonly write it."""
    import pandas as pd

    def one(group: Any) -> Any:
        now, low = group[group["pool"] == PRESENT], group[group["pool"] != FUTURE]
        high = group[group["pool"] != PAST]
        c1, c2 = now.loc[now["score"].idxmax()], high.loc[high["score"].idxmax()]
        r = low.loc[low["score"].idxmin()]
        values = [c1["response"], c1["score"], c2["response"], c2["score"], r["response"], r["score"]]
        return pd.Series(values, index=["c1", "s1", "c2", "s2", "rejected", "rejected_score"])

    with clock.measure():
        picked = pd.read_parquet(path).groupby("prompt").apply(one).reset_index()
        for phase in (1, 2):
            names = {f"c{phase}": "chosen", f"s{phase}": "chosen_score"}
            pairs = picked.rename(columns=names)[["prompt", "chosen", "rejected", "chosen_score", "rejected_score"]]
            pairs[pairs["chosen_score"] > pairs["rejected_score"]].to_parquet(
                f"{out}-{phase}.parquet", compression=None
            )
    return _answer(out)


def select_datasets(clock: Clock, path: str, out: str, prompts: int) -> dict[str, Any]:
    """Plain Python over a Hugging Face data set: rows into pools by prompt, then max and min."""
    import datasets

    with clock.measure():
        pools: dict[int, tuple[list[Any], list[Any], list[Any]]] = {}
        for row in datasets.Dataset.from_parquet(path, cache_dir=f"{out}-cache"):
            pools.setdefault(row["prompt"], ([], [], []))[row["pool"]].append(row)
        made: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
        for prompt, (now, then, soon) in pools.items():
            rejected = min(now + then, key=lambda row: row["score"])
            for phase, candidates in ((1, now), (2, now + soon)):
                chosen = max(candidates, key=lambda row: row["score"])
                if chosen["score"] > rejected["score"]:
                    made[phase].append(
                        {
                            "prompt": prompt,
                            "chosen": chosen["response"],
                            "rejected": rejected["response"],
                            "chosen_score": chosen["score"],
                            "rejected_score": rejected["score"],
                        }
                    )
        for phase, pairs in made.items():
            datasets.Dataset.from_list(pairs).to_parquet(f"{out}-{phase}.parquet")
    return _answer(out)


def _answer(out: str) -> dict[str, Any]:
    """Peak memory so far, then what was selected, as one number a phase that depends on every pair."""
    import duckdb

    most = peak()
    sums = "sum(hash(prompt, chosen, rejected, chosen_score::DOUBLE, rejected_score::DOUBLE))"
    found = [
        duckdb.sql(f"SELECT count(*), {sums}::VARCHAR FROM '{out}-{phase}.parquet'").fetchall()[0] for phase in (1, 2)
    ]
    return {"peak_mb": most, "pairs": [row[0] for row in found], "answer": [row[1] for row in found]}


def judged_base(clock: Clock, path: str, prompts: int) -> dict[str, Any]:
    """A store of 21 judged answers a prompt, filled by SQL."""
    from toolkit.store.database import Store

    with clock.measure(), Store(Path(path)) as store:
        for pool, role in enumerate(("present", "past", "future")):
            store.query(f"""
                INSERT INTO response
                SELECT sha256(concat('{role}', i))[:24], sha256(concat('p', i // {K}))[:24], 'm-{role}', '{role}',
                    i % {K}, '{{}}', 1, sha256(concat('{role}', i)), 1, 1, 'stop', '{LAUNCH}'
                FROM range({prompts * K}) t(i)
            """)
            store.query(f"""
                INSERT INTO judgment
                SELECT sha256(concat('j', '{role}', i))[:24], sha256(concat('{role}', i))[:24], 'judge', 'rubric',
                    'generated', '{{}}', 0, 1, '', 'scored', '', hash(i // {K}, {pool}, i % {K}) % 6, '{LAUNCH}'
                FROM range({prompts * K}) t(i)
            """)
    return {"rows": prompts * 3 * K, "bytes": Path(path).stat().st_size}


def select_store(clock: Clock, path: str, prompts: int) -> dict[str, Any]:
    """toolkit.pairs.at_scale for phase 2, commit included, on whole records: the store of judged_base."""
    from toolkit.pairs.at_scale import Selection, select_in_sql
    from toolkit.store.database import Store

    with Store(Path(path)) as store:
        models = {"present": "m-present", "past": "m-past", "future": "m-future"}
        with clock.measure():
            version = select_in_sql(store, Selection("set", 0, "judge", models), LAUNCH)  # type: ignore[arg-type]
    return {"pairs": version.size, "rows": prompts * 3 * K, "bytes": Path(path).stat().st_size}
