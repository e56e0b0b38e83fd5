"""Rare diagnoses and pairs of them: none is left, little is lost, and counting in parts changes nothing."""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import combinations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.research import rare
from workers.research.rare import rare_codes

CHARTS = st.lists(st.frozensets(st.sampled_from("ABCDEFGH"), max_size=6), max_size=40)


def rows_of(charts: list[frozenset[str]]) -> pl.DataFrame:
    rows = [(patient, code) for patient, codes in enumerate(charts, 2**61) for code in sorted(codes)]
    return pl.DataFrame(rows, {"research_id": pl.Int64, "code": pl.String}, orient="row")


def left(diagnoses: pl.DataFrame, withheld: pl.DataFrame) -> pl.DataFrame:
    return diagnoses.join(withheld, on=["research_id", "code"], how="anti", nulls_equal=True)


def fewest(diagnoses: pl.DataFrame, m: int) -> int | None:
    """Patients of the rarest combination of up to m codes, counted one by one; None where nobody has a code."""
    charts: dict[int, set[str]] = defaultdict(set)
    for patient, code in diagnoses.iter_rows():
        charts[patient].add(code)
    patients: dict[tuple[str, ...], int] = defaultdict(int)
    for codes in charts.values():
        for size in range(1, m + 1):
            for combination in combinations(sorted(codes), size):
                patients[combination] += 1
    return min(patients.values(), default=None)


def comorbid(size: int, seed: int = 6) -> pl.DataFrame:
    """Charts of some common codes, and of codes that come together."""
    chance = random.Random(seed)
    charts: list[frozenset[str]] = []
    for _ in range(size):
        common = {f"C{int(chance.paretovariate(0.8))}" for _ in range(chance.randint(0, 6))}
        disease = chance.randint(1, 12)
        charts.append(frozenset(common | {f"D{disease}-{chance.randint(1, 4)}" for _ in range(chance.randint(0, 4))}))
    return rows_of(charts)


@given(CHARTS, st.integers(2, 5), st.sampled_from([1, 2]))
@settings(deadline=None, max_examples=80)
def test_every_combination_that_is_left_is_shared_by_k(charts: list[frozenset[str]], k: int, m: int) -> None:
    diagnoses = rows_of(charts)
    withheld = rare_codes(diagnoses, k, m)
    assert withheld.join(diagnoses, on=["research_id", "code"]).height == withheld.unique().height == withheld.height
    shared = fewest(left(diagnoses, withheld), m)
    assert shared is None or shared >= k


@given(CHARTS, st.integers(2, 4), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=30)
def test_the_order_of_rows_and_rows_that_come_twice_do_not_matter(
    charts: list[frozenset[str]], k: int, chance: random.Random
) -> None:
    diagnoses = rows_of(charts)
    twice = [*range(diagnoses.height), *range(diagnoses.height)]
    chance.shuffle(twice)
    assert rare_codes(diagnoses[twice], k).equals(rare_codes(diagnoses, k))


@given(CHARTS, st.integers(2, 5))
@settings(deadline=None, max_examples=30)
def test_what_is_common_enough_is_left_alone(charts: list[frozenset[str]], k: int) -> None:
    shared = fewest(rows_of(charts), 2)
    assert rare_codes(rows_of(charts), k).is_empty() == (shared is None or shared >= k)


def test_of_a_rare_pair_only_its_patients_lose_a_code() -> None:
    charts = [frozenset("AC")] * 20 + [frozenset("BC")] * 10 + [frozenset("AB")] * 2 + [frozenset("B")] * 5
    withheld = rare_codes(rows_of(charts), 3)
    assert withheld.rows() == [(2**61 + 30, "B"), (2**61 + 31, "B")]


def test_a_withheld_code_may_make_another_pair_rare() -> None:
    """A with B is rare; when B is withheld of its patient, B with C is left with two, and goes too."""
    charts = [frozenset("A")] * 30 + [frozenset("ABC")] + [frozenset("BC")] * 2 + [frozenset("C")] * 9
    withheld = rare_codes(rows_of([*charts, *[frozenset("B")] * 4, *[frozenset("AC")] * 5]), 3)
    assert set(withheld["research_id"] - 2**61) == {30, 31, 32}
    assert withheld["code"].to_list() == ["B", "B", "B"]


def test_a_code_stays_where_the_one_it_is_rare_with_goes() -> None:
    """One patient has A-B, B-C and C-D alone. A stays as the least rare, so B goes; so C may stay, and D goes."""
    pairs = [frozenset("AC")] * 5 + [frozenset("AD")] * 5 + [frozenset("BD")] * 5
    single = [frozenset("A")] * 89 + [frozenset("B")] * 54 + [frozenset("C")] * 44 + [frozenset("D")] * 9
    withheld = rare_codes(rows_of([frozenset("ABCD"), *pairs, *single]), 3)
    assert withheld.rows() == [(2**61, "B"), (2**61, "D")]


def test_counting_in_parts_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    diagnoses = comorbid(600)
    whole = rare_codes(diagnoses, 5)
    assert fewest(left(diagnoses, whole), 2) == 5
    assert 0.02 < whole.height / diagnoses.height < 0.5
    monkeypatch.setattr(rare, "PAIRS_AT_ONCE", 200)
    assert rare_codes(diagnoses, 5).equals(whole)


def test_codes_that_are_not_known_are_withheld() -> None:
    unknown = pl.DataFrame({"research_id": range(9), "code": [None] * 9}, {"research_id": pl.Int64, "code": pl.String})
    assert rare_codes(unknown, 2).height == 9


def test_a_column_of_categories_is_taken_too() -> None:
    diagnoses = comorbid(200)
    categories = diagnoses.cast({"code": pl.Categorical})
    assert rare_codes(categories, 5).cast({"code": pl.String}).sort(pl.all()).equals(rare_codes(diagnoses, 5))


def test_triples_are_refused() -> None:
    with pytest.raises(ValueError, match="1 or 2"):
        rare_codes(comorbid(5), 2, 3)
