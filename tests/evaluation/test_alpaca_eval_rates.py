"""Win rates of published judgements against the published leaderboard, and every trap of the rows."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import needs
from toolkit.errors import InputError
from toolkit.evaluation.alpaca_eval import rates
from toolkit.evaluation.alpaca_eval.rates import (
    LengthControl,
    baseline_digest,
    indexed,
    instructions_digest,
    published_lc,
    win_rates,
)

Row = dict[str, Any]
MODELS = ("phi-2", "phi-2-sft", "gemma-2b-it", "vicuna-13b-v1.5", "claude-2.1", "FuseChat-Llama-3.1-8B-Instruct")
QUESTIONS = ["Name a colour.", "Name a tree.", "Name a river.", "Name a metal.", "Name a bird.", "Name a game."]
BASELINE = [{"index": i, "instruction": q, "output": "x" * (i + 3)} for i, q in enumerate(QUESTIONS)]


@pytest.fixture(autouse=True)
def _installed() -> None:
    needs("alpaca_eval")


def lines(path: Path) -> list[Row]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.decode("utf-8").split("\n") if line]


def table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row[""]: row for row in csv.DictReader(file)}


def published(folder: Path, name: str) -> tuple[list[Row], list[Row], list[Row]]:
    """Outputs, references and annotations of one model, indexed."""
    references = lines(folder / "reference_outputs.gpt4_1106_preview.jsonl.gz")
    instructions = [row["instruction"] for row in references]
    outputs, annotations = (lines(folder / kind / f"{name}.jsonl.gz") for kind in ("model_outputs", "annotations"))
    return indexed(outputs, instructions), indexed(references, instructions), indexed(annotations, instructions)


def surrogate(folder: Path) -> Path:
    return folder / "df_gamed_surrogate.csv"


def outputs(*texts: str) -> list[Row]:
    return [{"index": i, "output": text} for i, text in enumerate(texts)]


def judged(*preferences: float | None) -> list[Row]:
    return [{"index": i, "preference": preference} for i, preference in enumerate(preferences)]


@pytest.mark.parametrize("name", MODELS)
def test_published_judgements_have_the_published_rates(data_folder: Path, name: str) -> None:
    folder = data_folder / "alpaca_eval"
    want = table(folder / "leaderboard.csv")[name]
    said, known, annotations = published(folder, name)
    found = win_rates(said, known, annotations, LengthControl(surrogate(folder)))
    assert found.win_rate == pytest.approx(float(want["win_rate"]), abs=1e-6)
    assert found.standard_error == pytest.approx(float(want["standard_error"]), abs=1e-6)
    assert found.n == int(want["n_total"]) and found.instructions == 805
    if found.n == 805:
        assert found.lc_win_rate == pytest.approx(float(want["length_controlled_winrate"]), abs=0.2)
    assert found.lc == "surrogate df_gamed" and not found.lc_reason
    assert int(found.mean_length * len(said) / 805) == int(want["avg_length"])
    assert found.lc_penalty is not None and found.lc_penalty > 0
    assert "at most 0.15 points of difference were seen on 15 models" in found.remark
    few = found.remark.startswith("n is 803 of 805 instructions") and "1.6 to 2.5 points" in found.remark
    assert few == (name == "phi-2")


def test_phi_2_has_its_published_lc_win_rate_only_with_the_difficulties_of_other_instructions(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The board fitted its 803 rows by their own positions; two instructions are missing, so most rows are moved."""
    folder = data_folder / "alpaca_eval"
    want = float(table(folder / "leaderboard.csv")["phi-2"]["length_controlled_winrate"])
    said, known, annotations = published(folder, "phi-2")
    control = LengthControl(surrogate(folder))
    right = win_rates(said, known, annotations, control).lc_win_rate
    moved = [{**known[row["index"]], "index": place} for place, row in enumerate(said)]
    monkeypatch.setattr(rates, "BOARD_INSTRUCTIONS", instructions_digest(moved))
    monkeypatch.setattr(rates, "BOARD_BASELINE", baseline_digest(moved))
    placed = [[{**row, "index": place} for place, row in enumerate(rows)] for rows in (said, annotations)]
    wrong = win_rates(placed[0], moved, placed[1], control).lc_win_rate
    assert wrong == pytest.approx(want, abs=0.2)
    assert right == pytest.approx(want - 0.5, abs=0.1)


