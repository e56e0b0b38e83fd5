"""k-anonymity and l-diversity of the patients of a release: how far to generalise, and whom to leave out.

Sweeney (2002): every combination of quasi-identifiers that occurs is shared by at least k patients. Machanavajjhala et
al. (2007): those who share it have at least l values of a sensitive column. A column is generalised alike for
everybody, so that its values can be compared. The search looks at distinct combinations with their counts, not at
patients, and finds the best.

Best is what loses least by the normalised certainty penalty of Xu et al. (2006): a value that became one of n of the N
values of its column loses (n - 1) / (N - 1), averaged over patients and, by their weights, over columns. Who is left
out is no part of it: up to a bound that is allowed, beyond it not (El Emam et al. 2009).

A value that is not known (null) is a value of its own. Codes of diagnoses are no quasi-identifiers here: see rare.py.
Not covered: who knows both, quasi-identifiers and diagnoses of a patient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TypeAlias

import polars as pl

PATIENT = "research_id"
SENSITIVE = "sensitive"

Step: TypeAlias = Callable[[pl.Expr], pl.Expr]
"""Makes the values of a level coarser; keeps their type, and null null."""

Node: TypeAlias = tuple[int, ...]
"""A level for each hierarchy."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A quasi-identifier and how it is generalised: level 0 is the value as it is, each step makes the next level
    from the one before, and after the last step comes null for everybody. So classes of patients can only merge."""

    column: str
    steps: Sequence[Step] = ()
    weight: int = 1
    """What the column is worth to research, beside the others."""

    @property
    def top(self) -> int:
        """The level at which nothing is left."""
        return len(self.steps) + 1

    def at(self, level: int) -> pl.Expr:
        """The column at a level from 0 to `top`, under its name and of its type."""
        value = pl.col(self.column)
        if level == self.top:
            return pl.when(pl.lit(False)).then(value).alias(self.column)
        for step in self.steps[:level]:
            value = step(value)
        return value.alias(self.column)


@dataclass(frozen=True, slots=True)
class Anonymised:
    """How a cohort is made k-anonymous and l-diverse."""

    levels: Mapping[str, int]
    """Level of each column."""
    suppressed: pl.DataFrame
    """Those whom the release leaves out: `research_id`, ascending."""
    loss: float
    """What generalisation loses, from 0 (nothing) to 1 (everything), averaged over patients and columns."""


def _bands(*starts: int) -> Step:
    """Bands of ages from the text of finer ones ("45-49"): from each start to the next, and the last open."""
    ends = [(end, f"{start}-{end - 1}") for start, end in pairwise(starts)]

    def banded(band: pl.Expr) -> pl.Expr:
        age = band.str.extract(r"^(\d+)").cast(pl.Int32)
        closed = [pl.when(age < end).then(pl.lit(label)) for end, label in ends]
        return pl.coalesce(*closed, pl.when(age >= starts[-1]).then(pl.lit(f"{starts[-1]}+")))

    return banded


def _zone(zip3: pl.Expr) -> pl.Expr:
    """The first digit of a ZIP code, a group of states; 000 stands for withheld areas everywhere, and stays."""
    return pl.when(zip3 == "000").then(zip3).otherwise(zip3.str.head(1) + "**")


PATIENT_HIERARCHIES: Sequence[Hierarchy] = (
    Hierarchy("gender", weight=4),
    Hierarchy("age_band", (_bands(*range(0, 91, 10)), _bands(0, 20, 60, 90)), weight=4),
    Hierarchy("deceased", weight=2),
    Hierarchy("race", weight=2),
    Hierarchy("ethnicity", weight=2),
    Hierarchy("state"),
    Hierarchy("zip3", (_zone,)),
    Hierarchy("death_year"),
)
"""Quasi-identifiers of the patients of a release; sex and age, by which every study stratifies, are worth most. Where
it costs the same, an earlier column is kept finer than a later one. No band of ages straddles 89 and 90 (45 CFR
164.514(b)(2)(i)(C))."""


def generalised(frame: pl.DataFrame, hierarchies: Sequence[Hierarchy], levels: Mapping[str, int]) -> pl.DataFrame:
    """The frame with its quasi-identifiers at their levels; other columns stay, and so do those to be suppressed."""
    return frame.with_columns(hierarchy.at(levels[hierarchy.column]) for hierarchy in hierarchies)


def anonymise(
    patients: pl.DataFrame,
    hierarchies: Sequence[Hierarchy],
    k: int,
    suppress_max: float = 0.02,
    diversity: int = 1,
    sensitive: pl.DataFrame | None = None,
) -> Anonymised:
    """The generalisation that loses least while at most a share `suppress_max` of the patients must be left out, so
    that all others are in classes of at least k with at least `diversity` sensitive values. The same input gives the
    same result, in any order of rows. Where there is none (too few patients), everybody is left out.

    `patients` has `research_id`, a row each, and the columns of the hierarchies (one or more). `sensitive` has
    `research_id`, at most a row each, and one column more; to have none of its values counts as a value. Raises polars'
    errors where columns are missing or patients come twice.
    """
    rows = _rows(patients, hierarchies, sensitive)
    lattice = _lattice(_groups(rows, hierarchies), hierarchies)
    node = _search(lattice, k, diversity, int(suppress_max * rows.height))
    top = tuple(hierarchy.top for hierarchy in hierarchies)
    levels = {hierarchy.column: level for hierarchy, level in zip(hierarchies, node or top, strict=True)}
    if node is None:
        return Anonymised(levels, rows.select(pl.col(PATIENT).sort()), 1.0)
    return Anonymised(levels, left_out(patients, hierarchies, levels, k, diversity, sensitive), lattice.losses[node])


def left_out(
    patients: pl.DataFrame,
    hierarchies: Sequence[Hierarchy],
    levels: Mapping[str, int],
    k: int,
    diversity: int = 1,
    sensitive: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Whom a release at given levels must leave out (`research_id`, ascending), however many; else as `anonymise`."""
    rows = generalised(_rows(patients, hierarchies, sensitive), hierarchies, levels)
    columns = [hierarchy.column for hierarchy in hierarchies]
    lost = _lost(_classes(_groups(rows, hierarchies), columns), k, diversity)
    return rows.join(lost, on=columns, how="semi", nulls_equal=True).select(PATIENT).sort(PATIENT)


