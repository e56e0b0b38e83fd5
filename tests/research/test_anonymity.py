"""k-anonymity, l-diversity and t-closeness: what they measure, and that a release has what it was asked for."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import Any

import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycanon import anonymity as pycanon

from workers.research.anonymity import (
    PATIENT_HIERARCHIES,
    Anonymised,
    Hierarchy,
    Risk,
    anonymise,
    generalised,
    k_anonymity,
    l_diversity,
    left_out,
    risk,
    t_closeness,
)

SMALL = (
    Hierarchy("sex", weight=2),
    Hierarchy("ward", (lambda ward: ward.str.head(1),)),
    Hierarchy("year", (lambda year: year // 10 * 10,)),
)
QUASI = [hierarchy.column for hierarchy in SMALL]
COLUMNS = [hierarchy.column for hierarchy in PATIENT_HIERARCHIES]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["f", "m", None]),
        st.sampled_from(["a1", "a2", "b1", None]),
        st.sampled_from([1931, 1938, 1940, None]),
        st.sampled_from(["flu", "gout", "mumps", None]),
    ),
    max_size=40,
)


def framed(rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    schema = {"sex": pl.String, "ward": pl.String, "year": pl.Int32, "diagnosis": pl.String}
    return pl.DataFrame(rows, schema, orient="row").with_row_index("research_id", 100).cast({"research_id": pl.Int64})


def sensitive(patients: pl.DataFrame) -> pl.DataFrame:
    return patients.select("research_id", "diagnosis")


def released(patients: pl.DataFrame, hierarchies: Sequence[Hierarchy], decided: Anonymised) -> pl.DataFrame:
    kept = patients.join(decided.suppressed, on="research_id", how="anti")
    return generalised(kept, hierarchies, decided.levels)


def cohort(size: int, seed: int = 6) -> pl.DataFrame:
    """Patients as a release has them before anything is generalised, with a diagnosis: the dead all have the same."""
    chance = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for _ in range(size):
        age, dead = min(int(chance.gammavariate(4, 11)), 104), chance.random() < 0.06
        low = age // 5 * 5
        rows.append(
            {
                "research_id": chance.getrandbits(62),
                "gender": chance.choices(["female", "male", "other", None], [50, 48, 1, 1])[0],
                "age_band": "90+" if age >= 90 else f"{low}-{low + 4}",
                "deceased": dead,
                "race": chance.choices(["2106-3", "2054-5", "2028-9", "1002-5", None], [70, 15, 9, 1, 5])[0],
                "ethnicity": chance.choices(["2135-2", "2186-5"], [18, 82])[0],
                "state": chance.choices(["MA", "NH", "CA"], [85, 14, 1])[0],
                "zip3": chance.choices(["021", "018", "030", "902", "000"], [60, 25, 12, 1, 2])[0],
                "death_year": chance.randint(2010, 2025) if dead else None,
                "diagnosis": "I46" if dead else chance.choices(["I10", "E11", "J45", "B20"], [50, 25, 20, 5])[0],
            }
        )
    return pl.DataFrame(rows)


@given(ROWS, st.integers(2, 5), st.integers(1, 3), st.sampled_from([0, 0.1, 0.4]))
@settings(deadline=None, max_examples=60)
def test_who_is_released_is_one_of_k_with_l_values(
    rows: list[tuple[Any, ...]], k: int, diversity: int, suppress_max: float
) -> None:
    patients = framed(rows)
    decided = anonymise(patients, SMALL, k, suppress_max, diversity, sensitive(patients))
    release, lost = released(patients, SMALL, decided), decided.suppressed["research_id"]
    assert lost.is_unique().all()
    assert lost.is_in(patients["research_id"].implode()).all()
    assert release.height + lost.len() == patients.height
    if release.height:
        assert k_anonymity(release, QUASI) >= k
        assert l_diversity(release, QUASI, "diagnosis") >= diversity
        assert lost.len() <= suppress_max * patients.height
        assert not 0 < lost.len() < k


def losses(patients: pl.DataFrame) -> Mapping[tuple[int, ...], float]:
    """The normalised certainty penalty of every node, value by value."""
    parts: list[list[float]] = []
    for hierarchy in SMALL:
        values = patients[hierarchy.column].to_list()
        many = len(set(values))
        column: list[float] = []
        for level in range(hierarchy.top + 1):
            became = patients.select(hierarchy.at(level)).to_series().to_list()
            merged: dict[Any, set[Any]] = defaultdict(set)
            for value, coarse in zip(values, became, strict=True):
                merged[coarse].add(value)
            penalties = [(len(merged[coarse]) - 1) / max(many - 1, 1) for coarse in became]
            column.append(hierarchy.weight * sum(penalties) / len(penalties))
        parts.append(column)
    weights = sum(hierarchy.weight for hierarchy in SMALL)
    return {
        node: sum(part[level] for part, level in zip(parts, node, strict=True)) / weights
        for node in product(*(range(len(part)) for part in parts))
    }


@given(ROWS.filter(bool), st.integers(2, 4), st.sampled_from([0, 0.3]), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=20)
def test_nothing_cheaper_would_do_and_the_order_of_rows_does_not_matter(
    rows: list[tuple[Any, ...]], k: int, suppress_max: float, chance: random.Random
) -> None:
    patients = framed(rows)
    decided = anonymise(patients, SMALL, k, suppress_max, 2, sensitive(patients))
    possible = [
        loss
        for node, loss in losses(patients).items()
        if left_out(patients, SMALL, dict(zip(QUASI, node, strict=True)), k, 2, sensitive(patients)).height
        <= suppress_max * patients.height
    ]
    assert decided.loss == pytest.approx(min(possible, default=1.0), abs=1e-8)
    order = chance.sample(range(len(rows)), len(rows))
    again = anonymise(patients[order], SMALL, k, suppress_max, 2, sensitive(patients))
    assert again.levels == decided.levels
    assert again.suppressed.equals(decided.suppressed)


def test_a_single_odd_patient_takes_the_smallest_class_along() -> None:
    patients = framed([("f", "a1", 1931, None)] * 40 + [("m", "a1", 1931, None)] * 15 + [("m", "b1", 1931, None)])
    decided = anonymise(patients, SMALL, 5, 0.5)
    assert decided.levels == {"sex": 0, "ward": 0, "year": 0}
    assert decided.suppressed.join(patients, on="research_id").group_by("sex", "ward").len().sort("len").rows() == [
        ("m", "b1", 1),
        ("m", "a1", 15),
    ]
    strict = anonymise(patients, SMALL, 5, 0.1)  # one may be left out, but not sixteen
    assert strict.levels == {"sex": 0, "ward": 2, "year": 0}
    assert strict.suppressed.is_empty()


def test_too_few_patients_are_left_out_altogether() -> None:
    patients = framed([("f", "a1", 1931, "flu")] * 10)
    assert anonymise(patients, SMALL, 11).suppressed.height == 10
    assert anonymise(patients, SMALL, 5, 0.02, 2, sensitive(patients)).suppressed.height == 10
    assert anonymise(patients, SMALL, 5).suppressed.is_empty()


def test_patients_who_come_twice_are_refused() -> None:
    patients = framed([("f", "a1", 1931, "flu")] * 4)
    with pytest.raises(pl.exceptions.ComputeError):
        anonymise(patients, SMALL, 2, 0.02, 1, pl.concat([sensitive(patients), sensitive(patients)]))


def test_hierarchies_of_patients() -> None:
    levels = {hierarchy.column: hierarchy for hierarchy in PATIENT_HIERARCHIES}
    shown = {
        "age_band": ["0-4", "5-9", "15-19", "20-24", "55-59", "60-64", "85-89", "90+", None],
        "zip3": ["021", "030", "902", "000", None],
        "deceased": [True, False, None],
        "death_year": [2010, 2011, None],
    }
    frames = {name: pl.DataFrame({name: values}) for name, values in shown.items()}
    became = {
        (name, level): frame.select(levels[name].at(level)).to_series()
        for name, frame in frames.items()
        for level in range(levels[name].top + 1)
    }
    assert became["age_band", 1].to_list() == [
        "0-9", "0-9", "10-19", "20-29", "50-59", "60-69", "80-89", "90+", None,
    ]  # fmt: skip
    assert became["age_band", 2].to_list() == [
        "0-19", "0-19", "0-19", "20-59", "20-59", "60-89", "60-89", "90+", None,
    ]  # fmt: skip
    assert became["zip3", 1].to_list() == ["0**", "0**", "9**", "000", None]
    for (name, level), values in became.items():
        assert values.dtype == frames[name][name].dtype
        assert values.null_count() == len(values) or level < levels[name].top
    assert set(levels) == {
        "gender", "age_band", "deceased", "race", "ethnicity", "state", "zip3", "death_year",
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_an_adversary_who_has_the_source_recognises_nobody(seed: int) -> None:
    """They know every quasi-identifier of everybody in the cohort, or some of them, and how the release was made."""
    k, patients = 11, cohort(3000, seed)
    decided = anonymise(patients, PATIENT_HIERARCHIES, k, 0.02, 2, sensitive(patients))
    release = released(patients, PATIENT_HIERARCHIES, decided).drop("research_id")
    assert release.height >= 0.98 * patients.height
    assert any(
        level < hierarchy.top for hierarchy, level in zip(PATIENT_HIERARCHIES, decided.levels.values(), strict=True)
    )
    known = generalised(patients, PATIENT_HIERARCHIES, decided.levels)
    for size in (2, 3, len(COLUMNS)):
        for columns in combinations(COLUMNS, size):
            alike = release.group_by(columns).agg(rows=pl.len(), values=pl.col("diagnosis").n_unique())
            linked = known.join(alike, on=columns, how="left", nulls_equal=True)
            assert linked.filter((pl.col("rows") < k) | (pl.col("values") < 2)).is_empty()
    missing = known.join(release.select(COLUMNS).unique(), on=COLUMNS, how="anti", nulls_equal=True)
    assert missing.height == decided.suppressed.height
    assert missing.is_empty() or missing.height >= k


@given(ROWS.filter(bool), st.tuples(st.sampled_from([0, 1]), st.sampled_from([0, 2]), st.sampled_from([1, 2])))
@settings(deadline=None, max_examples=60)
def test_measures_are_those_of_pycanon(rows: list[tuple[Any, ...]], node: tuple[int, ...]) -> None:
    patients = generalised(framed(rows), SMALL, dict(zip(QUASI, node, strict=True)))
    texts = patients.select(pl.exclude("research_id").cast(pl.String).fill_null("unknown"))
    table = pd.DataFrame(texts.to_dict(as_series=False), dtype="str")
    assert k_anonymity(patients, QUASI) == pycanon.k_anonymity(table, QUASI)
    assert l_diversity(patients, QUASI, "diagnosis") == pycanon.l_diversity(table, QUASI, ["diagnosis"])
    assert t_closeness(patients, QUASI, "diagnosis") == pytest.approx(pycanon.t_closeness(table, QUASI, ["diagnosis"]))


@given(ROWS.filter(bool), st.integers(2, 5))
@settings(deadline=None, max_examples=30)
def test_risk_is_that_of_the_classes(rows: list[tuple[Any, ...]], k: int) -> None:
    classes = Counter(row[:3] for row in rows)
    each = [1 / classes[row[:3]] for row in rows]
    found = risk(framed(rows), QUASI, k)
    assert (found.highest, found.unique) == (max(each), each.count(1) / len(each))
    assert found.mean == pytest.approx(sum(each) / len(each))
    assert found.exceeding == sum(one > 1 / k for one in each) / len(each)


def test_measures_of_nobody() -> None:
    nobody = framed([])
    assert (k_anonymity(nobody, QUASI), l_diversity(nobody, QUASI, "diagnosis")) == (0, 0)
    assert t_closeness(nobody, QUASI, "diagnosis") == 0
    assert risk(nobody, QUASI) == Risk(0, 0, 0, 0)
