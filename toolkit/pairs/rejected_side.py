"""Rules for the rejected side in place of Algorithm 1's lowest score: arms of a study, by `pairs.rejected`. Pure.

    mean_minus_2sd   the candidate whose score is nearest to mean - 2 sd ("sweet spot", arXiv 2502.16825: rejecting the
                     minimum hurts as K grows)
    random           a candidate drawn at random: the control

The candidates of a prompt are those that `worst` picks from: the scored answers of all pools of the rejected side. Mean
and sd are of their scores together; sd is the population sd (divided by n). An earlier pool keeps a tie in distance;
inside a pool `Pairs.ties` decides. With ten candidates or fewer the lowest score always wins: the mean of any two of n
scores lies at most sqrt((n - 2) / 2) sd below the mean, so the midpoint of the lowest and the next never lies below the
target. The arm differs from Algorithm 1 only where K is large.

The random draw depends on the recipe's seed, the prompt and the number of candidates alone. It takes a position, pools
in their order and answers by draw: no score, text or order of rows moves it, and a resumed run draws alike.

A pair still needs a strictly higher chosen score (`pair_up`). Arms are thus equal in the prompts that they are offered;
the yield can differ, since a random candidate can tie with the chosen. It is stored with each set and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, pstdev

from toolkit.identity import derive_seed
from toolkit.judgments.judge import SCORE_DIGITS, Pool, Scored
from toolkit.pairs.picks import in_draw_order, in_tie_order

# Scores are whole billionths, so two on one side of the target differ in distance by 0 or by at least 1e-9.
EQUAL_DISTANCE = 0.5 * 10.0**-SCORE_DIGITS


def nearest_to_low(pools: Sequence[Pool], prompt: str) -> Scored | None:
    """The candidate whose score is nearest to mean - 2 sd."""
    answers = [a for pool in pools for a in in_tie_order(pool.candidates.get(prompt, ()), pool.ties)]
    if not answers:
        return None
    scores = [answer.score for answer in answers]
    target = fmean(scores) - 2 * pstdev(scores)
    limit = min(abs(score - target) for score in scores) + EQUAL_DISTANCE
    return next(answer for answer in answers if abs(answer.score - target) < limit)


def random_candidate(pools: Sequence[Pool], prompt: str) -> Scored | None:
    """A candidate at random, each as likely as any other."""
    answers = [answer for pool in pools for answer in in_draw_order(pool.candidates.get(prompt, ()))]
    return answers[draw_seed(pools[0].seed, prompt) % len(answers)] if answers else None


def draw_seed(seed: int, prompt: str) -> int:
    """A number that, modulo the number of candidates, is the position of the random one."""
    return derive_seed(seed, prompt, "rejected")


RULES: Mapping[str, Callable[[Sequence[Pool], str], Scored | None]] = {
    "mean_minus_2sd": nearest_to_low,
    "random": random_candidate,
}
