"""Judgement examples out of the store: rated answers of a pair set, with the written verdicts of a judge.

    import a preference file with scores     python -m toolkit import ultrafeedback.parquet rated
    let a judge write verdicts on it         python -m toolkit rescore rated --judge MODEL --set judge.method=generated
    write the examples                       python -m toolkit judgement-examples rated --judge MODEL --out eft.jsonl

The ratings are the scores that the set was imported with. Contradicting verdicts are left in: who learns from the
file drops them and counts them (judgements.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from toolkit.demonstrations.judgements import RatedAnswer
from toolkit.errors import InputError
from toolkit.judgments.rubric import Rubric
from toolkit.judgments.verdict import justification
from toolkit.pairs.versions import resolve
from toolkit.store.database import Store
from toolkit.trust.safe_files import write_file

_SQL = """
WITH side AS (
    SELECT prompt_text AS prompt, chosen AS response, chosen_text AS answer, chosen_score AS rating
    FROM pairs WHERE pair_set = $set
    UNION
    SELECT prompt_text, rejected, rejected_text, rejected_score FROM pairs WHERE pair_set = $set
)
SELECT s.prompt, s.answer, s.rating, arg_min(j.reply, (j.draw, j.id)) AS reply,
    arg_min(j.score, (j.draw, j.id)) AS score
FROM side s JOIN judgment j ON j.response = s.response
WHERE s.rating IS NOT NULL AND j.judge = $judge AND j.rubric = $rubric
    AND j.method = 'generated' AND j.status = 'scored'
GROUP BY ALL ORDER BY ALL
"""


def rated_answers(store: Store, reference: str, judge: str, rubric: Rubric) -> list[RatedAnswer]:
    """The answers of a set that have a rating and a readable, justified verdict of this judge (its id)."""
    version = resolve(store, reference)
    rows = store.query(_SQL, {"set": version.id, "judge": judge, "rubric": rubric.id})
    found = [
        RatedAnswer(row["prompt"], row["answer"], row["rating"], justification(row["reply"], rubric.lead), row["score"])
        for row in rows
    ]
    made = [answer for answer in found if answer.justification]
    if not made:
        raise InputError(
            f"{version.id} has no rated answer with a written verdict of {judge}",
            remedy=f"python -m toolkit rescore {version.id} --judge {judge} --set judge.method=generated",
        )
    return made


def write_examples(answers: Sequence[RatedAnswer], path: Path) -> None:
    """As `sft.data` reads them, one JSON object a line."""
    rows = ({key: value for key, value in vars(answer).items() if key != "place"} for answer in answers)
    write_file(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
