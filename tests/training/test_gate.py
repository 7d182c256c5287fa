"""The token gate: every reason has a row that only it explains, and the good row has none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from toolkit import config
from toolkit.errors import GateError
from toolkit.training.gate import (
    CHECKS,
    REMEDIES,
    Row,
    check_share,
    cut_answer,
    effective_batch,
    export_answer,
    gate,
    inspect_row,
)
from toolkit.training.tokens import encode, trainer_tokens

PROMPT = "<|im_start|>user\nthe quick brown fox?<|im_end|>\n<|im_start|>assistant\n"
GOOD = Row("p1", "q1", PROMPT, "the quick fox", "the brown fox")
TRAINING = config.Training(max_length=64, max_prompt_length=48, batch_size=4)
KEEP, DROP = config.Gate(cut_answers="keep"), config.Gate(cut_answers="drop")


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


def reasons(row: Row, tokenizer: Any, **training: Any) -> list[str]:
    settings = TRAINING.model_copy(update=training)
    return [finding.reason for finding in inspect_row(row, tokenizer, settings, KEEP)]


def test_a_good_row_has_no_finding(tokenizer: Any) -> None:
    assert reasons(replace(GOOD, prompt_tokens=encode(tokenizer, PROMPT)), tokenizer) == []


@pytest.mark.parametrize("empty", ["", "  \n", "\t"])
def test_an_answer_of_white_space_is_empty(tokenizer: Any, empty: str) -> None:
    assert reasons(replace(GOOD, rejected=empty), tokenizer)[0] == "empty_answer"


def test_answers_that_differ_in_trailing_newlines_alone_are_equal(tokenizer: Any) -> None:
    assert reasons(replace(GOOD, rejected=GOOD.chosen + "\n\n"), tokenizer) == ["equal_text"]


@pytest.mark.parametrize("token", ["<|im_end|>", "<|im_start|>", "<|endoftext|>"])
def test_a_spelled_control_token_in_an_answer_is_found(tokenizer: Any, token: str) -> None:
    (finding,) = inspect_row(replace(GOOD, chosen=f"the {token} fox"), tokenizer, TRAINING, KEEP)
    assert finding.reason == "special_token_text" and token in finding.detail and "chosen" in finding.detail


def test_other_tokens_than_generation_saw_are_found_with_the_place(tokenizer: Any) -> None:
    seen = encode(tokenizer, PROMPT)
    row = replace(GOOD, prompt_tokens=(*seen[:3], seen[3] + 1, *seen[4:]))
    (finding,) = inspect_row(row, tokenizer, TRAINING, KEEP)
    assert finding.reason == "prompt_tokens_differ" and finding.detail.endswith("difference at 3")


def test_a_prompt_is_too_long_by_our_limit_or_by_the_trainers(tokenizer: Any) -> None:
    length = len(encode(tokenizer, PROMPT))
    assert reasons(GOOD, tokenizer, max_prompt_length=length) == []
    assert reasons(GOOD, tokenizer, max_prompt_length=length - 1) == ["prompt_too_long"]
    assert "prompt_too_long" not in reasons(GOOD, tokenizer, max_length=length + 3)
    assert "prompt_too_long" in reasons(GOOD, tokenizer, max_length=length + 2)


def test_a_prompt_that_merges_with_its_answer_is_found(tokenizer: Any) -> None:
    row = Row("p", "q", "the qui", "ck brown fox", " fox")
    (finding,) = inspect_row(row, tokenizer, TRAINING, KEEP)
    assert finding.reason == "boundary_merge" and finding.detail.endswith("not the first of chosen")


def test_answers_with_a_long_common_start_are_identical_tokens(tokenizer: Any) -> None:
    row = replace(GOOD, chosen="fox " * 60 + "yes", rejected="fox " * 60 + "no")
    assert reasons(row, tokenizer) == ["identical_tokens", "loses_end"]


def test_answers_that_differ_at_the_last_kept_token_alone_are_identical_tokens(tokenizer: Any) -> None:
    row = replace(GOOD, chosen="fox fox 1 and more", rejected="fox fox 2 and more")
    place = len(encode(tokenizer, PROMPT + "fox fox 1"))
    assert "identical_tokens" in reasons(row, tokenizer, max_length=place)
    assert reasons(row, tokenizer, max_length=place + 1) == ["loses_end"]


def test_an_answer_that_just_fits_keeps_its_end(tokenizer: Any) -> None:
    length = len(encode(tokenizer, PROMPT + GOOD.chosen + "<|im_end|>"))
    assert reasons(GOOD, tokenizer, max_length=length) == []
    assert "loses_end" in reasons(GOOD, tokenizer, max_length=length - 1)


def test_cut_answers_are_counted_or_dropped_as_the_recipe_says(tokenizer: Any) -> None:
    rows = [replace(GOOD, chosen_cut=True), replace(GOOD, subject="p2", chosen="the fox")]
    kept = gate(rows, tokenizer, TRAINING, KEEP)
    dropped = gate(rows, tokenizer, TRAINING, DROP)
    assert len(kept.kept) == 2 and kept.warnings == {"cut_answer": 1}
    assert [drop.reason for drop in dropped.drops] == ["cut_answer"] and dropped.warnings == {}


def test_a_repeated_row_is_dropped_and_names_the_first(tokenizer: Any) -> None:
    report = gate([GOOD, replace(GOOD, subject="p2", prompt_id="q2")], tokenizer, TRAINING, KEEP)
    (drop,) = report.drops
    assert (drop.reason, drop.pair, drop.prompt) == ("duplicate", "p2", "q2") and "p1" in drop.detail


def test_the_tokens_of_a_set_are_those_of_both_sides_of_its_kept_rows_as_the_trainer_cuts_them(tokenizer: Any) -> None:
    rows = [GOOD, replace(GOOD, chosen="the quick brown fox " * 20), replace(GOOD, rejected=GOOD.chosen)]
    training = TRAINING.model_copy(update={"max_length": 2048})
    texts = [(GOOD.chosen, GOOD.rejected), (rows[1].chosen, rows[1].rejected)]
    sides = [export_answer(text or "", tokenizer.eos_token) for pair in texts for text in pair]
    counted = sum(len(trainer_tokens(tokenizer, PROMPT, answer, 2048)) for answer in sides)
    report = gate(rows, tokenizer, training, KEEP)
    assert (len(report.kept), report.tokens) == (2, counted)


def test_every_row_is_kept_or_dropped_in_its_order_whatever_the_text(tokenizer: Any) -> None:
    texts = ["", "a", "🦊🦊", "a\r\nb\r\n", "\x00nul", "\u202eright to left", "x" * 5000, "e\u0301", "ends\n"]
    rows = [Row(f"{i}-{j}", f"q{i}", PROMPT, a, b) for i, a in enumerate(texts) for j, b in enumerate(texts)]
    report = gate(rows, tokenizer, TRAINING, KEEP)
    seen = [row.subject for row in report.kept] + [drop.pair for drop in report.drops]
    assert sorted(map(str, seen)) == sorted(row.subject for row in rows)
    assert report == gate(rows, tokenizer, TRAINING, KEEP)
    for row in report.kept:
        chosen, rejected = (
            trainer_tokens(tokenizer, row.prompt, export_answer(text, "<|im_end|>"), TRAINING.max_length)
            for text in (row.chosen, row.rejected)
        )
        assert chosen != rejected
        assert chosen == encode(tokenizer, row.prompt + row.chosen + "<|im_end|>"), "the trainer changes this row"


def test_every_drop_has_numbers_or_names_and_every_reason_a_remedy(tokenizer: Any) -> None:
    rows = [GOOD, GOOD, replace(GOOD, chosen="x" * 500), replace(GOOD, rejected="")]
    assert all(drop.detail for drop in gate(rows, tokenizer, TRAINING, KEEP).drops)
    assert set(REMEDIES) == {check.__name__ for check in (*CHECKS, cut_answer)} | {"duplicate"}


def test_too_many_drops_stop_the_run_with_the_counts_and_a_remedy(tokenizer: Any) -> None:
    rows = [GOOD, *(replace(GOOD, subject=f"x{i}", rejected="") for i in range(2)), replace(GOOD, subject="y")]
    report = gate(rows, tokenizer, TRAINING, KEEP)
    check_share(report, config.Gate(max_dropped=0.75))
    with pytest.raises(GateError, match=r"1 of 4 rows .* 2 empty_answer, 1 duplicate") as caught:
        check_share(report, config.Gate(max_dropped=0.74))
    assert caught.value.remedy


def test_no_pair_left_is_an_error_even_where_all_may_be_dropped(tokenizer: Any) -> None:
    for rows in ([], [replace(GOOD, chosen="")]):
        with pytest.raises(GateError):
            check_share(gate(rows, tokenizer, TRAINING, KEEP), config.Gate(max_dropped=1.0))


@pytest.mark.parametrize(("pairs", "found"), [(4, (4, 0)), (11, (4, 3)), (400, (4, 0))])
def test_the_batch_and_what_an_epoch_leaves_out(pairs: int, found: tuple[int, int]) -> None:
    assert effective_batch(pairs, TRAINING) == found


def test_a_set_smaller_than_the_batch_is_refused_or_shrinks_the_batch() -> None:
    with pytest.raises(GateError, match="3 rows do not fill one batch of 4"):
        effective_batch(3, TRAINING)
    shrink = TRAINING.model_copy(update={"small_sets": "shrink"})
    assert effective_batch(3, shrink) == (3, 0)
    with pytest.raises(GateError, match="no row"):
        effective_batch(0, shrink)
