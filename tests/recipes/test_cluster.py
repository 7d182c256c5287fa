"""recipes/cluster: the settings plan with the launch they say, and the scripts call what they say they call."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.config import load

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "recipes" / "cluster"
TOLD = 'echo "$(basename "$0") $*" >> "$TOLD"\n'


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder with a .venv whose commands, and Slurm's, only write down how they were called."""
    tools, told = tmp_path / "tools", tmp_path / ".venv" / "bin"
    for folder, names in ((tools, ("srun", "sleep")), (told, ("python", "ray"))):
        folder.mkdir(parents=True)
        for name in names:
            write_tool(folder / name, TOLD)
    write_tool(tools / "scontrol", 'test "$1 $2 $3" = "show hostnames two" && printf "a-1\\na-2\\n"\n')
    return tmp_path


def write_tool(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def run(script: str, machine: Path, *words: str, **variables: str) -> list[str]:
    """What the script called, in any order for what it starts behind it; its output ends with the last of them."""
    path = f"{machine / 'tools'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TOLD": str(machine / "told"), **variables}
    subprocess.run(
        ["bash", str(CLUSTER / script), *words], cwd=machine, env=environment, check=True, capture_output=True
    )
    return (machine / "told").read_text().splitlines()


def test_the_plan_of_two_nodes_ends_with_the_trainers_launch(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("".join(f"question {number}?\n" for number in range(8)))
    changes = ["prompts.source=prompts.txt", "prompts.part_size=4", f"trainer.hostfile={CLUSTER / 'hostfile'}"]
    command = ["-m", "toolkit.recipes.temporal", "--config", str(CLUSTER / "nodes.toml"), "--trust", "--plan"]
    command += ["--model", str(tiny_model), *(word for change in changes for word in ("--set", change))]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    launch = shlex.split(done.stdout.splitlines()[-1])
    assert launch[1:6] == [
        "-m", "deepspeed.launcher.runner", "--master_port=29501", "--hostfile", str(CLUSTER / "hostfile"),
    ]  # fmt: skip
    assert "openrlhf.cli.train_dpo" in launch and f"--ref.model_name_or_path={tiny_model}" in launch
    assert "--data.dataset=runs/trainings/ID/pairs.jsonl" in launch and "--ds.zero_stage=3" in launch
    assert not (tmp_path / "runs").exists(), "a plan writes nothing"


def test_the_slurm_script_makes_the_hostfile_and_starts_ray_on_every_node(machine: Path) -> None:
    slurm = {"SLURM_JOB_NODELIST": "two", "SLURM_JOB_ID": "7", "SLURM_GPUS_ON_NODE": "4"}
    told = run("slurm.sh", machine, "--run", "night", **slurm)
    assert (machine / "runs" / "hostfile.7").read_text() == "a-1 slots=4\na-2 slots=4\n"
    started = {line.split("--nodelist=")[1] for line in told if line.startswith("srun")}
    assert started == {
        "a-1 .venv/bin/ray start --block --head --port=6379 --include-dashboard=false",
        "a-2 .venv/bin/ray start --block --address=a-1:6379",
    }
    changes = "--set trainer.hostfile=runs/hostfile.7 --set engine.cluster.workers=8 --run night"
    assert f"python -m toolkit.recipes.temporal --config recipes/cluster/nodes.toml --trust {changes}" in told


def test_the_ray_job_is_the_recipe_in_the_shared_folder(machine: Path) -> None:
    (line,) = run("ray_job.sh", machine, "--run", "night", TOOLKIT_HOME="/shared/toolkit")
    assert line.startswith("ray job submit --submission-id temporal-")
    recipe = "python -m toolkit.recipes.temporal --config recipes/cluster/nodes.toml --trust --run night"
    assert line.endswith(f" -- env --chdir=/shared/toolkit .venv/bin/{recipe}")


def test_the_settings_of_two_nodes_fill_them() -> None:
    recipe = load(CLUSTER / "nodes.toml", trusted=True)
    slots = [int(line.rpartition("=")[2]) for line in (CLUSTER / "hostfile").read_text().splitlines()]
    assert recipe.engine.cluster.workers == sum(slots) == 16
