"""What clinical facts share: a patient, and the encounter in which they were recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import strawberry

import resolvers.encounter
import resolvers.patient
from graph.field import field
from graph.node import Node

if TYPE_CHECKING:
    from graph.encounter import Encounter
    from graph.patient import Patient


@strawberry.interface(description="A clinical fact about a patient")
class ClinicalFact(Node):
    """Implemented by every type whose rows name a patient and an encounter."""

    patient: Annotated[Patient, strawberry.lazy("graph.patient")] | None = field(
        "Patient whom the fact is about", phi=None, batch=resolvers.patient.of_facts
    )
    encounter: Annotated[Encounter, strawberry.lazy("graph.encounter")] | None = field(
        "Encounter in which the fact was recorded", phi=None, batch=resolvers.encounter.of_facts
    )
