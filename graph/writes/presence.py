"""Mutation of who has a chart open."""

from __future__ import annotations

import strawberry

import resolvers.writes.presence
from graph.field import field, given
from graph.patient import Patient
from graph.write import Payload, WriteInput, mutation, write_input

UNSET = strawberry.UNSET


@write_input("That the caller has a chart open")
class NoteChartPresenceInput(WriteInput):
    """Each note has a key of its own: sent again with the same key it is the same note, and keeps nobody present."""

    patient_id: strawberry.ID = given("Global id of the patient", phi=None)
    editing: bool | None = given("Whether the caller is changing something", phi=None, default=UNSET)
    leave: bool | None = given("Whether the caller has closed the chart", phi=None, default=UNSET)


@strawberry.type(description="What a note of who has a chart open came to")
class ChartPresencePayload(Payload):
    """Served from Written."""

    patient: Patient | None = field("Patient whose chart it is", phi=None, batch=resolvers.writes.presence.patient)


@strawberry.type
class PresenceMutations:
    """Root of the mutation of who has a chart open."""

    note_chart_presence: ChartPresencePayload | None = mutation(
        "Says that the caller has a chart open, to be repeated every 20 seconds: after 60 of silence one is gone",
        NoteChartPresenceInput,
        resolvers.writes.presence.note,
    )
