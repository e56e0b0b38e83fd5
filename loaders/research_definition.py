"""What a project asks for: whose records (a cohort), which tables of them, by which method of de-identification.

Codes stand in FHIR's search syntax: a token is `system|code`, commas join alternatives, and all entries must be met.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, TypeVar
from uuid import UUID

from db.errors import InvalidArgument
from db.research_method import Method

TABLES = (
    "patients",
    "encounters",
    "conditions",
    "procedures",
    "medication_requests",
    "medication_administrations",
    "lab_results",
    "vitals",
    "notes",
    "imaging",
)
"""Tables that a dataset may have; `patients` it always has."""
NOT_SAFE_HARBOR = frozenset(["notes", "imaging"])
"""What none of the 18 identifiers can be taken out of with certainty: texts and pictures."""
CODED = ("condition", "procedure", "medication", "lab_result")
"""What a cohort may ask codes of."""
AGE_MAX = 90
"""Bound of an age: the oldest category is 90 or older (45 CFR 164.514(b)(2)(i)(C))."""
ENTRIES_MAX, TOKENS_MAX, TOKEN_MAX = 10, 100, 300
"""Entries of a list, alternatives of an entry, characters of a token."""

Bound = TypeVar("Bound", int, date)


@dataclass(frozen=True, slots=True)
class Cohort:
    """Whose records. What is None or empty does not narrow it; the lists of codes hold entries of tokens."""

    sex: tuple[str, ...] = ()
    """Administrative gender (FHIR)."""
    age_from: int | None = None
    """Completed years on the day of the extraction."""
    age_to: int | None = None
    facility_ids: tuple[UUID, ...] = ()
    """Of the facilities that approved the project; all by default."""
    start: date | None = None
    """First day of the encounters and facts that count, and that the dataset has."""
    end: date | None = None
    """Last day of them."""
    encounter_class: tuple[str, ...] = ()
    condition: tuple[str, ...] = ()
    procedure: tuple[str, ...] = ()
    medication: tuple[str, ...] = ()
    lab_result: tuple[str, ...] = ()
    without_condition: tuple[str, ...] = ()
    """Entries of which none may be met."""
    below: bool = False
    """Whether a code means those below it too (FHIR's modifier :below), where a hierarchy is given."""

    def wanted(self) -> Iterator[tuple[int, str, bool, str, str]]:
        """Every token with the number of its entry, what it is a code of, whether it is excluded, system and code."""
        number = 0
        for kind in CODED:
            for excluded in (False, True):
                name = f"without_{kind}" if excluded else kind
                for entry in getattr(self, name, ()):
                    number += 1
                    for token in entry.split(","):
                        system, _, code = token.rpartition("|")
                        yield number, kind, excluded, system, code

    def validate(self, path: str = "") -> None:
        """Raises InvalidArgument naming the part, in the client's words, that cannot be meant."""
        for name, turned in (("ageFrom", _turned(self.age_from, self.age_to)), ("from", _turned(self.start, self.end))):
            if turned:
                raise InvalidArgument(f"{path}{name}", "must not be after its end")
        for name, age in (("ageFrom", self.age_from), ("ageTo", self.age_to)):
            if age is not None and not 0 <= age <= AGE_MAX:
                raise InvalidArgument(f"{path}{name}", f"must be from 0 to {AGE_MAX}, which stands for 90 or older")
        for name, entries in (
            ("condition", self.condition),
            ("procedure", self.procedure),
            ("medication", self.medication),
            ("labResult", self.lab_result),
            ("withoutCondition", self.without_condition),
        ):
            _check_entries(f"{path}{name}", entries)


@dataclass(frozen=True, slots=True)
class Definition:
    """A cohort, the tables and the method; as JSON in `research_dataset.definition`."""

    cohort: Cohort
    tables: tuple[str, ...]
    method: Method
    shift_dates: bool = False
    """LIMITED only: dates moved per patient rather than kept."""
    strict: bool = False
    """ZIP codes by the strictest of all Census vintages."""
    age_band_years: int = 5
    """Width of age bands, 5 or 10."""

    def json(self) -> dict[str, Any]:
        """As it is stored."""
        cohort = asdict(self.cohort)
        cohort = {name: value for name, value in cohort.items() if value not in (None, ()) and value is not False}
        cohort |= {name: str(cohort[name]) for name in ("start", "end") if name in cohort}
        if self.cohort.facility_ids:
            cohort["facility_ids"] = [str(one) for one in self.cohort.facility_ids]
        rest = {"shift_dates": self.shift_dates, "strict": self.strict, "age_band_years": self.age_band_years}
        return {"cohort": cohort, "tables": list(self.tables), "method": self.method.value, **rest}

    def validate(self) -> None:
        """Raises InvalidArgument."""
        self.cohort.validate()
        unknown = set(self.tables) - set(TABLES)
        if unknown or not self.tables:
            raise InvalidArgument("tables", f"must be of {', '.join(TABLES)}")
        if self.shift_dates and self.method is not Method.LIMITED:
            raise InvalidArgument("shiftDates", "is for the method LIMITED")
        if self.method is Method.SAFE_HARBOR and not set(self.tables).isdisjoint(NOT_SAFE_HARBOR):
            raise InvalidArgument(
                "tables", "has no notes and no imaging under SAFE_HARBOR: neither is Safe Harbor by itself"
            )
        if self.age_band_years not in (5, 10):
            raise InvalidArgument("ageBandYears", "must be 5 or 10")


def parse(stored: Mapping[str, Any]) -> Definition:
    """The definition of a stored one."""
    given: Mapping[str, Any] = stored["cohort"]
    parts: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    parts |= {name: date.fromisoformat(given[name]) for name in ("start", "end") if name in given}
    parts["facility_ids"] = tuple(UUID(one) for one in given.get("facility_ids", ()))
    cohort = Cohort(**parts)
    rest = {name: stored[name] for name in ("shift_dates", "strict", "age_band_years")}
    return Definition(cohort, tuple(stored["tables"]), Method(stored["method"]), **rest)


def _turned(low: Bound | None, high: Bound | None) -> bool:
    """Whether a range ends before it begins."""
    return low is not None and high is not None and low > high


def _check_entries(name: str, entries: Sequence[str]) -> None:
    if len(entries) > ENTRIES_MAX:
        raise InvalidArgument(name, f"may have {ENTRIES_MAX} entries at most")
    for entry in entries:
        tokens = entry.split(",")
        if len(tokens) > TOKENS_MAX:
            raise InvalidArgument(name, f"may have {TOKENS_MAX} alternatives in an entry at most")
        for token in tokens:
            system, _, code = token.rpartition("|")
            if not system or not code or len(token) > TOKEN_MAX or "\x00" in token:
                raise InvalidArgument(name, "must have codes as system|code, joined by commas")
