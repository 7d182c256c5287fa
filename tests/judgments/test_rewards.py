"""The shipped rewards: noise knows nothing of quality, constraints checks what the generated prompts state."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from statistics import fmean

import pytest

from toolkit.config import Prompts
from toolkit.judgments.reward import load_function, reward_model
from toolkit.judgments.rewards.constraints import constraints
from toolkit.judgments.rewards.noise import noise
from toolkit.prompts.constraints import EACH, EXCLUSIVE, FORMS, constraint_prompts, read_constraints
from toolkit.prompts.source import is_local, load_labels, load_prompts

CASES = [
    ("most_words", "4", "One two three four.", "One two three four five."),
    ("sentences", "2", 'It rains. "Really?"', "It rains."),
    ("no_commas", "", "First then last", "First, then last"),
    ("lower_case", "", "all of it, 3 times.", "All of it"),
    ("first_word", "today", "Today, it rains", "It rains today"),
    ("contains", "stone", "A Stone, it seems.", "A stonemason."),
    ("question", "", "Is it so? ", "It is so."),
    ("exclamation", "", "It is so!", "It is so"),
    ("no_digits", "", "three", "3"),
    ("bullets", "2", "- one\n  - two", "- one\n* two"),
]


@pytest.mark.parametrize(("kind", "value", "good", "bad"), CASES)
def test_each_constraint_is_read_from_the_prompt_and_checked(kind: str, value: str, good: str, bad: str) -> None:
    prompt = f"Write about the sea. {FORMS[kind].format(value)}"
    assert read_constraints(prompt) == [(kind, value)]
    assert constraints(prompt, good, None) == 1.0 and constraints(prompt, bad, None) == 0.0


def test_the_reward_is_the_share_of_constraints_met() -> None:
    prompt = f"Write. {FORMS['no_commas']} {FORMS['no_digits']} {FORMS['question']} {FORMS['contains'].format('road')}"
    assert constraints(prompt, "The road, is it long?", None) == 0.75
    assert constraints(prompt, " ", None) == 0.0, "an empty answer has no comma and no digit, and meets nothing"
    assert constraints("Write about the sea.", "Any answer.", None) is None


def test_generated_prompts_are_seeded_different_and_state_four_constraints_that_do_not_exclude_each_other() -> None:
    prompts = list(constraint_prompts(500))
    assert len(set(prompts)) == 500 and prompts[:20] == list(constraint_prompts(20))
    kinds = [{kind for kind, _ in read_constraints(prompt)} for prompt in prompts]
    assert {len(of) for of in kinds} == {EACH} and set().union(*kinds) == set(FORMS)
    assert not any(pair <= of for of in kinds for pair in EXCLUSIVE)


def test_the_generator_is_a_source_of_prompts() -> None:
    settings = Prompts(source="constraints", count=12, seed=5)  # type: ignore[call-arg]
    found = load_prompts(settings)
    assert [prompt.text for prompt in found] == list(constraint_prompts(12))
    assert (found[2].source, is_local(settings), load_labels(settings)) == ("constraints:3", True, {})


def test_noise_is_uniform_repeatable_and_blind() -> None:
    answers = [f"answer {i}" for i in range(2000)]
    scores = [noise("p", answer, None) for answer in answers]
    assert scores == [noise("p", answer, "label") for answer in answers]
    assert min(scores) >= 0 and max(scores) < 1 and abs(fmean(scores) - 0.5) < 0.03
    assert noise("p", "a", None) != noise("q", "a", None)


@pytest.mark.parametrize("name", ["noise", "constraints"])
def test_a_shipped_reward_is_a_judge_by_name_whatever_the_prompts(name: str, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "2 + 2?", "answer": "4"}\n')
    labelled = Prompts(source=str(tmp_path / "p.jsonl"))  # type: ignore[call-arg]
    judge = reward_model(f"toolkit:{name}", Prompts())  # type: ignore[call-arg]
    assert judge == reward_model(f"toolkit:{name}", labelled) and (judge.name, judge.path) == (f"toolkit:{name}", "")
    prompt = next(islice(constraint_prompts(1), 1))
    score = load_function(f"toolkit:{name}")(prompt=prompt, answer="one two", label=None)
    assert score == {"noise": noise, "constraints": constraints}[name](prompt, "one two", None)