def _rows(patients: pl.DataFrame, hierarchies: Sequence[Hierarchy], sensitive: pl.DataFrame | None) -> pl.DataFrame:
    """`research_id`, the quasi-identifiers and SENSITIVE of each patient."""
    rows = patients.select(PATIENT, *(hierarchy.column for hierarchy in hierarchies))
    if sensitive is None:
        return rows.with_columns(pl.lit(None, pl.String).alias(SENSITIVE))
    values = sensitive.select(PATIENT, pl.exclude(PATIENT).alias(SENSITIVE))
    return rows.join(values, on=PATIENT, how="left", validate="1:1")


def _groups(rows: pl.DataFrame, hierarchies: Sequence[Hierarchy]) -> pl.DataFrame:
    return rows.group_by(*(hierarchy.column for hierarchy in hierarchies), SENSITIVE).agg(
        patients=pl.len().cast(pl.Int64)
    )


@dataclass(frozen=True, slots=True)
class _Lattice:
    """What the search needs: groups of patients with a number for each column and level in place of the value."""

    groups: pl.DataFrame
    """`sensitive`, `patients`, and "column@level" for each column and level."""
    columns: Sequence[str]
    losses: Mapping[Node, float]
    """What each node loses."""


def _lattice(groups: pl.DataFrame, hierarchies: Sequence[Hierarchy]) -> _Lattice:
    """Every level is computed once for each distinct value of its column."""
    losses: list[Sequence[float]] = []
    for hierarchy in hierarchies:
        column, levels = hierarchy.column, range(hierarchy.top + 1)
        names = [f"{column}@{level}" for level in levels]
        values = (
            groups.group_by(column)
            .agg(pl.col("patients").sum())
            .with_columns(
                hierarchy.at(level).cast(pl.String).rank("dense").fill_null(0).cast(pl.UInt32).alias(name)
                for level, name in zip(levels, names, strict=True)
            )
        )
        whole = max(values.height - 1, 1) * max(values["patients"].sum(), 1)
        merged = [(pl.col("patients") * (pl.len().over(name) - 1)).sum().alias(name) for name in names]
        losses.append([hierarchy.weight * lost / whole for lost in values.select(merged).row(0)])
        groups = groups.join(values.drop("patients"), on=column, nulls_equal=True).drop(column)
    weights = sum(hierarchy.weight for hierarchy in hierarchies)
    nodes = {
        node: round(sum(loss[level] for loss, level in zip(losses, node, strict=True)) / weights, 9)
        for node in product(*(range(len(levels)) for levels in losses))
    }
    return _Lattice(groups, [hierarchy.column for hierarchy in hierarchies], nodes)


def _search(lattice: _Lattice, k: int, diversity: int, most: int) -> Node | None:
    """The cheapest node at which at most `most` patients are lost, None where there is none.

    Who is in a class that is large and diverse stays in one when classes merge: where too many are in other classes,
    too many are at every node that is nowhere more general. And once a node will do, dearer ones need no look.
    """
    nodes = sorted(lattice.losses, key=lambda node: (lattice.losses[node], node))
    below = _below(nodes)
    undecided, best = (1 << len(nodes)) - 1, None
    while undecided:
        place = _most_telling(undecided, below)
        names = [f"{column}@{level}" for column, level in zip(lattice.columns, nodes[place], strict=True)]
        classes = _classes(lattice.groups, names)
        if classes.filter(_unsafe(k, diversity))["patients"].sum() > most:
            undecided &= ~below[place]
        elif _lost(classes, k, diversity)["patients"].sum() > most:
            undecided &= ~(1 << place)
        else:
            best = nodes[place]
            undecided &= (1 << place) - 1
    return best


