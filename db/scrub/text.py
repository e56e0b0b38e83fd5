"""Texts as they are compared: without what hides a name from a search for it, every character in its place."""

from __future__ import annotations

import unicodedata
from functools import cache

APOSTROPHES = "'’‘`´ʼ"


def clean(text: str) -> str:
    """The text composed (NFC), without characters that are not seen: zero-width spaces, soft hyphens, directions."""
    return "".join(char for char in unicodedata.normalize("NFC", text) if unicodedata.category(char) != "Cf")


def plain(text: str) -> str:
    """The text without accents, of the same length: each letter and digit as ASCII has it, where it has."""
    return "".join(map(_base, text))


def folded(text: str) -> str:
    """The plain text in small letters, of the same length."""
    return "".join(map(_small, text))


@cache
def _base(char: str) -> str:
    if char in APOSTROPHES:
        return "'"
    first = unicodedata.normalize("NFKD", char)[0]
    return first if first.isalnum() or not char.isalnum() else char


@cache
def _small(char: str) -> str:
    lower = _base(char).lower()
    return lower if len(lower) == 1 else char
