"""win_rates(): AlpacaEval's win rate and length-controlled (LC) win rate of judged pairs, by alpaca_eval's own code.

The LC fit needs df_gamed.csv: how AlpacaEval's judge rated two baselines written to be long and to be short. The
real file is known by its checksum; any other is a stand-in (surrogate.py), which holds for that judge and
that baseline alone. Where the fit would mean something else, there is no LC win rate but a reason, beside the raw one.

Rows carry `index`, the position of their instruction in the instruction file: alpaca_eval takes the difficulty by it,
and without it by the row's own position. Left out: the length-control variants without gamed rows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from toolkit.errors import InputError
from toolkit.evaluation.alpaca_eval.process import Child, Job
from toolkit.identity import content_id

BOARD_JUDGE = "weighted_alpaca_eval_gpt4_turbo"
BOARD_INSTRUCTIONS = "ba06e3ad328f6437bf3106bb"  # digest of AlpacaEval's instructions
BOARD_BASELINE = "623a0ca6a7ef4545f36ff95a"  # of gpt4_1106_preview's outputs to them
DF_GAMED = "97aeec3f1c7de6dee6fd31fe66f1702623f4614c3efe1c6fc5f4927cd5fd674d"  # sha256 of the data set's own file
GAMED_COLUMNS = "model,preference,index,std_delta_len,instruction_difficulty,not_gamed_baseline"
BOARD_ROWS = 805
FEW_ROWS = (
    "the public board gives row i the difficulty of instruction i even where rows are missing, this fit the "
    "difficulty of the row's own instruction; differences of 1.6 to 2.5 points were seen, of 0.5 on phi-2"
)
SURROGATE_BOUND = (
    "fitted with a surrogate of df_gamed.csv, whose cross-validation may choose another penalty C (stored as "
    "lc_penalty_C); at most 0.15 points of difference were seen on 15 models"
)
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class LengthControl:
    """The df_gamed.csv of the fit (None: no fit), and the annotator configuration that judged."""

    df_gamed: Path | None = None
    judge: str = BOARD_JUDGE

    @property
    def label(self) -> str:
        """ "df_gamed" for the data set's own file, "surrogate df_gamed" for any other, "" for none."""
        if self.df_gamed is None:
            return ""
        return "df_gamed" if self.digest == DF_GAMED else "surrogate df_gamed"

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.df_gamed.read_bytes()).hexdigest() if self.df_gamed else ""

    def check(self) -> None:
        """Raises InputError where the file is no df_gamed.csv."""
        if self.df_gamed is None:
            return
        if not self.df_gamed.is_file():
            raise InputError(f"no file {self.df_gamed}", remedy="name a df_gamed.csv, or none")
        header = self.df_gamed.read_text(encoding="utf-8").partition("\n")[0].strip()
        if header != GAMED_COLUMNS:
            raise InputError(f"the columns are {header[:200]!r}", where=self.df_gamed, remedy=f"want {GAMED_COLUMNS}")


@dataclass(frozen=True)
class WinRates:
    """Rates and standard errors in percent. n: readable preferences; instructions: of the whole file.

    unread: judged without a readable preference; alpaca_eval leaves them out of the win rate, not out of the mean of
    the LC fit. Where a rate is None, `reason` or `lc_reason` says why. lc: what the fit was made with; lc_penalty: the
    C, inverse strength of the ridge penalty, that its cross-validation chose. mean_length: in characters.
    """

    instructions: int
    n: int
    unread: int
    mean_length: float
    win_rate: float | None = None
    standard_error: float | None = None
    reason: str = ""
    lc_win_rate: float | None = None
    lc_standard_error: float | None = None
    lc_penalty: float | None = None
    lc: str = ""
    lc_reason: str = ""

    @property
    def remark(self) -> str:
        """What a reader of the number must know, or nothing."""
        few = f"n is {self.n} of {self.instructions} instructions" if self.n != self.instructions else ""
        unread = f"{self.unread} preferences could not be read" if self.unread else ""
        fitted = self.lc_win_rate is not None
        rule = f"LC win rate: {FEW_ROWS}" if fitted and self.n < BOARD_ROWS else ""
        bound = f"LC win rate: {SURROGATE_BOUND}" if fitted and self.lc.startswith("surrogate") else ""
        refused = self.lc_reason and f"no LC win rate: {self.lc_reason}"
        return "; ".join(filter(None, (few, unread, rule, bound, refused)))


