"""Judges held against labels and against each other: gaps by a fixed judge, and how good a judge is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.commands.common import DEFAULT, JsonOption, StoreOption, end, reading, say, show
from toolkit.commands.sets import Reference
from toolkit.config import load as load_recipe
from toolkit.engines import checkpoint, embedded, find
from toolkit.errors import InputError
from toolkit.lab import Lab
from toolkit.pairs.versions import load
from toolkit.provenance import capture
from toolkit.recipes.run import find_config
from toolkit.records import Model, Response, Score
from toolkit.store.database import Store
from toolkit.trust.consent import TrustOption

if TYPE_CHECKING:
    from toolkit.evaluation.statistics import Interval

JudgeOption = Annotated[
    str,
    typer.Option(
        "--judge",
        help="A stored model's name or id (M_1, temporal/M_1), the embedded model, a directory or a hub id; where left "
        "out, the recipe's judge.by, judge.base_url or judge.reward.",
    ),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Recipe whose judge and engine settings are used; its model is M_0.")
]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Any recipe field: key.subkey=value.")]


@dataclass(frozen=True)
class Settings:
    """With what a judge is run. `changes` are --set lines."""

    judge: str
    config: Path | None
    changes: tuple[str, ...]
    store: Path
    trusted: bool


def rescore(
    reference: Reference,
    judge: JudgeOption = "",
    config: ConfigOption = None,
    set_: SetOption = None,
    trust: TrustOption = False,
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """The gap of a set by a fixed judge, beside that of every other judge: rescore guided-1 --judge M_0."""
    settings = Settings(judge, config, tuple(set_ or ()), store, trust)
    end(lambda: _rescore(reference, settings, as_json))


def judge_quality(
    reference: Annotated[str, typer.Argument(help="A set of gold pairs, or the judge whose ratings are the labels.")],
    judge: JudgeOption = "",
    pairwise: Annotated[bool, typer.Option("--pairwise", help="Also compare both sides, in both orders.")] = False,
    config: ConfigOption = None,
    set_: SetOption = None,
    trust: TrustOption = False,
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """How good a judge is on labelled answers: judge-quality gold --judge temporal/M_1 --pairwise."""
    settings = Settings(judge, config, tuple(set_ or ()), store, trust)
    end(lambda: _judge_quality(reference, settings, pairwise, as_json))


def judgement_examples(
    reference: Reference,
    judge: Annotated[str, typer.Option(help="The judge whose written verdicts are taken: name or id.")],
    out: Annotated[Path, typer.Option(help="The .jsonl file to write, for sft.data.")],
    rubric: Annotated[str, typer.Option(help="A shipped rubric or a file.")] = "additive",
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Rated answers with a judge's verdicts as EFT data: judgement-examples rated --judge M_0 --out eft.jsonl."""
    end(lambda: _judgement_examples(reference, judge, (out, rubric), store, as_json))


def find_model(lab: Lab, name: str) -> Model:
    """The stored model of this name (of a run: RUN/NAME) or id, else the base model of this name. Raises InputError."""
    return stored_model(lab.store, name) or _base(lab, name)


def stored_model(store: Store, name: str) -> Model | None:
    """The stored model of this name or id, with its checkpoint. Raises InputError where it is several, or has none."""
    sql = (
        "SELECT id, path FROM model WHERE $name IN (name, id) "
        "OR id IN (SELECT model FROM model_names WHERE run || '/' || name = $name) ORDER BY id"
    )
    rows = store.query(sql, {"name": name})
    if len(rows) > 1:
        ids = ", ".join(row["id"] for row in rows)
        raise InputError(f"{len(rows)} models are called {name!r}", remedy=f"name one by its id: {ids}")
    if not rows:
        return None
    if not rows[0]["path"]:
        raise InputError(f"{name!r} is known by name alone", remedy="name a model with a checkpoint")
    found: Model = store.find(Model, [rows[0]["id"]])[rows[0]["id"]]
    return found


