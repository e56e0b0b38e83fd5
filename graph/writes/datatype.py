"""FHIR R4 data types as clients give them."""

from __future__ import annotations

from decimal import Decimal

import strawberry

from db.policy import Phi
from graph.datatype import FhirDateTime
from graph.field import given
from graph.write import write_input

UNSET = strawberry.UNSET


@write_input("A concept: a code of a system, a text, or both")
class CodeableConceptInput:
    """FHIR CodeableConcept with at most one coding; the field that takes one carries its PHI kind."""

    system: str | None = given("Code system as URI, such as http://loinc.org; with a code", phi=None, default=UNSET)
    code: str | None = given("Code in the system", phi=None, default=UNSET)
    display: str | None = given("Text of the code", phi=None, default=UNSET)
    text: str | None = given("Text of the concept as entered", phi=None, default=UNSET)


@write_input("A measured amount")
class QuantityInput:
    """FHIR Quantity; the field that takes one carries its PHI kind."""

    value: Decimal = given("Number of the amount; its digits are kept", phi=None)
    comparator: str | None = given("How to read the number: <, <=, >= or >", phi=None, default=UNSET)
    unit: str | None = given("Unit as people write it", phi=None, default=UNSET)
    code: str | None = given("Unit in UCUM", phi=None, default=UNSET)


@write_input("A span of time; an open end has none")
class PeriodInput:
    """FHIR Period."""

    start: FhirDateTime | None = given("Start of the period", phi=Phi.DATE, default=UNSET)
    end: FhirDateTime | None = given("End of the period", phi=Phi.DATE, default=UNSET)
