"""Temporal Self-Rewarding Language Models: Algorithm 1 of arXiv 2508.06026, on one screen.

    M_0  past     its answers may only be rejected         r_0  then
    M_i  present  answers, judges everything, is trained   r_i  now
    M_f  future   lends its answers, is never a parent     r_f  soon
    p_i  prompts  a disjoint part for each iteration       K    recipe.answers.k

Run: python -m toolkit.recipes.temporal --iters 2
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


def temporal(lab: Lab, recipe: Recipe) -> Model:
    past = present = start(lab, recipe)
    evaluate(lab, present)
    for i, prompts in enumerate(split(lab, recipe.prompts, recipe.iterations)):
        # Phase 1, Anchored Rejection: the present chooses, the past may reject.
        now = judge(lab, present, generate(lab, present, prompts))
        then = judge(lab, present, generate(lab, past, prompts, role="past"))
        rejected = worst(now, then)
        future = train(lab, f"M_f{i}", present, pair(lab, "anchored", best(now), rejected))
        # Phase 2, Future-Guided Chosen: the same rejected, and the future may choose.
        soon = judge(lab, present, generate(lab, future, prompts, role="future"))
        present = train(lab, f"M_{i + 1}", present, pair(lab, "guided", best(now, soon), rejected))
        evaluate(lab, present)
    return present


if __name__ == "__main__":
    main(temporal)