def _base(lab: Lab, name: str) -> Model:
    """A model not stored yet: M_0 where it is the recipe's, else called by its directory's name."""
    if name == lab.recipe.model:
        made = lab.model(name, "M_0")
    else:
        path = find.resolve(name)
        checkpoint.verify(path, trust_remote_code=lab.recipe.trust_remote_code)
        called = name if name == embedded.NAME else path.name
        made = Model(called, str(path), checkpoint.weights_digest(path), checkpoint.template_digest(path))
        lab.store.add([made], launch=lab.launch.id)
    stored: Model = lab.store.find(Model, [made.id])[made.id]
    return replace(made, name=stored.name)


@contextmanager
def _lab(command: str, settings: Settings) -> Iterator[tuple[Lab, Model]]:
    named = ("judge.by=present", "judge.base_url=") if settings.judge else ()
    changes = (*settings.changes, *named)
    recipe = load_recipe(find_config(settings.config), changes, trusted=settings.trusted)
    with Lab(recipe, Store(settings.store), capture(command, recipe.resolved())) as lab:
        yield lab, find_model(lab, settings.judge) if settings.judge else _recipes_judge(lab)


def _recipes_judge(lab: Lab) -> Model:
    from toolkit.judgments.judge import judging

    settings = lab.recipe.judge
    if settings.method != "reward" and settings.by in ("present", "past"):
        raise InputError(
            f"judge.by = {settings.by!r} is no judge outside a run", remedy="name one with --judge, for example M_0"
        )
    return judging(lab, Model.external("nobody"))


def _rescore(reference: str, settings: Settings, as_json: bool) -> None:
    from toolkit.evaluation.judge_quality import scored_by

    with _lab("rescore", settings) as (lab, model):
        version = load(lab.store, reference)
        sides = {answer for pair in version.pairs for answer in (pair.chosen, pair.rejected)}
        answers = lab.store.find(Response, sides)
        scored_by(lab, model, [answers[identifier] for identifier in sorted(answers)])
        rows = [row for row in lab.store.named("judge_gaps") if row["set"] == version.id]
    show(f"{version.id}: {len(version.pairs)} pairs by every judge that scored both sides", rows, as_json=as_json)


def _judgement_examples(reference: str, judge: str, file: tuple[Path, str], path: Path, as_json: bool) -> None:
    from toolkit.demonstrations.rated import rated_answers, write_examples
    from toolkit.judgments.rubric import load_rubric

    out, rubric = file
    with reading(path) as store:
        rows = store.query("SELECT id FROM model WHERE $name IN (name, id)", {"name": judge})
        if len(rows) != 1:
            raise InputError(f"{len(rows)} models are called {judge!r}", remedy="name a stored judge by its id")
        answers = rated_answers(store, reference, rows[0]["id"], load_rubric(rubric))
    write_examples(answers, out)
    told = f'{len(answers)} examples in {out}; learn them with --set \'sft.data=["ift", "{out}"]\''
    say(told, {"file": str(out), "examples": len(answers)}, as_json=as_json)


def _judge_quality(reference: str, settings: Settings, pairwise: bool, as_json: bool) -> None:
    from toolkit.evaluation.judge_quality import measured

    with _lab("judge-quality", settings) as (lab, model):
        scores = measured(lab, model, reference, pairwise)
        rows = [_row(score, span) for score, span in scores]
    title = f"{model.name} ({model.id}) as a judge of {scores[0][0].settings['set']}"
    show(title, rows, as_json=as_json, wide=True)
    missing = [f"{row['method']} {row['metric']}" for row in rows if row["value"] is None]
    if missing and not as_json:
        print(f"\nnothing to measure by, so not stored: {', '.join(missing)}")


def _row(score: Score, span: Interval | None) -> dict[str, object]:
    from toolkit.evaluation.judge_quality import MEANING

    point = score.metric.removeprefix("points_")
    meaning = MEANING.get(score.metric) or f"share of answers with {point} points, rounded"
    return {
        "method": score.settings["method"], "metric": score.metric, "value": score.value,
        "low": span.low if span else None, "high": span.high if span else None, "n": score.n,
        "interval": span.method if span else None, "is": meaning,
    }  # fmt: skip
