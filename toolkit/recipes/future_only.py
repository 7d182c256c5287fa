"""Temporal self-rewarding without the past: the ablation that arXiv 2508.06026 leaves out.

    M_i  present  answers, judges everything, is trained; the rejected answers are its own
    M_f  future   lends its answers, is never a parent

Run: python -m toolkit.recipes.future_only --iters 2
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


def future_only(lab: Lab, recipe: Recipe) -> Model:
    present = start(lab, recipe)
    evaluate(lab, present)
    for i, prompts in enumerate(split(lab, recipe.prompts, recipe.iterations)):
        now = judge(lab, present, generate(lab, present, prompts))
        rejected = worst(now)
        future = train(lab, f"M_f{i}", present, pair(lab, "unanchored", best(now), rejected))
        soon = judge(lab, present, generate(lab, future, prompts, role="future"))
        present = train(lab, f"M_{i + 1}", present, pair(lab, "future_only", best(now, soon), rejected))
        evaluate(lab, present)
    return present


if __name__ == "__main__":
    main(future_only)
