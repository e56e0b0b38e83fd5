"""Laboratory tests and results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import strawberry

import resolvers.lab
from db.policy import Phi
from graph.datatype import CodeableConcept, FhirDateTime, Quantity, ReferenceRange
from graph.fact import ClinicalFact
from graph.field import field
from graph.node import Node, node_id, row_version, served_from
from loaders.element import Element, concept, value_quantity
from loaders.lab import LabResultRow, LabTestRow

if TYPE_CHECKING:
    from graph.chart import DiagnosticReport


@strawberry.type(description="A part of an observation with a value of its own (FHIR R4 Observation.component)")
class ObservationComponent:
    """Served from a FHIR fragment."""

    code: CodeableConcept | None = field("What was observed", phi=Phi.CLINICAL)
    value_quantity: Quantity | None = field("Value as an amount", phi=Phi.CLINICAL)
    value_codeable_concept: CodeableConcept | None = field("Value as a concept", phi=Phi.CLINICAL)
    value_string: str | None = field("Value as text", phi=Phi.FREE_TEXT)
    data_absent_reason: CodeableConcept | None = field("Why there is no value", phi=Phi.CLINICAL)


@strawberry.type(description="A laboratory test: one row for each code")
@served_from(LabTestRow)
class LabTest(Node):
    """Served from LabTestRow."""

    id: strawberry.ID = node_id("LabTest")
    code: CodeableConcept | None = field("Code of the test, usually LOINC", phi=None, value=concept)


@strawberry.type
class LabStatement:
    """What a result says: a quantity, a concept, a text or a time; or the reason for its absence."""

    status: str | None = field("Status: final, preliminary, amended, …", phi=None)
    effective_date_time: FhirDateTime | None = field(
        "When the specimen was taken", phi=Phi.DATE, value=Element("effective")
    )
    issued: FhirDateTime | None = field("When the result was made available", phi=Phi.DATE)
    value_quantity: Quantity | None = field("Value as an amount", phi=Phi.CLINICAL, value=value_quantity)
    value_codeable_concept: CodeableConcept | None = field(
        "Value as a concept", phi=Phi.CLINICAL, value=Element("value_concept")
    )
    value_string: str | None = field("Value as text", phi=Phi.FREE_TEXT, value=Element("value_text"))
    value_date_time: FhirDateTime | None = field("Value as a time", phi=Phi.DATE)
    data_absent_reason: CodeableConcept | None = field("Why there is no value", phi=Phi.CLINICAL)
    component: list[ObservationComponent] | None = field("Parts that have values of their own", phi=Phi.CLINICAL)
    interpretation: list[CodeableConcept] | None = field("High, low, normal, critical, …", phi=Phi.CLINICAL)
    reference_range: list[ReferenceRange] | None = field("Ranges in which the value is usual", phi=Phi.CLINICAL)
    specimen: str | None = field("Specimen that was tested", phi=Phi.CLINICAL)
    note: str | None = field("Remark on the result", phi=Phi.FREE_TEXT)


@strawberry.type(description="What a laboratory result said before it was finalized or corrected")
class LabResultVersion(LabStatement):
    """Served from LabResultVersionRow."""

    version: int = field("Version of the result that said so", phi=None)
    superseded_at: FhirDateTime | None = field("When another version took its place", phi=Phi.DATE)


@strawberry.type(description="A result of a laboratory test (FHIR R4 Observation, category laboratory)")
@served_from(LabResultRow)
class LabResult(ClinicalFact, LabStatement):
    """Served from LabResultRow."""

    id: strawberry.ID = node_id("LabResult")
    version: int = row_version()
    test: LabTest | None = field("Test that gave the result", phi=Phi.CLINICAL, batch=resolvers.lab.test)
    report: Annotated[DiagnosticReport, strawberry.lazy("graph.chart")] | None = field(
        "Report that the result is part of", phi=Phi.CLINICAL, batch=resolvers.lab.report
    )
    history: list[LabResultVersion] | None = field(
        "What the result said before, newest first", phi=Phi.CLINICAL, batch=resolvers.lab.history
    )
