"""Subscriptions: charts, readings and wards as they change, and what a privacy officer is told."""

from __future__ import annotations

import strawberry

import resolvers.changes
import resolvers.jobs
import resolvers.research_project
from db.policy import Phi
from graph.break_glass import BreakGlassSubscriptions
from graph.change import AFTER, Change
from graph.encounter import Encounter
from graph.facility import Department
from graph.field import REQUIRED, arg, field
from graph.node import Node
from graph.patient import Patient
from graph.research_project import ResearchExtraction
from graph.vital_sign import VitalSign

ID = strawberry.ID
PATIENT = arg("patient", ID, "Global id of the patient", phi=None, default=REQUIRED)


@strawberry.type(description="That something in a patient's chart changed")
class ChartChange(Change):
    """Served from resolvers.changes.ChartChange."""

    patient: Patient | None = field("Patient whose chart it is", phi=None, batch=resolvers.changes.patient)
    resources: list[Node] = field("What was made or changed, as it is now and as the caller may see it", phi=None)


@strawberry.type(description="That readings of a patient arrived")
class VitalsChange(Change):
    """Served from resolvers.changes.VitalsChange."""

    patient: Patient | None = field("Patient of the readings", phi=None, batch=resolvers.changes.patient)
    vital_signs: list[VitalSign] | None = field(
        "New readings, oldest first; at most 500", phi=Phi.CLINICAL, value=lambda change: change.readings
    )


@strawberry.type(description="That a ward changed: who is there, a stay, or readings of its patients")
class WardChange(Change):
    """Served from resolvers.changes.WardChange."""

    department: Department | None = field("Department of the ward", phi=None, batch=resolvers.changes.department)
    encounters: list[Encounter] = field("Stays that began, ended, moved or changed, as they are now", phi=None)
    vital_signs: list[VitalSign] | None = field(
        "New readings of patients of the ward, oldest first of each patient",
        phi=Phi.CLINICAL,
        value=lambda change: change.readings,
    )


@strawberry.type(description="How far work is that goes on beside the request that asked for it")
class JobProgress(Change):
    """Served from resolvers.jobs.JobProgress."""

    id: strawberry.ID = field("Global id of what is worked on", phi=None)
    status: str = field("RUNNING or DONE", phi=None)
    done: int = field("Parts that are done: objects that can be read again, parts of a cohort", phi=None)
    total: int = field("Parts in all; 0 before they are known", phi=None)
    extraction: ResearchExtraction | None = field(
        "Extraction as it is now, where it is one", phi=None, batch=resolvers.research_project.extraction
    )


@strawberry.type(description="What is told when it happens")
class Subscription(BreakGlassSubscriptions):
    """Roots of subscriptions; each message is read with the caller's rights of that moment."""

    chart_changed: ChartChange = field(
        "Changes of a patient's chart as they are committed; of vital signs see vitals",
        phi=None,
        root=resolvers.changes.chart_changed,
        args=(PATIENT, AFTER),
        streams=True,
    )
    vitals: VitalsChange = field(
        "Vital signs of a patient as they arrive",
        phi=None,
        root=resolvers.changes.vitals,
        args=(PATIENT, AFTER),
        streams=True,
    )
    job_progress: JobProgress = field(
        "Progress of work that was asked for: the restore of an imaging study from cold storage, or an extraction for "
        "research at its home facility",
        phi=None,
        root=resolvers.jobs.progress,
        args=(arg("id", ID, "Global id of the imaging study or extraction", phi=None, default=REQUIRED), AFTER),
        streams=True,
    )
    ward_changed: WardChange = field(
        "Changes of a ward as they are committed",
        phi=None,
        root=resolvers.changes.ward_changed,
        args=(
            arg("department", ID, "Global id of the department", phi=None, default=REQUIRED),
            arg("vitals", bool, "Whether readings of the ward's patients are told too", phi=None, default=False),
            AFTER,
        ),
        streams=True,
    )
