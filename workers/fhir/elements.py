"""FHIR data types as the mappers read them: concepts, quantities, dates, annotations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, cast

Json = dict[str, Any]
"""A FHIR resource or element; numbers with a fraction are Decimal."""

NO_TIME = datetime(1, 1, 2, tzinfo=UTC)
"""What orders a fact whose source gives no time: not the first day, which PostgreSQL's driver takes for -infinity."""

CPT = frozenset({"http://www.ama-assn.org/go/cpt", "urn:oid:2.16.840.1.113883.6.12"})
"""Systems of Current Procedural Terminology, which is licensed: its codes are dropped."""

_DATE_TIME = re.compile(r"(\d{4}(?:-\d\d(?:-\d\d)?)?)(?:T(\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[+-]\d\d:\d\d)?)?")
_INVISIBLE = re.compile("[\u200b\u200c\u200d\u2060\ufeff]")


class Unusable(ValueError):
    """This resource can't be kept; the text says why and holds no value of it."""


@dataclass(frozen=True, slots=True)
class Concept:
    """A CodeableConcept by its first code; further codings are `translation`."""

    system: str | None
    code: str | None
    display: str | None
    text: str | None
    translation: list[Json] | None

    def columns(self) -> Json:
        """The columns that every coded fact has."""
        return {
            "code_system": self.system,
            "code": self.code,
            "code_display": self.display,
            "code_text": self.text,
            "code_translation": self.translation,
        }


def objects(value: object) -> list[Json]:
    """The objects of a list, or of a single object where FHIR R4 wants a list; [] for anything else."""
    listed = cast("list[object]", value) if isinstance(value, list) else [value]
    return [cast(Json, item) for item in listed if isinstance(item, dict)]


def obj(value: object) -> Json | None:
    """The first object of a value, or None."""
    return next(iter(objects(value)), None)


def strings(value: object) -> list[str]:
    """The strings of a list."""
    return [item for item in cast("list[object]", value) if isinstance(item, str)] if isinstance(value, list) else []


def string(value: object) -> str | None:
    """A string that is not blank, or None."""
    return value if isinstance(value, str) and value.strip() else None


def clean(value: Any) -> Any:
    """A parsed resource without CPT codings and without NUL, which PostgreSQL can't hold."""
    if isinstance(value, dict):
        return {key: clean(item) for key, item in cast(Json, value).items()}
    if isinstance(value, list):
        return [clean(item) for item in cast("list[Any]", value) if not _is_cpt(item)]
    if isinstance(value, str) and "\x00" in value:
        return value.replace("\x00", "")
    return value


def _is_cpt(value: object) -> bool:
    return isinstance(value, dict) and str(cast(Json, value).get("system")) in CPT


def visible(text: object) -> str | None:
    """Text without zero-width characters, or None when nothing is left."""
    return string(_INVISIBLE.sub("", text).strip()) if isinstance(text, str) else None


def concept(value: object) -> Concept:
    """A CodeableConcept, or the first of a list of them; every part None when there is none."""
    given = obj(value) or {}
    codings = [item for item in objects(given.get("coding")) if string(item.get("code")) or string(item.get("display"))]
    main = next((item for item in codings if string(item.get("code"))), codings[0] if codings else {})
    others = [item for item in codings if item is not main]
    return Concept(
        system=string(main.get("system")),
        code=string(main.get("code")),
        display=visible(main.get("display")),
        text=visible(given.get("text")),
        translation=others or None,
    )


def codes(value: object) -> list[str]:
    """Codes of a list of CodeableConcepts (or their texts), each once, in order."""
    found = [item.code or item.display or item.text for item in map(concept, objects(value))]
    return list(dict.fromkeys(code for code in found if code))


def code(value: object) -> str | None:
    """Code of a CodeableConcept, of a Coding, or a plain code."""
    if isinstance(value, str):
        return string(value)
    given = obj(value) or {}
    return string(given.get("code")) if "coding" not in given else concept(given).code


def quantity(value: object) -> Json:
    """Columns of a Quantity: exact number, comparator, unit as shown, UCUM code and system; all None without one."""
    given = obj(value) or {}
    return {
        "value_number": number(given.get("value")),
        "value_comparator": string(given.get("comparator")),
        "value_unit": string(given.get("unit")),
        "value_code": string(given.get("code")),
        "value_system": string(given.get("system")),
    }


def number(value: object) -> Decimal | None:
    """An exact number, also where the source wrote it as text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | Decimal):
        return Decimal(value)
    if isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", value):
        return Decimal(value)
    return None


def whole(value: object) -> int | None:
    """A whole number, or None."""
    found = number(value)
    return int(found) if found is not None and found == found.to_integral_value() else None


def flag(value: object) -> bool | None:
    """A boolean, or None."""
    return value if isinstance(value, bool) else None


def date_time(value: object) -> str | None:
    """A dateTime or instant as it was written. A time without offset, which R4 forbids, is taken as UTC.

    Raises Unusable when it is not a date of the calendar.
    """
    if not isinstance(value, str) or not value.strip():
        return None
    found = _DATE_TIME.fullmatch(value.strip())
    if not found:
        raise Unusable("a date is malformed")
    day, time, offset = found.groups()
    text = f"{day}T{time}{offset or 'Z'}" if time else day
    instant(text)
    return text


def fhir_date(value: object) -> str | None:
    """A date of year, month or day precision; the time of a dateTime is cut off."""
    text = date_time(value)
    return text.partition("T")[0] if text else None


def instant(text: str | None) -> datetime | None:
    """Instant of a dateTime; a partial date is the start of its period, in UTC. Raises Unusable."""
    if text is None:
        return None
    try:
        if "T" in text:
            return datetime.fromisoformat(text).astimezone(UTC)
        year, month, day = (*(int(part) for part in text.split("-")), 1, 1)[:3]
        return datetime.combine(date(year, month, day), datetime.min.time(), UTC)
    except (ValueError, OverflowError):
        raise Unusable("a date is not in the calendar") from None


def sort_time(*texts: str | None) -> datetime:
    """Instant of the first dateTime that is given, else NO_TIME."""
    return instant(next((text for text in texts if text), None)) or NO_TIME


def period(value: object) -> tuple[str | None, str | None]:
    """Start and end of a Period."""
    given = obj(value) or {}
    return date_time(given.get("start")), date_time(given.get("end"))


def timing(resource: Mapping[str, Any], element: str) -> tuple[str | None, str | None]:
    """Start and end of a choice of DateTime, Period, Instant or Timing: `effective`, `performed`, `onset`, …"""
    moment = date_time(resource.get(f"{element}DateTime")) or date_time(resource.get(f"{element}Instant"))
    if moment:
        return moment, None
    return period(resource.get(f"{element}Period"))


def note(value: object) -> str | None:
    """Texts of a list of Annotations."""
    return "\n\n".join(text for item in objects(value) if (text := string(item.get("text")))) or None


def first_of(resource: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Value of the first of these elements that is present."""
    return next((resource[name] for name in names if name in resource), None)
