"""What `auto` means on this CPU and on others, and what is warned of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import needs
from toolkit import hardware, precision
from toolkit.config import Recipe, parse
from toolkit.errors import RecipeError

LAPTOP, SKYLAKE = "fpu avx avx2 fma", "fpu avx avx2 fma avx512f avx512bw avx512vl"
Machine = Callable[..., None]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A processor with these flags, without a GPU, under this limit of oneDNN."""

    def build(flags: str, limit: str = "", name: str = "flags") -> None:
        file = tmp_path / "cpuinfo"
        file.write_text(f"processor\t: 0\nmodel name\t: Some CPU\n{name}\t\t: {flags}\n")
        monkeypatch.setattr(hardware, "CPUINFO", file)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
        hardware.instruction_sets.cache_clear()

    yield build  # type: ignore[misc]
    hardware.instruction_sets.cache_clear()


@pytest.mark.parametrize(
    ("flags", "limit", "name", "chosen"),
    [
        (LAPTOP, "", "flags", "float32"),
        (SKYLAKE, "", "flags", "float32"),
        (f"{SKYLAKE} avx512_bf16", "", "flags", "bfloat16"),
        (f"{SKYLAKE} amx_tile amx_bf16", "", "flags", "bfloat16"),
        (f"{SKYLAKE} avx512_bf16", "AVX2", "flags", "float32"),
        (f"{SKYLAKE} avx512_bf16", "avx512_core", "flags", "float32"),
        (f"{SKYLAKE} avx512_bf16", "AVX512_CORE_BF16", "flags", "bfloat16"),
        (f"{SKYLAKE} amx_bf16", "AVX512_CORE_BF16", "flags", "float32"),
        (f"{SKYLAKE} avx512_bf16", "DEFAULT", "flags", "bfloat16"),
        ("fp asimd sve bf16", "", "Features", "bfloat16"),
        ("fp asimd", "", "Features", "float32"),
    ],
)
def test_auto_is_bfloat16_only_where_the_processor_has_instructions_for_it(
    machine: Machine, flags: str, limit: str, name: str, chosen: str
) -> None:
    machine(flags, limit, name)
    assert precision.resolve_dtype("auto", "cpu") == precision.resolve_dtype("auto", "auto") == chosen
    assert precision.resolve_dtype("auto", "gpu") == "bfloat16"
    assert [precision.resolve_dtype(dtype, "cpu") for dtype in ("bfloat16", "float32")] == ["bfloat16", "float32"]


