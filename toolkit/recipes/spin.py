"""SPIN (arXiv 2401.01335): the data set's answer against the present model's own. No judge.

`prompts.source` must have answers (`prompts.label`). One answer a prompt is needed: answers.k = 1.

Run: python -m toolkit.recipes.spin --iters 2
"""

from __future__ import annotations

from toolkit.config import Recipe
from toolkit.evaluation.suite import evaluate
from toolkit.lab import Lab
from toolkit.pairs.labels import labels, unjudged
from toolkit.pairs.pair import pair
from toolkit.prompts.split import split
from toolkit.recipes.run import main
from toolkit.records import Model
from toolkit.responses.generate import generate
from toolkit.training.supervise import start
from toolkit.training.train import train


def spin(lab: Lab, recipe: Recipe) -> Model:
    present = start(lab, recipe)
    evaluate(lab, present)
    for i, prompts in enumerate(split(lab, recipe.prompts, recipe.iterations)):
        rejected = unjudged(generate(lab, present, prompts))
        present = train(lab, f"M_{i + 1}", present, pair(lab, "spin", labels(lab, prompts), rejected))
        evaluate(lab, present)
    return present


if __name__ == "__main__":
    main(spin)
