"""Texts of a release, scrubbed (db/scrub): for LIMITED and TRUSTED only, as no scrubbed text is Safe Harbor by itself.

Dates and ages over 89 leave every text, whatever the method, for a text does not say whose dates they are. Years stay,
but not where dates are shifted: the distance from the year in a text to that of a shifted date would tell the shift.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import polars as pl

from db.policy import Phi
from db.scrub.scrubber import SeedsExceeded, scrub
from db.scrub.seeds import Seeds

CONTACTS = frozenset([Phi.PHONE, Phi.FAX, Phi.EMAIL, Phi.URL])
TOKEN = re.compile(r"\[(NAME|DATE|90\+|ID|PHONE|EMAIL|URL|IP|ADDRESS|PLACE|REDACTED|CUT)\]")
"""What stands in a text for what was taken out."""
YEAR = re.compile(
    r"(?<![\w.])(?:19|20|21)\d\d(?!\w|[.,]\d)(?!\s?(?:ml|mg|mcg|cc|g|kg|units?|kcal|cal|iu)\b)", re.IGNORECASE
)
"""A year that no amount is; of a scrubbed text, in which no longer date is left."""


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """Notes without identifiers."""

    notes: pl.DataFrame
    tokens: Mapping[str, int]
    """How often each TOKEN stands in them."""
    withheld: int
    """How many lost all of their text."""


def scrubbed(notes: pl.DataFrame, identifiers: pl.DataFrame, *, shifted: bool) -> Scrubbed:
    """Notes of a partition (research_id, text, authors: list of names, and more): `text` scrubbed, `authors` left out.

    `identifiers` are those of workers.research.identifiers. A text is null where nothing is known of its patient, or
    too much to be looked for. `shifted` says whether the release moves dates.
    """
    known = _seeds(identifiers)
    texts = [
        _scrubbed(text, known.get(research_id), authors or (), shifted)
        for research_id, text, authors in notes.select("research_id", "text", "authors").iter_rows()
    ]
    made = notes.drop("authors").with_columns(pl.Series("text", texts, pl.String))
    tokens = Counter(token for text in texts if text for token in TOKEN.findall(text))
    return Scrubbed(made, tokens, made["text"].null_count() - notes["text"].null_count())


def _scrubbed(text: str | None, seeds: Seeds | None, authors: Sequence[str], shifted: bool) -> str | None:
    if text is None or seeds is None:
        return None
    try:
        made = scrub(text, replace(seeds, names=[*seeds.names, *authors]))
    except SeedsExceeded:
        return None
    return YEAR.sub("[DATE]", made) if shifted else made


def _seeds(identifiers: pl.DataFrame) -> Mapping[int, Seeds]:
    """What is known of each patient, by research id."""
    listed: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for research_id, kind, value in identifiers.select("research_id", "kind", "value").iter_rows():
        listed[research_id][_part(Phi(kind))].append(value)
    return {
        research_id: Seeds(
            patient_id=UUID(int=research_id),
            names=parts["names"],
            identifiers=parts["identifiers"],
            contacts=parts["contacts"],
            places=parts["places"],
            birth_date=next(iter(parts["birth_date"]), None),
        )
        for research_id, parts in listed.items()
    }


def _part(kind: Phi) -> str:
    """Part of the seeds that an identifier of a kind belongs to."""
    if kind in CONTACTS:
        return "contacts"
    return {Phi.NAME: "names", Phi.GEOGRAPHY: "places", Phi.DATE: "birth_date"}.get(kind, "identifiers")
