"""Faults that strike while a launch runs: signals, children that fail, servers that fail, a file that was cut off, a
clock that jumps, a limit to every file."""

from __future__ import annotations

import random

from benchmarks.chaos.fault import ENDS, NOTE, Ends, Fault

MAKING, CHECKPOINT = "toolkit.training.making", "toolkit.engines.checkpoint"
INSERT = "toolkit.store.database:Store.insert"
ANSWER = "toolkit.engines.scripted:ScriptedEngine._answer"
RECEIVE, STEP = "toolkit.engines.vllm:VllmEngine._receive", "toolkit.training.process:StepLog._take"
VLLM = ("engine.kind=vllm", "engine.python={stand}/bin/vllm", "engine.timeout=8", "engine.options={{}}")
OPENAI = ("engine.kind=openai", "engine.options={{}}", "engine.served_model=M_0", "engine.timeout=1")
LATEST = 0.2  # seconds from an answer to the signal; what follows the last answers, a training, takes longer
MOMENTS = {"SIGKILL": 24, "SIGTERM": 16, "SIGINT": 16}
RECORDS = (
    "launch",
    "prompt",
    "model",
    "response",
    "judgment",
    "pair",
    "pair_set",
    "step",
    "training",
    "training_step",
)
PLACES = (
    ("toolkit.store.database:_create", 1, "before"),
    ("toolkit.store.database:_appear", 1, "before"),
    ("toolkit.store.database:_appear", 1, "after"),
    (f"{MAKING}:_export", 1, "after"),
    (f"{MAKING}:run_trainer", 2, "after"),
    (f"{CHECKPOINT}:adopt_tokenizer", 1, "after"),
    (f"{CHECKPOINT}:promote", 1, "before"),
    (f"{CHECKPOINT}:promote", 1, "after"),
    (f"{CHECKPOINT}:promote", 3, "after"),
    ("toolkit.recipes.run:report_run", 1, "before"),
)


def running(steps: int, answers: int, seed: int) -> list[Fault]:
    """All of them, for a run of so many steps and answers; the seed draws the moments."""
    draw = random.Random(seed)
    moments = [
        moment(name, draw.randint(1, answers - 10), round(draw.uniform(0.0, LATEST), 3))
        for name, count in MOMENTS.items()
        for _ in range(count)
    ]
    boundaries = [
        boundary(name, number) for name in ENDS for number in range(1, steps + 1, 1 if name == "SIGKILL" else 4)
    ]
    commits = [*(committing(table) for table in RECORDS), *(point(*place) for place in PLACES)]
    return (
        moments + boundaries + [chain("SIGKILL")] + commits + trainers() + engines() + endpoints() + limits() + clocks()
    )


def real() -> list[Fault]:
    """All of them, for a run of the embedded model, vLLM and OpenRLHF.

    vLLM fails before the first answer of a batch has arrived: whoever asks for the rest alone asks in another batch,
    which rounds otherwise (docs/determinism.md).
    """
    asked, stepped = {"at": RECEIVE, "number": 2, "when": "before"}, {"at": STEP, "number": 2}
    silent = ("vLLM said nothing for 30 s and was stopped", "raise engine.timeout")
    return [
        *(chain(name) for name in ENDS),
        Fault("vLLM", "killed", "error", inside={**asked, "act": "kill vLLM"}, says=("vLLM was killed by signal 9",)),
        Fault(
            "vLLM", "hangs", "error", inside={**asked, "act": "stop vLLM"}, changes=("engine.timeout=30",), says=silent
        ),
        Fault("OpenRLHF", "killed", "error", inside={**stepped, "act": "kill OpenRLHF"}, says=("killed by signal 9",)),
        Fault("OpenRLHF", "interrupted", "stopped", inside={**stepped, "act": "SIGINT"}),
    ]


def moment(name: str, answers: int, delay: float) -> Fault:
    """A signal so many seconds after the n-th answer, whatever runs then."""
    inside = {"at": ANSWER, "number": answers, "act": name, "delay": delay}
    return Fault(f"{name} at a random moment", f"{delay:.3f} s after answer {answers}", ENDS[name], inside=inside)


def boundary(name: str, number: int) -> Fault:
    """A signal where a stage has ended and the next has not begun."""
    inside = {"at": NOTE, "number": number, "act": name}
    return Fault(f"{name} at a stage boundary", f"after step {number}", ENDS[name], inside=inside)


def chain(name: str) -> Fault:
    """One store, ended after its first step, then after its second, and so on."""
    inside = {"at": NOTE, "act": name}
    return Fault(f"{name} at every stage boundary", "one after the other", ENDS[name], inside=inside, lasting=True)


def committing(table: str, number: int = 1) -> Fault:
    """A kill before the n-th insert into a table."""
    inside = {"at": INSERT, "about": table, "number": number, "when": "before", "act": "SIGKILL"}
    return Fault("SIGKILL between two commits", f"before insert {number} into {table}", "killed", inside=inside)


