"""The parsers against verdicts that others published with their raw replies, and the published tables recounted.

Where a recorded winner contradicts its own reply, the row is listed here with the reason and the parser is left alone.
A row is its number in the file and the order: F as given, T swapped.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from toolkit.evaluation.judge_quality import labelled
from toolkit.judgments.choice import RANKS, Choice, Choices, parse_choice
from toolkit.judgments.pairwise import swap
from toolkit.judgments.verdict import parse_verdict
from toolkit.records import Comparison, Judgment, Model, Prompt, Response, Sampling
from toolkit.store.database import Store

STATED = Choices("{choice} is better", "Output (a)", "Output (b)")
BARE = Choices("{choice}", "Output (a)", "Output (b)")
# The recorded winner is the Output (a) that begins some line of the reply, which says that Output (b) is better.
LINE_START = {
    "GPTInst/PaLM2.CoT": (
        "0T 1T 4T 5F 8T 12T 14F 14T 21F 21T 23F 24F 27F 29T 34F 37F 37T 38T 39T 40T 42F 42T 44F 44T 45T 46F 49F 49T "
        "50T 52F 52T 53T 54F 55F 58T 59T 60F 60T 61T 62T 63T 65F 66F 69F 70F 70T 71F 72F 73T 74F 76T 77F 78F 79F 79T "
        "81F 82F 84T 85F 85T 87T 89T"
    ),
    "Natural/PaLM2.CoT": "0T 2T 6T 7F 11F 13F 18F 32F 34T 40F 50F 57F 64T 68F 71F 74F 79T 85T 86F 95F 95T",
}
# The reply states one output first and the other one last; the recorded winner is the first, ours the last.
FIRST_STATEMENT = {
    "GPTInst/Falcon.CoT": "26T",
    "GPTInst/PaLM2.CoT": "3F",
    "Natural/Falcon.CoT": "7F 74F",
    "Natural/PaLM2.CoT": "35T",
}
# The reply is more than the bare answer asked for, or refuses; the recorded winner is an output that it mentions.
NO_ANSWER = {"GPTInst/Falcon.Metrics": "16F 16T 38F 83F", "GPTInst/LLaMA2.CoT": "82T"}


def rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def files(folder: Path, *, rated: bool) -> dict[str, list[dict[str, Any]]]:
    found = sorted((folder / "judges" / "llmbar").glob("*/*.jsonl.gz"))
    named = {f"{path.parent.name}/{path.name.removesuffix('.jsonl.gz')}": path for path in found}
    return {name: rows(path) for name, path in named.items() if name.endswith("Rating") == rated}


def choices_of(name: str, row: dict[str, Any]) -> Choices:
    """A Swap row that was asked a second time, where both orders disagreed, is answered bare."""
    strategy = name.rpartition(".")[2]
    return STATED if strategy == "CoT" or (strategy == "Swap" and len(row["results"]) == 1) else BARE


def read(name: str, row: dict[str, Any], order: str) -> tuple[Choice, str | None]:
    """The choice in a raw reply, and the output ("1", "2") it stands for in the given order."""
    text, stop = row["results"][-1][f"swap = {order}"]["completion"]
    choice = parse_choice(text, "length" if stop == "length" else "stop", choices_of(name, row))
    sides = {"first": "1", "second": "2"} if order == "False" else {"first": "2", "second": "1"}
    return choice, sides[choice.side] if choice.side else None


def listed(lists: dict[str, str]) -> set[tuple[str, str]]:
    return {(name, place) for name, places in lists.items() for place in places.split()}


def every_row(folder: Path) -> Iterator[tuple[str, str, dict[str, Any], str]]:
    for name, found in files(folder, rated=False).items():
        for number, row in enumerate(found):
            for order in ("False", "True"):
                yield name, f"{number}{order[0]}", row, order


def test_every_recorded_winner_is_read_from_its_reply_but_the_listed_ones(data_folder: Path) -> None:
    count = 0
    differ: set[tuple[str, str]] = set()
    for name, place, row, order in every_row(data_folder):
        count += 1
        recorded = row["results"][-1][f"swap = {order}"]["winner"]
        choice, ours = read(name, row, order)
        if ours != recorded:
            differ.add((name, place))
        elif recorded is None:
            assert choice.status in ("unreadable", "truncated")
    assert count == 4224
    assert differ == listed(LINE_START) | listed(FIRST_STATEMENT) | listed(NO_ANSWER)


def test_the_listed_rows_contradict_their_own_replies_as_their_reason_says(data_folder: Path) -> None:
    for name, place, row, order in every_row(data_folder):
        text = row["results"][-1][f"swap = {order}"]["completion"][0]
        choice, ours = read(name, row, order)
        stated = re.findall(r"Output \((a|b)\) is better", text)
        if (name, place) in listed(LINE_START):
            assert set(stated) == {"b"} and choice.side == "second"
            assert re.search(r"^Output \(a\)", text, re.MULTILINE)
        if (name, place) in listed(FIRST_STATEMENT):
            assert stated[0] != stated[-1] == ("a" if choice.side == "first" else "b")
        if (name, place) in listed(NO_ANSWER):
            assert ours is None and choice.reason
            assert choices_of(name, row) == BARE or "Output (a) or Output (b) is better" in text


@pytest.mark.parametrize("choices", [Choices("Better: {choice}", "A", "B", "tie"), Choices("{choice}", "1", "2")])
def test_no_reply_is_read_by_a_rubric_that_offered_other_words(data_folder: Path, choices: Choices) -> None:
    replies = {row["results"][-1][f"swap = {order}"]["completion"][0] for _, _, row, order in every_row(data_folder)}
    assert all(parse_choice(reply, "stop", choices).side is None for reply in replies)


def tables(folder: Path) -> dict[str, list[int]]:
    """Per file of the README: rows, correct as given, correct swapped, both, the same in both, unparsed in each."""
    text = (folder / "judges" / "README.md").read_text(encoding="utf-8")
    found = {}
    for part in ("Natural", "GPTInst"):
        section = text.split(f"### {part}\n")[1].split("\n#")[0]
        for name, numbers in re.findall(r"^\| (\S+\.\w+) \|([ \d|/]+)\|$", section, re.MULTILINE):
            found[f"{part}/{name}"] = [int(number) for number in re.findall(r"\d+", numbers)]
    assert len(found) == 26
    return found


def recount(winners: list[tuple[str | None, str | None, str]]) -> list[int]:
    right = [(given == label, swapped == label) for given, swapped, label in winners]
    return [
        len(winners),
        *(sum(side) for side in zip(*right, strict=True)),
        sum(all(both) for both in right),
        sum(given == swapped for given, swapped, _ in winners),  # the source counts two unparsed as the same
        *(sum(pair[order] is None for pair in winners) for order in (0, 1)),
    ]


def test_the_published_tables_of_choices_are_recounted(data_folder: Path) -> None:
    disputed = listed(LINE_START) | listed(FIRST_STATEMENT) | listed(NO_ANSWER)
    for name, found in files(data_folder, rated=False).items():
        winners = []
        for number, row in enumerate(found):
            both = [
                row["results"][-1][f"swap = {order}"]["winner"]
                if (name, f"{number}{order[0]}") in disputed
                else read(name, row, order)[1]
                for order in ("False", "True")
            ]
            winners.append((both[0], both[1], str(row["label"])))
        assert recount(winners) == tables(data_folder)[name], name


def test_swap_counts_the_published_share_of_consistent_pairs(data_folder: Path) -> None:
    """Where no row is disputed. The source calls two unreadable orders the same winner; here they are undecided."""
    disputed = {name for name, _ in listed(LINE_START) | listed(FIRST_STATEMENT) | listed(NO_ANSWER)}
    checked = 0
    for name, found in files(data_folder, rated=False).items():
        both = swap([order for number, row in enumerate(found) for order in _orders(name, str(number), row)])
        neither = sum(all(read(name, row, order)[1] is None for order in ("False", "True")) for row in found)
        if name not in disputed:
            checked += 1
            assert both.count("consistent") + neither == tables(data_folder)[name][4], name
            assert sum(both.count(status) for status in ("consistent", "inconsistent", "undecided")) == len(found)
    assert checked == 16


def _orders(name: str, number: str, row: dict[str, Any]) -> list[Comparison]:
    made = []
    for order, (first, second) in (("False", ("1", "2")), ("True", ("2", "1"))):
        choice, ours = read(name, row, order)
        ids = {output: f"{number}-{output}" for output in "12"}
        made.append(
            Comparison(
                ids[first], ids[second], name, "r", Sampling(1, 1, 1), 0, 0, "", choice.status, choice.reason,
                ids[ours] if ours else None,
            )
        )  # fmt: skip
    return made


def test_every_recorded_rating_is_the_number_that_the_reply_is(data_folder: Path) -> None:
    """On a scale of 0 to 10, which is what the recorded ratings cover; one reply is empty."""
    statuses: Counter[str] = Counter()
    for found in files(data_folder, rated=True).values():
        for row in found:
            for side in ("score_1", "score_2"):
                text = row["results"][-1][side][0]
                verdict = parse_verdict(text, "stop", (0, 10), "")
                statuses[verdict.status] += 1
                assert verdict.score == (float(text) if text else None)
    assert statuses == {"scored": 767, "unreadable": 1}


def test_the_published_tables_of_ratings_are_recounted(data_folder: Path) -> None:
    """The source calls equal ratings a win of 2 as given and of 1 swapped, and an empty one against 0 likewise half."""
    ties: Counter[str] = Counter()
    for name, found in files(data_folder, rated=True).items():
        winners = []
        for row in found:
            last = row["results"][-1]
            scores = [parse_verdict(last[side][0], "stop", (0, 10), "").score for side in ("score_1", "score_2")]
            one, two = (-1.0 if score is None else score for score in scores)
            if None in scores:
                both = ("1", "2")
            elif one == two:
                both, ties[name] = ("2", "1"), ties[name] + 1
            else:
                both = ("1", "1") if one > two else ("2", "2")
            assert both == (last["swap = False"]["winner"], last["swap = True"]["winner"])
            winners.append((*both, str(row["label"])))
        assert recount(winners) == tables(data_folder)[name], name
    assert [ties[f"{part}/{judge}.Rating"] for part in ("Natural", "GPTInst") for judge in ("GPT-4", "ChatGPT")] == [
        10, 47, 11, 50,
    ]  # fmt: skip


def test_structured_verdicts_are_read_as_recorded_and_equal_ranks_are_a_tie(data_folder: Path) -> None:
    found: Counter[tuple[str, object]] = Counter()
    for row in rows(data_folder / "judges" / "alpaca_eval_cot" / "claude-2.1.jsonl.gz"):
        places = row["referenced_models"] or {}
        first = next((word for word, output in places.items() if output == "output_1"), "m")
        choices = Choices(RANKS, first, {"m": "M", "M": "m"}[first])
        choice = parse_choice(json.dumps(row["raw_completion"]), "stop", choices)
        found[choice.status, row["preference"]] += 1
        if choice.side:
            assert choice.side == {1.0: "first", 2.0: "second"}[row["preference"]]
    assert found == {("decided", 1.0): 699, ("decided", 2.0): 103, ("tie", 1.0): 1, ("unreadable", 1.5): 2}


def test_bare_verdicts_are_read_as_named_and_garbage_is_unreadable(data_folder: Path) -> None:
    folder = data_folder / "judges" / "pandalm"
    judged, people = (
        [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]
        for name in ("gpt-3.5-turbo_first_500.jsonl", "testset_first_500.jsonl")
    )
    choices = [parse_choice(row["gpt_result"], "stop", Choices("{choice}", "1", "2", "Tie")) for row in judged]
    assert Counter(choice.status for choice in choices) == {"decided": 463, "tie": 15, "unreadable": 22}
    assert Counter(choice.side for choice in choices) == {"first": 243, "second": 220, None: 37}
    votes = [Counter(row[f"annotator{i}"] for i in (1, 2, 3)).most_common(1)[0][0] for row in people]
    assert (
        sum({"first": 1, "second": 2, None: -1}[c.side] == vote for c, vote in zip(choices, votes, strict=True)) == 325
    )


def test_three_ratings_of_an_answer_are_averaged_to_the_published_mean(data_folder: Path, tmp_path: Path) -> None:
    rated = rows(data_folder / "judges" / "prometheus" / "vicuna_eval.jsonl.gz")
    rater, author = Model.external("gpt-4"), Model.external("vicuna")
    prompts = [Prompt(f"{number}. {row['instruction'][-200:]}") for number, row in enumerate(rated)]
    answers = [Response(prompt.id, author.id, "unknown", 0, None, None, text="an answer") for prompt in prompts]
    with Store(tmp_path / "s.duckdb") as store:
        store.add([rater, author], launch="test")
        store.add(prompts, launch="test")
        store.add(answers, launch="test")
        verdicts = [
            Judgment(answer.id, rater.id, None, "given", None, draw, None, "", "scored", "", float(score))
            for answer, row in zip(answers, rated, strict=True)
            for draw, score in enumerate(row["gpt4_score"])
        ]
        store.add(verdicts, launch="test")
        ratings = labelled(store, "gpt-4").ratings[rater.id]
    assert len(verdicts) == 960 and len(ratings) == 320
    assert sum(ratings.values()) / 320 == pytest.approx(4.1458333333, abs=1e-10)
