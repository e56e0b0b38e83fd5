"""Sensitivity labels of documents: what was said of one, and what its codes, conditions and encounter imply."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Labels = Sequence[str] | None
"""Labels; None where there was nothing to judge by."""


def labels_of(said: Iterable[str], own: Labels, addressed: Labels, encountered: Labels) -> list[str] | None:
    """Labels of a document, sorted, by its source, its codes, the conditions that it addresses and its encounter.

    None where neither source, codes nor conditions say anything: unlabelled. Such a document is restricted (R) beside
    what its encounter implies.
    """
    labels = {*said, *(own or ()), *(addressed or ()), *(encountered or ())}
    judged = bool(set(said)) or own is not None or addressed is not None
    if not judged and labels:
        labels.add("R")
    return sorted(labels) if judged or labels else None
