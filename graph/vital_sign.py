"""Vital signs and their trends."""

from __future__ import annotations

from decimal import Decimal

import strawberry

from db.policy import Phi
from graph.datatype import CodeableConcept, Coding, FhirDateTime, Quantity
from graph.fact import ClinicalFact
from graph.field import REQUIRED, arg, enum, field
from graph.node import served_from
from loaders.element import Element, GlobalId
from loaders.vital_sign import VitalBucket, VitalSignRow

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"

enum(VitalBucket, "Source of a trend: readings by the minute, or their hourly or daily rollup", phi=None)

CODE_AND_RANGE = (
    arg("code", list[str], "Codes (LOINC) of the trends", phi=Phi.CLINICAL, default=REQUIRED),
    arg(
        "start",
        str,
        "First moment as FHIR dateTime; a partial one means its start",
        phi=Phi.DATE,
        default=REQUIRED,
        graphql_name="from",
    ),
    arg(
        "end",
        str | None,
        "Last moment as FHIR dateTime; a partial one means its end; now without it",
        phi=Phi.DATE,
        graphql_name="to",
    ),
)
"""Arguments that a trend needs."""
TREND = (
    *CODE_AND_RANGE,
    arg("bucket", VitalBucket | None, "Source to read; chosen by the range without it", phi=None),
)
"""Arguments of vitalTrend."""


def _quantity(row: VitalSignRow) -> dict[str, object] | None:
    if row.value is None:
        return None
    system = UCUM if row.value_code else None
    return {"value": row.value, "unit": row.value_unit, "system": system, "code": row.value_code}


def _code(row: VitalSignRow) -> dict[str, object] | None:
    if row.code is None and row.code_display is None:
        return None
    return {"system": row.code_system, "code": row.code, "display": row.code_display}


def _absent(row: VitalSignRow) -> dict[str, object] | None:
    if row.data_absent_reason is None:
        return None
    return {"coding": [{"system": ABSENT, "code": row.data_absent_reason}]}


@strawberry.type(description="A vital sign: an Observation of category vital-signs, or a component of one")
@served_from(VitalSignRow)
class VitalSign(ClinicalFact):
    """Served from VitalSignRow: a systolic and a diastolic pressure are two of them with the same panel and time."""

    id: strawberry.ID = field("Global id: FHIR type, slash, key", phi=None, value=GlobalId("VitalSign", "key"))
    status: str | None = field("Status: final, preliminary, amended, …", phi=None)
    code: Coding | None = field("What was measured, usually LOINC", phi=Phi.CLINICAL, value=_code)
    panel: Coding | None = field(
        "Panel that the component is part of, such as blood pressure",
        phi=Phi.CLINICAL,
        value=lambda row: row.panel_code and {"system": LOINC, "code": row.panel_code},
    )
    value_quantity: Quantity | None = field(
        "Value with its unit as shown and its UCUM code", phi=Phi.CLINICAL, value=_quantity
    )
    data_absent_reason: CodeableConcept | None = field("Why there is no value", phi=Phi.CLINICAL, value=_absent)
    effective_date_time: FhirDateTime | None = field(
        "When it was measured, as precise as the source", phi=Phi.DATE, value=Element("effective")
    )
    device: str | None = field("Identifier of the device that measured it", phi=Phi.DEVICE, value=Element("device_id"))


@strawberry.type(description="A bucket of a trend")
class VitalTrendPoint:
    """Served from TrendPointRow."""

    start: FhirDateTime | None = field("Start of the bucket (UTC)", phi=Phi.DATE)
    min: Decimal | None = field("Lowest value of the bucket", phi=Phi.CLINICAL)
    avg: Decimal | None = field("Mean of the values of the bucket", phi=Phi.CLINICAL)
    max: Decimal | None = field("Highest value of the bucket", phi=Phi.CLINICAL)
    count: int = field("Number of values in the bucket", phi=None)


@strawberry.type(description="Course of a vital sign over time, in buckets; empty ones are left out")
class VitalTrend:
    """Served from VitalTrendRow; values that were entered in error are left out."""

    code: str | None = field("Code of the vital sign (LOINC)", phi=Phi.CLINICAL)
    unit: str | None = field("Unit of the values, UCUM code where the source has one", phi=Phi.CLINICAL)
    bucket: VitalBucket = field("Source that was read", phi=None, value=lambda row: row.span.bucket)
    bucket_seconds: int = field(
        "Width of a bucket in seconds", phi=None, value=lambda row: int(row.span.width.total_seconds())
    )
    points: list[VitalTrendPoint] | None = field("Buckets that have values, oldest first", phi=Phi.CLINICAL, size=100)
