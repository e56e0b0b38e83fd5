"""Telling two sets of patients apart by many answers about each."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

FALSE_ALARM = 1e-12
"""How likely one frequency is off by more than the slack."""


def slack(draws: int) -> float:
    """How far a frequency among so many draws may be from its probability (Hoeffding's inequality)."""
    return math.sqrt(math.log(2 / FALSE_ALARM) / (2 * draws))


def told_apart(first: Sequence[int], second: Sequence[int], epsilon: float) -> bool:
    """Whether answers about two sets of patients differ more than ε allows, beyond chance.

    The best attack of two shifted Laplace distributions is a threshold; every one is tried, in both directions: of no
    answer may the probability under one be over e^ε times that under the other.
    """
    off = slack(len(first)) + math.exp(epsilon) * slack(len(second))
    ordered = sorted(first), sorted(second)
    for threshold in {*first, *second}:
        one, other = (1 - bisect_left(answers, threshold) / len(answers) for answers in ordered)
        for a, b in ((one, other), (other, one), (1 - one, 1 - other), (1 - other, 1 - one)):
            if a > math.exp(epsilon) * b + off:
                return True
    return False
