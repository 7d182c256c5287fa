"""Measures a run's pairs under its models: python -m toolkit diagnose."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.commands.common import DEFAULT, JsonOption, StoreOption, end, reading, say
from toolkit.extras import need
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.store.database import Store
from toolkit.trust.consent import TrustOption

if TYPE_CHECKING:
    from toolkit.diagnostics.collapse import Verdict


def diagnose(
    run: Annotated[str, typer.Argument(help="The run, as its recipe or --run named it; the newest by default.")] = "",
    gradients: Annotated[bool, typer.Option(help="Exact gradient norms of every pair.")] = True,
    after: Annotated[bool, typer.Option("--after", help="Gradients under the trained models too.")] = False,
    blocks: Annotated[
        int | None, typer.Option("--last-blocks", help="Gradients of the last N blocks alone, for large models.", min=1)
    ] = None,
    coherence: Annotated[
        bool, typer.Option(help="Coherence of every set: a float32 buffer as large as the model.")
    ] = True,
    dtype: Annotated[str, typer.Option(help="float32, or bfloat16 where memory asks for it.")] = "float32",
    trust: TrustOption = False,
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Gaps, likelihoods, similarity and exact gradients of every pair, and a verdict: diagnose temporal."""
    end(lambda: _diagnose(run, (dtype, blocks, coherence), (gradients, after), (store, as_json, trust)))


def _diagnose(
    run: str, how: tuple[str, int | None, bool], what: tuple[bool, bool], where: tuple[Path, bool, bool]
) -> None:
    from toolkit.diagnostics.run_sets import recipe_of, refuse_scripted
    from toolkit.reporting.run_status import status_of

    path, as_json, trusted = where
    with reading(path) as store:
        run = run or status_of(store).run
        refuse_scripted(store, run)
        need("torch", "diagnose", "cpu")
        recipe = recipe_of(store, run, trusted=trusted)
    from toolkit.diagnostics.diagnose import diagnose as measured
    from toolkit.diagnostics.measure import Measuring

    with Lab(recipe, Store(path), capture("diagnose", recipe.resolved())) as lab:
        verdict = measured(lab, run, Measuring(*how), gradients=what[0], after=what[1])
    say([*told(verdict), "", f"report: toolkit report {run} --store {path}"], asdict(verdict), as_json=as_json)


def told(verdict: Verdict) -> list[str]:
    """The verdict for a terminal, line by line."""
    marks = {True: "yes", False: "no", None: "-"}
    lines = [f"  {finding.name:<13} {marks[finding.holds]:<4} {finding.said}" for finding in verdict.findings]
    return ["", f"{verdict.run}: {verdict.verdict}", verdict.headline, "", *lines]
