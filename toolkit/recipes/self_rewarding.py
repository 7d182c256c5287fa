"""Self-Rewarding Language Models (arXiv 2401.10020): the baseline that the paper starts from.

    M_i  present  answers, judges, gives both sides of every pair, and is trained

One training an iteration where temporal has two: four iterations stand against its two.

Run: python -m toolkit.recipes.self_rewarding --iters 2
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


def self_rewarding(lab: Lab, recipe: Recipe) -> Model:
    present = start(lab, recipe)
    evaluate(lab, present)
    for i, prompts in enumerate(split(lab, recipe.prompts, recipe.iterations)):
        now = judge(lab, present, generate(lab, present, prompts))
        present = train(lab, f"M_{i + 1}", present, pair(lab, "self_rewarding", best(now), worst(now)))
        evaluate(lab, present)
    return present


if __name__ == "__main__":
    main(self_rewarding)
