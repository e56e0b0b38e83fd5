"""Mutation of who has a chart open."""

from __future__ import annotations

from loaders.patient import patient_by_id
from loaders.write import Written
from loaders.writes.presence import leave_chart, note_presence
from resolvers.connection import link
from resolvers.context import Context
from resolvers.write import Given, Input, Prepared, write

patient = link(patient_by_id, "id")


async def note(context: Context, input: Input) -> Written:
    """Notes that the caller has a chart open, or has closed it."""

    def prepare(given: Given) -> Prepared:
        patient_id = given.needed_id("patient_id", "Patient")
        if given.get("leave"):
            return lambda writing: leave_chart(writing, patient_id)
        role, editing = context.caller.role.name, bool(given.get("editing"))
        return lambda writing: note_presence(writing, patient_id, role, editing)

    return await write(context, "noteChartPresence", input, ["chart_presence"], prepare)