def point(at: str, number: int, when: str) -> Fault:
    """A kill before or after the n-th call of a function."""
    inside = {"at": at, "number": number, "when": when, "act": "SIGKILL"}
    return Fault("SIGKILL between two commits", f"{when} call {number} of {at}", "killed", inside=inside)


def trainers() -> list[Fault]:
    told = {
        "exit": ("trainer ended with exit code 1", "out of memory, says the scripted trainer", "trainer.log"),
        "killed": ("killed by signal 9", "after", "micro_batch_size"),
        "between": ("killed by signal 9", "micro_batch_size"),
        "partial": ("model.safetensors has", "safetensors header says", "train it again"),
        "short": ("the trainer made 0 of 1 steps", "did not save"),
        "log": ("steps.jsonl", "is no step of a training"),
    }
    cut = ("trainer ended with exit code 1", "trainer.log")
    return [
        *(trainer(fault, *says) for fault, says in told.items()),
        handed("hand-off cut off within a row", "cut", *cut),
        handed(
            "hand-off cut off between two rows",
            "cut a row",
            "the trainer saw 3 of 4 rows",
            "run the same command again",
        ),
    ]


def trainer(fault: str, *says: str) -> Fault:
    """A failure of the scripted trainer."""
    return Fault("trainer", fault, "error", environment={"SCRIPTED_TRAINER_FAIL": fault}, says=says)


def handed(name: str, act: str, *says: str) -> Fault:
    """The rows on their way to the trainer are damaged."""
    return Fault("trainer", name, "error", inside={"at": f"{MAKING}:_export", "act": act}, says=says)


def engines() -> list[Fault]:
    told = {
        "killed:5": ("vLLM was killed by signal 9", "log ", "run again: finished answers are stored"),
        "killed:17": ("vLLM was killed by signal 9", "lower engine.max_num_seqs"),
        "raises:9": ("vLLM ended with exit code 1", "an illegal memory access", "run again"),
        "hangs:6": ("vLLM said nothing for 8 s and was stopped", "raise engine.timeout"),
        "torn:4": ("vLLM was killed by signal 9", "run again"),
        "swap:0": ("vLLM was killed by signal 9", "run again"),
        "start:0": ("vLLM ended with exit code 1", "no memory for the weights", "log "),
    }
    return [*(engine(fault, *says) for fault, says in told.items()), dying(25), dying(11)]


def engine(fault: str, *says: str) -> Fault:
    """A failure of the engine's child process."""
    return Fault("engine child", fault, "error", environment={"CHAOS_ENGINE": fault}, changes=VLLM, says=says)


def dying(answers: int) -> Fault:
    """An engine that raises after so many answers, launch after launch."""
    changes = (f'engine.options={{{{"die_after":{answers}}}}}',)
    says = ("the scripted engine dies here", "engine.options.die_after")
    return Fault(
        "engine", f"dies after {answers} answers, each time", "error", changes=changes, says=says, lasting=True
    )


def endpoints() -> list[Fault]:
    failing = ("did not complete a request", "http://127.0.0.1", "check the server's log")
    told = ("429", "500", "401", "garbage", "half", "no choice", "nothing")
    faults = [endpoint(fault, 9, "error", *failing) for fault in told] + [endpoint("silence", 30, "error", *failing)]
    return faults + [endpoint(fault, 9, "survives", lasts=2) for fault in ("429", "500", "half", "nothing")]


def endpoint(fault: str, answers: int, ends: Ends, *says: str, lasts: int = 10**9) -> Fault:
    """A server that fails after so many answers, for good or for so many requests."""
    name = fault if ends == "error" else f"{fault}, {lasts} times"
    asked = {"fault": fault, "answers": answers, "lasts": lasts}
    return Fault("endpoint", name, ends, endpoint=asked, changes=OPENAI, says=says)


def limits() -> list[Fault]:
    """No file grows beyond so many bytes: what a quota does, also where nobody may mount a small volume."""
    store, file = ("the disk is full", "s.duckdb", "free some space"), ("File too large", "free some space")
    places = [
        ("hand-off", f"{MAKING}:_export", "before", file),
        ("training", f"{MAKING}:run_trainer", "before", ("free some space",)),
        ("outcome", f"{CHECKPOINT}:adopt_tokenizer", "after", file),
        ("report", "toolkit.recipes.run:report_run", "before", file),
    ]
    limited = [
        Fault("file limit", f"at the {name}", "error", says=says, inside={"at": at, "when": when, "act": "full at 100"})
        for name, at, when, says in places
    ]
    sizes = (0, 6_000, 40_000, 400_000)
    return limited + [
        Fault("file limit", f"{size:,} bytes", "error", says=store, inside={"act": f"full at {size}"}) for size in sizes
    ]


def clocks() -> list[Fault]:
    before = {"at": NOTE, "number": 9, "act": "SIGKILL"}
    return [
        Fault("clock", f"ten years {way}", "survives", before=before, inside={"act": f"clock {way}"})
        for way in ("back", "ahead")
    ]
