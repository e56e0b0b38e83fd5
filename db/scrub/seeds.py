"""What is known of a patient, and finding it in a text in every way that people write it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from db.scrub.text import folded

Span: TypeAlias = tuple[int, int, str]
"""Start, end and token of what a text must lose."""

SEEDS_MAX = 500
"""Entries of one patient that are looked for; of a patient with more no text is shown."""
NAME_MIN, IDENTIFIER_MIN, PLACE_MIN = 2, 4, 3
"""Characters of the shortest part of a name, of an identifier, and of a place that are looked for."""

PARTICLES = frozenset(
    "al ap bin da das de del della den der des di do dos du e el ii iii iv jr la las le los mc md ms mr mrs of san st "
    "the van vom von y zu".split()
)
"""Parts of names that are common words: found with the parts beside them, not alone."""

NOT_LETTER_BEFORE, NOT_LETTER_AFTER = r"(?<![^\W\d_])", r"(?![^\W\d_])"
NOT_ALNUM_BEFORE, NOT_ALNUM_AFTER = r"(?<![^\W_])", r"(?![^\W_])"


@dataclass(frozen=True, slots=True)
class Seeds:
    """Identifiers of one patient, of the people to contact, and of who wrote the text; never shown themselves."""

    patient_id: UUID
    names: Sequence[str]
    """Names and parts of names: of the patient, contacts, authors."""
    identifiers: Sequence[str]
    """Medical record number, social security number and the like."""
    contacts: Sequence[str]
    """Telephone numbers and e-mail addresses."""
    places: Sequence[str]
    """Street lines, cities, districts and postal codes."""
    birth_date: str | None
    """FHIR date."""

    def __repr__(self) -> str:
        return "Seeds(…)"

    def __len__(self) -> int:
        return len(self.names) + len(self.identifiers) + len(self.contacts) + len(self.places)


def seeded(seeds: Seeds, text: str) -> list[Span]:
    """Where seeds stand in a folded text."""
    spans: list[Span] = []
    for token, pattern in _patterns(seeds):
        spans += [(found.start(), found.end(), token) for found in pattern.finditer(text)]
    return spans


def _patterns(seeds: Seeds) -> Iterable[tuple[str, re.Pattern[str]]]:
    names = {pattern for name in seeds.names for pattern in _name(name)}
    dotted = {pattern for name in seeds.names for pattern in _initials(name)}
    numbers = {pattern for value in seeds.identifiers if (pattern := _identifier(value))}
    contacts = {pattern for value in seeds.contacts if (pattern := _contact(value))}
    places = {pattern for value in seeds.places if (pattern := _sequence(value, PLACE_MIN))}
    years = {re.escape(seeds.birth_date[:4])} if seeds.birth_date else set[str]()
    alnum, letter = (NOT_ALNUM_BEFORE, NOT_ALNUM_AFTER), (NOT_LETTER_BEFORE, NOT_LETTER_AFTER)
    groups: list[tuple[str, set[str], tuple[str, str]]] = [
        ("[ID]", numbers, alnum),
        ("[PHONE]", contacts, alnum),
        ("[ADDRESS]", places, alnum),
        ("[NAME]", dotted, letter),
        ("[NAME]", names, letter),
        ("[DATE]", years, alnum),
    ]
    for token, group, (before, after) in groups:
        if group:
            longest_first = "|".join(sorted(group, key=lambda pattern: (-len(pattern), pattern)))
            yield token, re.compile(f"{before}(?:{longest_first}){after}")


def _parts(value: str) -> list[str]:
    return re.findall(r"[^\W_]+", folded(value))


def _name(name: str) -> Iterable[str]:
    """Patterns of a name: all of it however it is joined, each part alone, also without digits that end it."""
    parts = _parts(name)
    if len("".join(parts)) >= NAME_MIN:
        yield r"[\W_]{0,3}".join(map(re.escape, parts))
    for part in parts:
        for one in {part, part.rstrip("0123456789")}:
            if len(one) >= NAME_MIN and one not in PARTICLES:
                yield re.escape(one) + r"\d{0,4}"


def _initials(name: str) -> Iterable[str]:
    """Patterns of the initials of a whole name, and of its first and last word, each with its full stop."""
    letters = [parts[0][0] for word in name.split() if (parts := _parts(word))]
    if len(letters) > 1:
        for some in (letters, [letters[0], letters[-1]]):
            yield r"\s?".join(re.escape(letter) + r"\." for letter in some)


def _identifier(value: str) -> str | None:
    """Pattern of a number, however it is grouped."""
    return _spelled("".join(_parts(value)), IDENTIFIER_MIN)


def _contact(value: str) -> str | None:
    """Pattern of a telephone number, with or without its country, or of what is none as it stands."""
    if "@" in value or "/" in value:
        return re.escape(folded(value.strip()))
    digits = re.sub(r"\D", "", folded(value))
    if len(digits) < IDENTIFIER_MIN:
        return _sequence(value, IDENTIFIER_MIN)
    return _spelled(digits[-10:] if len(digits) > 10 else digits, IDENTIFIER_MIN)


def _spelled(characters: str, minimum: int) -> str | None:
    return r"[\W_]{0,3}".join(map(re.escape, characters)) if len(characters) >= minimum else None


def _sequence(value: str, minimum: int) -> str | None:
    parts = _parts(value)
    return r"[\W_]{1,3}".join(map(re.escape, parts)) if len("".join(parts)) >= minimum else None
