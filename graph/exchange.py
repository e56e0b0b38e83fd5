"""Exchange for treatment: a patient's records at another facility, read-only and marked with their source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import strawberry

import resolvers.patient
from graph.field import field
from loaders.element import Element

if TYPE_CHECKING:
    from graph.patient import Patient


@strawberry.type(description="Records of a patient at another facility, which the patient lets those who treat see")
class ExchangedRecords:
    """Served from ExchangedRow."""

    source_code: str = field("Code of the facility that the records are of", phi=None, value=Element("code"))
    source_name: str = field("Name of the facility that the records are of", phi=None, value=Element("name"))
    patient: Annotated[Patient, strawberry.lazy("graph.patient")] | None = field(
        "Patient as registered there; all below is that facility's, read-only, and its ids are good only here",
        phi=None,
        batch=resolvers.patient.of_facts,
        elsewhere=lambda row: row.facility_id,
    )
