"""Medications: what was ordered and what was given."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

import resolvers.chart
import resolvers.provider
from db.policy import Phi
from graph.connection import Connection
from graph.datatype import CodeableConcept, FhirDateTime, Quantity
from graph.fact import ClinicalFact
from graph.field import FACTS, field
from graph.node import Node, node_id, row_version, served_from
from graph.provider import Provider
from loaders.element import Element, concept
from loaders.medication import MedicationRow
from loaders.medication_administration import MedicationAdministrationRow
from loaders.medication_request import MedicationRequestRow

if TYPE_CHECKING:
    from graph.chart import Condition


@strawberry.type(description="An ingredient of a medication")
class Ingredient:
    """Served from a FHIR fragment."""

    item: CodeableConcept | None = field("Substance of the ingredient", phi=None, value=Element("itemCodeableConcept"))


@strawberry.type(description="A medication of the catalogue, usually coded in RxNorm (FHIR R4 Medication)")
@served_from(MedicationRow)
class Medication(Node):
    """Served from MedicationRow."""

    id: strawberry.ID = node_id("Medication")
    code: CodeableConcept | None = field("What the medication is", phi=None, value=concept)
    form: CodeableConcept | None = field("Form of the medication: tablet, infusion, …", phi=None)
    ingredient: list[Ingredient] | None = field("Ingredients of the medication", phi=None)


@strawberry.type(description="How a medication is taken (FHIR R4 Dosage)")
class Dosage:
    """Served from a FHIR fragment."""

    sequence: int | None = field("Place in the order of the instructions", phi=None)
    text: str | None = field("Instruction as text", phi=Phi.FREE_TEXT)
    patient_instruction: str | None = field("Instruction for the patient", phi=Phi.FREE_TEXT)
    as_needed: bool | None = field(
        "Whether it is taken when needed", phi=Phi.CLINICAL, value=Element("asNeededBoolean")
    )
    route: CodeableConcept | None = field("Way into the body", phi=Phi.CLINICAL)
    dose: Quantity | None = field("Amount of one dose", phi=Phi.CLINICAL, value=lambda row: _dose(row))
    frequency: int | None = field("Times in each period", phi=Phi.CLINICAL, value=lambda row: _repeat(row, "frequency"))
    period: Decimal | None = field("Length of the period", phi=Phi.CLINICAL, value=lambda row: _repeat(row, "period"))
    period_unit: str | None = field(
        "Unit of the period (UCUM: h, d, wk, …)", phi=Phi.CLINICAL, value=lambda row: _repeat(row, "periodUnit")
    )
    start: FhirDateTime | None = field("When it begins", phi=Phi.DATE, value=lambda row: _bound(row, "start"))
    end: FhirDateTime | None = field("When it ends", phi=Phi.DATE, value=lambda row: _bound(row, "end"))


def _dose(dosage: dict[str, Any]) -> object:
    rates: list[dict[str, Any]] = dosage.get("doseAndRate") or [{}]
    return rates[0].get("doseQuantity") or dosage.get("doseQuantity") or dosage.get("dose")


def _repeat(dosage: dict[str, Any], name: str) -> object:
    timing: dict[str, Any] = dosage.get("timing") or {}
    return (timing.get("repeat") or {}).get(name)


def _bound(dosage: dict[str, Any], name: str) -> object:
    period: Any = _repeat(dosage, "boundsPeriod") or {}
    return period.get(name)


@strawberry.type(description="A medication given to a patient (FHIR R4 MedicationAdministration)")
@served_from(MedicationAdministrationRow)
class MedicationAdministration(ClinicalFact):
    """Served from MedicationAdministrationRow."""

    id: strawberry.ID = node_id("MedicationAdministration")
    version: int = row_version()
    status: str | None = field("Status: completed, in-progress, not-done, …", phi=Phi.CLINICAL)
    status_reason: CodeableConcept | None = field("Why it was not given, or is wrong", phi=Phi.CLINICAL)
    medication: Medication | None = field(
        "Medication that was given", phi=Phi.CLINICAL, batch=resolvers.chart.medication
    )
    due_time: FhirDateTime | None = field("When the order wants the dose", phi=Phi.DATE, value=Element("due"))
    effective_start: FhirDateTime | None = field("When giving began", phi=Phi.DATE)
    effective_end: FhirDateTime | None = field("When giving ended", phi=Phi.DATE)
    dosage: Dosage | None = field("How it was given", phi=Phi.CLINICAL)


@strawberry.type(description="An order of a medication (FHIR R4 MedicationRequest)")
@served_from(MedicationRequestRow)
class MedicationRequest(ClinicalFact):
    """Served from MedicationRequestRow."""

    id: strawberry.ID = node_id("MedicationRequest")
    version: int = row_version()
    status: str | None = field("Status: active, stopped, completed, …", phi=Phi.CLINICAL)
    status_reason: CodeableConcept | None = field("Why it has its status, such as stopped", phi=Phi.CLINICAL)
    intent: str | None = field("Intent: order, plan, proposal, …", phi=Phi.CLINICAL)
    priority: str | None = field("Priority: routine, urgent, stat, …", phi=Phi.CLINICAL)
    medication: Medication | None = field(
        "Medication that was ordered", phi=Phi.CLINICAL, batch=resolvers.chart.medication
    )
    authored_on: FhirDateTime | None = field("When the order was written", phi=Phi.DATE)
    provider: Provider | None = field("Provider who ordered it", phi=None, batch=resolvers.provider.of_facts)
    reason: list[CodeableConcept] | None = field("Why it was ordered", phi=Phi.CLINICAL)
    reason_conditions: list[Annotated[Condition, strawberry.lazy("graph.chart")]] | None = field(
        "Conditions that are the reason", phi=Phi.CLINICAL, batch=resolvers.chart.reason_conditions
    )
    dosage_instruction: list[Dosage] | None = field(
        "How it is to be taken; often missing in real data", phi=Phi.CLINICAL, value=Element("dosage")
    )
    allergy_override_reason: str | None = field(
        "Why it was ordered in spite of an allergy; null where there was none", phi=Phi.FREE_TEXT
    )
    administrations: Connection[MedicationAdministration] | None = field(
        "Administrations of the order, newest first",
        phi=Phi.CLINICAL,
        batch=resolvers.chart.request_administrations,
        args=FACTS,
    )
