"""A judge that takes no part in selection: its gap is near 0 for noise, and positive for a planted better future."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from toolkit.config import Judge, Recipe, parse
from toolkit.engines.protocol import Completion, Request
from toolkit.engines.scripted import ScriptedEngine
from toolkit.errors import InputError, RecipeError
from toolkit.evaluation.statistics import interval
from toolkit.lab import Lab, Step
from toolkit.provenance import Launch, capture
from toolkit.recipes.comparison_plan import shared
from toolkit.recipes.rerun import unread
from toolkit.recipes.self_rewarding import self_rewarding
from toolkit.recipes.temporal import temporal
from toolkit.reporting.audit_gaps import OWN_JUDGE
from toolkit.reporting.comparison import write_comparison
from toolkit.reporting.cost.load import loads
from toolkit.reporting.page.run_page import run_page
from toolkit.reporting.plan import left, plan_text
from toolkit.reporting.run_report import report_run
from toolkit.store.database import Store

Build = Callable[..., Recipe]
GOOD = "def good(prompt, answer, label):\n    return float(answer.startswith('better'))\n"
SOME = "def some(prompt, answer, label):\n    return len(answer) if '3' in prompt else None\n"
AUDIT_GAPS = "SELECT gap FROM audit_pairs WHERE kind = $kind AND pair_set = $set ORDER BY pair"


def demo_like(model: Path, **audit: object) -> Recipe:
    """Answers are syllables and scores are hashes, as in the demo; the prompts are the shipped generator's."""
    return parse(
        {
            "name": "noise",
            "model": str(model),
            "iterations": 1,
            "prompts": {"source": "constraints", "count": 400, "part_size": 400},
            "answers": {"k": 4, "max_tokens": 16},
            "judge": {"method": "expected", "audit": audit},
            "training": {"batch_size": 8, "small_sets": "shrink"},
            "gate": {"max_dropped": 0.5},
            "engine": {"kind": "scripted"},
            "trainer": {"python": "scripted", "device": "cpu", "dtype": "float32"},
        }
    )


def run(recipe: Recipe, path: Path) -> Launch:
    with Lab(recipe, Store(path), capture(recipe.name, recipe.resolved())) as lab:
        temporal(lab, recipe)
        return lab.launch


def plan(recipe: Recipe, path: Path | None) -> list[Step]:
    store = Store(path, read_only=True) if path else Store(None)
    with Lab(recipe, store, capture("plan", {}), planning=True) as lab:
        temporal(lab, recipe)
        return lab.steps


def gaps(store: Store, kind: str, name: str) -> list[float]:
    return [row["gap"] for row in store.query(AUDIT_GAPS, {"kind": kind, "set": name})]


@pytest.fixture(scope="module")
def noise(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Launch, Recipe]:
    recipe = demo_like(tiny_model, reward="toolkit:noise")
    path = tmp_path_factory.mktemp("noise") / "s.duckdb"
    return path, run(recipe, path), recipe


def test_noise_gives_the_own_judge_a_large_gap_and_the_audit_judge_none(noise: tuple[Path, Launch, Recipe]) -> None:
    path, _, _ = noise
    with Store(path, read_only=True) as store:
        rows = {row["set"]: row for row in store.named("gap_by_iteration")}
        assert store.named("law") == []
        for name in ("anchored@1", "guided@1"):
            found = interval(gaps(store, "audit", name))
            half = (found.high - found.low) / 2
            assert abs(found.value) < 2 * half < 0.1, found  # four standard errors: once in 15,000
            own = store.query("SELECT gap FROM pairs WHERE pair_set = $set", {"set": name})
            assert interval([row["gap"] for row in own]).low > 1
            row = rows[name]
            assert row["gap_audit"] == pytest.approx(found.value) and row["audit_judge"] == "toolkit:noise"
            assert (row["audit_pairs"], row["pairs"], row["gap_held_out"]) == (found.n, found.n, None)


