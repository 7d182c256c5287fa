"""Secrets in what a child is started with: refused, since every user of a machine can read a process's arguments.

A child inherits this process's environment, so that a variable does the same without being seen, stored or logged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.errors import RecipeError
from toolkit.redaction import MASK, hidden, holds_secret, redact

# Fields of a recipe that reach the arguments of a trainer, an engine or Ray as they are.
OPTIONS = ("trainer.options", "engine.options")
TEXTS = (
    "trainer.attention", "trainer.hostfile", "trainer.python", "training.scheduler", "sft.scheduler",
    "engine.cluster.address", "engine.python",
)  # fmt: skip
LISTS = ("trainer.launcher", "lora.target_modules")
VARIABLES = {  # part of an option's name -> the variable that the library reads itself
    "wandb": "WANDB_API_KEY", "hf": "HF_TOKEN", "hub": "HF_TOKEN", "hugging": "HF_TOKEN",
    "mlflow": "MLFLOW_TRACKING_TOKEN", "openai": "OPENAI_API_KEY", "vllm": "VLLM_API_KEY", "comet": "COMET_API_KEY",
    "neptune": "NEPTUNE_API_TOKEN", "swanlab": "SWANLAB_API_KEY", "aws": "AWS_SECRET_ACCESS_KEY",
    "s3": "AWS_SECRET_ACCESS_KEY", "azure": "AZURE_STORAGE_CONNECTION_STRING", "modelscope": "MODELSCOPE_API_TOKEN",
    "api_key": "VLLM_API_KEY", "cluster.address": "RAY_ADDRESS",
}  # fmt: skip


def refuse_secrets(recipe: Mapping[str, Any]) -> None:
    """Raise RecipeError where a field that reaches a child's arguments holds a secret. recipe: resolved, as JSON."""
    for place in OPTIONS:
        for name, value in (_at(recipe, place) or {}).items():
            if holds_secret(name, value):
                raise _refused(f"{place}.{name}", name)
    for place in TEXTS:
        if hidden(text := str(_at(recipe, place) or "")) != text:
            raise _refused(place, place)
    for place in LISTS:
        refuse_in_words(_at(recipe, place) or (), place)


def refuse_in_words(words: Sequence[str], place: str) -> None:
    """The same for words of a command line."""
    before = place
    for word, clean in zip(words, redact(words), strict=True):
        if word != clean:
            raise _refused(place, word.partition("=")[0] if clean != MASK else before)
        before = word


def _at(recipe: Mapping[str, Any], place: str) -> Any:
    value: Any = recipe
    for name in place.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _refused(place: str, name: str) -> RecipeError:
    variable = next((variable for part, variable in VARIABLES.items() if part in name.lower().replace("-", "_")), "")
    remedy = f"export {variable or 'the variable that the library reads it from'} and leave it out here"
    if variable == "WANDB_API_KEY":  # any value of OpenRLHF's flag turns W&B on; the variable is then what logs in
        remedy = f"export WANDB_API_KEY, and set {name} = 'true'"
    return RecipeError(
        "a secret: every user of this machine could read it among the arguments of a process",
        where=place,
        remedy=remedy,
    )
