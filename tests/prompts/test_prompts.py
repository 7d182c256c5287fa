from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.config import Prompts
from toolkit.errors import InputError
from toolkit.prompts.source import load_prompts
from toolkit.prompts.split import parts
from toolkit.records import Prompt


def read(path: Path, **settings: object) -> tuple[Prompt, ...]:
    return load_prompts(Prompts(source=str(path), **settings))  # type: ignore[arg-type]


def test_the_starter_prompts_are_distinct_and_enough_for_the_quick_recipe() -> None:
    assert len(load_prompts(Prompts())) >= 64  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.jsonl", b'{"prompt": "a"}\n{"prompt": \n', "a.jsonl:2"),
        ("a.jsonl", b'{"prompt": "a"}\n\n{"prompt": "b"}\n', "a.jsonl:2"),
        ("a.jsonl", b'{"text": "a"}\n', "prompts.field"),
        ("a.jsonl", b'{"prompt": 3}\n', "a.jsonl:1"),
        ("a.jsonl", b"[1, 2]\n", "a.jsonl:1"),
        ("a.jsonl", b'{"prompt": " \\n "}\n', "empty prompt"),
        ("a.jsonl", b'{"prompt": "a\\u0000b"}\n', "NUL"),
        ("a.jsonl", b'{"prompt": "a\\ud800b"}\n', "surrogate"),
        ("a.txt", b"same\nother\nsame\n", "first at a.txt:1"),
        ("a.txt", b"fine\n\xff\xfe\n", "a.txt:2"),
        ("a.txt", b"", "no prompts"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl:1"),
    ],
)
def test_bad_input_names_value_place_and_remedy(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read(path)
    assert told in str(error.value)
    assert error.value.remedy


def test_a_table_with_values_that_python_has_not_is_refused(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    columns = {"when": pyarrow.array([2**62], pyarrow.timestamp("us")), "bytes": pyarrow.array([b"\xff"])}
    for column in (columns["when"], columns["bytes"].view(pyarrow.string())):
        parquet.write_table(pyarrow.table({"prompt": ["a"], "more": column}), tmp_path / "a.parquet")
        with pytest.raises(InputError, match="no prompts from"):
            read(tmp_path / "a.parquet")


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a")
    with pytest.raises(InputError, match=r"did you mean 'prompts\.txt'"):
        read(tmp_path / "promts.txt")


def test_duplicates_are_dropped_where_the_recipe_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x\ny\nx\n")
    assert [p.text for p in read(tmp_path / "a.txt", duplicates="drop")] == ["x", "y"]


def test_line_ends_and_odd_texts_are_kept_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("emoji 😀\r\nseparator \u2028 inside\r\n<|im_end|>\r\n".encode())
    texts = [p.text for p in read(tmp_path / "a.txt")]
    assert texts == ["emoji 😀", "separator \u2028 inside", "<|im_end|>"]


def test_the_first_user_turn_of_a_chat_is_the_prompt(tmp_path: Path) -> None:
    row = '{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hello"}]}\n'
    (tmp_path / "a.jsonl").write_text(row)
    assert read(tmp_path / "a.jsonl")[0].text == "hello"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_are_read_through_datasets_without_a_network(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pandas

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    frame = pandas.DataFrame({"question": ["one", "two"]})
    path = tmp_path / f"a.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    assert [p.text for p in read(path, field="question")] == ["one", "two"]


PROMPTS = tuple(Prompt(str(i)) for i in range(40))


@given(st.randoms(use_true_random=False), st.integers(1, 10), st.integers(0, 5))
def test_parts_are_disjoint_and_independent_of_file_order(random: object, size: int, seed: int) -> None:
    shuffled = list(PROMPTS)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    made = parts(shuffled, size, 4, seed)
    assert made == parts(PROMPTS, size, 4, seed)
    assert len({prompt.id for part in made for prompt in part}) == 4 * size


def test_more_iterations_leave_earlier_parts_as_they_were() -> None:
    assert parts(PROMPTS, 5, 4, 0)[:2] == parts(PROMPTS, 5, 2, 0)


def test_too_few_prompts_name_both_numbers() -> None:
    with pytest.raises(InputError, match="40 prompts are too few for 5 iterations of 9"):
        parts(PROMPTS, 9, 5, 0)
