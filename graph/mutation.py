"""Roots of mutations: those of each slice (graph/writes), and breaking the glass."""

from __future__ import annotations

import strawberry

from graph.break_glass import BreakGlassMutations
from graph.writes.appointment import AppointmentMutations
from graph.writes.chart import ChartMutations
from graph.writes.clinical_note import NoteMutations
from graph.writes.consent import ConsentMutations
from graph.writes.encounter import EncounterMutations
from graph.writes.imaging_study import ImagingStudyMutations
from graph.writes.lab import LabMutations
from graph.writes.medication import MedicationMutations
from graph.writes.patient import PatientMutations
from graph.writes.presence import PresenceMutations
from graph.writes.research import ResearchMutations
from graph.writes.research_request import ResearchRequestMutations
from graph.writes.vital_sign import VitalSignMutations


@strawberry.type(description="What changes something")
class Mutation(
    BreakGlassMutations,
    AppointmentMutations,
    ChartMutations,
    ConsentMutations,
    EncounterMutations,
    ImagingStudyMutations,
    LabMutations,
    MedicationMutations,
    NoteMutations,
    PatientMutations,
    PresenceMutations,
    ResearchMutations,
    ResearchRequestMutations,
    VitalSignMutations,
):
    """Carried out one after the other; each is a transaction of its own, and what is read after it sees it."""
