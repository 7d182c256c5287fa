"""A recipe of one's own: every rejected answer is the past's, however good it is. Not in the paper.

    M_0  past     its best answer is rejected, so that the two sides differ in time alone
    M_i  present  its best answer is chosen; it judges, and is trained

Copy this file anywhere and change it; a run of it resumes, is planned, reported and diagnosed as the shipped ones are.

Run: python always_past.py --config quick --run always_past
"""

from __future__ import annotations

from toolkit.api import Lab, Model, Recipe, best, evaluate, generate, judge, main, pair, split, start, train


def always_past(lab: Lab, recipe: Recipe) -> Model:
    past = present = start(lab, recipe)
    evaluate(lab, present)
    for i, prompts in enumerate(split(lab, recipe.prompts, recipe.iterations)):
        now = judge(lab, present, generate(lab, present, prompts))
        then = judge(lab, present, generate(lab, past, prompts, role="past"))
        present = train(lab, f"M_{i + 1}", present, pair(lab, "always_past", best(now), best(then)))
        evaluate(lab, present)
    return present


if __name__ == "__main__":
    main(always_past)
