"""The model card (README.md) of an exported checkpoint: where it comes from, what it learnt, how it measured.

Everything in it is read from the store. No path of this machine is: a base model is named by its hub id or its
folder's last part.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit import __version__
from toolkit.engines import embedded, find
from toolkit.records import Model
from toolkit.redaction import redact_mapping
from toolkit.reporting.board.cells import Column, measured
from toolkit.reporting.board.leaderboard import heads
from toolkit.reporting.tables import show, table
from toolkit.safe_text import in_markdown
from toolkit.store.database import Store

_CHAIN = """
WITH RECURSIVE chain AS (
    SELECT id, 0 AS depth FROM model WHERE id = $model
    UNION ALL
    SELECT t.parent, c.depth + 1 FROM chain c JOIN model m ON m.id = c.id JOIN training t ON t.id = m.training
)
SELECT
    m.name AS model, m.id, m.path, m.weights, coalesce(t.pair_set, t.demonstration_set) AS "trained on",
    s.fingerprint, t.row_count AS rows, r.name AS reference, t.settings
FROM chain c
JOIN model m ON m.id = c.id
LEFT JOIN training t ON t.id = m.training
LEFT JOIN pair_set s ON s.id = t.pair_set
LEFT JOIN model r ON r.id = t.reference
ORDER BY c.depth
"""
_JUDGED = """
SELECT
    x.pair_set AS "set", count(*) AS pairs, avg(x.gap ORDER BY x.gap) AS gap,
    string_agg(DISTINCT j.name, ', ' ORDER BY j.name) AS judge,
    avg(x.chosen_characters) AS "chosen length", avg(x.rejected_characters) AS "rejected length"
FROM pairs x LEFT JOIN model j ON j.id = x.judge WHERE list_contains($sets, x.pair_set) GROUP BY ALL ORDER BY ALL
"""
_SCORES = """
SELECT task, metric, settings::VARCHAR AS settings, value, n FROM score WHERE model = ? AND task <> 'judge' ORDER BY ALL
"""
_LIMITS = """
- It learnt from preferences that a model gave on answers of models. What that judge favours without reason, for example
  length or a manner, is learnt with the rest.
- The toolkit made no test of safety, bias or factual truth. What was not measured below is not known.
- Scores by a judge of one's own are not comparable with public leaderboards. An interval says what the choice of
  questions leaves open, not what another seed of training would have given.
- Languages and intended use are not known to the toolkit: say them here before you publish.
"""


def model_card(store: Store, model: Model, folder: Path) -> str:
    """Markdown with the front matter that the hub reads. folder: beside which the checkpoints of the store lie."""
    chain = store.query(_CHAIN, {"model": model.id})
    base = folder / chain[-1]["path"]
    licence, origin = find.licence(base), _origin(base)
    known = in_markdown(licence or "not known to the toolkit; find it before you publish")
    return "\n".join(
        [
            _front(licence, origin, chain),
            f"# {in_markdown(model.name)}\n",
            f"A causal language model, written by temporal-toolkit {__version__} from its store.\n",
            f"- Model `{model.id}`, weights `{model.weights}`, tokenizer and template `{model.template}`",
            f"- Base model: {in_markdown(origin)}",
            f"- Licence of the base model: {known}\n",
            _lineage(chain),
            _pairs(store, [row["trained on"] for row in chain if row["fingerprint"]]),
            _scores(store, model),
            f"## Limits\n{_LIMITS}",
        ]
    )


def _front(licence: str | None, origin: str, chain: Sequence[Mapping[str, Any]]) -> str:
    from huggingface_hub import ModelCardData

    tags = ["self-rewarding", *(["dpo"] if any(row["reference"] for row in chain) else [])]
    about = {"license": licence, "library_name": "transformers", "pipeline_tag": "text-generation", "tags": tags}
    about |= {"base_model": origin} if origin.count("/") == 1 else {}
    return f"---\n{ModelCardData(**about).to_yaml()}\n---\n"


def _origin(base: Path) -> str:
    """The base model's hub id, or the last part of its folder. A snapshot of the hub's cache lies in models--A--B."""
    if base == embedded.prepared():
        return embedded.ORIGIN
    cached = next((part for part in base.parts if part.startswith("models--")), "")
    return cached.removeprefix("models--").replace("--", "/") or base.name


def _lineage(chain: Sequence[Mapping[str, Any]]) -> str:
    if len(chain) == 1:
        return "## Training\n\nNone by the toolkit: this is a base model.\n"
    shown = [{key: row[key] for key in row if key not in ("path", "settings")} for row in chain]
    settings = json.dumps(redact_mapping(json.loads(chain[0]["settings"])), indent=2, sort_keys=True)
    words = "Each model was trained from the one below it; reference is DPO's. Settings of the last training:"
    return f"{table('Training', shown).markdown()}\n{words}\n\n```json\n{settings}\n```\n"


def _pairs(store: Store, sets: Sequence[str]) -> str:
    rows = store.query(_JUDGED, {"sets": list(sets)}) if sets else []
    return table("Pairs it learnt from", rows).markdown() if rows else ""


def _scores(store: Store, model: Model) -> str:
    rows = store.query(_SCORES, [model.id])
    if not rows:
        return f"## Evaluation\n\nNot measured. `python -m toolkit evaluate {model.id} --suite FILE` measures it.\n"
    columns = [Column(row["task"], row["metric"], row["settings"]) for row in rows]
    lines = []
    for row, column, head in zip(rows, columns, heads(columns), strict=True):
        cell = measured(store, model.id, column, row["value"], row["n"])
        span = cell.method if cell.low is None else f"[{show(cell.low)}, {show(cell.high)}], {cell.method}"
        lines.append({"measure": head, "value": row["value"], "95 % interval": span, "n": row["n"]})
    return table("Evaluation", lines).markdown()