def _most_telling(undecided: int, below: Sequence[int]) -> int:
    """The place of the node that decides most others: if it will do, those after it, if not, those below it."""
    left, best, most = undecided.bit_count(), 0, 0
    for place in range(undecided.bit_length()):
        if undecided >> place & 1:
            decides = min(left, (below[place] & undecided).bit_count())
            left -= 1
            if decides > most:
                best, most = place, decides
    return best


def _below(nodes: Sequence[Node]) -> Sequence[int]:
    """For each node the set (its bits are places) of the nodes that are nowhere more general, itself among them."""
    upto: dict[tuple[int, int], int] = {}
    for place, node in enumerate(nodes):
        for column, level in enumerate(node):
            upto[column, level] = upto.get((column, level), 0) | 1 << place
    for column, level in sorted(upto):
        upto[column, level] |= upto.get((column, level - 1), 0)
    sets: list[int] = []
    for node in nodes:
        below = (1 << len(nodes)) - 1
        for column, level in enumerate(node):
            below &= upto[column, level]
        sets.append(below)
    return sets


def _classes(groups: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Classes of patients who are alike in `by`: how many they are, and how many sensitive values they have."""
    return groups.group_by(by).agg(pl.col("patients").sum(), values=pl.col(SENSITIVE).n_unique())


def _unsafe(k: int, diversity: int) -> pl.Expr:
    return (pl.col("patients") < k) | (pl.col("values") < diversity)


def _lost(classes: pl.DataFrame, k: int, diversity: int) -> pl.DataFrame:
    """Classes that are left out: the unsafe ones, and where these have fewer than k patients the smallest other too.

    Who knows the cohort (or its published counts) subtracts the release and has the suppressed. What they learn of
    these as a group must be of no few either, as for a cell that follows from others (workers/disclosure.py).
    """
    unsafe = classes.filter(_unsafe(k, diversity))
    if not 0 < unsafe["patients"].sum() < k:
        return unsafe
    safe = classes.filter(~_unsafe(k, diversity))
    return pl.concat([unsafe, safe.sort("patients", *safe.drop("patients", "values").columns).head(1)])


def k_anonymity(frame: pl.DataFrame, quasi_identifiers: Sequence[str]) -> int:
    """Rows of the smallest class of those that are alike in the quasi-identifiers; 0 of an empty frame."""
    return _least(frame.group_by(quasi_identifiers).agg(least=pl.len()))


def l_diversity(frame: pl.DataFrame, quasi_identifiers: Sequence[str], sensitive: str) -> int:
    """Distinct values of the column `sensitive` in the class that has the fewest; 0 of an empty frame."""
    return _least(frame.group_by(quasi_identifiers).agg(least=pl.col(sensitive).n_unique()))


def _least(classes: pl.DataFrame) -> int:
    return int(classes.select(pl.col("least").min().fill_null(0)).item())


def t_closeness(frame: pl.DataFrame, quasi_identifiers: Sequence[str], sensitive: str) -> float:
    """How far the distribution of `sensitive` in a class is from that in the frame, at most over all classes: from 0
    (alike) to 1. The earth mover's distance where all values are equally far from each other, which is half the sum of
    differences (Li, Li, Venkatasubramanian 2007), or the sum of those above 0: of values that the class has.
    """
    rows = frame.height
    whole = frame.group_by(sensitive).agg(overall=pl.len().cast(pl.Int64))
    cells = frame.group_by(*quasi_identifiers, sensitive).agg(within=pl.len().cast(pl.Int64))
    # Whole numbers until the last division: the result does not depend on the order of rows.
    size = pl.col("within").sum()
    above = (pl.col("within") * rows - size * pl.col("overall")).clip(lower_bound=0).sum()
    classes = (
        cells.join(whole, on=sensitive, nulls_equal=True).group_by(quasi_identifiers).agg(far=above / (size * rows))
    )
    return float(classes.select(pl.col("far").max().fill_nan(0).fill_null(0)).item())


@dataclass(frozen=True, slots=True)
class Risk:
    """How likely somebody is recognised who is known to be in a release (the prosecutor's risk, El Emam 2013): 1 / size
    of the class, for a row."""

    highest: float
    mean: float
    """Over all rows: classes / rows."""
    unique: float
    """Share of rows that are alone in their class."""
    exceeding: float
    """Share of rows whose risk is above 1 / k."""


def risk(frame: pl.DataFrame, quasi_identifiers: Sequence[str], k: int = 11) -> Risk:
    """The risk of a frame's rows by their quasi-identifiers; all 0 of an empty frame."""
    if not frame.height:
        return Risk(0.0, 0.0, 0.0, 0.0)
    sizes = frame.group_by(quasi_identifiers).agg(size=pl.len())["size"]

    def share(chosen: pl.Series) -> float:
        return int(sizes.filter(chosen).sum()) / frame.height

    return Risk(1 / _least(sizes.to_frame("least")), len(sizes) / frame.height, share(sizes == 1), share(sizes < k))
