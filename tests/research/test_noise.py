"""Noise of counts: distributed as the mechanism says, so that one patient more or less can't be told."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opendp.accuracy import discrete_laplacian_scale_to_accuracy
from opendp.mod import enable_features

from db.disclosure import Cell, Key, determined, few, lines_of, withheld
from loaders.research_counts import VALUES, CohortDimension, cells_of, publishable
from loaders.research_noise import OUTSIDE, margin, noisy
from tests.research.attack import slack, told_apart

DRAWS = 30_000
EPSILONS = st.floats(0.01, 20)


@pytest.fixture(scope="module")
def drawn() -> list[int]:
    """Noise of ε = 0.5."""
    return noisy([0] * DRAWS, 0.5)


def test_the_noise_has_the_distribution_of_its_epsilon(drawn: list[int]) -> None:
    a = math.exp(-0.5)
    frequency = Counter(drawn)
    for value in range(-12, 13):
        expected = (1 - a) / (1 + a) * a ** abs(value)
        assert abs(frequency[value] / DRAWS - expected) < slack(DRAWS), value
    deviation = math.sqrt(2 * a) / (1 - a)
    assert abs(sum(drawn) / DRAWS) < 8 * deviation / math.sqrt(DRAWS)


def test_the_margin_is_that_of_the_noise(drawn: list[int]) -> None:
    beyond = sum(abs(noise) > margin(0.5) for noise in drawn) / DRAWS
    assert beyond < OUTSIDE + slack(DRAWS)
    assert sum(abs(noise) >= margin(0.5) for noise in drawn) / DRAWS > OUTSIDE - slack(DRAWS)


@given(EPSILONS)
def test_the_margin_is_the_least_that_holds(epsilon: float) -> None:
    a = math.exp(-epsilon)
    m = margin(epsilon)
    assert 2 * a ** (m + 1) / (1 + a) <= OUTSIDE * (1 + 1e-9)
    assert m == 0 or 2 * a**m / (1 + a) > OUTSIDE * (1 - 1e-9)


def test_the_margin_is_that_of_the_library() -> None:
    enable_features("contrib")
    for epsilon in (0.01, 0.1, 0.3, 0.5, 1.0, 2.0, 7.0, 20.0):
        assert margin(epsilon) == int(discrete_laplacian_scale_to_accuracy(1 / epsilon, OUTSIDE))


@settings(max_examples=30, deadline=None)
@given(EPSILONS, st.lists(st.integers(0, 2_000_000), max_size=20))
def test_every_count_has_noise_of_its_own(epsilon: float, counts: list[int]) -> None:
    made = noisy(counts, epsilon)
    assert len(made) == len(counts)
    for count, noise in zip(counts, made, strict=True):
        assert abs(noise - count) <= 35 / epsilon + 1  # of 600 draws less than one in a billion is farther off


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0])
def test_one_patient_is_not_told_by_any_number_of_answers(epsilon: float) -> None:
    with_, without = noisy([128] * DRAWS, epsilon), noisy([127] * DRAWS, epsilon)
    assert not told_apart(with_, without, epsilon)


def test_the_attack_works_where_noise_is_missing_or_less_than_is_charged() -> None:
    assert told_apart([128] * DRAWS, [127] * DRAWS, 0.5)
    assert told_apart(noisy([128] * DRAWS, 1.0), noisy([127] * DRAWS, 1.0), 0.5)
    assert told_apart(noisy([129] * DRAWS, 0.5), noisy([127] * DRAWS, 0.5), 0.5), "a patient in two cells"


DIMENSIONS = st.lists(st.sampled_from(CohortDimension), max_size=3, unique=True)


@st.composite
def breakdowns(draw: st.DrawFn) -> tuple[list[CohortDimension], list[int]]:
    """Dimensions, and noisy counts of their cells: mostly small ones."""
    dimensions = draw(DIMENSIONS)
    small = st.integers(-15, 40) | st.sampled_from([0, 1, 10, 11, 3000])
    cells = len(cells_of(dimensions))
    seed = draw(st.lists(small, min_size=1, max_size=60))
    return dimensions, [seed[(place * 7 + place // 11) % len(seed)] for place in range(cells)]


@settings(max_examples=60, deadline=None)
@given(breakdowns())
def test_no_small_count_is_shown_or_follows(given_: tuple[list[CohortDimension], list[int]]) -> None:
    dimensions, counts = given_
    cells = publishable(counts, dimensions)
    positive = [max(count, 0) for count in counts]
    assert all(cell is None or (cell == count and not few(cell)) for cell, count in zip(cells, positive, strict=True))
    table: Counter[Key] = Counter()
    for values, count in zip(cells_of(dimensions), positive, strict=True):
        for shown in product((True, False), repeat=len(values)):
            if count:
                table[tuple(value if keep else None for value, keep in zip(values, shown, strict=True))] += count
    exact = {key: Cell(count) for key, count in table.items()}
    disjoint = [True] * len(dimensions)
    hidden = {key for key in withheld(exact, disjoint) if None in key}
    hidden |= {values for values, cell in zip(cells_of(dimensions), cells, strict=True) if cell is None}
    assert determined(lines_of(exact, disjoint), hidden) == set()


def test_a_small_cell_takes_another_one_with_it() -> None:
    cells = publishable([40, 7, 0, 300], [CohortDimension.SEX])
    assert cells == [None, None, 0, 300]
    assert publishable([40, -7, 0, 300], [CohortDimension.SEX]) == [40, 0, 0, 300]
    assert publishable([10], []) == [None]
    assert publishable([11], []) == [11]


def test_every_value_has_a_cell_whatever_the_data_are() -> None:
    assert cells_of([]) == [()]
    for dimension in CohortDimension:
        assert cells_of([dimension]) == [(value,) for value in VALUES[dimension]]
        assert len(set(VALUES[dimension])) == len(VALUES[dimension])
