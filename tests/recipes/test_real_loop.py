"""The whole loop on the embedded model, vLLM and OpenRLHF, killed with SIGKILL in every stage and run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import needs
from toolkit import config
from toolkit.engines import checkpoint, embedded
from toolkit.engines.chat import Chat
from toolkit.engines.protocol import Engine, Request
from toolkit.engines.transformers import TransformersEngine
from toolkit.engines.vllm import VllmEngine
from toolkit.records import Sampling
from toolkit.store.database import Store
from toolkit.store.lineage import lineage

SMALL = (
    "prompts.part_size=4", "answers.k=2", "answers.max_tokens=24", "pairs.max_tied=1.0", "gate.max_dropped=1.0",
    "training.batch_size=2", "training.micro_batch_size=2", "training.epochs=1", "training.learning_rate=1e-4",
)  # fmt: skip
MOMENTS: dict[str, Callable[[str, Path], bool]] = {
    "generation": lambda told, folder: True,
    "judging": lambda told, folder: "0 answers of M_0 as present" in told,
    "pairing": lambda told, folder: "0 verdicts of M_0 on past answers" in told,
    "training": lambda told, folder: any(folder.glob("trainings/*/trainer.log")),
}
GREEDY = Sampling(0.0, 1.0, 24)


def run_until(line: list[str], folder: Path, moment: Callable[[str, Path], bool], seconds: float) -> str:
    """Run the command, kill its process group `seconds` after the moment, and return what it said."""
    log = folder / "log.txt"
    with log.open("w") as words:
        process = subprocess.Popen(line, stdout=words, stderr=words, start_new_session=True)
    while process.poll() is None and not ((folder / "s.duckdb").exists() and moment(log.read_text(), folder)):
        time.sleep(0.05)
    time.sleep(seconds)
    assert process.poll() is None, f"ended before it could be killed:\n{log.read_text()}"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return log.read_text()


def trainer_processes(folder: Path) -> list[str]:
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in found.splitlines() if "launcher.py" in line and str(folder) in line]


@pytest.mark.real
@pytest.mark.timeout(3600)  # six launches of a real run
@pytest.mark.timeout(1800)  # 12 minutes were seen on two busy AVX2 cores
def test_a_real_run_killed_in_every_stage_ends_whole_and_its_model_is_another(tmp_path: Path) -> None:
    needs("vllm", "openrlhf", embedded.PACKAGE)
    base = embedded.prepare()
    line = [sys.executable, "-m", "toolkit.recipes.temporal", "--iters", "1", "--store", str(tmp_path / "s.duckdb")]
    line += [word for change in SMALL for word in ("--set", change)]
    for stage, moment in MOMENTS.items():
        run_until(line, tmp_path, moment, 8.0 if stage in ("generation", "judging") else 0.0)
    end = time.monotonic() + 60
    while trainer_processes(tmp_path) and time.monotonic() < end:
        time.sleep(0.5)
    assert trainer_processes(tmp_path) == [], "the trainer of a killed run is gone"
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "answers of M_0 as present                  nothing to do" in done.stderr

    with Store(tmp_path / "s.duckdb", read_only=True) as store:
        assert store.named("law") == []
        made = store.query("SELECT role, count(*) AS n, count(DISTINCT (prompt, draw)) AS d FROM response GROUP BY ALL")
        assert sorted((row["role"], row["n"], row["d"]) for row in made) == [
            ("future", 8, 8), ("past", 8, 8), ("present", 8, 8),
        ]  # fmt: skip
        assert store.query("SELECT count(*) AS n, count(DISTINCT response) AS d FROM judgment") == [{"n": 24, "d": 24}]
        assert [row["name"] for row in store.query("SELECT name FROM model ORDER BY name")] == ["M_0", "M_1", "M_f0"]
        assert store.query("SELECT count(*) AS n FROM training") == [{"n": 2}]
        steps = store.query("SELECT value FROM training_step WHERE metric = 'grad_norm'")
        traced = lineage(store, "M_1")
        trained = tmp_path / store.query("SELECT path FROM model WHERE name = 'M_1'")[0]["path"]
    assert steps
    assert all(row["value"] > 0 for row in steps)
    assert all('"mass"' in row["reply"] for row in traced)

    again = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "everything was stored already" in again.stdout
    checkpoint.verify(trained)
    before, after = greedy(base), greedy(trained)
    assert before != after, "training changed no answer"
    assert after == greedy(trained, TransformersEngine), "vLLM and transformers load the same model"


def greedy(path: Path, kind: Callable[[Path, config.Engine], Engine] = VllmEngine) -> list[str]:
    """Greedy answers to four questions, in float32, where two engines agree to the token."""
    chat = Chat.load(path)
    engine = kind(path, config.Engine(device="cpu", dtype="float32", max_model_len=256, max_num_seqs=8))
    questions = ["Why does bread rise?", "Name three birds.", "What is rain?", "How do I sleep better?"]
    prompts = [chat.tokens([{"role": "user", "content": question}]) for question in questions]
    answers = {
        done.id: done.text for done in engine.complete([Request(str(i), p, GREEDY, 0) for i, p in enumerate(prompts)])
    }
    engine.close()
    return [answers[str(i)] for i in range(len(prompts))]
