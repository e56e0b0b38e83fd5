"""The scrubber: a text loses the patient's own identifiers with certainty, then all that looks like one, then every
word that is not known to be safe. Names of people nobody ever listed are hidden because they are unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn, cast
from uuid import UUID

from db.scrub.patterns import formed
from db.scrub.seeds import SEEDS_MAX, Seeds, Span, seeded
from db.scrub.text import clean, folded, plain
from db.scrub.words import CONTRACTIONS, Words, words

TEXT_MAX = 50_000
"""Characters of a text that are scrubbed; the rest is cut."""
CUT = "[CUT]"
DIGITS_MAX = 4
"""Digits of a word that may be kept, such as HbA1c or q12h."""

WORD = re.compile(r"[^\W_]+(?:'[^\W\d_]+)*")
NAMES = re.compile(
    r"(?:\b[A-Z]\.?\s?)?\[NAME\](?:'s)?(?:[ ,.-]{0,2}(?:\b[A-Z]\b\.?[ ,]{0,2})?\[NAME\](?:'s)?|,? [A-Z]\b\.)*"
)
"""Names beside each other, with initials between them: one name."""


class SeedsExceeded(ValueError):
    """There are more seeds than a text is searched for."""


def scrub(text: str, seeds: Seeds) -> str:
    """The text with tokens such as [NAME] and [DATE] in place of what identifies; not Safe Harbor by itself.

    Raises SeedsExceeded where there are more seeds than can be looked for: such a text must not be shown.
    """
    if len(seeds) > SEEDS_MAX:
        raise SeedsExceeded
    shown = clean(text)
    if len(shown) > TEXT_MAX:
        shown = shown[:TEXT_MAX].rpartition(" ")[0] + CUT
    letters, small = plain(shown), folded(shown)
    spans = _merged([*seeded(seeds, small), *formed(letters, small)])
    spans = _merged([*spans, *_unknown(letters, small, spans, words())])
    return NAMES.sub("[NAME]", "".join(_replaced(shown, spans)))


def _merged(spans: Sequence[Span]) -> list[Span]:
    """Spans in their order, those that overlap made one; the token is that of the first."""
    merged: list[Span] = []
    for start, end, token in sorted(spans, key=lambda span: span[0]):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]), merged[-1][2])
        else:
            merged.append((start, end, token))
    return merged


def _replaced(text: str, spans: Sequence[Span]) -> Iterator[str]:
    done = 0
    for start, end, token in spans:
        yield text[done:start]
        yield token
        done = end
    yield text[done:]


def _unknown(letters: str, small: str, spans: Sequence[Span], lists: Words) -> Iterator[Span]:
    """Words that are not known to be safe, or that are names where they stand."""
    taken = bytearray(len(small))
    for start, end, _ in spans:
        taken[start:end] = b"\1" * (end - start)
    found = [one for one in WORD.finditer(small) if not any(taken[one.start() : one.end()])]
    hidden = {one.start() for one in found if not _is_safe(one[0], lists)}
    named = {end for _, end, token in spans if token == "[NAME]"}  # noqa: S105 - a token of the text
    for place, one in enumerate(found):
        start, end = one.span()
        if start in hidden:
            is_name = one[0] in lists.names or letters[start].isupper()
            token = "[ID]" if _digits(one[0]) > DIGITS_MAX else "[NAME]" if is_name else "[REDACTED]"
            named.add(end)
            yield start, end, token
        elif one[0] in lists.names and letters[start:end].istitle():
            after = found[place + 1].start() if place + 1 < len(found) else 0
            beside = any(gap in named for gap in (start - 1, start - 2)) or (after in hidden and after - end <= 2)
            if beside or not _starts_sentence(letters, start):
                named.add(end)
                yield start, end, "[NAME]"


def _is_safe(word: str, lists: Words) -> bool:
    if word.isdigit() or word in lists.safe or len(word) == 1:
        return True
    head, apostrophe, tail = word.partition("'")
    if apostrophe:
        return tail in CONTRACTIONS and _is_safe(head, lists)
    parts = re.findall(r"[^\W\d_]+", word)
    return 0 < _digits(word) <= DIGITS_MAX and all(len(part) <= 2 or part in lists.safe for part in parts)


def _digits(word: str) -> int:
    return sum(char.isdigit() for char in word)


def _starts_sentence(text: str, start: int) -> bool:
    before = text[max(0, start - 40) : start].rstrip(" \t\"'(*-#")
    return not before or before[-1] in ".!?:;\n|/" or "\n" in text[len(before) + max(0, start - 40) : start]


class Unscrubbed:
    """A document of which a caller may see scrubbed texts only: they leave it through `scrubbed` and no other way.

    It prints, compares and serializes as an empty object: JSON and pickle refuse it.
    """

    __slots__ = ("__document", "id", "patient_id")

    def __init__(self, id: UUID, patient_id: UUID, document: Mapping[str, Any]) -> None:
        self.id = id
        self.patient_id = patient_id
        self.__document = document

    def __repr__(self) -> str:
        return "Unscrubbed(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A text that is not scrubbed stays where it is.")

    def scrubbed(self, seeds: Seeds) -> Mapping[str, Any]:
        """The document with every text in it scrubbed, authors' names among the seeds. Raises SeedsExceeded.

        What is neither text, list nor object is left out.
        """
        if seeds.patient_id != self.patient_id:
            raise ValueError("The seeds are another patient's.")
        authors = [
            name
            for part in ("author", "signatures")
            for one in self.__document.get(part) or ()
            if (name := one.get("display"))
        ]
        authors += [name for one in self.__document.get("amendments") or () if (name := one.get("author"))]
        known = replace(seeds, names=[*seeds.names, *authors])
        return {name: _scrubbed(self.__document.get(name), known) for name in TEXTS}


TEXTS = ("text", "sections", "amendments")
"""Fields of a document that are scrubbed."""
KEPT = ("time",)
"""Part of an amendment that is no free text."""
DROPPED = ("code", "author")
"""Part of a section that carries words beside a code, and who amended: that may be the patient."""


def _scrubbed(value: object, seeds: Seeds) -> object:
    if isinstance(value, str):
        return scrub(value, seeds)
    if isinstance(value, list):
        return [_scrubbed(one, seeds) for one in cast("list[object]", value)]
    if isinstance(value, dict):
        parts = cast("dict[str, object]", value)
        return {
            name: None if name in DROPPED else one if name in KEPT else _scrubbed(one, seeds)
            for name, one in parts.items()
        }
    return None
