"""The program that runs alpaca_eval 0.6.6, unmodified, in a process of its own; the parent is process.py.

Importing alpaca_eval sets the root logger and its fit sets scikit-learn's configuration, so neither happens in the
toolkit's process. One JSON object a line: the job comes first; what is said back has a `kind`. It imports nothing
of the toolkit. Its caches are off and it writes nothing beside what `job["folder"]` holds.

Jobs: "rates" gives the win rates of judged rows. "annotate" lets an annotator judge rows, a chunk at a time; with
`asked_back` the completions come from the parent ("prompts"), otherwise from a server ("cost", before any call).
"""

from __future__ import annotations

import difflib
import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

CHUNK = 128  # rows judged between two reports
TOP_LOGPROBS = 20  # of other judges; a label that is not among them counts as impossible
CLIENT = "openai_completions"  # others load models here, pickled weights too, or take other keys to other servers
CHARACTERS_A_TOKEN = 4  # of English text, for the estimate of costs
Completions = Callable[..., dict[str, Any]]


class Talk:
    """Standard input and output as JSON lines; whatever prints in here goes to standard error."""

    def __init__(self) -> None:
        self._out: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def say(self, kind: str, **message: Any) -> None:
        self._out.write(json.dumps({"kind": kind, **message}) + "\n")
        self._out.flush()

    def hear(self) -> Any:
        line = sys.stdin.readline()
        if not line:
            sys.exit("the parent is gone")
        return json.loads(line)


def rates(job: dict[str, Any], talk: Talk) -> None:
    """Raw win rate; with `length_controlled` also the refit. Every row carries `index`, never its own position."""
    import pandas as pd
    from alpaca_eval.metrics import get_winrate

    frame = pd.DataFrame.from_records(job["rows"])
    frame["preference"] = frame["preference"].astype(float)
    found = _length_controlled(frame) if job["length_controlled"] else get_winrate(frame)
    talk.say("rates", rates={name: _number(value) for name, value in found.items()})


def _length_controlled(frame: Any) -> dict[str, Any]:
    """alpaca_eval's own fit, and the C that its cross-validation chose; None where nothing was fitted."""
    from alpaca_eval.metrics import get_length_controlled_winrate, glm_winrate

    stock, chosen = glm_winrate.fit_LogisticRegressionCV, list[float]()

    def fit(*data: Any, **settings: Any) -> Any:
        model = stock(*data, **settings)
        chosen.append(float(getattr(model, "C_", [math.nan])[0]))
        return model

    glm_winrate.fit_LogisticRegressionCV = fit
    try:
        found = dict(get_length_controlled_winrate(frame, save_weights_dir=None, is_warn_extreme_changes=False))
    finally:
        glm_winrate.fit_LogisticRegressionCV = stock
    return found | {"lc_penalty_C": chosen[0] if chosen else None}


def annotate(job: dict[str, Any], talk: Talk) -> None:
    """The preference of every row by one annotator configuration, in the row order."""
    import pandas as pd
    from alpaca_eval.annotators import PairwiseAnnotator

    annotator = PairwiseAnnotator(annotators_config=_configuration(job), caching_path=None)
    replies: list[str] = []
    for single in annotator.annotators.values():
        single.is_shuffle = False  # the order of the rows alone; that of the two outputs has its own seed
        single.fn_completions = _heard(_asked_back(talk) if job["asked_back"] else single.fn_completions, replies)
    if not job["asked_back"]:
        talk.say("cost", **_cost(job["rows"], list(annotator.annotators.values())))
        talk.hear()
    for start in range(0, len(job["rows"]), CHUNK):
        rows = job["rows"][start : start + CHUNK]
        replies.clear()
        judged = {row["index"]: _number(row["preference"]) for row in annotator.annotate_pairs(pd.DataFrame(rows))}
        said = _by_row(rows, replies)
        talk.say("rows", rows=[[row["index"], judged[row["index"]], said.get(row["index"], "")] for row in rows])
    talk.say("done")


def _configuration(job: dict[str, Any]) -> str:
    """The official configuration's name, or a folder with a copy of it under the judge's own name and settings."""
    from alpaca_eval.constants import EVALUATORS_CONFIG_DIR
    from alpaca_eval.utils import load_configs

    if not (EVALUATORS_CONFIG_DIR / job["annotator"] / "configs.yaml").is_file():
        near = difflib.get_close_matches(job["annotator"], os.listdir(EVALUATORS_CONFIG_DIR), 1)
        sys.exit(
            f"alpaca_eval has no annotator configuration {job['annotator']!r}; nearest: {', '.join(near) or 'none'}"
        )
    (config,) = load_configs(job["annotator"], relative_to=EVALUATORS_CONFIG_DIR).values()
    if (client := config.get("fn_completions")) != CLIENT:
        sys.exit(f"the annotator {job['annotator']!r} uses {client}, only {CLIENT} is supported: name another")
    if not job["changes"]:
        return str(job["annotator"])
    config["prompt_template"] = str(EVALUATORS_CONFIG_DIR / config["prompt_template"])
    config["completions_kwargs"] |= job["changes"]
    if "top_logprobs" in config["completions_kwargs"]:
        config["completions_kwargs"]["top_logprobs"] = TOP_LOGPROBS
    folder = Path(job["folder"], job["name"])
    folder.mkdir()
    (folder / "configs.yaml").write_text(json.dumps({job["name"]: config}), encoding="utf-8")  # JSON is YAML
    return str(folder)


def _asked_back(talk: Talk) -> Completions:
    from alpaca_eval.utils import prompt_to_chatml

    def complete(prompts: list[str], **_: Any) -> dict[str, Any]:
        talk.say("prompts", prompts=[prompt_to_chatml(prompt) for prompt in prompts])
        made = talk.hear()
        nothing = [0.0] * len(made)
        texts = [one["text"] for one in made]
        return {
            "completions": texts,
            "completions_all": made,
            "price_per_example": nothing,
            "time_per_example": nothing,
        }

    return complete


def _heard(complete: Completions, replies: list[str]) -> Completions:
    """The same completions, their texts kept: alpaca_eval drops those it cannot read."""

    def listening(**asked: Any) -> dict[str, Any]:
        made = complete(**asked)
        replies.extend(str(text) for text in made["completions"])
        return made

    return listening


def _by_row(rows: list[dict[str, Any]], replies: list[str]) -> dict[int, str]:
    """Identical outputs are not judged; where several rows share a prompt, no reply belongs to one row."""
    asked = [row["index"] for row in rows if row["output_1"] != row["output_2"]]
    return dict(zip(asked, replies, strict=True)) if len(asked) == len(replies) else {}


def _cost(rows: list[dict[str, Any]], singles: list[Any]) -> dict[str, Any]:
    """Tokens that the prompts have at about 4 characters a token, and US dollars at alpaca_eval's own price."""
    from alpaca_eval.decoders.openai import _get_price_per_token

    single = singles[0]
    texts = [row[name] for row in rows if row["output_1"] != row["output_2"] for name in row if name != "index"]
    prompts = sum(row["output_1"] != row["output_2"] for row in rows)
    tokens = (sum(map(len, texts)) + prompts * len(single.prompt_template)) // CHARACTERS_A_TOKEN
    known = single.completions_kwargs
    price = _get_price_per_token(str(known.get("model_name")), known.get("price_per_token"))
    return {"prompts": prompts, "tokens": tokens, "dollars": _number(price * tokens)}


def _number(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


JOBS = {"rates": rates, "annotate": annotate}

if __name__ == "__main__":
    talk = Talk()
    job = talk.hear()
    JOBS[job["kind"]](job, talk)
