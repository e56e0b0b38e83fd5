"""The scan of a release: no cell may hold what identifies a patient, by its form or because it is known.

By form (PATTERNS): e-mail addresses, telephone and social security numbers, days and months, UUIDs and the like; those
that codes look like too (LOOSE) not in columns of codes.

By what is known of the patients: a value is cut into words and numbers, and every run of them is compared with every
identifier, without case, accents and punctuation, so that `999-12-3456` is found in `999 12 3456` and in `999123456`. A
run counts by how much it tells (Weight) and whose it is:

| | in rows of the patient | in rows of others |
| --- | --- | --- |
| PHRASE: whole name, e-mail address, line of a street | always | always |
| NUMBER: six characters and more, a digit among them | always | not in columns of codes or numbers |
| WORD: part of a name, town, postal code, date of birth | in columns of codes only if it is all of the cell | never |

But a WORD or NUMBER does not count where the same value is in rows of THRESHOLD patients whose identifier it is not: it
is there for another reason, as `White` is among races, and tells nothing. So a scan takes as many rows as there are.

The distinct values of a column are searched, so that the time grows with what is different in a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import polars as pl

from db.disclosure import THRESHOLD
from db.policy import Phi
from db.research_method import Method
from db.scrub.seeds import IDENTIFIER_MIN, NAME_MIN, PARTICLES, PLACE_MIN
from workers.research.dates import FHIR_DATE_TIME
from workers.research.text import TOKEN

KEYS = frozenset(["research_id", "encounter_id"])
"""Numbers of the release, which stand for nothing outside of it."""
CODED = frozenset(["system", "code", "unit"])
"""Last word of the names of columns whose values are codes, code systems and units."""
LIMITED = frozenset([Phi.DATE, Phi.GEOGRAPHY])
MAY: Mapping[Method, frozenset[Phi]] = {
    Method.SAFE_HARBOR: frozenset(),
    Method.LIMITED: LIMITED,
    Method.TRUSTED: LIMITED,
}
"""Kinds that may be all of a cell: FHIR dates, towns and postal codes of limited data sets (45 CFR 164.514(e)(2))."""
POSTAL_CODE = r"^\d{5}(?:-\d{4})?$"
PART = r"[\p{L}\p{N}]+"
"""A word or number, of which runs are made."""
RUN_MAX = 12
"""Parts of the longest run; of a longer identifier its first parts are compared."""
NUMBER_MIN = 6
"""Characters of the shortest number that is looked for among numbers and in rows of others."""
STREET_MIN = 3
"""Parts of the shortest line of a street."""
DAY_LENGTH, LOCAL_LENGTH = len("20200229"), len("6175550134")
"""Digits of a day, and of a telephone number without its country."""
SLICE_BYTES = 4_000_000
"""Size of the distinct values of which runs are made at a time."""

MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?"
)
YEAR = r"(?:19|20|21)\d\d"
DAY_OR_MONTH = r"(?:0?[1-9]|[12]\d|3[01])"
OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
NUMBER = r"\b[\s:.#]{0,4}(?:(?:no|number|id)\b[\s:.#]{0,4})?[a-z]{0,4}-?\d{4,}"
"""What follows the label of a number."""
VIN = r"(?-i:(?:[A-HJ-NPR-Z][A-HJ-NPR-Z\d]|\d[A-HJ-NPR-Z])[A-HJ-NPR-Z\d]{6}[\dX][A-HJ-NPR-Z\d]{4}\d{4})"

PATTERNS: Sequence[tuple[Phi, str]] = (
    (Phi.EMAIL, r"[^\s@<>,;]@[^\s@<>,;]+\.[a-z]{2,}"),
    (Phi.SSN, r"\b\d{3}-\d{2}-\d{4}\b"),
    (Phi.PHONE, r"(?:\(\d{3}\)\s?|\b\d{3}[-.])\d{3}[-. ]\d{4}\b"),
    (Phi.PHONE, r"\+\d{1,3}[ .-]\(?\d{2,4}\)?[ .-]\d{3,4}[ .-]?\d{3,4}\b"),
    (Phi.DATE, rf"\b{YEAR}[-/](?:0[1-9]|1[0-2])(?:\b|t)|\b{YEAR}[-/](?:0?[1-9]|1[0-2])[-/]{DAY_OR_MONTH}(?:\b|t)"),
    (Phi.DATE, rf"\b{DAY_OR_MONTH}(?:[-/]{DAY_OR_MONTH}[-/]{YEAR}|/{DAY_OR_MONTH}/\d\d)\b"),
    (Phi.DATE, rf"\b\d{{1,2}}(?:st|nd|rd|th)?[\s-](?:of\s)?{MONTH}[\s,-]{{1,2}}{YEAR}\b"),
    (Phi.DATE, rf"\b{MONTH}\s(?:\d{{1,2}}(?:st|nd|rd|th)?[\s,]{{1,2}})?{YEAR}\b"),
    (Phi.MEDICAL_RECORD_NUMBER, rf"\b(?:mrn|medical record){NUMBER}"),
    (Phi.ACCOUNT_NUMBER, rf"\b(?:acct|account|member|policy|accession){NUMBER}"),
    (Phi.LICENSE_NUMBER, rf"\b(?:licen[cs]e|passport){NUMBER}"),
    (Phi.DEVICE, rf"\b(?:serial|device){NUMBER}|\(01\)\d{{14}}"),
    (Phi.VEHICLE, rf"\b{VIN}\b"),
    (Phi.OTHER_IDENTIFIER, r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
)
"""What identifies by its form, in capitals or not; of a vehicle its VIN, of a device also its UDI (GS1)."""
LOOSE: Sequence[tuple[Phi, str]] = (
    (Phi.URL, r"\b(?:https?|ftp)://|\bwww\."),
    (Phi.IP_ADDRESS, rf"\b{OCTET}\.{OCTET}\.{OCTET}\.{OCTET}\b"),
    (Phi.DATE, rf"\b{DAY_OR_MONTH}\.{DAY_OR_MONTH}\.{YEAR}\b|\b{YEAR}\.{DAY_OR_MONTH}\.{DAY_OR_MONTH}\b"),
    (Phi.GEOGRAPHY, r"\b\d{5}-\d{4}\b|^\d{5}$|\b(?-i:[A-Z]{2}),?\s\d{5}\b"),
    (Phi.OTHER_IDENTIFIER, r"\b(?:1\.2\.840|1\.3\.6\.1\.4\.1|2\.25)(?:\.\d+)+"),
)
"""Patterns that codes and names of code systems look like."""

CELL = ("value", "research_id", "rows", "kind", "weight")


class Weight(IntEnum):
    """How much an identifier tells by itself."""

    WORD = 0
    NUMBER = 1
    PHRASE = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """How many rows of a column hold an identifier of a kind; never the identifier itself."""

    table: str
    column: str
    kind: Phi
    rows: int


class Identifiers:
    """What is known of the patients of a release, made comparable once for all its tables.

    `rows` are those of workers.research.identifiers: research_id, kind (of Phi) and value. What is too short to tell
    anything is left out, as db/scrub/seeds.py does.
    """

    def __init__(self, rows: pl.DataFrame) -> None:
        text, is_name = _folded(pl.col("value")), pl.col("kind") == Phi.NAME.value
        cut = rows.lazy().select(
            "research_id",
            "kind",
            parts=text.str.extract_all(PART).list.head(RUN_MAX),
            words=text.str.replace_all(r"[^\p{L}\p{N}\s]+", "").str.extract_all(r"\S+"),
        )
        names, others = cut.filter(is_name), cut.filter(~is_name).with_columns(run=pl.col("parts").list.join(""))
        found = pl.concat([*_whole_names(names), _parts_of_names(names), _values(others), *_bare_numbers(others)])
        self.known = found.with_columns(run=pl.col("run").hash()).unique().collect()
        """Hash of each run, whose it is, its kind, its Weight, and of how many parts it was recorded."""
        self.runs = self.known.select("run").unique()


def _folded(text: pl.Expr) -> pl.Expr:
    """In small letters (of capitals: `ß` is `ss`), without accents."""
    return text.str.normalize("NFD").str.to_uppercase().str.to_lowercase().str.replace_all(r"\p{M}+", "")


def _weighed(cut: pl.LazyFrame, run: pl.Expr, weight: pl.Expr) -> pl.LazyFrame:
    parts = pl.col("parts").list.len().cast(pl.UInt8)
    return cut.select("research_id", "kind", run=run, weight=weight.cast(pl.Int8), parts=parts).drop_nulls()


def _whole_names(names: pl.LazyFrame) -> list[pl.LazyFrame]:
    """Names of two words and more: all words, and the first and last one in either order."""
    words = pl.col("words")
    first, last = words.list.first(), words.list.last()
    several = names.filter(words.list.len() > 1)
    orders = (words.list.join(""), first + last, last + first)
    return [_weighed(several, order, pl.lit(Weight.PHRASE.value)) for order in orders]


def _parts_of_names(names: pl.LazyFrame) -> pl.LazyFrame:
    """Words of names, and what hyphens and apostrophes join in them, also without the digits at their end."""
    single = names.with_columns(one=pl.col("words").list.concat("parts")).explode("one")
    one = pl.col("one")
    bare = single.with_columns(one=one.str.strip_chars_end("0123456789"))
    tells = (one.str.len_chars() >= NAME_MIN) & ~one.is_in(list(PARTICLES))
    return _weighed(pl.concat([single, bare]).filter(tells), one, pl.lit(Weight.WORD.value))


def _values(others: pl.LazyFrame) -> pl.LazyFrame:
    """Identifiers that are no names, each as a whole; of a date of birth its day."""
    run, kind, parts = pl.col("run"), pl.col("kind"), pl.col("parts").list.len()
    length, has_digit = run.str.len_chars(), run.str.contains(r"\d")
    weight = (
        pl.when(kind.is_in([Phi.EMAIL.value, Phi.URL.value]))
        .then(Weight.PHRASE.value)
        .when((kind == Phi.GEOGRAPHY.value) & has_digit & (parts >= STREET_MIN))
        .then(Weight.PHRASE.value)
        .when(kind == Phi.GEOGRAPHY.value)
        .then(pl.when(length >= PLACE_MIN).then(Weight.WORD.value))
        .when(kind == Phi.DATE.value)
        .then(pl.when(length >= DAY_LENGTH).then(Weight.WORD.value))
        .when(has_digit & (length >= NUMBER_MIN))
        .then(Weight.NUMBER.value)
        .when(length >= IDENTIFIER_MIN)
        .then(Weight.WORD.value)
    )
    return _weighed(others, pl.when(kind == Phi.DATE.value).then(run.str.head(DAY_LENGTH)).otherwise(run), weight)


def _bare_numbers(others: pl.LazyFrame) -> list[pl.LazyFrame]:
    """Numbers as they stand alone: without letters around them, with and without zeros before them."""
    kind, is_phone = pl.col("kind"), pl.col("kind").is_in([Phi.PHONE.value, Phi.FAX.value])
    number = pl.col("run").str.extract(r"^\p{L}*(\d+)\p{L}*$")
    local = pl.when(is_phone).then(number.str.tail(LOCAL_LENGTH)).otherwise(number)
    alone = others.filter(~kind.is_in([Phi.DATE.value, Phi.GEOGRAPHY.value])).with_columns(pl.col("parts").list.head(1))
    return [
        _weighed(alone.filter(one.str.len_chars() >= NUMBER_MIN), one, pl.lit(Weight.NUMBER.value))
        for one in (local, local.str.strip_chars_start("0"))
    ]


def scan(
    table: str, rows: pl.DataFrame, identifiers: Identifiers, method: Method, approved: frozenset[Phi]
) -> Sequence[Finding]:
    """What identifies in a table of a release, as said above; nothing where all is well.

    `approved` are the kinds that an IRB approved for TRUSTED. Raises TypeError for a column that cannot be searched.
    """
    may = MAY[method] | (approved if method is Method.TRUSTED else frozenset[Phi]())
    found: list[Finding] = []
    for column, type_ in rows.schema.items():
        if not (column in KEYS and type_.is_integer()):
            counted = _counted(rows.select("research_id", value=column), identifiers, column, may)
            found += [Finding(table, column, kind, counted[kind]) for kind in Phi if kind in counted]
    return found


def _counted(cells: pl.DataFrame, identifiers: Identifiers, column: str, may: frozenset[Phi]) -> Mapping[Phi, int]:
    """Rows with an identifier, by its kind. Raises TypeError."""
    type_, value = cells.schema["value"], pl.col("value")
    if type_.is_temporal():
        dates = cells.height - cells["value"].null_count()
        return {Phi.DATE: dates} if dates and Phi.DATE not in may else {}
    if isinstance(type_, pl.Boolean | pl.Null):
        return {}
    if type_.is_numeric():
        whole = value.cast(pl.Int64, strict=False)
        cells = cells.filter(whole == value, whole.abs() >= 10 ** (NUMBER_MIN - 1)).with_columns(value=whole)
    elif not isinstance(type_, pl.String | pl.Categorical | pl.Enum):
        raise TypeError(f"No scan of a column of type {type_}.")
    texts = cells.with_columns(value.cast(pl.String)).drop_nulls("value")
    is_code = type_.is_numeric() or column.rpartition("_")[2] in CODED
    found = _found(texts, identifiers, is_code, may)
    return {Phi(kind): count for kind, count in found.group_by("kind").agg(pl.col("rows").sum()).iter_rows()}


def _found(texts: pl.DataFrame, identifiers: Identifiers, is_code: bool, may: frozenset[Phi]) -> pl.DataFrame:
    """Values with an identifier: value, research_id of rows, how many they are, kind."""
    distinct = texts.select("value").unique()
    if Phi.DATE in may:
        value = pl.col("value")
        distinct = distinct.filter(~(value.str.contains(FHIR_DATE_TIME) & (value.str.len_bytes() > len("2020"))))
    formed, told = _formed(distinct, is_code, may), _told(distinct, identifiers)
    suspicious = pl.concat([formed.select("value"), told.select("value")]).unique()
    holders = texts.join(suspicious, on="value", how="semi").group_by("value", "research_id").agg(rows=pl.len())
    own = told.join(holders, on="value").join(identifiers.known, on=["run", "research_id"])
    known = _known(told, holders, own, identifiers, is_code)
    found = pl.concat([formed.join(holders, on="value").select(known.columns), known]).unique()
    return found.join(_let(own, may), on=["value", "research_id"], how="anti")


def _formed(distinct: pl.DataFrame, is_code: bool, may: frozenset[Phi]) -> pl.DataFrame:
    """Values that identify by their form, and the kind of it."""
    value = pl.col("value")
    patterns = [*PATTERNS, *(() if is_code else LOOSE)]
    some = distinct.filter(value.str.contains(_any_case("|".join(f"(?:{pattern})" for _, pattern in patterns))))
    found = pl.concat(
        some.filter(value.str.contains(_any_case(pattern))).with_columns(kind=pl.lit(kind.value))
        for kind, pattern in patterns
    )
    is_town = value.str.contains(POSTAL_CODE) & (Phi.GEOGRAPHY in may)
    return found.filter(~(is_town & (pl.col("kind") == Phi.GEOGRAPHY.value))).unique()


def _any_case(pattern: str) -> str:
    return f"(?i){pattern}"


def _told(distinct: pl.DataFrame, identifiers: Identifiers) -> pl.DataFrame:
    """Runs of values that are an identifier: value, run, its length in parts, whether it is all of the value."""
    sized = distinct.with_columns(slice=pl.col("value").str.len_bytes().cum_sum() // SLICE_BYTES)
    slices = sized.partition_by("slice", include_key=False, maintain_order=True) or [distinct]
    found = [one for values in slices for one in _runs(values.with_row_index("at"), identifiers.runs)]
    return pl.concat(found).unique()


def _runs(values: pl.DataFrame, known: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Runs of parts of values, and long numbers within a part, that are known; a token of the scrubber is no name."""
    part, at, run = pl.col("part"), pl.col("at"), pl.col("run")
    text = pl.col("value").str.replace_all(TOKEN.pattern, " x ")
    cut = values.select("at", part=_folded(text).str.extract_all(PART))
    parts = cut.with_columns(count=part.list.len()).explode("part").drop_nulls().with_columns(run=part)
    within = parts.filter(part.str.contains(r"\p{L}")).with_columns(run=part.str.extract_all(rf"\d{{{NUMBER_MIN},}}"))
    yield _of(values, within.explode("run").with_columns(count=0), 1, known)
    for length in range(1, RUN_MAX + 1):
        yield _of(values, parts, length, known)
        parts = parts.with_columns(run=pl.when(at.shift(-length) == at).then(run + part.shift(-length)))
        if parts["run"].null_count() == parts.height:
            break