def test_the_audit_gap_is_the_first_in_table_report_comparison_and_page(
    noise: tuple[Path, Launch, Recipe], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, launch, _ = noise
    with Store(path, read_only=True) as store:
        written = report_run(store, launch, tmp_path).read_text()
        printed = capsys.readouterr().out
        compared = write_comparison(store, "c", [launch], tmp_path).read_text()
        page = run_page(store, "noise")
        mean = fmean(gaps(store, "audit", "guided@1"))
    for text in (written, printed, compared):
        assert 0 < text.index("audit gap") < text.index("audit low") < text.index("gap (own judge)")
        assert f"gap (own judge): {OWN_JUDGE}" in text and f"{mean:.4g}" in text
    assert "- audit judge, which selected nothing: toolkit:noise" in written
    assert "verdicts of toolkit:noise on the sides of guided" in written
    assert "| toolkit:noise |" in compared
    figures = [figure for section in page.sections for figure in section.figures if "gap" in figure.title]
    assert [figure.title for figure in figures[:2]] == [
        "Score gap by the audit judge toolkit:noise", "Score gap, own judge",
    ]  # fmt: skip
    assert f"{mean:.4g}" in str(figures[0].asked[0].table.rows) and OWN_JUDGE in figures[1].said


def test_without_an_audit_judge_the_own_gap_is_labelled_and_the_sentence_stands_next_to_it(
    scripted_recipe: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = scripted_recipe(name="plain", iterations=1)
    launch = run(recipe, tmp_path / "s.duckdb")
    with Store(tmp_path / "s.duckdb", read_only=True) as store:
        written = report_run(store, launch, tmp_path).read_text()
        row = store.named("gap_by_iteration")[0]
        assert {step["stage"] for step in store.query("SELECT stage FROM step")}.isdisjoint({"audit"})
    for text in (written, capsys.readouterr().out):
        assert "gap (own judge)" in text and OWN_JUDGE in text and "audit gap" not in text and "held-out" not in text
    assert "- audit judge, which selected nothing: none (judge.audit)" in written
    assert row["gap"] > 0 and row["gap_audit"] is row["audit_judge"] is row["audit_pairs"] is None


def test_a_plan_counts_the_audit_and_a_rerun_has_nothing_left(noise: tuple[Path, Launch, Recipe]) -> None:
    path, launch, recipe = noise
    before = [step for step in plan(recipe, None) if step.stage == "audit"]
    assert [(step.total, step.cached) for step in before] == [(800, 0), (800, 0)]
    assert "audit  verdicts of toolkit:noise on the sides of guided" in plan_text(before).replace("audit   ", "audit  ")
    assert left(before)["requests"] == 1600 and "up to 800" in plan_text(before)
    assert {load.stage: load.requests for load in loads(recipe, before, [])} == {"audit": 1600}
    with Store(path, read_only=True) as store:
        pairs = {row["set"]: row["pairs"] for row in store.named("gap_by_iteration")}
        verdicts = store.query("SELECT count(*) AS n FROM judgments WHERE judge_name = 'toolkit:noise'")[0]["n"]
        both = store.query(
            "SELECT count(DISTINCT u.r) AS n FROM pairs x, LATERAL (VALUES (x.chosen), (x.rejected)) AS u(r)"
        )
        told = store.named("compare_totals", launches=launch.id)[0]["verdicts"]
    after = plan(recipe, path)
    assert [step.total for step in after if step.stage == "audit"] == [2 * pairs["anchored@1"], 2 * pairs["guided@1"]]
    assert verdicts == both[0]["n"] and not any(left(after).values())
    assert told == sum(step.total for step in after if step.stage in ("judge", "audit"))


def test_two_plans_share_an_audit_of_what_they_share(tiny_model: Path) -> None:
    recipe = demo_like(tiny_model, reward="toolkit:noise")
    foreseen: set[str] = set()
    for expected in (0, 1600):
        with Lab(recipe, Store(None), capture("plan", {}), planning=True) as lab:
            lab.foreseen = foreseen
            temporal(lab, recipe)
            audits = [step for step in lab.steps if step.stage == "audit"]
            assert shared(audits) == {"trainings": 0, "answers": 0, "verdicts": expected}


def test_a_planted_better_future_gives_a_positive_audit_gap(
    scripted_recipe: Build, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every checkpoint but M_0 answers better; the own judge still scores by a hash and sees no difference."""
    built, whole = ScriptedEngine.__init__, ScriptedEngine._text

    def init(self: ScriptedEngine, path: Path, settings: object) -> None:
        built(self, path, settings)  # type: ignore[arg-type]
        self.trained = path.name != tiny_model.name  # type: ignore[attr-defined]

    def text(self: ScriptedEngine, request: Request) -> Completion:
        done = whole(self, request)
        return replace(done, text=f"better {done.text}") if self.trained else done  # type: ignore[attr-defined]

    monkeypatch.setattr(ScriptedEngine, "__init__", init)
    monkeypatch.setattr(ScriptedEngine, "_text", text)
    (tmp_path / "good.py").write_text(GOOD)
    audit = {"reward": f"{tmp_path / 'good.py'}:good"}
    recipe = scripted_recipe(iterations=1, prompts={"part_size": 24}, judge={"method": "expected", "audit": audit})
    run(recipe, tmp_path / "s.duckdb")
    with Store(tmp_path / "s.duckdb", read_only=True) as store:
        assert set(gaps(store, "audit", "anchored@1")) == {0.0}
        found = gaps(store, "audit", "guided@1")
        by_future = store.query("SELECT chosen_by_future AS share FROM iterations WHERE phase = 'guided'")[0]["share"]
    assert fmean(found) == pytest.approx(by_future) and interval(found).low > 0.2


def test_held_out_draws_measure_what_the_selecting_draws_chose(
    scripted_recipe: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Written verdicts that are noise: the selecting draw has a gap of points, the others have none."""
    whole = ScriptedEngine._text

    def text(self: ScriptedEngine, request: Request) -> Completion:
        done = whole(self, request)
        said = f"Fine.\nScore: {self._hash(request, 'verdict') % 6}"
        return replace(done, text=said, finish="stop") if request.sampling.max_tokens == 33 else done

    monkeypatch.setattr(ScriptedEngine, "_text", text)
    judge = {"method": "generated", "draws": 3, "select_draws": 1, "max_tokens": 33}
    recipe = scripted_recipe(iterations=1, prompts={"part_size": 24}, judge=judge)
    with Lab(recipe, Store(tmp_path / "s.duckdb"), capture("test", recipe.resolved())) as lab:
        self_rewarding(lab, recipe)
        report_run(lab.store, lab.launch, tmp_path)
        row = lab.store.named("gap_by_iteration")[0]
        title = next(figure.title for part in run_page(lab.store, "test").sections for figure in part.figures)
        wrong = lab.store.query(
            "SELECT count(*) AS n FROM pairs x JOIN judgment j ON j.response = x.chosen AND j.draw = 0 "
            "WHERE j.score <> x.chosen_score"
        )
        other = lab.store.query(
            "SELECT avg(c.score - r.score) AS gap FROM pairs x "
            "JOIN judgment c ON c.response = x.chosen AND c.draw > 0 "
            "JOIN judgment r ON r.response = x.rejected AND r.draw = c.draw"
        )[0]["gap"]
        found = interval(gaps(lab.store, "held_out", row["set"]))
    assert wrong == [{"n": 0}]
    assert row["gap_held_out"] == pytest.approx(other) == pytest.approx(found.value)
    assert found.low < 0 < found.high and row["gap"] > 2
    assert "held-out gap" in capsys.readouterr().out and title == "Score gap, held-out draws"


def test_an_answer_without_an_audit_verdict_leaves_its_pair_out_and_stops_no_run(
    scripted_recipe: Build, tmp_path: Path
) -> None:
    (tmp_path / "r.py").write_text(
        "def some(prompt, answer, label):\n    return len(answer) if '3' in prompt else None\n"
    )
    judge = {"method": "expected", "audit": {"reward": f"{tmp_path / 'r.py'}:some"}}
    launch = run(scripted_recipe(iterations=1, prompts={"part_size": 24}, judge=judge), tmp_path / "s.duckdb")
    with Store(tmp_path / "s.duckdb", read_only=True) as store:
        rows = store.named("gap_by_iteration")
        read = store.query("SELECT count(*) AS n FROM pairs WHERE phase = 'guided' AND prompt_text LIKE '%3%'")[0]["n"]
        audits = [row for row in store.named("run_verdicts", launch=launch.id) if "r.py" in row["what"]]
    assert 0 < rows[-1]["audit_pairs"] == read < rows[-1]["pairs"]
    assert all(row["unreadable"] and row["scored"] for row in audits) and len(audits) == 2


def test_an_audit_judge_that_selects_is_refused_before_anything_is_made(tiny_model: Path) -> None:
    with pytest.raises(InputError, match="is the judge that selected anchored") as refused:
        plan(demo_like(tiny_model, by=str(tiny_model)), None)
    assert "M_0 selects in iteration 0" in refused.value.remedy


@pytest.mark.parametrize(
    ("judge", "words"),
    [
        ({"audit": {"by": "present"}}, "not a fixed judge"),
        ({"audit": {"by": "past"}}, "took part in selection"),
        ({"audit": {"by": "a", "reward": "toolkit:noise"}}, "needs one judge"),
        ({"audit": {"draws": 3}}, "needs its judge"),
        ({"audit": {"base_url": "http://localhost/v1"}}, "needs judge.audit.by"),
        (
            {"audit": {"by": "a", "base_url": "http://localhost/v1", "method": "expected"}},
            "'generated' with a base_url",
        ),
        ({"audit": {"by": "a", "method": "reward"}}, "needs judge.audit.reward"),
        ({"method": "reward", "reward": "toolkit:noise", "audit": {"by": "a"}}, "needs judge.audit.method"),
        ({"method": "expected", "select_draws": 1, "draws": 3}, "judge.select_draws needs"),
        ({"method": "generated", "select_draws": 3, "draws": 3}, "judge.select_draws needs"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(judge: dict[str, object], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        parse({"judge": judge})


def test_an_audit_takes_what_it_does_not_name_from_the_judge_and_comes_back_from_a_store() -> None:
    recipe = parse({"judge": {"draws": 3, "rubric": "mine.txt", "audit": {"by": "other", "temperature": 0.5}}})
    audit = recipe.judge.auditing
    assert audit is not None
    assert (audit.by, audit.method, audit.rubric, audit.draws) == ("other", "generated", "mine.txt", 3)
    assert (audit.temperature, audit.top_p, audit.max_unreadable) == (0.5, 1.0, 1.0)
    assert parse(recipe.resolved()) == recipe and parse(Recipe().resolved()).judge.auditing is None  # type: ignore[call-arg]
    assert Judge(audit={"by": "m", "base_url": "http://localhost/v1"}, method="expected").auditing.method == "generated"  # type: ignore


def test_what_an_audit_names_outside_the_store_is_listed_and_not_read() -> None:
    named = parse({"judge": {"method": "expected", "audit": {"by": "hub/model", "rubric": "mine.txt"}}})
    assert unread(named, {})[-2:] == ["judge.audit.by = 'hub/model'", "judge.audit.rubric = 'mine.txt'"]
    file = parse({"judge": {"audit": {"reward": "own.py:f"}}})
    assert "judge.audit.reward = 'own.py:f'" in unread(file, {})
    shipped = {"method": "reward", "reward": "toolkit:constraints", "audit": {"reward": "toolkit:noise"}}
    assert unread(parse({"judge": shipped, "prompts": {"source": "constraints"}}), {}) == []