@pytest.mark.parametrize("name", [*MODELS, "phi-2-dpo"])
def test_published_weights_give_the_published_lc_win_rate(data_folder: Path, name: str) -> None:
    folder = data_folder / "alpaca_eval"
    want, weights = table(folder / "leaderboard.csv")[name], table(folder / "glm_weights.csv")[name]
    known = [row["instruction_difficulty"] for row in lines(folder / "instruction_difficulty.jsonl")]
    pair = (float(weights["instruction_difficulty"]), float(weights["not_gamed_baseline.astype(float)"]))
    rate, error = published_lc(pair, known[: int(want["n_total"])])
    assert rate == pytest.approx(float(want["length_controlled_winrate"]), abs=1e-6)
    if want["lc_standard_error"]:
        assert error == pytest.approx(float(want["lc_standard_error"]), abs=1e-6)


def test_the_order_of_the_rows_decides_nothing(data_folder: Path) -> None:
    folder = data_folder / "alpaca_eval"
    said, known, annotations = published(folder, "claude-2.1")
    control = LengthControl(surrogate(folder))
    some = annotations[400:500]
    found = win_rates(said, known, some, control)
    assert win_rates(said[::-1], known, some[::-1], control) == found
    assert found.n == 100 and found.lc_win_rate is not None
    assert "these are others" in win_rates(said, known[::-1], some, control).lc_reason  # that file has an order


def _bare(rows: list[Row]) -> list[Row]:
    return [{"index": row["index"], "preference": row["preference"]} for row in rows]


def test_a_model_whose_answers_are_the_baselines_has_exactly_half(data_folder: Path) -> None:
    folder = data_folder / "alpaca_eval"
    _, known, annotations = published(folder, "claude-2.1")
    found = win_rates(known, known, judged(*[0.0] * len(annotations)), LengthControl(surrogate(folder)))
    assert (found.win_rate, found.lc_win_rate, found.n) == (50.0, 50.0, 805)


def test_another_judge_baseline_or_instruction_set_has_no_lc_win_rate_but_a_raw_one(data_folder: Path) -> None:
    folder = data_folder / "alpaca_eval"
    said, known, annotations = published(folder, "phi-2-sft")
    some, control = _bare(annotations)[:40], LengthControl(surrogate(folder))
    others = [*known[:-1], {**known[-1], "output": "other"}]
    cases = {
        "not for alpaca_eval_gpt4": win_rates(said, known, some, replace(control, judge="alpaca_eval_gpt4")),
        "and this is another": win_rates(said, others, some, control),
        "these are others": win_rates(said, known[:-1], some, control),
        "no df_gamed.csv was given": win_rates(said, known, some, LengthControl()),
    }
    for reason, found in cases.items():
        assert reason in found.lc_reason and reason in found.remark
        assert found.lc_win_rate is None and found.win_rate is not None and found.n == 40


def test_the_data_sets_own_file_is_known_by_its_checksum_and_any_other_is_a_surrogate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "df_gamed.csv"
    path.write_text(rates.GAMED_COLUMNS + "\n")
    control = LengthControl(path)
    assert (LengthControl().label, control.label) == ("", "surrogate df_gamed")
    monkeypatch.setattr(rates, "DF_GAMED", control.digest)
    assert control.label == "df_gamed"


def test_a_file_that_is_no_df_gamed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "df_gamed.csv"
    with pytest.raises(InputError, match="no file"):
        win_rates([], [], [], LengthControl(path))
    path.write_text("model,preference\n")
    with pytest.raises(InputError, match="the columns are 'model,preference'"):
        win_rates([], [], [], LengthControl(path))


def test_unread_preferences_leave_the_mean_and_are_counted() -> None:
    found = win_rates(outputs("a", "bb", "c", "d"), BASELINE, judged(2.0, None, 1.0, float("nan")), LengthControl())
    assert (found.win_rate, found.n, found.unread) == (50.0, 2, 2)
    assert "n is 2 of 6 instructions; 2 preferences could not be read" in found.remark


def test_draws_written_as_0_or_1_5_count_half() -> None:
    found = win_rates(outputs("a", "bb", "c"), BASELINE, judged(0, 1.5, 2.0), LengthControl())
    assert found.win_rate == pytest.approx(200 / 3) and found.n == 3


