"""What a study compares and which tests will be read, stated and stored before anything runs.

    arm          a recipe with its settings: one table of the comparison's TOML
    seed         moves prompts, answers and training together; the seed is the unit of every test
    condition    a judge, or any other change of the common fields, under which all arms run ("" for none)
    endpoint     one number per seed: treatment minus control (endpoints.py)

Two declarations with one `digest` state the same study. A declaration that changed between two seeds is shown as such.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from toolkit.errors import RecipeError
from toolkit.identity import content_id
from toolkit.study.endpoints import ENDPOINTS

ALPHA = 0.05


@dataclass(frozen=True)
class Declaration:
    """A study, as it was declared. treatment, control: two of the arms, or "" where no test was declared.

    arms, seeds and conditions are in the order of the file. endpoints: names in ENDPOINTS; the Holm family of each
    condition. equal: budgets in which treatment and control must be equal. claim: the conditions under which every
    endpoint must favor the treatment before the difference may be claimed; a study without conditions needs none: its
    endpoints are the claim. negative: the condition whose judge knows nothing (noise), "" for none.
    """

    study: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    conditions: tuple[str, ...] = ("",)
    treatment: str = ""
    control: str = ""
    equal: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    claim: tuple[str, ...] = ()
    negative: str = ""

    @property
    def claim_conditions(self) -> tuple[str, ...]:
        """Under which conditions every endpoint must favor the treatment; () where no claim was declared."""
        return ("",) if self.endpoints and self.conditions == ("",) else self.claim

    @property
    def ruling(self) -> str:
        """The endpoint by which the negative control is read: quality, or the first one where quality is none."""
        return "quality" if "quality" in self.endpoints else next(iter(self.endpoints), "")

    @property
    def digest(self) -> str:
        """Of everything but the seeds: a study that runs further seeds is the same study, and shows that it did."""
        return content_id("study", {name: value for name, value in self.as_json().items() if name != "seeds"})

    def as_json(self) -> dict[str, Any]:
        """As plain JSON: lists for tuples."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: object) -> Declaration:
        """The stored declaration. Raises RecipeError where it is damaged."""
        try:
            if unknown := sorted(data.keys() - cls.__dataclass_fields__.keys()):
                raise ValueError(f"unknown key {unknown[0]!r}")
            return TypeAdapter(cls).validate_python(dict(data)).checked(where)
        except ValueError as error:
            remedy = "write the summary of this seed again"
            raise RecipeError(f"a damaged declaration: {str(error)[:200]}", where=where, remedy=remedy) from error

    def checked(self, where: object) -> Declaration:
        """The declaration itself. Raises RecipeError where it names an arm, a condition or an endpoint it lacks."""
        _refuse("a study has the seed", _repeated(self.seeds), where, "name each seed once")
        if bool(self.treatment) != bool(self.control) or (self.treatment and self.treatment == self.control):
            raise RecipeError(
                f"treatment = {self.treatment!r} and control = {self.control!r}",
                where=where,
                remedy="name two arms, or neither",
            )
        named = {"treatment": (self.treatment, self.arms), "control": (self.control, self.arms)}
        named["negative"] = (self.negative, self.conditions)
        for key, (value, known) in named.items():
            if value and value not in known:
                raise RecipeError(f"{key} = {value!r}", where=where, remedy=f"name one of {', '.join(known)}")
        for key, values, known in (
            ("endpoints", self.endpoints, tuple(ENDPOINTS)),
            ("claim", self.claim, self.conditions),
        ):
            if unknown := [value for value in values if value not in known]:
                raise RecipeError(f"{key} has {unknown[0]!r}", where=where, remedy=f"name some of {', '.join(known)}")
            _refuse(f"{key} has", _repeated(values), where, "name each once")
        if (self.endpoints or self.equal) and not self.treatment:
            key = "endpoints" if self.endpoints else "equal"
            raise RecipeError(f"{key} without treatment and control", where=where, remedy="name two arms")
        if self.claim and not self.endpoints:
            raise RecipeError("claim without endpoints", where=where, remedy="name the endpoints that are tested")
        if self.negative in self.claim and self.negative:
            problem = f"{self.negative!r} is in claim and is the negative control"
            raise RecipeError(problem, where=where, remedy="name two different conditions")
        return self


def _repeated(values: Sequence[Any]) -> list[Any]:
    return [value for place, value in enumerate(values) if value in values[:place]]


def _refuse(what: str, repeated: Sequence[Any], where: object, remedy: str) -> None:
    if repeated:
        raise RecipeError(f"{what} {repeated[0]!r} twice", where=where, remedy=remedy)
