"""Which cells of a table must not be published: those of few patients, and those from which such a cell follows.

A table has a cell for every combination of its dimensions' values, totals included. CMS's cell size policy: no cell
of 1 to 10 patients, nor one that follows by subtraction. More precisely, given what is published and that along every
dimension the values add up to the total:

1. no withheld cell follows by linear algebra, whatever lines are combined;
2. what a line leaves over (its total less its published values) is no group of few patients either.

Not covered: bounds that follow from counts not being negative, and the difference of two versions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

THRESHOLD = 11
"""Patients from which a cell may be published; none at all may be too (CMS cell size policy)."""

PRIME = 2**61 - 1
"""Elimination runs modulo a prime: exact integers of bounded size, where fractions would grow."""

Key: TypeAlias = tuple[str | None, ...]
"""Value of each dimension; None is the total over it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """How many patients a cell counts, and how many of its population it does not (0 where that is no question)."""

    patients: int
    rest: int = 0


Table: TypeAlias = Mapping[Key, Cell]
"""Cells of a table by key; a combination that is missing counts nobody."""


@dataclass(frozen=True, slots=True)
class Line:
    """A total and the values that add up to it; `disjoint` where no patient is in two of the values."""

    total: Key
    values: Sequence[Key]
    disjoint: bool

    @property
    def keys(self) -> set[Key]:
        """The total and its values."""
        return {self.total, *self.values}


def withheld(table: Table, disjoint: Sequence[bool]) -> set[Key]:
    """Keys of the cells that must not be published.

    `disjoint` says for each dimension whether a patient has one value only (sex) or may have several (year).
    """
    hidden = {key for key, cell in table.items() if few(cell.patients) or few(cell.rest)}
    lines = lines_of(table, disjoint)
    while len(hidden) < len(table):
        _hide_along_lines(table, lines, hidden)
        known = determined(lines, hidden)
        if not known:
            break
        beside = {key for line in lines if not known.isdisjoint(line.keys) for key in line.keys}
        hidden.add(_companion(table, beside - hidden or table.keys() - hidden))
    return hidden


def _hide_along_lines(table: Table, lines: Sequence[Line], hidden: set[Key]) -> None:
    """Hides more until no line has a single hidden cell and none leaves few: the cheap and usual part of the work."""
    changed = True
    while changed:
        changed = False
        for line in lines:
            while len(hidden.intersection(line.keys)) == 1 or _leaves_few(table, line, hidden):
                hidden.add(_companion(table, line.keys - hidden))
                changed = True


def few(patients: int) -> bool:
    """Whether a group is too small to be published."""
    return 0 < patients < THRESHOLD


def lines_of(table: Table, disjoint: Sequence[bool]) -> Sequence[Line]:
    """Every line of a table, along every dimension."""
    values: dict[tuple[int, Key], list[Key]] = defaultdict(list)
    for key in table:
        for place, value in enumerate(key):
            if value is not None:
                values[place, (*key[:place], None, *key[place + 1 :])].append(key)
    return [Line(total, members, disjoint[place]) for (place, total), members in values.items()]


def determined(lines: Sequence[Line], hidden: set[Key]) -> set[Key]:
    """Hidden cells whose value follows from the published ones.

    Each line is an equation over its hidden cells. In the reduced form of all equations, a cell is determined when a
    row has it alone.
    """
    rows: dict[Key, dict[Key, int]] = {}
    for line in lines:
        row = {key: 1 for key in line.values if key in hidden}
        if line.total in hidden:
            row[line.total] = PRIME - 1
        for pivot in [key for key in row if key in rows]:
            _subtract(row, rows[pivot], row[pivot])
        if not row:
            continue
        pivot = next(iter(row))
        inverse = pow(row[pivot], -1, PRIME)
        row = {key: factor * inverse % PRIME for key, factor in row.items()}
        for other in rows.values():
            if pivot in other:
                _subtract(other, row, other[pivot])
        rows[pivot] = row
    return {pivot for pivot, row in rows.items() if len(row) == 1}


def _subtract(row: dict[Key, int], other: Mapping[Key, int], times: int) -> None:
    for key, factor in other.items():
        value = (row.get(key, 0) - times * factor) % PRIME
        if value:
            row[key] = value
        else:
            row.pop(key, None)


def _leaves_few(table: Table, line: Line, hidden: set[Key]) -> bool:
    """Whether total less published values counts few patients. Who may be in several values is counted at least once:
    there the largest hidden value alone must be large enough."""
    left = [table[key] for key in line.values if key in hidden]
    if not left or line.total in hidden:
        return False
    size = sum if line.disjoint else max
    return few(size(cell.patients for cell in left)) or few(size(cell.rest for cell in left))


def _companion(table: Table, published: Iterable[Key]) -> Key:
    """What to hide with a hidden cell: rather a value than a total, rather few patients than many."""
    return min(published, key=lambda key: (key.count(None), table[key].patients, str(key)))
