"""Search terms of notes: stemmed English words without stop words, and phrases that must stand in the text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import snowballstemmer

WORD = "0-9A-Za-zµÀ-\u1fff\u2c00-\u2dff\u3040-\ud7ff"
"""Characters of words, as the inside of a character class: spelled out, because servers differ in what \\w means."""

# The English stop words of Snowball's stop list; what MongoDB's text index leaves out is among them.
STOP_WORDS = frozenset(
    """a about above after again against all am an and any are aren as at be because been before being below between
    both but by can cannot could couldn d did didn do does doesn doing don down during each few for from further had
    hadn has hasn have haven having he her here hers herself him himself his how i if in into is isn it its itself just
    let ll m me more most mustn my myself no nor not now of off on once only or other ought our ours ourselves out over
    own re s same shan she should shouldn so some such t than that the their theirs them themselves then there these
    they this those through to too under until up ve very was wasn we were weren what when where which while who whom
    why will with won would wouldn you your yours yourself yourselves""".split()
)

_WORDS = re.compile(f"[{WORD}]+")
_QUOTED = re.compile(r'"([^"]*)"')
_STEMMER = snowballstemmer.stemmer("english")


@lru_cache(maxsize=65536)
def _stem(word: str) -> str:
    return _STEMMER.stemWord(word)


def terms(text: str) -> list[str]:
    """Distinct stems of the words of a text, sorted: what is stored with a note and indexed."""
    words = {word.lower() for word in _WORDS.findall(text)}
    return sorted({_stem(word) for word in words - STOP_WORDS})


@dataclass(frozen=True, slots=True)
class TextQuery:
    """What a text search asks for: all stems and all phrases, these as patterns; `words` is the query without marks."""

    stems: tuple[str, ...]
    phrases: tuple[str, ...]
    words: str


def parse(query: str) -> TextQuery:
    """Query of words and "phrases"; an unpaired quotation mark means nothing. Without a term it finds nothing."""
    quoted = [_WORDS.findall(phrase) for phrase in _QUOTED.findall(query)]
    stems = sorted(terms(query), key=lambda stem: (-len(stem), stem))
    phrases = tuple(dict.fromkeys(_phrase(words) for words in quoted if words))
    return TextQuery(tuple(stems), phrases, " ".join(_WORDS.findall(query)))


def _phrase(words: list[str]) -> str:
    """Pattern of whole words in this order with nothing but other characters between them; case does not count."""
    return f"(?<![{WORD}])" + f"[^{WORD}]+".join(words) + f"(?![{WORD}])"
