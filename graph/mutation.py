"""Roots of mutations: those of each slice (graph/writes), and breaking the glass."""

from __future__ import annotations

import strawberry

from graph.break_glass import BreakGlassMutations
from graph.writes.encounter import EncounterMutations
from graph.writes.medication import MedicationMutations


@strawberry.type(description="What changes something")
class Mutation(BreakGlassMutations, EncounterMutations, MedicationMutations):
    """Carried out one after the other; each is a transaction of its own, and what is read after it sees it."""
