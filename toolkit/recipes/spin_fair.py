"""SPIN-Fair: the data set's answer against the lowest-scored of K. The fair form of SPIN in arXiv 2508.06026.

`prompts.source` must have answers (`prompts.label`); the present model judges its own, and never the data set's.

Run: python -m toolkit.recipes.spin_fair --iters 2
"""

from __future__ import annotations

from toolkit.config import Recipe
from toolkit.evaluation.suite import evaluate
from toolkit.judgments.judge import judge
from toolkit.lab import Lab
from toolkit.pairs.labels import labels
from toolkit.pairs.pair import pair
from toolkit.pairs.selection import worst
from toolkit.prompts.split import split
from toolkit.recipes.run import main
from toolkit.records import Model
from toolkit.responses.generate import generate
from toolkit.training.supervise import start
from toolkit.training.train import train


def spin_fair(lab: Lab, recipe: Recipe) -> Model:
    present = start(lab, recipe)
    evaluate(lab, present)
    for i, prompts in enumerate(split(lab, recipe.prompts, recipe.iterations)):
        now = judge(lab, present, generate(lab, present, prompts))
        present = train(lab, f"M_{i + 1}", present, pair(lab, "spin_fair", labels(lab, prompts), worst(now)))
        evaluate(lab, present)
    return present


if __name__ == "__main__":
    main(spin_fair)
