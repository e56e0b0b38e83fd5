"""FHIR R4 data types as the graph shows them: served from dicts with FHIR's element names, or from small rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NewType

import strawberry
from graphql import FloatValueNode, IntValueNode, StringValueNode, ValueNode
from strawberry.types.scalar import ScalarDefinition

from db.policy import Phi
from graph.field import field
from loaders.element import Listed, Member

FhirDate = NewType("FhirDate", str)
FhirDateTime = NewType("FhirDateTime", str)


def instant(name: str) -> Callable[[Any], str | None]:
    """Value function of a time in seconds; None where there is none."""

    def value(row: Any) -> str | None:
        time = getattr(row, name)
        return time and time.isoformat(timespec="seconds")

    return value


_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?", re.ASCII)
_DIGITS_MAX = 40
"""Characters of a decimal that a client gives; FHIR asks for 18 digits at least."""


def _decimal(value: object) -> Decimal:
    """A client's number, or its text, digit by digit. Raises ValueError for anything else (FHIR R4 decimal)."""
    text = str(value)
    if isinstance(value, bool) or len(text) > _DIGITS_MAX or not _DECIMAL.fullmatch(text):
        raise ValueError("not a decimal")
    return Decimal(text)


def _decimal_literal(node: ValueNode, _variables: object = None) -> Decimal:
    """The same of a number in a document."""
    if not isinstance(node, IntValueNode | FloatValueNode | StringValueNode):
        raise ValueError("not a decimal")
    return _decimal(node.value)


SCALARS: Mapping[object, ScalarDefinition] = {
    FhirDate: strawberry.scalar(
        name="Date",
        description="FHIR date: YYYY, YYYY-MM or YYYY-MM-DD; a masked date keeps its year at most",
        specified_by_url="https://hl7.org/fhir/R4/datatypes.html#date",
        parse_value=str,
    ),
    FhirDateTime: strawberry.scalar(
        name="DateTime",
        description="FHIR dateTime: an instant with its offset, or a date of year, month or day precision",
        specified_by_url="https://hl7.org/fhir/R4/datatypes.html#dateTime",
        parse_value=str,
    ),
    Decimal: strawberry.scalar(
        name="Decimal",
        description="FHIR decimal: a JSON number with exactly the digits of the source",
        specified_by_url="https://hl7.org/fhir/R4/datatypes.html#decimal",
        parse_value=_decimal,
        parse_literal=_decimal_literal,
    ),
}
"""Scalars of the schema; dates travel as FHIR writes them."""


@strawberry.type(description="A code of a code system")
class Coding:
    """FHIR Coding."""

    system: str | None = field("Code system as URI, such as http://loinc.org", phi=None)
    code: str | None = field("Code in the system", phi=None)
    display: str | None = field("Text that the system or the source gives for the code", phi=None)


@strawberry.type(description="A concept: codes that mean the same, and a text")
class CodeableConcept:
    """FHIR CodeableConcept; the field that holds one carries its PHI kind."""

    coding: list[Coding] = field("Codes of the concept, the main one first", phi=None, value=Listed("coding"))
    text: str | None = field("Text of the concept as entered", phi=None)


@strawberry.type(description="A measured amount")
class Quantity:
    """FHIR Quantity; the field that holds one carries its PHI kind."""

    value: Decimal | None = field("Number of the amount, exactly as in the source", phi=None)
    comparator: str | None = field("How to read the number: <, <=, >= or >", phi=None)
    unit: str | None = field("Unit as people write it", phi=None)
    system: str | None = field("System of the unit's code, usually UCUM", phi=None)
    code: str | None = field("Coded unit, usually UCUM", phi=None)


@strawberry.type(description="A span of time; an open end has none")
class Period:
    """FHIR Period."""

    start: FhirDateTime | None = field("Start of the period", phi=Phi.DATE)
    end: FhirDateTime | None = field("End of the period", phi=Phi.DATE)


@strawberry.type(description="A range in which values are usual")
class ReferenceRange:
    """FHIR Observation.referenceRange."""

    low: Quantity | None = field("Low end of the range", phi=None)
    high: Quantity | None = field("High end of the range", phi=None)
    type: CodeableConcept | None = field("Kind of the range, such as normal or critical", phi=None)
    text: str | None = field("Range as text", phi=None)