def test_without_one_readable_preference_there_is_a_reason_and_no_rate() -> None:
    found = win_rates(outputs("a", "bb"), BASELINE, judged(None, None), LengthControl())
    assert (found.win_rate, found.n, found.reason) == (None, 0, "no preference could be read")


def test_equal_length_differences_and_single_rows_have_no_lc_win_rate(data_folder: Path) -> None:
    folder = data_folder / "alpaca_eval"
    _, known, _ = published(folder, "phi-2-sft")
    longer = [{**row, "output": row["output"] + "!"} for row in known]
    control = LengthControl(surrogate(folder))
    for rows in (judged(1.0, 2.0, 1.25), judged(1.75)):
        found = win_rates(longer, known, rows, control)
        assert "all length differences are equal" in found.lc_reason
        assert found.lc_win_rate is None and found.win_rate is not None


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Row], LengthControl]:
    """100 instructions with a baseline's answers, and a df_gamed.csv whose judge likes length, as if they were the
    board's: no public data is needed."""
    known = [{"index": i, "instruction": f"Name thing {i}.", "output": "x" * (40 + i % 7)} for i in range(100)]
    monkeypatch.setattr(rates, "BOARD_INSTRUCTIONS", instructions_digest(known))
    monkeypatch.setattr(rates, "BOARD_BASELINE", baseline_digest(known))
    gamed = [
        f"{name},{preference},{i},{sign * (0.5 + i % 5 / 5)},{(i % 11 - 5) / 5},False\n"
        for name, sign, preference in (("verbose", -1, 0.64), ("concise", 1, 0.23))
        for i in range(100)
    ]
    (tmp_path / "df_gamed.csv").write_text("".join([rates.GAMED_COLUMNS + "\n", *gamed]))
    return known, LengthControl(tmp_path / "df_gamed.csv")


def test_where_lengths_are_the_baselines_the_lc_win_rate_is_the_plain_one(
    made_up: tuple[list[Row], LengthControl],
) -> None:
    """Within half a point (measured: 0.22), since the fit is a penalised one. Where no length at all differs there is
    no fit, but for the baseline's own answers exactly half."""
    known, control = made_up
    verdicts = judged(*(2.0 if i * 37 % 100 < 70 else 1.0 for i in range(100)))
    equal = ["y" * len(row["output"]) for row in known]
    one_longer = win_rates(outputs(*equal[:3], equal[3] + 50 * "y", *equal[4:]), known, verdicts, control)
    assert one_longer.win_rate == 70.0 and one_longer.lc_win_rate == pytest.approx(70.0, abs=0.5)
    none_longer = win_rates(outputs(*equal), known, verdicts, control)
    assert (none_longer.win_rate, none_longer.lc_win_rate) == (70.0, None)
    assert "all length differences are equal" in none_longer.lc_reason
    own = win_rates(known, known, judged(*[0.0] * 100), control)
    assert (own.win_rate, own.lc_win_rate) == (50.0, 50.0)


@pytest.mark.parametrize(
    ("said", "annotations", "problem"),
    [
        ([{"output": "a"}], judged(1.0), "index None of an output is no position"),
        ([*outputs("a"), *outputs("a")], judged(1.0), "index 0 of an output is given twice"),
        (outputs("a"), judged(1.0, 2.0), "annotation 1 has no output"),
        (outputs("a"), judged(2.5), "preference 2.5"),
        (outputs("a"), [{"index": 0, "preference": 1.0, "output_2": "b"}], "judged another output_2"),
        (outputs("a"), [{"index": 0, "preference": 1.0, "output_1": "b"}], "judged another output_1"),
    ],
)
def test_rows_that_do_not_belong_together_are_refused(said: list[Row], annotations: list[Row], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        win_rates(said, BASELINE, annotations, LengthControl())


def test_an_instruction_that_the_file_lacks_is_refused() -> None:
    assert indexed([{"instruction": "Name a bird."}], QUESTIONS) == [{"instruction": "Name a bird.", "index": 4}]
    with pytest.raises(InputError, match="1 rows have an instruction that the instruction file lacks: 'Name a fish"):
        indexed([{"instruction": "Name a fish."}], QUESTIONS)
