"""The page of one run: headline, curves against its baselines, pairs, training, tests, lineage; from the store alone.

`run_page` makes the tree of records, `write_page` both files of it: one HTML page that loads nothing, and the same as
Markdown. Left out: the pair browser (analysis/), and runs of several stores on one page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from toolkit.diagnostics.collapse import verdict
from toolkit.errors import InputError
from toolkit.reporting.advice import diagnose_advice, without_advice
from toolkit.reporting.made_up import made_up
from toolkit.reporting.page.appendix import appendix, evaluation
from toolkit.reporting.page.as_html import as_html
from toolkit.reporting.page.as_markdown import as_markdown
from toolkit.reporting.page.curves import curves
from toolkit.reporting.page.pairs import chance, distributions, examples, yields
from toolkit.reporting.page.parts import Page, Scope, Section, ask, quoted
from toolkit.reporting.page.training import training
from toolkit.reporting.run_report import made_by
from toolkit.store.database import Store
from toolkit.trust.paths import file_stem
from toolkit.trust.safe_files import write_files

_RUNS = """SELECT DISTINCT l.run FROM launch l JOIN step s ON s.launch = l.id
WHERE s.stage IN ('pair', 'demonstrate', 'train') ORDER BY l.run"""
_LIKE = """SELECT DISTINCT run FROM run_sets WHERE run <> {run} AND iteration = 0
AND parent IN (SELECT parent FROM run_sets WHERE run = {run} AND iteration = 0) ORDER BY run"""
_SETS = "SELECT iteration, phase, pair_set, position FROM run_sets WHERE run = {run} ORDER BY iteration, position"
_MEASURED = """SELECT
    s.iteration, s.pair_set AS "set", 
    CASE c.control WHEN '' THEN 'pairs' WHEN 'draws' THEN 'two draws' ELSE replace(c.control, '_', ' against ')
        END AS "what",
    count(DISTINCT (c.chosen, c.rejected)) AS pairs,
    count(DISTINCT (c.chosen, c.rejected)) FILTER (x.kind = 'text') AS texts,
    count(DISTINCT (c.chosen, c.rejected)) FILTER (x.kind = 'forward' AND x.model = s.parent) AS "likelihoods before",
    count(DISTINCT (c.chosen, c.rejected)) FILTER (x.kind = 'forward' AND x.model = s.result) AS "likelihoods after",
    count(DISTINCT (c.chosen, c.rejected)) FILTER (x.kind = 'gradient' AND x.model = s.parent) AS gradients
FROM run_sets s
JOIN compared c ON c.pair_set = s.pair_set
LEFT JOIN measured x ON x.chosen = c.chosen AND x.rejected = c.rejected
WHERE s.run = {run} GROUP BY s.iteration, s.position, s.pair_set, c.control
ORDER BY s.iteration, s.position, c.control"""
_PAIRS = """SELECT coalesce(sum(size), 0)::BIGINT AS n FROM pair_set
WHERE id IN (SELECT pair_set FROM run_sets WHERE run = {run})"""
_LAUNCH = """
SELECT started, recipe->>'model' AS model, recipe->'engine'->>'kind' AS engine
FROM launch WHERE run = {run} ORDER BY position DESC, started DESC LIMIT 1
"""


def run_page(store: Store, run: str, against: Sequence[str] = ()) -> Page:
    """The page of this run beside the runs `against`, or else beside all that started from the same model.

    Raises InputError where the store has no such run.
    """
    known = [row["run"] for row in store.query(_RUNS)]
    for name in (run, *against):
        if name not in known:
            remedy = f"one of {', '.join(known)}" if known else "run a recipe first, or name the file with --store"
            raise InputError(f"no run is called {name!r}", where=store.path, remedy=remedy)
    others = against or [row["run"] for row in store.query(_LIKE.format(run=quoted(run)))]
    scope = Scope(store, run, tuple(dict.fromkeys(one for one in others if one != run)), _sets(store, run))
    parts = (chance, curves, distributions, yields, training, examples, evaluation, appendix)
    sections = (_measured(scope), *(part(scope) for part in parts))
    answer = without_advice(store, verdict(store, run))
    return Page(run, answer, _facts(scope), sections, made_up(store, scope.runs))


def write_page(page: Page, folder: Path) -> list[Path]:
    """The page as HTML and as Markdown; their paths."""
    html, markdown = (path.name for path in page_paths(page, folder))
    return write_files(folder, {html: as_html(page), markdown: as_markdown(page)})


def page_paths(page: Page, folder: Path) -> list[Path]:
    """Where `write_page` writes."""
    return [folder / f"report-{file_stem(page.run)}{suffix}" for suffix in (".html", ".md")]


def _sets(store: Store, run: str) -> tuple[dict[str, object], ...]:
    return tuple(store.query(_SETS.format(run=quoted(run))))


def _facts(scope: Scope) -> tuple[tuple[str, str], ...]:
    run = quoted(scope.run)
    pairs = scope.store.query(_PAIRS.format(run=run))[0]["n"]
    launch = scope.store.query(_LAUNCH.format(run=run))[0]
    return (
        ("iterations", str(len(scope.kept))),
        ("pair sets", str(len(scope.sets))),
        ("pairs", f"{pairs:,}"),
        ("model", launch["model"] or "unknown"),
        ("engine", made_by(launch["engine"])),
        ("beside", ", ".join(scope.others) or "no other run"),
        ("run on", f"{launch['started']:%Y-%m-%d}"),
    )


def _measured(scope: Scope) -> Section:
    """What was measured, and of how many pairs; or that nothing was."""
    found = ask(scope.store, "Pairs measured, by set", _MEASURED.format(run=quoted(scope.run)))
    title = "What was measured"
    if not found.rows:
        return Section(title, ("This run made no pair sets, so there is nothing to measure of pairs.",))
    if not any(row["texts"] + row["gradients"] + row["likelihoods before"] for row in found.rows):
        said = (
            "No diagnostics are stored for this run. Likelihoods, likeness and gradients, their floor and what "
            f"training did to each pair are missing: {diagnose_advice(scope.store, [scope.run])}"
        )
    else:
        said = (
            "Of so many pairs of each set. Before: under the model that was then trained on the set; after: under the "
            "model that came out. Rows of two draws are the floor: two answers of one model, with no selection. Rows "
            "such as present against past have one answer of each role, not selected by score: what the roles alone do."
        )
    return Section(title, (said,), asked=(replace(found.asked, open=True),))
