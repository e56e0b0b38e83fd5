"""Disclosure control: no small count is published, and none can be worked out from what is."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.disclosure import THRESHOLD, Cell, Key, Table, withheld


def with_totals(inner: dict[Key, int], population: dict[Key, int] | None = None) -> dict[Key, Cell]:
    """A table of the non-zero inner cells and all their totals."""
    patients: dict[Key, int] = {}
    people: dict[Key, int] = {}
    for key, count in inner.items():
        for mask in product((True, False), repeat=len(key)):
            total = tuple(value if keep else None for value, keep in zip(key, mask, strict=True))
            patients[total] = patients.get(total, 0) + count
            people[total] = people.get(total, 0) + (population or inner)[key]
    return {key: Cell(count, people[key] - count) for key, count in patients.items() if count}


def reduced(row: list[Fraction], basis: Sequence[tuple[int, list[Fraction]]]) -> list[Fraction]:
    """A row less its part in the span of an echelon basis (pivot column, row)."""
    for column, pivot in basis:
        if row[column]:
            factor = row[column] / pivot[column]
            row = [a - factor * b for a, b in zip(row, pivot, strict=True)]
    return row


def lines(table: Table) -> list[tuple[Key, list[Key]]]:
    """Every total with the cells that add up to it along one dimension."""
    found: list[tuple[Key, list[Key]]] = []
    for total in table:
        for place, value in enumerate(total):
            if value is None:
                parts = [
                    k
                    for k in table
                    if k[place] is not None and k[:place] + k[place + 1 :] == total[:place] + total[place + 1 :]
                ]
                found.append((total, parts))
    return found


def derivable(table: Table, hidden: set[Key]) -> set[Key]:
    """Hidden cells that some combination of lines gives: those whose unit vector lies in the equations' row space."""
    unknown = sorted(hidden, key=str)
    equations = [
        [Fraction((key in parts) - (key == total)) for key in unknown]
        for total, parts in lines(table)
        if total in hidden or hidden.intersection(parts)
    ]
    basis: list[tuple[int, list[Fraction]]] = []
    for equation in equations:
        row = reduced(equation, basis)
        column = next((place for place, value in enumerate(row) if value), None)
        if column is not None:
            basis.append((column, row))
    units = {key: [Fraction(key == other) for other in unknown] for key in unknown}
    return {key for key, unit in units.items() if not any(reduced(unit, basis))}


def leftovers(table: Table, hidden: set[Key]) -> list[tuple[int, int]]:
    """Patients and others that each published total leaves over its published values, where something is hidden."""
    return [
        (
            sum(table[key].patients for key in parts if key in hidden),
            sum(table[key].rest for key in parts if key in hidden),
        )
        for total, parts in lines(table)
        if total not in hidden and hidden.intersection(parts)
    ]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Tables of two or three dimensions, with many small cells, each cell inside a population."""
    shape = draw(st.sampled_from([(2, 2), (3, 4), (4, 4), (2, 2, 3)]))
    keys: list[Key] = [tuple(map(str, place)) for place in product(*(range(size) for size in shape))]
    counts = st.one_of(st.integers(0, 3), st.integers(0, 14), st.integers(11, 60))
    inner = {key: draw(counts) for key in keys}
    rests = st.one_of(st.just(0), st.integers(0, 14), st.integers(11, 60))
    return with_totals(inner, {key: count + draw(rests) for key, count in inner.items()})


@settings(max_examples=200, deadline=None)
@given(tables())
def test_no_small_count_is_published_or_follows_from_what_is(table: Table) -> None:
    hidden = withheld(table, [True] * len(next(iter(table), ())))
    for key, cell in table.items():
        small = 0 < cell.patients < THRESHOLD or 0 < cell.rest < THRESHOLD
        assert key in hidden or not small
    assert not derivable(table, hidden)
    for patients, rest in leftovers(table, hidden):
        assert not 0 < patients < THRESHOLD
        assert not 0 < rest < THRESHOLD


def test_nothing_is_withheld_where_nothing_is_small() -> None:
    table = with_totals({("a", "x"): 11, ("a", "y"): 40, ("b", "x"): 12, ("b", "y"): 13})
    assert withheld(table, [True, True]) == set()


def test_a_small_cell_takes_the_smallest_companion_along_each_dimension_with_it() -> None:
    table = with_totals({("a", "x"): 3, ("a", "y"): 20, ("a", "z"): 90, ("b", "x"): 30, ("b", "y"): 40, ("b", "z"): 50})
    hidden = withheld(table, [True, True])
    assert hidden == {("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")}


def test_a_cell_between_two_blocks_of_hidden_cells_does_not_follow_from_both() -> None:
    """Every line through the cell at (1, 2) hides three values; the lines of the first block together still give it."""
    inner: dict[Key, int] = {(str(row), str(column)): 50 for row in range(4) for column in range(4)}
    for block in (0, 2):
        inner |= {(str(block + row), str(block + column)): 9 for row in range(2) for column in range(2)}
    inner["1", "2"] = 5
    table = with_totals(inner)
    assert ("1", "2") in derivable(table, {key for key, cell in table.items() if cell.patients < THRESHOLD})
    hidden = withheld(table, [True, True])
    assert ("1", "2") in hidden
    assert not derivable(table, hidden)


def test_a_cell_that_leaves_few_of_its_population_is_withheld() -> None:
    inner: dict[Key, int] = {("a",): 19, ("b",): 40, ("c",): 41}
    table = with_totals(inner, {("a",): 20, ("b",): 80, ("c",): 80})
    assert ("a",) in withheld(table, [True])


@pytest.mark.parametrize(("disjoint", "total_is_withheld"), [(True, False), (False, True)])
def test_small_values_that_may_be_the_same_people_do_not_make_up_a_large_group(
    disjoint: bool, total_is_withheld: bool
) -> None:
    table: dict[Key, Cell] = {("2023",): Cell(8), ("2024",): Cell(9), (None,): Cell(17)}
    assert ((None,) in withheld(table, [disjoint])) is total_is_withheld