def win_rates(outputs: Rows, references: Rows, annotations: Rows, control: LengthControl) -> WinRates:
    """The rates of one model. outputs: index, output. references: index, instruction, output, of the whole file.

    annotations: index, preference (1 the baseline's output, 2 the model's, 0 or 1.5 a draw, None unread).
    """
    control.check()
    said, known, judged = (
        _by_index(rows, what)
        for rows, what in ((outputs, "output"), (references, "reference"), (annotations, "annotation"))
    )
    rows = [_row(index, judged[index], said, known) for index in sorted(judged)]
    lengths = fmean(len(row["output"]) for row in said.values()) if said else 0.0
    read = sum(row["preference"] is not None for row in rows)
    found = WinRates(len(known), read, len(rows) - read, lengths, lc=control.label)
    if not read:
        return replace(found, reason="no preference could be read", lc_reason="no preference could be read")
    refused = _refused(rows, references, control)
    files = {"df_gamed.csv": control.df_gamed} if control.df_gamed and not refused else {}
    with Child(Job({"kind": "rates", "rows": rows, "length_controlled": not refused}, files)) as child:
        rates = child.hear()["rates"]
    return replace(
        found,
        n=int(rates["n_total"]),
        win_rate=rates["win_rate"],
        standard_error=rates["standard_error"],
        lc_win_rate=rates.get("length_controlled_winrate"),
        lc_standard_error=rates.get("lc_standard_error"),
        lc_penalty=rates.get("lc_penalty_C"),
        lc_reason=refused,
    )


def indexed(rows: Rows, instructions: Sequence[str]) -> list[dict[str, Any]]:
    """Rows with `index`, by their instruction. Raises InputError for one that is not among the instructions."""
    places = {instruction: index for index, instruction in enumerate(instructions)}
    unknown = [row["instruction"] for row in rows if row["instruction"] not in places]
    if unknown:
        raise InputError(
            f"{len(unknown)} rows have an instruction that the instruction file lacks: {unknown[0][:60]!r}",
            remedy="use the instruction file that these rows were made with",
        )
    return [{**row, "index": places[row["instruction"]]} for row in rows]


def published_lc(weights: tuple[float, float], difficulties: Sequence[float]) -> tuple[float, float]:
    """LC win rate and its standard error from published weights (of difficulty, of the model), in percent.

    LC = 100 mean_i sigma(w_b + w_d d_i), the length term being 0. Of a model with n < 805 rows, the public board
    took the first n difficulties, by row position, whichever instructions were missing.
    """
    slope, base = weights
    each = [100 / (1 + math.exp(-(base + slope * difficulty))) for difficulty in difficulties]
    return fmean(each), stdev(each) / math.sqrt(len(each))


def instructions_digest(references: Rows) -> str:
    return content_id("instructions", [row["instruction"] for row in references])


def baseline_digest(references: Rows) -> str:
    return content_id("baseline", [[row["instruction"], row["output"]] for row in references])


def _by_index(rows: Rows, what: str) -> dict[int, Mapping[str, Any]]:
    found: dict[int, Mapping[str, Any]] = {}
    for row in rows:
        index = row.get("index")
        if type(index) is not int or index in found:
            raise InputError(
                f"the index {index!r} of an {what} is {'given twice' if index in found else 'no position'}",
                remedy="give every row `index`, the position of its instruction in the instruction file",
            )
        found[index] = row
    return found


def _row(
    index: int, judged: Mapping[str, Any], said: Mapping[int, Mapping[str, Any]], known: Mapping[int, Mapping[str, Any]]
) -> dict[str, Any]:
    if index not in said or index not in known:
        raise InputError(
            f"annotation {index} has no {'reference' if index in said else 'output'}",
            remedy="give the outputs and references that were judged",
        )
    row = {"index": index, "output_1": known[index]["output"], "output_2": said[index]["output"]}
    if stale := [side for side in ("output_1", "output_2") if judged.get(side, row[side]) != row[side]]:
        raise InputError(
            f"annotation {index} judged another {stale[0]} than the one given", remedy="judge these outputs anew"
        )
    preference = judged["preference"]
    if preference is not None and math.isnan(preference):
        preference = None
    if preference is not None and preference != 0 and not 1 <= preference <= 2:
        raise InputError(f"annotation {index} has the preference {preference}", remedy="1 to 2, 0 for a draw, or None")
    return {**row, "preference": preference}


def _refused(rows: list[dict[str, Any]], references: Rows, control: LengthControl) -> str:
    """Why there is no LC win rate, or nothing. Names the two sides: one name where the answers are the baseline's."""
    same = all(row["output_1"] == row["output_2"] for row in rows)
    for row in rows:
        row |= {"generator_1": "baseline", "generator_2": "baseline" if same else "model"}
    if control.df_gamed is None:
        return "no df_gamed.csv was given"
    if instructions_digest(references) != BOARD_INSTRUCTIONS:
        return "df_gamed.csv holds the difficulties of AlpacaEval's 805 instructions, and these are others"
    if control.label != "df_gamed" and control.judge != BOARD_JUDGE:
        return f"the surrogate df_gamed.csv holds for the judge {BOARD_JUDGE}, not for {control.judge}"
    if control.label != "df_gamed" and baseline_digest(references) != BOARD_BASELINE:
        return "the surrogate df_gamed.csv holds for the baseline gpt4_1106_preview, and this is another"
    if not same and len({len(row["output_1"]) - len(row["output_2"]) for row in rows}) < 2:
        return "all length differences are equal, so length has no scale to be controlled on"
    return ""
