"""Temporal self-rewarding without the future: an ablation of arXiv 2508.06026.

    M_0  past     its answers may only be rejected
    M_i  present  answers, judges, and is trained on phase 1's pairs; the result is kept

One training an iteration where temporal has two.

Run: python -m toolkit.recipes.anchored_only --iters 2
"""

from __future__ import annotations

from toolkit.config import Recipe
from toolkit.evaluation.suite import evaluate
from toolkit.judgments.judge import judge
from toolkit.lab import Lab
from toolkit.pairs.pair import pair
from toolkit.pairs.selection import best, worst
from toolkit.prompts.split import split
from toolkit.recipes.run import main
from toolkit.records import Model
from toolkit.responses.generate import generate
from toolkit.training.supervise import start
from toolkit.training.train import train


def anchored_only(lab: Lab, recipe: Recipe) -> Model:
    past = present = start(lab, recipe)
    evaluate(lab, present)
    for i, prompts in enumerate(split(lab, recipe.prompts, recipe.iterations)):
        now = judge(lab, present, generate(lab, present, prompts))
        then = judge(lab, present, generate(lab, past, prompts, role="past"))
        present = train(lab, f"M_{i + 1}", present, pair(lab, "anchored_only", best(now), worst(now, then)))
        evaluate(lab, present)
    return present


if __name__ == "__main__":
    main(anchored_only)
