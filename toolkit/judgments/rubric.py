"""Rubrics: what a judge is told, as a text file.

    # comments
    scale: 0-5
    lead: "Score: "
    [system]
    ...
    [user]
    ... {instruction} ... {response} ... {fence}

Placeholders are filled in one pass, so braces and placeholders inside a candidate stay what they are. {fence} is
derived from both texts and occurs in neither: a candidate cannot close its own frame.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import InputError
from toolkit.identity import Json, content_id

SHIPPED = Path(__file__).parent / "rubrics"
_PLACEHOLDER = re.compile(r"\{(instruction|response|fence)\}")


@dataclass(frozen=True)
class Rubric:
    """Scale (lowest, highest points), the words that lead the score, both messages. `id` hashes all but the name."""

    name: str
    scale: tuple[int, int]
    lead: str
    system: str
    user: str

    @property
    def id(self) -> str:
        return content_id("Rubric", self.body())

    @property
    def single_digit(self) -> bool:
        return 0 <= self.scale[0] < self.scale[1] <= 9

    def body(self) -> dict[str, Json]:
        return {"scale": list(self.scale), "lead": self.lead, "system": self.system, "user": self.user}

    def messages(self, instruction: str, response: str) -> list[dict[str, str]]:
        """The judge's conversation about one candidate."""
        values = {"instruction": instruction, "response": response, "fence": _fence(instruction + response)}
        user = _PLACEHOLDER.sub(lambda found: values[found[1]], self.user)
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": user}]


def load_rubric(name: str) -> Rubric:
    """The shipped rubric of this name, or the one in this file. Raises InputError."""
    path = SHIPPED / f"{name}.txt"
    if not path.is_file():
        path = Path(name).expanduser()
    if not path.is_file():
        shipped = sorted(known.stem for known in SHIPPED.glob("*.txt"))
        near = difflib.get_close_matches(name, shipped, n=1, cutoff=0.0)
        raise InputError(
            f"no rubric {name!r}", where="judge.rubric", remedy=f"did you mean {near[0]!r}? or name a file"
        )
    return parse_rubric(path.read_text(encoding="utf-8"), path)


def parse_rubric(text: str, path: Path) -> Rubric:
    """A rubric from the text of its file."""
    head, *sections = re.split(r"^\[(system|user)\]\n", text, flags=re.MULTILINE)
    parts = dict(zip(sections[::2], (section.strip() for section in sections[1::2]), strict=True))
    fields = dict(line.split(":", 1) for line in head.splitlines() if ":" in line and not line.startswith("#"))
    scale = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", fields.get("scale", ""))
    if not scale or int(scale[1]) >= int(scale[2]):
        raise InputError(f"scale {fields.get('scale')!r}", where=path, remedy="write for example: scale: 0-5")
    missing = [word for word in ("{instruction}", "{response}", "{fence}") if word not in parts.get("user", "")]
    if missing:
        raise InputError(f"[user] lacks {', '.join(missing)}", where=path, remedy="add the placeholders to [user]")
    lead = fields.get("lead", '"Score: "').strip().strip('"')
    return Rubric(path.stem, (int(scale[1]), int(scale[2])), lead, parts.get("system", ""), parts["user"])


def _fence(text: str) -> str:
    fence = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
    while fence in text:
        fence = hashlib.sha256(fence.encode()).hexdigest()[:8]
    return fence
