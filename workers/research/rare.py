"""k^m-anonymity of diagnoses: who knows up to m codes of a patient finds at least k patients who have them, or nobody.

Terrovitis, Mamoulis, Kalnis (2008), by suppression alone: a code is withheld of single patients; their other codes and
the code's other patients stay. Of a pair that fewer than k patients share, each of them must lose one code: what is
left of a patient is an independent set in a graph whose edges are rare pairs, and to find the largest is NP-hard. So
codes are taken in an order, first those that are least often in a rare pair for each patient who has them, and a code
stays if no rare pair ties it to one that stays. What is withheld makes other pairs rarer: pairs of the codes concerned
are counted again until none is rare.
"""

from __future__ import annotations

import polars as pl

PAIRS_AT_ONCE = 5_000_000
"""Pairs of codes of a patient that are counted at a time, which bounds memory; pairs of one code stay together."""


def rare_codes(diagnoses: pl.DataFrame, k: int, m: int = 2) -> pl.DataFrame:
    """The rows (`research_id`, `code`) to withhold, so that every combination of up to m codes that a patient still has
    is shared by at least k patients. The same input gives the same result, in any order of rows.

    `diagnoses` has these two columns, of the patients of a release and of no others: who is left out does not count.
    A null code is withheld. Raises ValueError unless m is 1 or 2: were triples counted, little would be left.
    """
    if m not in (1, 2):
        raise ValueError("m must be 1 or 2")
    names = diagnoses.select(pl.col("code").drop_nulls().unique().sort()).with_row_index("number")
    numbered = diagnoses.lazy().join(names.lazy(), on="code", how="left").select("research_id", "number")
    rows = numbered.unique().collect(engine="streaming").with_row_index("row")
    kept = _frequent(rows.drop_nulls(), k).with_columns(codes=pl.len().over("research_id"))
    concerned = kept["number"].unique()
    while m == 2 and concerned.len():
        gone = kept.join(_withheld(_rare_pairs(kept, concerned, k), kept), on="row", how="semi")
        kept = _frequent(kept.join(gone, on="row", how="anti"), k)
        concerned = kept.join(gone, on="number", how="semi")["number"].unique()
    withheld = rows.join(kept, on="row", how="anti").join(names, on="number", how="left")
    return withheld.select("research_id", "code").sort("research_id", "code")


def _frequent(rows: pl.DataFrame, k: int) -> pl.DataFrame:
    """The rows whose code at least k patients have."""
    return rows.filter(pl.len().over("number") >= k)


def _rare_pairs(rows: pl.DataFrame, concerned: pl.Series, k: int) -> pl.DataFrame:
    """Two rows of a patient (`row`, `other`; `number` and `other_number` of their codes) for each pair of codes that
    fewer than k patients share and that has a concerned code."""
    marked = rows.with_columns(concerned=pl.col("number").is_in(concerned.implode()))
    first = marked.filter("concerned").drop("concerned")
    batches = first.group_by("number").agg(pairs=pl.col("codes").cast(pl.UInt64).sum()).sort("number")
    first = first.join(batches.select("number", batch=pl.col("pairs").cum_sum() // PAIRS_AT_ONCE), on="number")
    second = marked.lazy().select("research_id", "concerned", other="row", other_number="number")
    # A pair is met in one order only: with two concerned codes in that of their numbers, else with the concerned first.
    once = (pl.col("number") < pl.col("other_number")) | ~pl.col("concerned")
    pair = pl.col("number").cast(pl.UInt64) * 2**32 + pl.col("other_number")
    found: list[pl.DataFrame] = []
    for batch in first.partition_by("batch"):
        pairs = batch.lazy().join(second, on="research_id").filter(once).with_columns(pair=pair)
        rare = pairs.filter(pl.len().over("pair") < k).select("row", "number", "other", "other_number")
        found.append(rare.collect(engine="streaming"))
    return pl.concat(found)


def _withheld(pairs: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """`row` of each row to withhold, so that no rare pair is left."""
    rare = pl.concat([pairs["number"], pairs["other_number"]]).value_counts(name="rare")
    order = (
        rare.join(rows.group_by("number").len(), on="number")
        .sort(pl.col("rare") / pl.col("len"), "number")
        .lazy()
        .select("number", place=pl.int_range(pl.len(), dtype=pl.UInt32))
    )
    ahead = pl.col("place") < pl.col("place_other")
    edges = (
        pairs.lazy()
        .join(order, on="number")
        .join(order, left_on="other_number", right_on="number", suffix="_other")
        .select(
            before=pl.when(ahead).then("row").otherwise("other"), after=pl.when(ahead).then("other").otherwise("row")
        )
        .collect(engine="streaming")
    )
    withheld = [pl.DataFrame(schema={"row": pl.UInt32})]
    while edges.height:
        # Who is after nobody stays, and whoever is after such a one goes.
        gone = edges.join(edges, left_on="before", right_on="after", how="anti").select(row="after").unique()
        edges = edges.join(gone, left_on="before", right_on="row", how="anti")
        edges = edges.join(gone, left_on="after", right_on="row", how="anti")
        withheld.append(gone)
    return pl.concat(withheld)