def test_a_system_without_cpuinfo_computes_in_float32(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(LAPTOP)
    monkeypatch.setattr(hardware, "CPUINFO", tmp_path / "missing")
    hardware.instruction_sets.cache_clear()
    assert hardware.instruction_sets() == () and precision.resolve_dtype("auto", "cpu") == "float32"


def test_a_launch_keeps_the_instruction_sets(machine: Machine) -> None:
    machine(f"{SKYLAKE} avx512_bf16 sse4_2")
    found = hardware.hardware()
    assert found["cpu"] == "Some CPU" and found["instruction_sets"] == [
        "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_bf16"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("engine", "trainer", "chosen"),
    [
        ("auto", "auto", ("bfloat16", "bfloat16")),
        ("auto", "float32", ("float32", "float32")),
        ("bfloat16", "float32", ("bfloat16", "float32")),
        ("float32", "auto", ("float32", "bfloat16")),
    ],
)
def test_an_engine_left_to_auto_serves_what_is_trained_without_rounding_it(
    machine: Machine, engine: str, trainer: str, chosen: tuple[str, str]
) -> None:
    machine(f"{SKYLAKE} avx512_bf16")
    recipe = parse({"engine": {"dtype": engine}, "trainer": {"dtype": trainer}})
    named = precision.resolve_recipe(recipe)
    assert (named.engine.dtype, named.trainer.dtype) == chosen
    assert precision.resolve_recipe(named) == named
    rounds = [line for line in precision.warnings(recipe) if "rounds the float32 weights" in line]
    assert bool(rounds) is (chosen == ("bfloat16", "float32"))


def test_a_named_dtype_that_is_slow_here_is_warned_of_with_the_measured_ratio(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(LAPTOP)
    monkeypatch.setattr(precision, "rates", lambda: {"float32": 160.0, "bfloat16": 1.3, "float16": 150.0})
    slow = parse({"engine": {"dtype": "bfloat16"}, "trainer": {"dtype": "bfloat16"}})
    engine, trainer = precision.warnings(slow)
    assert "engine.dtype = bfloat16 is 123 times slower than float32" in engine and "1.3 against 160 GFLOP/s" in engine
    assert "trainer.dtype = bfloat16" in trainer and "auto takes float32" in trainer
    assert precision.warnings(parse({"trainer": {"dtype": "float16"}})) == [], "measured, and not slow"
    assert precision.warnings(parse({})) == []
    served = parse({"engine": {"dtype": "bfloat16", "kind": "scripted"}})
    assert precision.warnings(served) == [], "the scripted engine has no arithmetic"
    monkeypatch.setattr(precision, "rates", dict)
    assert "could not be measured" in precision.warnings(slow)[0]


def test_nothing_is_measured_where_the_processor_is_known_to_be_fast(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(f"{SKYLAKE} avx512_bf16")
    monkeypatch.setattr(precision, "rates", lambda: pytest.fail("measured for nothing"))
    assert precision.warnings(parse({"engine": {"dtype": "bfloat16"}, "trainer": {"dtype": "bfloat16"}})) == []


def test_the_first_line_says_what_is_computed_in_and_why(machine: Machine) -> None:
    machine(LAPTOP)
    said = precision.summary(parse({"engine": {"dtype": "bfloat16"}}))
    assert said == "dtype: engine bfloat16 (named), trainer float32; this CPU has no bfloat16 instructions"
    machine(f"{SKYLAKE} avx512_bf16", "AVX2")
    assert precision.summary(Recipe()).endswith("has avx512_bf16, but ONEDNN_MAX_CPU_ISA=AVX2 rules it out")


@pytest.mark.parametrize(("word", "dtype"), [("half", "float16"), ("bf16", "bfloat16"), ("float", "float32")])
def test_the_words_of_other_tools_are_read(word: str, dtype: str) -> None:
    """A store of an earlier launch holds whatever vLLM accepted."""
    assert parse({"engine": {"dtype": word}}).engine.dtype == dtype


@pytest.mark.parametrize("wrong", ["fp8", "int8"])
def test_an_unknown_dtype_is_refused_with_the_known_ones(wrong: str) -> None:
    with pytest.raises(RecipeError, match="'auto', 'bfloat16', 'float16' or 'float32'"):
        parse({"engine": {"dtype": wrong}})


@pytest.mark.parametrize(("part", "option"), [("trainer", "ds.param_dtype"), ("engine", "dtype")])
def test_a_dtype_among_the_options_counts_as_the_field_and_may_not_contradict_it(part: str, option: str) -> None:
    """By the field a training has its id, and records, prices and warnings their dtype."""
    recipe = parse({part: {"options": {option: "fp16", "other": 1}}})
    assert (getattr(recipe, part).dtype, getattr(recipe, part).options) == ("float16", {"other": 1})
    assert parse({part: {"dtype": "float16", "options": {option: "fp16"}}}) == parse({part: {"dtype": "float16"}})
    with pytest.raises(RecipeError, match="name one"):
        parse({part: {"dtype": "float32", "options": {option: "fp16"}}})


@pytest.mark.parametrize(("capability", "chosen"), [(None, "bfloat16"), (9.0, "bfloat16"), (7.5, "float32")])
def test_auto_on_a_gpu_is_bfloat16_from_ampere_on(
    capability: float | None, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "compute_capability", lambda: capability)
    assert precision.resolve_dtype("auto", "gpu") == chosen


def test_rates_of_emulated_arithmetic_are_kept_apart(machine: Machine) -> None:
    machine(LAPTOP)
    assert [precision.kind(dtype) for dtype in ("float32", "bfloat16", "float16")] == [
        "float32", "slow bfloat16", "slow float16"
    ]  # fmt: skip
    assert precision.kind("bfloat16", ["avx2", "avx512_bf16"]) == "bfloat16"


def test_every_dtype_is_measured_in_a_process_of_its_own() -> None:
    needs("torch")
    measured = precision.rates()
    assert set(measured) == {"float32", "bfloat16", "float16"} and min(measured.values()) > 0
