"""Courses of laboratory results."""

from __future__ import annotations

from decimal import Decimal

import strawberry

from db.policy import Phi
from graph.datatype import FhirDateTime
from graph.field import field
from graph.patient_summary import MAX_STALENESS
from graph.vital_sign import CODE_AND_RANGE
from loaders.element import Element, GlobalId

LAB_TREND = (*CODE_AND_RANGE, MAX_STALENESS)
"""Arguments of labTrend."""


@strawberry.type(description="A result of a course")
class LabTrendPoint:
    """Served from LabTrendPointRow."""

    result_id: strawberry.ID | None = field(
        "Global id of the result", phi=Phi.CLINICAL, value=GlobalId("LabResult", "result_id")
    )
    time: FhirDateTime | None = field(
        "When the specimen was taken, as an instant", phi=Phi.DATE, value=Element("sort_time")
    )
    value: Decimal | None = field("Number of the result, exactly as in the source", phi=Phi.CLINICAL)
    comparator: str | None = field("How to read the number: <, <=, >= or >", phi=Phi.CLINICAL)
    status: str = field("Status of the result: final, corrected, …", phi=None)


@strawberry.type(description="Course of a laboratory test: results with a number and without sensitivity label")
class LabTrend:
    """Served from LabTrendRow."""

    code: str | None = field("Code of the test (LOINC)", phi=Phi.CLINICAL)
    unit: str | None = field("Unit of the values, UCUM code where the source has one", phi=Phi.CLINICAL)
    as_of: FhirDateTime | None = field("Results that were committed before then are among the points", phi=None)
    points: list[LabTrendPoint] | None = field("Results, oldest first; the newest 1,000", phi=Phi.CLINICAL, size=100)
