"""What identifies by its form alone: dates, ages over 89, numbers, addresses.

Every repetition is bounded, so that the time for a text grows with its length and no faster, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from db.scrub.seeds import Span

Patterns: TypeAlias = Sequence[tuple[str, re.Pattern[str]]]

MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?s?,?\s{1,3})?"
DAY = r"\d{1,2}(?:st|nd|rd|th)?\b"
YEAR = r"(?:19|20|21)\d\d\b"
STREET = (
    r"(?:alley|avenue|ave|boulevard|blvd|circle|court|ct|crescent|drive|dr|heights|highway|hwy|lane|ln|parkway|pkwy|place"
    r"|plaza|road|rd|route|square|street|st|terrace|trail|turnpike|way)\b\.?"
)
STATE = (
    r"(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|PR|RI|S[CD]|T[NX]|UT|V[AIT]"
    r"|W[AIVY])"
)
LABEL = (
    r"(?:mrn|ssn|acct|account|accession|member|policy|record|license|licence|passport|serial|device|case|claim|badge|npi"
    r"|dea|vin|medicaid|medicare)"
)
NUMBER = r"(?=[a-z-]{0,12}\d)[a-z0-9][a-z0-9-]{1,40}"
PLACE = r"(?:Hospital|Clinic|Center|Centre|Infirmary|Pharmacy|Hospice|University|College|School|Church)"
CAPITALIZED = r"[A-Z][A-Za-z'-]{1,40}"


def _after(contexts: Sequence[str], pattern: str) -> str:
    """The pattern where one of these words, each followed by white space, stands before it."""
    return "|".join(rf"(?<=\b{context}\s){pattern}" for context in contexts)


def _compiled(*patterns: tuple[str, str]) -> Patterns:
    return [(token, re.compile(pattern)) for token, pattern in patterns]


NETWORK = _compiled(
    ("[URL]", r"\b(?:https?|ftp)://[^\s<>\"]{1,2000}|\bwww\.[^\s<>\"]{1,2000}"),
    ("[EMAIL]", r"(?<![^\s<>(\[,;:\"])[^\s@<>(\[,;:\"]{1,64}@[^\s@<>)\],;\"]{1,255}"),
    ("[IP]", r"\b\d{1,3}(?:\.\d{1,3}){3}\b|(?<![\w:])(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{1,4}\b"),
)
DATES = _compiled(
    ("[DATE]", r"\b\d{4}([-/.])\d{1,2}\1\d{1,2}(?:t\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:z|[+-]\d\d:?\d\d)?)?(?!\d)"),
    ("[DATE]", r"\b\d{1,2}([-/.])\d{1,2}\1(?:\d{4}|\d{2})\b"),
    ("[DATE]", rf"\b{YEAR}-(?:0[1-9]|1[0-2])\b|\b(?:0?[1-9]|1[0-2])/{YEAR}"),
    ("[DATE]", r"\b(?:0?[1-9]|1[0-2])/(?:0?[1-9]|[12]\d|3[01])\b(?![/\d])"),
    ("[DATE]", rf"\b{WEEKDAY}{DAY}(?:\s{{1,3}}of)?[\s.-]{{1,3}}{MONTH}(?:[\s,.'-]{{1,3}}\d{{2,4}}\b)?"),
    ("[DATE]", rf"\b{WEEKDAY}{MONTH}[\s.-]{{0,3}}{DAY}(?:[\s,.'-]{{1,3}}{YEAR})?"),
    ("[DATE]", rf"\b{MONTH}[\s,'-]{{1,3}}(?:of\s)?{YEAR}"),
    ("[DATE]", _after(["in", "of", "since", "until", "last", "next", "early", "late"], r"may\b")),
    ("[DATE]", r"\bnew year'?s(?:\s(?:eve|day))?\b|\b(?:christmas|thanksgiving|halloween|easter|independence day)\b"),
    ("[DATE]", rf"\b(?:q[1-4]|(?:first|second|third|fourth) quarter)(?:\sof)?\s{YEAR}"),
)
AGES = _compiled(
    ("[90+]", r"\b(?:9\d|1[0-4]\d)(?=[\s-]{0,3}(?:years?|yrs?|y/?o|y\.\s?o)\b)"),
    ("[90+]", _after(["age", "aged", "age:", "age of", "turned"], r"(?:9\d|1[0-4]\d)\b")),
    ("[90+]", r"\b(?:9\d|1[0-4]\d)th(?=\sbirthday)|\b90'?s\b|\bcentenarian\b"),
    ("[90+]", r"\bninet(?:y|ies|ieth)(?:[\s-]{1,2}(?:one|two|three|four|five|six|seven|eight|nine))?\b"),
)
NUMBERS = _compiled(
    ("[ID]", r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b\d{3}-\d{2}-\d{4}\b"),
    (
        "[PHONE]",
        r"(?<![\w.])(?:\+?\d{1,3}[\s.-]?)?(?:\(\d{2,4}\)\s?|\d{3}[\s.-])\d{3}[\s.-]?\d{4}\b(?:\s?(?:x|ext\.?)\s?\d{1,6})?",
    ),
    ("[PHONE]", r"(?<![\w.-])\d{3}[.-]\d{4}(?!\w|[.-]\d)|\+\d{1,3}(?:[\s.-]?\(?\d{1,5}\)?){2,5}\b"),
    ("[ID]", rf"\b{LABEL}\b[\s:.#]{{0,4}}(?:(?:no|number|num|id)\b[\s:.#]{{0,4}})?(?:is\s)?{NUMBER}"),
    ("[ID]", r"(?:\b(?:id|no|number)\b[:.]?\s?|#\s?)\d{3,40}[a-z0-9-]{0,40}"),
    ("[ID]", r"\b(?:ending|last\sfour|last\s4)(?:\s(?:in|digits|of))?[:\s]{1,2}\d{4}\b"),
    ("[ID]", r"(?<![\w.])\d(?:[\s-]?\d){8,24}(?![\w.]|[.,]\d)|(?<![\w.])\d{7,40}(?!\w)"),
)
ADDRESSES = _compiled(
    (
        "[ADDRESS]",
        rf"\b\d{{1,6}}[a-z]?\s(?:[a-z'.]{{1,30}}\s){{1,4}}{STREET}(?:,?\s(?:apt|unit|suite|ste|#)\.?\s?\w{{1,6}})?",
    ),
    ("[ADDRESS]", r"\bp\.?\s?o\.?\sbox\s\d{1,8}\b|\b(?:apt|apartment|suite)\.?\s?#?\d{1,5}[a-z]?\b"),
    ("[ADDRESS]", r"\b\d{5}-\d{4}\b|" + _after(["zip", "zip:", "zip code"], r"\d{5}\b")),
)
SMALL = [*NETWORK, *DATES, *AGES, *NUMBERS, *ADDRESSES]
"""On the folded text, in small letters."""

CAPITALS = _compiled(
    ("[ADDRESS]", rf"\b{STATE},?\s{{1,3}}\d{{5}}(?:-\d{{4}})?\b"),
    ("[PLACE]", rf"\b(?:{CAPITALIZED}\s(?:of\s|and\s|the\s)?){{1,5}}{PLACE}\b"),
    ("[DATE]", r"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)days?\b|(?<=[a-z,] )(?:March|May)\b"),
    ("[DATE]", r"\b(?:January|February|April|June|July|August|September|October|November|December)\b"),
    (
        "[NAME]",
        r"\b(?:Dr|Mr|Mrs|Ms|Miss|Mx|Prof|Doctor|Nurse|Sister|Dra|Sra?)\b\.?\s{1,2}"
        rf"(?:[A-Z]\.\s?){{0,2}}{CAPITALIZED}(?:\s{CAPITALIZED}){{0,2}}",
    ),
)
"""On the plain text, where capitals tell."""

YEAR_ALONE = re.compile(r"(?<![\w.,/-])1[89]\d\d(?![\w/-])(?!\s?(?:ml|mg|mcg|cc|g|kg|units?|kcal|cal|/)\b)")
"""A year, of the folded text; one from which an age over 89 follows is hidden."""


def formed(plain: str, folded: str) -> Iterator[Span]:
    """Where something stands that identifies by its form, in a plain and in the folded text."""
    for patterns, text in ((SMALL, folded), (CAPITALS, plain)):
        for token, pattern in patterns:
            yield from ((found.start(), found.end(), token) for found in pattern.finditer(text))
    untold = datetime.now(UTC).year - 90
    for found in YEAR_ALONE.finditer(folded):
        if int(found[0]) <= untold:
            yield found.start(), found.end(), "[DATE]"
