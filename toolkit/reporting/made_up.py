"""Whether numbers are made up: a scripted engine's answers and scores are hashes, a scripted trainer trains nothing.

What bears such numbers says so at its top: leaderboard, run report, report page, comparison.
"""

from __future__ import annotations

from collections.abc import Iterable

from toolkit.safe_text import one_line
from toolkit.store.database import Store
from toolkit.trust.consent import SCRIPTED

_RUNS = """
SELECT
    run, coalesce(bool_or(recipe->'engine'->>'kind' = $scripted), false) AS engine,
    coalesce(bool_or(recipe->'trainer'->>'python' = $scripted), false) AS trainer
FROM launch WHERE run IN (SELECT unnest($runs::VARCHAR[])) GROUP BY run ORDER BY run
"""


def made_up(store: Store, runs: Iterable[str]) -> str:
    """The sentence for the top of a page about these runs; "" where neither engine nor trainer is scripted."""
    rows = store.query(_RUNS, {"runs": list(runs), "scripted": SCRIPTED})
    parts = [(part, [one_line(row["run"]) for row in rows if row[part]]) for part in ("engine", "trainer")]
    named = ", ".join(f"scripted {part} ({', '.join(of)})" for part, of in parts if of)
    if not named:
        return ""
    return f"Made-up numbers: {named}. They come from hashes, and say nothing about any model or method."