def _of(values: pl.DataFrame, parts: pl.DataFrame, length: int, known: pl.DataFrame) -> pl.DataFrame:
    runs = parts.drop_nulls("run").select("at", pl.col("run").hash(), is_all=pl.col("count") == length)
    found = runs.join(known, on="run").with_columns(length=pl.lit(length, pl.UInt8))
    return found.join(values, on="at").select("value", "run", "length", "is_all")


def _known(
    told: pl.DataFrame, holders: pl.DataFrame, own: pl.DataFrame, identifiers: Identifiers, is_code: bool
) -> pl.DataFrame:
    """Cells with a known identifier that counts."""
    weight, length = pl.col("weight"), pl.col("length")
    is_recorded = (length == 1) | (length == pl.col("parts"))
    strong = identifiers.known.filter(weight >= (Weight.PHRASE if is_code else Weight.NUMBER))
    others = told.join(strong.drop("research_id").unique(), on="run").filter(
        ((weight == Weight.PHRASE) & (length > 1)) | ((weight == Weight.NUMBER) & is_recorded)
    )
    # `Carol Ina` may be in `Carolina` by chance.
    joined = own.with_columns(pl.when(length > 1).then(weight).otherwise(weight.clip(upper_bound=Weight.NUMBER)))
    counted = joined.filter((weight >= Weight.NUMBER) | pl.col("is_all") | (not is_code))
    found = pl.concat([counted.select(CELL), others.join(holders, on="value").select(CELL)])
    telling = found.filter(weight == Weight.PHRASE)
    return pl.concat([telling, found.join(_shared(holders, own), on="value", how="anti")]).drop("weight")


def _let(own: pl.DataFrame, may: frozenset[Phi]) -> pl.DataFrame:
    """Cells that are all of what they may be."""
    is_let = pl.col("kind").is_in([kind.value for kind in may - {Phi.DATE}]) & (pl.col("weight") < Weight.PHRASE)
    return own.filter(is_let, "is_all").select("value", "research_id")


def _shared(holders: pl.DataFrame, own: pl.DataFrame) -> pl.DataFrame:
    """Values in rows of THRESHOLD patients and more whose identifier is not in them."""
    strangers = holders.join(own, on=["value", "research_id"], how="anti").group_by("value").len()
    return strangers.filter(pl.col("len") >= THRESHOLD).select("value")
