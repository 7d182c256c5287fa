"""What can be held without a network against packages and files of others: pins, and calls that would run foreign code.

Known holes in the pinned versions are asked for by requirements/audit.py, whose reading of the answers is held here.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from requirements import audit
from toolkit.commands.machine import installed, pins

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+( ; [^@]+)?")
SOURCES = sorted(
    path for name in ("toolkit", "recipes", "analysis", "benchmarks") for path in (ROOT / name).rglob("*.py")
)
UNPICKLING = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}  # never imported
FORBIDDEN = {"torch.load", "np.load", "numpy.load", "pd.read_pickle", "pandas.read_pickle", "yaml.load", "os.system"}
SAID = {
    "trust_remote_code": True, "allow_pickle": True, "weights_only": False, "use_safetensors": False, "verify": False,
    "shell": True,
}  # fmt: skip


def dangers(source: str) -> Iterator[str]:
    """Every call of a source text that loads code with data, or trusts what it was not told to."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"line {node.lineno}: import {n}" for n in names if n.split(".")[0] in UNPICKLING)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            said = {k.arg: k.value.value for k in node.keywords if k.arg and isinstance(k.value, ast.Constant)}
            if called in FORBIDDEN:
                yield f"line {node.lineno}: {called}"
            if called == "checkpoint.verify":  # it reads, and runs nothing
                continue
            yield from (f"line {node.lineno}: {name}={said[name]}" for name in SAID if said.get(name) is SAID[name])
            safe = said.get("use_safetensors") is True or any(k.arg == "gguf_file" for k in node.keywords)
            if re.fullmatch(r"AutoModel\w*\.from_pretrained", called) and not safe:
                yield f"line {node.lineno}: {called} without use_safetensors=True"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_loads_a_pickle_or_runs_the_code_of_a_checkpoint(path: Path) -> None:
    assert list(dangers(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from joblib import load", "torch.load(path)", "numpy.load(path)", "pandas.read_pickle(path)",
        "f(path, trust_remote_code=True)", "f(allow_pickle=True)", "f(weights_only=False)", "run(line, shell=True)",
        "AutoModelForCausalLM.from_pretrained(path)", "AutoModel.from_pretrained(path, use_safetensors=False)",
    ],
)  # fmt: skip
def test_each_danger_is_seen(source: str) -> None:
    assert list(dangers(source))


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_every_pin_is_one_version_of_an_index_and_no_address(kind: str) -> None:
    lines = (ROOT / "requirements" / f"{kind}.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) > 100
    assert [line for line in lines if not PIN.fullmatch(line) or "://" in line] == []


def test_what_is_installed_is_what_is_pinned() -> None:
    if Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        pytest.skip("this environment was not set up by bootstrap.py")
    found = installed()
    assert {name: found.get(name) for name in pins()} == pins()


CLEAN = {"name": "good", "version": "1.0", "vulns": []}
HOLE = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.1"], "description": "runs what it reads"}
HOLED = {"name": "bad", "version": "2.0", "vulns": [HOLE]}
UNKNOWN = {"name": "absent", "skip_reason": "Dependency not found"}
HOLES = "bad 2.0: PYSEC-1, mended in 2.1\n2 pinned versions, 1 known holes\n"
NONE = "2 pinned versions, 0 known holes\n"


@pytest.mark.parametrize(
    ("packages", "accepted", "codes", "said"),
    [
        ([CLEAN, CLEAN], {}, (0, 0), NONE),
        ([CLEAN, HOLED], {}, (1, 1), HOLES),
        ([CLEAN, HOLED], {"CVE-1": "nothing is read"}, (0, 0), NONE),
        ([CLEAN, UNKNOWN], {}, (0, 1), NONE + "NOT AUDITED: 1 versions, as: Dependency not found\n"),
        ([HOLED, UNKNOWN], {}, (1, 1), HOLES + "NOT AUDITED: 1 versions, as: Dependency not found\n"),
        ([CLEAN], {}, (0, 1), NONE + "NOT AUDITED: 1 versions, as: not answered\n"),
        ("echo error: no route >&2; exit 2", {}, (0, 1), NONE + "NOT AUDITED: 2 versions: error: no route\n"),
        (None, {}, (0, 1), "No such file or directory"),
    ],
)
def test_an_audit_fails_on_a_known_hole_and_says_what_it_could_not_ask(
    packages: list[object] | str | None, accepted: dict[str, str], codes: tuple[int, int], said: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    answer, uv = tmp_path / "answer", tmp_path / "uv"
    if packages:
        answer.write_text(json.dumps({"dependencies": packages, "fixes": []}))
        uv.write_text(f"#!/bin/sh\n{packages if isinstance(packages, str) else f'cat {answer}'}\n")
        uv.chmod(0o755)
    monkeypatch.setattr(audit, "UV", str(uv))
    monkeypatch.setattr(audit, "pip_settings", dict)
    monkeypatch.setattr(audit, "ACCEPTED", accepted)
    monkeypatch.setattr(audit, "_text", lambda name: "good==1.0\nbad==2.0 ; python_full_version < '3.12'\n")
    assert audit.main(strict=False) == codes[0]
    told = capsys.readouterr().out
    assert told == said or said in told.splitlines()[-1]
    assert audit.main(strict=True) == codes[1]


def test_an_audit_asks_about_every_pin_once_and_about_no_name_twice_at_a_time() -> None:
    pins = {("a", "1"), ("a", "2"), ("b", "1"), ("c", "3")}
    assert audit.rounds(pins) == [["a==1", "b==1", "c==3"], ["a==2"]]
