"""Mutations of patients."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, cast

from db.views import IDENTIFIER_KINDS
from loaders.element import fhir_name
from loaders.patient import PatientRow, patient_by_id
from loaders.write import Written
from loaders.writes.patient import NewPatient, PatientChange, register_patient, update_patient
from resolvers.connection import link
from resolvers.context import Context
from resolvers.write import TEXT_MAX, Given, Input, Prepared, write

GENDERS = ("male", "female", "other", "unknown")
BIRTH_SEXES = ("ASKU", "F", "M", "OTH", "UNK")
"""Codes of the US Core extension for birth sex."""
NAME_USES = ("usual", "official", "temp", "nickname", "anonymous", "old", "maiden")
ADDRESS_USES = ("home", "work", "temp", "old", "billing")
TELECOM_SYSTEMS = ("phone", "fax", "email", "pager", "url", "sms", "other")
TELECOM_USES = ("home", "work", "temp", "old", "mobile")
KINDS = frozenset(kind.value for kind in IDENTIFIER_KINDS)

LIST_MAX = 20
"""Entries of one list of a patient at most."""
MRN_MAX = 64
"""Characters of a medical record number."""
MULTIPLE_BIRTH_MAX = 20
_SSN = re.compile(r"(\d{3})-?(\d{2})-?(\d{4})", re.ASCII)

TABLES = ("patient", "patient_name", "patient_identifier")
"""What is written of a patient wherever registered."""

written = link(patient_by_id, "id")


async def possible_duplicates(
    context: Context, parents: Sequence[Written]
) -> Sequence[Sequence[tuple[Decimal, PatientRow]]]:
    """Patients for whose sake each write was refused, best first, as far as the caller finds them."""
    found = [id for one in parents for id in one.found]
    rows = dict(zip(found, await context.reader.load_many(patient_by_id, found), strict=True))
    return [
        [(score, row) for id, score in zip(one.found, one.scores, strict=True) if (row := rows[id])] for one in parents
    ]


async def register(context: Context, input: Input) -> Written:
    """Registers a patient, unless somebody who may be the same is registered already and nobody looked."""

    def prepare(given: Given) -> Prepared:
        names = _names(given)
        if not names:
            raise given.invalid("name", "needs an entry")
        identifiers = [_identifier(one) for one in given.parts("identifier", LIST_MAX)]
        new = NewPatient(
            mrn=given.text("mrn", MRN_MAX),
            demographics={name: value for name, value in _demographics(given).items() if value is not None},
            names=names,
            words=[_words(name) for name in names],
            identifiers=identifiers,
            confirmed=bool(given.get("confirmed_new")),
        )
        return lambda writing: register_patient(writing, new)

    return await write(context, "registerPatient", input, [*TABLES, "registration"], prepare)


async def update(context: Context, input: Input) -> Written:
    """Changes what a patient is, is called, lives at, is known by."""

    def prepare(given: Given) -> Prepared:
        id = given.needed_id("id", "Patient")
        names = _names(given)
        if "name" in given and not names:
            raise given.invalid("name", "needs an entry")
        change = PatientChange(
            demographics=_demographics(given),
            names=names,
            added=[_identifier(one) for one in given.parts("add_identifier", LIST_MAX)],
            removed=_places(given),
        )
        return lambda writing: update_patient(writing, id, given.version, change)

    return await write(context, "updatePatient", input, TABLES, prepare)


def _demographics(given: Given) -> dict[str, Any]:
    """Columns of `patient` that were given; None for one that is cleared."""
    values = {name: read(given, name) for name, read in DEMOGRAPHICS.items() if name in given}
    if values.get("deceased_date_time") is not None:
        if given.get("deceased") is False:
            raise given.invalid("deceased", "must not be false beside a time of death")
        values["deceased"] = True
    elif "deceased" in values and not values["deceased"]:
        values["deceased_date_time"] = None
    return values


def _active(given: Given, name: str) -> bool:
    if given.get(name) is None:
        raise given.invalid(name, "must be given, or left out")
    return given.get(name)


def _plain(given: Given, name: str) -> Any:
    return given.get(name)


def _text(given: Given, name: str) -> str | None:
    return given.text(name, TEXT_MAX)


def _birth_date(given: Given, name: str) -> str | None:
    value = _past(given, name)
    if value is not None and "T" in value:
        raise given.invalid(name, "must be a FHIR date")
    return value


def _past(given: Given, name: str) -> str | None:
    """A FHIR dateTime that has begun somewhere on Earth."""
    moment = given.moment(name)
    if moment is None:
        return None
    if moment.instant > datetime.now(UTC) + timedelta(hours=14):
        raise given.invalid(name, "must not be in the future")
    return moment.text


def _concept(given: Given, name: str) -> dict[str, Any] | None:
    concept = given.concept(name)
    return concept and concept.fhir()


def _multiple_birth(given: Given, name: str) -> int | None:
    value = given.get(name)
    if value is not None and not 1 <= value <= MULTIPLE_BIRTH_MAX:
        raise given.invalid(name, f"must be from 1 to {MULTIPLE_BIRTH_MAX}")
    return value


def _listed(read: Callable[[Given], dict[str, Any]]) -> Callable[[Given, str], list[dict[str, Any]]]:
    return lambda given, name: [read(one) for one in given.parts(name, LIST_MAX)]


def _texts(given: Given, name: str) -> list[str]:
    values = [value.strip() for value in cast("Sequence[str]", given.get(name) or ())]
    if len(values) > LIST_MAX or not all(1 <= len(value) <= TEXT_MAX and "\x00" not in value for value in values):
        raise given.invalid(name, f"may have {LIST_MAX} texts of {TEXT_MAX} characters at most, none empty")
    return values


def _address(given: Given) -> dict[str, Any]:
    """FHIR Address."""
    texts = {fhir_name(name): _text(given, name) for name in ("city", "district", "state", "postal_code", "country")}
    return _said({"use": given.one_of("use", ADDRESS_USES), "line": _texts(given, "line"), **texts})


def _contact_point(given: Given) -> dict[str, Any]:
    """FHIR ContactPoint."""
    return _said(
        {
            "system": given.needed_one_of("system", TELECOM_SYSTEMS),
            "value": given.needed_text("value", TEXT_MAX),
            "use": given.one_of("use", TELECOM_USES),
        }
    )


def _contact(given: Given) -> dict[str, Any]:
    """FHIR Patient.contact."""
    name, address = given.part("name"), given.part("address")
    relationship = _concept(given, "relationship")
    return _said(
        {
            "relationship": [relationship] if relationship else [],
            "name": _said(_name(name)) if name else None,
            "telecom": _listed(_contact_point)(given, "telecom"),
            "address": _address(address) if address else None,
        }
    )


def _communication(given: Given) -> dict[str, Any]:
    """FHIR Patient.communication."""
    return _said({"language": given.needed_concept("language").fhir(), "preferred": given.get("preferred")})


def _said(element: Mapping[str, Any]) -> dict[str, Any]:
    """A FHIR element without what is not there: FHIR has no null and no empty list."""
    return {name: value for name, value in element.items() if value is not None and value != []}


def _names(given: Given) -> list[dict[str, Any]]:
    """Rows of `patient_name`, the official one first."""
    names = [_name(one) for one in given.parts("name", LIST_MAX)]
    return sorted(names, key=lambda name: name["use"] != "official")


def _name(given: Given) -> dict[str, Any]:
    """FHIR HumanName."""
    name = {
        "use": given.one_of("use", NAME_USES),
        "family": _text(given, "family"),
        "given": _texts(given, "given_"),
        "prefix": _texts(given, "prefix"),
        "suffix": _texts(given, "suffix"),
        "text": _text(given, "text"),
    }
    if not (name["family"] or name["given"] or name["text"]):
        raise given.invalid("family", "must be given, or a given name, or the text")
    return name


def _words(name: Mapping[str, Any]) -> list[str]:
    """What a name is searched by: family and first given name, or the whole where nobody parted it."""
    parted = [*([name["family"]] if name["family"] else ()), *name["given"][:1]]
    return parted or [name["text"]]


def _identifier(given: Given) -> dict[str, Any]:
    """A row of `patient_identifier`."""
    kind, value = given.needed_one_of("kind", KINDS), given.needed_text("value", TEXT_MAX)
    if "*" in value:  # a masked value, read and sent back
        raise given.invalid("value", "must be the whole value")
    if kind == "SSN":
        parts = _SSN.fullmatch(value)
        if parts is None:
            raise given.invalid("value", "must be a social security number of nine digits")
        value = "-".join(parts.groups())
    return {"kind": kind, "type": _concept(given, "type"), "system": _text(given, "system"), "value": value}


def _places(given: Given) -> list[int]:
    places = cast("Sequence[int]", given.get("remove_identifier") or ())
    if len(places) > LIST_MAX or len(set(places)) < len(places):
        raise given.invalid("remove_identifier", f"may have {LIST_MAX} different places at most")
    return list(places)


DEMOGRAPHICS: Mapping[str, Callable[[Given, str], Any]] = {
    "active": _active,
    "gender": partial(Given.one_of, allowed=GENDERS),
    "birth_date": _birth_date,
    "deceased": _plain,
    "deceased_date_time": _past,
    "marital_status": _concept,
    "multiple_birth": _multiple_birth,
    "race": _text,
    "ethnicity": _text,
    "birth_sex": partial(Given.one_of, allowed=BIRTH_SEXES),
    "address": _listed(_address),
    "telecom": _listed(_contact_point),
    "contact": _listed(_contact),
    "communication": _listed(_communication),
}
"""What is read of an input for each column of `patient` that clients write."""