@strawberry.type(description="A way to reach somebody")
class ContactPoint:
    """FHIR ContactPoint of a patient or of a patient's contact."""

    system: str | None = field("Kind of contact: phone, fax, email, …", phi=None)
    value: str | None = field("Number or address of the contact", phi=(Phi.PHONE, Phi.FAX, Phi.EMAIL))
    use: str | None = field("Use of the contact: home, work, mobile, …", phi=None)


@strawberry.type(description="A professional way to reach a provider or a facility")
class BusinessContactPoint:
    """FHIR ContactPoint of an organization or a practitioner: not the patient's, so not PHI."""

    system: str | None = field("Kind of contact: phone, fax, email, …", phi=None)
    value: str | None = field("Number or address of the contact", phi=None)
    use: str | None = field("Use of the contact: work, …", phi=None)


@strawberry.type(description="A postal address of a patient")
class Address:
    """FHIR Address; masked, it keeps the state and three digits of the postal code at most."""

    use: str | None = field("Use of the address: home, temp, …", phi=None)
    line: list[str] | None = field("Street lines of the address", phi=Phi.GEOGRAPHY)
    city: str | None = field("City of the address", phi=Phi.GEOGRAPHY)
    district: str | None = field("County of the address", phi=Phi.GEOGRAPHY)
    state: str | None = field("State of the address", phi=None)
    postal_code: str | None = field("Postal code of the address; masked as 021**", phi=Phi.GEOGRAPHY)
    country: str | None = field("Country of the address", phi=None)


@strawberry.type(description="A postal address of a facility")
class BusinessAddress:
    """FHIR Address of an organization: not the patient's, so not PHI."""

    line: list[str] | None = field("Street lines of the address", phi=None)
    city: str | None = field("City of the address", phi=None)
    state: str | None = field("State of the address", phi=None)
    postal_code: str | None = field("Postal code of the address", phi=None)
    country: str | None = field("Country of the address", phi=None)


@strawberry.type(description="A name of a patient")
class HumanName:
    """FHIR HumanName."""

    use: str | None = field("Use of the name: official, maiden, nickname, …", phi=None)
    family: str | None = field("Family name", phi=Phi.NAME)
    given: list[str] | None = field("Given names, in order", phi=Phi.NAME)
    prefix: list[str] | None = field("What stands before the name, such as Dr", phi=Phi.NAME)
    suffix: list[str] | None = field("What stands after the name, such as MD", phi=Phi.NAME)
    text: str | None = field("Whole name as the source writes it", phi=Phi.NAME)


@strawberry.type(description="A number or code that identifies a patient")
class Identifier:
    """FHIR Identifier, with the PHI kind of its value."""

    kind: Phi = field("PHI kind of the value", phi=None, value=Member(Phi, "kind"))
    type: CodeableConcept | None = field("Type of the identifier", phi=None)
    system: str | None = field("System that issued the identifier, as URI", phi=None)
    value: str | None = field(
        "Value of the identifier; masked by its kind",
        phi=(
            Phi.MEDICAL_RECORD_NUMBER,
            Phi.SSN,
            Phi.LICENSE_NUMBER,
            Phi.HEALTH_PLAN_NUMBER,
            Phi.ACCOUNT_NUMBER,
            Phi.OTHER_IDENTIFIER,
        ),
    )


@strawberry.type(description="Somebody to contact about a patient")
class PatientContact:
    """FHIR Patient.contact."""

    relationship: list[CodeableConcept] = field(
        "Relationship to the patient, such as emergency contact", phi=None, value=Listed("relationship")
    )
    name: HumanName | None = field("Name of the contact", phi=Phi.NAME)
    telecom: list[ContactPoint] = field("Ways to reach the contact", phi=None, value=Listed("telecom"))
    address: Address | None = field("Address of the contact", phi=Phi.GEOGRAPHY)


@strawberry.type(description="A language that a patient speaks")
class Communication:
    """FHIR Patient.communication."""

    language: CodeableConcept | None = field("Language (BCP 47)", phi=None)
    preferred: bool | None = field("Whether the patient prefers it", phi=None)
