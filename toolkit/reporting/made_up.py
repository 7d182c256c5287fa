"""Whether numbers are made up: a scripted engine's answers and scores are hashes, a scripted trainer trains nothing.

What bears such numbers says so at its top: leaderboard, run report, report page, comparison.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from toolkit.safe_text import one_line
from toolkit.store.database import Store
from toolkit.trust.consent import SCRIPTED

MADE_UP = "Made-up numbers: "  # how the sentence begins

_RUNS = """
SELECT
    run, coalesce(bool_or(recipe->'engine'->>'kind' = $scripted), false) AS engine,
    coalesce(bool_or(recipe->'trainer'->>'python' = $scripted), false) AS trainer
FROM launch WHERE run IN (SELECT unnest($runs::VARCHAR[])) GROUP BY run ORDER BY run
"""


def made_up(store: Store, runs: Iterable[str]) -> str:
    """The sentence for the top of a page about these runs; "" where neither engine nor trainer is scripted."""
    rows = store.query(_RUNS, {"runs": list(runs), "scripted": SCRIPTED})
    return made_up_sentence({part: [row["run"] for row in rows if row[part]] for part in ("engine", "trainer")})


def made_up_sentence(scripted: Mapping[str, Sequence[str]]) -> str:
    """The same sentence from the runs or arms of each scripted part; "" where no part is scripted."""
    named = ", ".join(
        f"scripted {part} ({', '.join(map(one_line, names))})" for part, names in scripted.items() if names
    )
    if not named:
        return ""
    return f"{MADE_UP}{named}. They come from hashes, and say nothing about any model or method."
