"""Rejection-sampling SFT: learn the answer that the model itself scores highest. No rejected side, no DPO.

A baseline of arXiv 2508.06026. `sft` holds the settings of every training.

Run: python -m toolkit.recipes.rejection_sampling_sft --iters 2
"""

from __future__ import annotations

from toolkit.config import Recipe
from toolkit.demonstrations.demonstrate import demonstrate
from toolkit.evaluation.suite import evaluate
from toolkit.judgments.judge import judge
from toolkit.lab import Lab
from toolkit.pairs.selection import best
from toolkit.prompts.split import split
from toolkit.recipes.run import main
from toolkit.records import Model
from toolkit.responses.generate import generate
from toolkit.training.supervise import start, supervise


def rejection_sampling_sft(lab: Lab, recipe: Recipe) -> Model:
    present = start(lab, recipe)
    evaluate(lab, present)
    for i, prompts in enumerate(split(lab, recipe.prompts, recipe.iterations)):
        now = judge(lab, present, generate(lab, present, prompts))
        present = supervise(lab, f"M_{i + 1}", present, demonstrate(lab, "best", best(now)))
        evaluate(lab, present)
    return present


if __name__ == "__main__":
    main(rejection_sampling_sft)
